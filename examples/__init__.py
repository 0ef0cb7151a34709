"""An environment and an algorithm of a user's own, one file each; nothing of Shoal knows them."""
