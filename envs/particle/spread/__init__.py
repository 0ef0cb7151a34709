"""Simple spread: agents cover all landmarks together and keep out of each other's way."""
