"""Transport: push a box that five can move out of the way, then leave."""
