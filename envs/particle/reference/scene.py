"""How simple reference is drawn."""

from __future__ import annotations

import numpy as np

from shoal.envs import scene as draw
from shoal.envs.core.types import Recording
from shoal.envs.particle import scenery
from shoal.envs.particle.reference.types import AGENTS, LANDMARKS, SIZE, State

TITLE = "Simple reference"


def clip(recording: Recording) -> draw.Clip:
    """Draws every state of the episode."""
    return scenery.clip(recording, picture, TITLE)


def picture(state: State, reach: float = scenery.HOME) -> draw.Scene:
    """Draws one state (with NumPy leaves): agents have the colours of their goals."""
    x, y = scenery.places(state)
    goals, message = np.asarray(state.goal).tolist(), np.asarray(state.message)
    items: list[draw.Item] = []
    for i, colour in enumerate(scenery.GOAL_COLOURS[:LANDMARKS], start=AGENTS):
        items.append(draw.Circle(x[i], y[i], SIZE, colour))
        if i - AGENTS in goals:
            items.append(draw.Circle(x[i], y[i], 2.2 * SIZE, None, colour, 0.015))
    words = [str(int(row.argmax())) if row.any() else "nothing" for row in message]
    for i, (goal, word) in enumerate(zip(goals, words, strict=True)):
        items += scenery.agent(x[i], y[i], SIZE, scenery.GOAL_COLOURS[goal], str(i))
        if message[i].any():
            items.append(scenery.saying(x[i], y[i], SIZE, f"says {word}"))
    names = " and ".join(scenery.GOAL_NAMES[goal] for goal in goals)
    subtitle = f"step {int(state.t)}   goals {names}   said {' and '.join(words)}"
    return scenery.picture(items, reach, TITLE, subtitle)
