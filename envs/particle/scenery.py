"""What the pictures of the particle worlds share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from shoal.envs import scene as draw
from shoal.envs.core.types import Recording

GOAL_COLOURS = (draw.VERMILION, draw.GREEN, draw.BLUE)  # stand for the published red, green and blue
GOAL_NAMES = ("red", "green", "blue")
MARGIN = 0.25
HOME = 1.0 + MARGIN  # half the side of a picture that holds what a reset draws
FRAME_SECONDS = 0.15

Picture = Callable[[Any, float], draw.Scene]
"""Draws one state (with NumPy leaves), from -reach to reach both ways."""


def places(state: Any) -> tuple[list[float], list[float]]:
    """Returns where the entities are."""
    return np.asarray(state.particles.x).tolist(), np.asarray(state.particles.y).tolist()


def clip(recording: Recording, picture: Picture, title: str) -> draw.Clip:
    """Draws every state of the episode in one frame of reference that holds them all."""
    farthest = (float(np.max(np.abs(part))) for s in recording.states for part in places(s))
    reach = max(1.0, *farthest) + MARGIN
    frames = tuple(picture(state, reach) for state in recording.states)
    return draw.Clip(frames, frame_seconds=FRAME_SECONDS, title=title)


def agent(x: float, y: float, size: float, fill: str, letter: str = "") -> list[draw.Item]:
    """Returns a disc with a letter on it."""
    items: list[draw.Item] = [draw.Circle(x, y, size, fill, draw.DARK_GREY, 0.012, opacity=0.85)]
    if letter:
        items.append(draw.Text(x, y, letter, size=size * 1.2, fill=draw.WHITE))
    return items


def saying(x: float, y: float, size: float, text: str) -> draw.Text:
    """Returns what an agent says, above it."""
    return draw.Text(x, y + size + 0.03, text, size=0.12, anchor="bottom")


def picture(items: list[draw.Item], reach: float, title: str, subtitle: str) -> draw.Scene:
    """Frames what was drawn."""
    return draw.Scene((-reach, -reach, reach, reach), tuple(items), title=title, subtitle=subtitle)
