"""How simple spread is drawn."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from shoal.envs import scene as draw
from shoal.envs.core.types import Recording
from shoal.envs.particle import scenery
from shoal.envs.particle.spread.reward import measure
from shoal.envs.particle.spread.types import AGENT_SIZE, LANDMARK_SIZE, Options, State

TITLE = "Simple spread"


def clip(options: Options, recording: Recording) -> draw.Clip:
    """Draws every state of the episode."""
    return scenery.clip(recording, partial(picture, options), TITLE)


def picture(options: Options, state: State, reach: float = scenery.HOME) -> draw.Scene:
    """Draws one state (with NumPy leaves): covered landmarks are filled, agents that touch are red."""
    x, y = scenery.places(state)
    agents = options.num_agents
    seen = measure(options, jax.tree.map(jnp.asarray, state.particles))
    covered = (seen.nearest < state.params.covered_within).tolist()
    items: list[draw.Item] = []
    for i, touched in enumerate(seen.touched.tolist()):
        colour = draw.VERMILION if touched else draw.BLUE
        items += scenery.agent(x[i], y[i], AGENT_SIZE, colour, str(i))
    for i, is_covered in enumerate(covered, start=agents):
        fill = draw.GREEN if is_covered else draw.DARK_GREY
        items.append(draw.Circle(x[i], y[i], LANDMARK_SIZE, fill, draw.WHITE, 0.012))
    collisions = round(float(state.collisions))
    subtitle = f"step {int(state.t)}   covered {sum(covered)} of {len(covered)}   collisions {collisions}"
    return scenery.picture(items, reach, TITLE, subtitle)
