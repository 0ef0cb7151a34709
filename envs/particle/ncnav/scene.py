"""How non-cooperative navigation is drawn."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from shoal.envs import scene as draw
from shoal.envs.core.types import Recording
from shoal.envs.particle import scenery
from shoal.envs.particle.ncnav.reward import measure
from shoal.envs.particle.ncnav.types import AGENTS, LANDMARK_SIZE, Options, State

TITLE = "Non-cooperative navigation"
_COLOURS = (draw.BLUE, draw.ORANGE, draw.GREEN)


def clip(options: Options, recording: Recording) -> draw.Clip:
    """Draws every state of the episode."""
    return scenery.clip(recording, partial(picture, options), TITLE)


def picture(options: Options, state: State, reach: float = scenery.HOME) -> draw.Scene:
    """Draws one state (with NumPy leaves): agents coloured, random bodies grey, landmarks small and dark.

    The subtitle counts the agents that are at a landmark.
    """
    x, y = scenery.places(state)
    moving, size = options.moving, options.bodies.size
    items: list[draw.Item] = []
    for i in range(moving):
        is_agent = i < AGENTS
        fill = _COLOURS[i] if is_agent else draw.GREY
        items += scenery.agent(x[i], y[i], size[i], fill, str(i) if is_agent else "")
    for i in range(moving, len(x)):
        items.append(draw.Circle(x[i], y[i], LANDMARK_SIZE, draw.DARK_GREY, draw.WHITE, 0.012))
    nearest = measure(options, jax.tree.map(jnp.asarray, state.particles)).nearest[:AGENTS]
    reached = int((nearest < state.params.near_within).sum())
    collisions = round(float(state.collisions))
    subtitle = f"step {int(state.t)}   reached {reached} of {AGENTS}   collisions {collisions}"
    return scenery.picture(items, reach, TITLE, subtitle)
