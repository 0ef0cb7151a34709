"""What shapes the reward of foraging. Arrays may share trailing axes of worlds."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from shoal.envs.common.boards import look_up
from shoal.envs.swarm.foraging.types import State


def potential(state: State, longest: float) -> Float[Array, "agents *batch"]:
    """Returns half a point for an agent's load, less half of its way to its goal over the longest way."""
    to_food, to_nest = (look_up(distance, state.i, state.j, np.int16(0)) for distance in state.distance)
    steps = jnp.where(state.flag, to_nest, to_food)
    return 0.5 * state.flag.astype(jnp.float32) - 0.5 * steps.astype(jnp.float32) / longest
