"""Foraging: carry food through an opening in a wall to the nest."""
