"""Adaptive coverage: robots share out a square whose density they learn as they go."""
