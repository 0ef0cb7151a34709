"""How simple speaker-listener is drawn."""

from __future__ import annotations

from shoal.envs import scene as draw
from shoal.envs.core.types import Recording
from shoal.envs.particle import scenery
from shoal.envs.particle.speaker_listener.types import (
    BODIES,
    FIRST_LANDMARK,
    LANDMARKS,
    LISTENER,
    SPEAKER,
    State,
)

TITLE = "Simple speaker-listener"


def clip(recording: Recording) -> draw.Clip:
    """Draws every state of the episode."""
    return scenery.clip(recording, picture, TITLE)


def picture(state: State, reach: float = scenery.HOME) -> draw.Scene:
    """Draws one state (with NumPy leaves), from ``-reach`` to ``reach`` both ways."""
    x, y = scenery.places(state)
    goal, message = int(state.goal), int(state.message)
    items: list[draw.Item] = []
    for i, colour in enumerate(scenery.GOAL_COLOURS[:LANDMARKS]):
        at = FIRST_LANDMARK + i
        if i == goal:
            items.append(draw.Circle(x[at], y[at], 2.2 * BODIES.size[at], None, colour, 0.015))
        items.append(draw.Circle(x[at], y[at], BODIES.size[at], colour))
    colours = {LISTENER: scenery.GOAL_COLOURS[goal], SPEAKER: draw.GREY}
    for i, letter in ((LISTENER, "L"), (SPEAKER, "S")):
        items += scenery.agent(x[i], y[i], BODIES.size[i], colours[i], letter)
    if message >= 0:
        items.append(scenery.saying(x[SPEAKER], y[SPEAKER], BODIES.size[SPEAKER], f"says {message}"))
    said = "nothing" if message < 0 else str(message)
    subtitle = f"step {int(state.t)}   goal {scenery.GOAL_NAMES[goal]} ({goal})   said {said}"
    return scenery.picture(items, reach, TITLE, subtitle)
