"""Flocking: form a hollow square."""
