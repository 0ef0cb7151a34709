"""SMAX: StarCraft-like micromanagement without a game engine."""
