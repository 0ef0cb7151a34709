"""What shapes the reward of synchronization. Arrays may share trailing axes of worlds."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.envs.swarm.synchronization.types import State


def potential(state: State) -> Float[Array, "*batch"]:
    """Returns a tenth of the share of lights that are as they must be to score next; first, as most are."""
    present = jnp.sum(state.alive, axis=0, dtype=jnp.float32)
    lit = jnp.sum(state.flag & state.alive, axis=0, dtype=jnp.float32) / present
    to_be_on = jnp.where(state.last_sync < 0, lit >= 0.5, state.last_sync == 0)
    return 0.1 * jnp.where(to_be_on, lit, 1.0 - lit)
