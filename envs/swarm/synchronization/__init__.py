"""Synchronization: all lights on, then all off, as often as there are rounds."""
