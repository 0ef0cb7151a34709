"""Swarms: on a grid, where bodies push each other, and in the plane, where robots spread out."""
