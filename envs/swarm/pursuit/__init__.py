"""Pursuit: surround a prey that flees two cells at a time."""
