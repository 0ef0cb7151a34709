"""What the takers and a centralised critic see."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.envs.commons.water.types import State
from shoal.envs.core.types import Observation


def observe(state: State) -> Observation:
    """Shows every agent the pool and its own total; all agents may always take or wait."""
    agents = state.total_taken.shape
    pool = jnp.broadcast_to(state.resource, agents)
    return Observation(
        view=jnp.stack([pool, state.total_taken], axis=-1),
        action_mask=jnp.ones((*agents, 2), bool),
        alive=jnp.ones(agents, bool),
    )


def global_state(state: State, max_steps: int) -> Float[Array, " features"]:
    """Returns pool, all totals, and the share of the time that is over: [A + 2]."""
    elapsed = state.t.astype(jnp.float32) / max_steps
    return jnp.concatenate([state.resource[None], state.total_taken, elapsed[None]])
