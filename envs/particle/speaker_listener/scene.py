"""How simple speaker-listener is drawn."""

from __future__ import annotations

import numpy as np

from shoal.envs import scene as draw
from shoal.envs.core.types import Recording
from shoal.envs.particle.speaker_listener.types import (
    BODIES,
    FIRST_LANDMARK,
    LANDMARKS,
    LISTENER,
    SPEAKER,
    State,
)

COLOURS = (draw.VERMILION, draw.GREEN, draw.BLUE)  # stand for the published red, green and blue
NAMES = ("red", "green", "blue")
MARGIN = 0.25


def clip(recording: Recording) -> draw.Clip:
    """Draws every state of the episode in one frame of reference that holds them all."""
    reach = max(1.0, *(float(np.max(np.abs(a))) for s in recording.states for a in _places(s))) + MARGIN
    frames = tuple(picture(state, reach) for state in recording.states)
    return draw.Clip(frames, frame_seconds=0.15, title="Simple speaker-listener")


def picture(state: State, reach: float = 1.0 + MARGIN) -> draw.Scene:
    """Draws one state (with NumPy leaves), from ``-reach`` to ``reach`` both ways."""
    x, y = _places(state)
    goal, message = int(state.goal), int(state.message)
    items: list[draw.Item] = []
    for i in range(LANDMARKS):
        at = FIRST_LANDMARK + i
        if i == goal:
            items.append(draw.Circle(x[at], y[at], 2.2 * BODIES.size[at], None, COLOURS[i], 0.015))
        items.append(draw.Circle(x[at], y[at], BODIES.size[at], COLOURS[i]))
    items += _agent(x[LISTENER], y[LISTENER], BODIES.size[LISTENER], COLOURS[goal], "L")
    items += _agent(x[SPEAKER], y[SPEAKER], BODIES.size[SPEAKER], draw.GREY, "S")
    if message >= 0:
        spot = (x[SPEAKER], y[SPEAKER] + BODIES.size[SPEAKER] + 0.03)
        items.append(draw.Text(*spot, f"says {message}", size=0.12, anchor="bottom"))
    said = "nothing" if message < 0 else str(message)
    subtitle = f"step {int(state.t)}   goal {NAMES[goal]} ({goal})   said {said}"
    bounds = (-reach, -reach, reach, reach)
    return draw.Scene(bounds, tuple(items), title="Simple speaker-listener", subtitle=subtitle)


def _agent(x: float, y: float, size: float, fill: str, letter: str) -> list[draw.Item]:
    return [
        draw.Circle(x, y, size, fill, draw.DARK_GREY, 0.012, opacity=0.85),
        draw.Text(x, y, letter, size=size * 1.2, fill=draw.WHITE),
    ]


def _places(state: State) -> tuple[list[float], list[float]]:
    return np.asarray(state.particles.x).tolist(), np.asarray(state.particles.y).tolist()
