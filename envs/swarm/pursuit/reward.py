"""What shapes the reward of pursuit. Arrays may share trailing axes of worlds."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from shoal.envs.swarm.pursuit import dynamics
from shoal.envs.swarm.pursuit.types import State

HUNTERS = 4  # agents whose distances count: one for each side of the prey


def potential(state: State, walls: Bool[Array, "rows columns *batch"]) -> Float[Array, "*batch"]:
    """Returns a quarter of the taken share of the prey's sides, less a quarter of agents' distance.

    The distance is that of the four nearest, mean, over half the board's perimeter.
    """
    distance = jnp.abs(state.i - state.prey_i[None]) + jnp.abs(state.j - state.prey_j[None])
    count = min(HUNTERS, distance.shape[0])
    nearest = -jax.lax.top_k(-jnp.moveaxis(distance, 0, -1), count)[0].astype(jnp.float32)
    taken = jnp.sum(distance == 1, axis=0) + dynamics.beside(walls, state)
    far = jnp.mean(nearest, axis=-1) / (walls.shape[0] + walls.shape[1])
    return 0.25 * (taken / 4) - 0.25 * far
