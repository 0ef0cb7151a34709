"""How simple tag is drawn."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from shoal.envs import scene as draw
from shoal.envs.core.types import Recording
from shoal.envs.particle import scenery
from shoal.envs.particle.tag.reward import measure
from shoal.envs.particle.tag.types import ADVERSARY_SIZE, GOOD_SIZE, OBSTACLE_SIZE, Options, State

TITLE = "Simple tag"


def clip(options: Options, recording: Recording) -> draw.Clip:
    """Draws every state of the episode."""
    return scenery.clip(recording, partial(picture, options), TITLE)


def picture(options: Options, state: State, reach: float = scenery.HOME) -> draw.Scene:
    """Draws one state (with NumPy leaves): a good agent that is touched has a red ring."""
    x, y = scenery.places(state)
    hunters, agents = options.num_adversaries, options.num_agents
    caught = measure(options, jax.tree.map(jnp.asarray, state.particles)).caught.tolist()
    items: list[draw.Item] = [
        draw.Rectangle.from_corners(-1.0, -1.0, 1.0, 1.0, fill=None, stroke=draw.LIGHT_GREY)
    ]
    for i in range(agents, len(x)):
        items.append(draw.Circle(x[i], y[i], OBSTACLE_SIZE, draw.GREY))
    for i in range(agents):
        if i < hunters:
            items += scenery.agent(x[i], y[i], ADVERSARY_SIZE, draw.ORANGE, str(i))
            continue
        items += scenery.agent(x[i], y[i], GOOD_SIZE, draw.GREEN)
        if caught[i - hunters]:
            items.append(draw.Circle(x[i], y[i], 2.0 * GOOD_SIZE, None, draw.VERMILION, 0.02))
    subtitle = f"step {int(state.t)}   catches {round(float(state.catches))}"
    return scenery.picture(items, reach, TITLE, subtitle)
