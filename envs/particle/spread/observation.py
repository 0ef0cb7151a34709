"""What the agents and a centralised critic see. Batches lie in trailing axes, as in `particle.common`."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.envs.core.types import Observation
from shoal.envs.particle import common
from shoal.envs.particle.spread.types import SILENCE, Options, State


def views(options: Options, state: State) -> Float[Array, "agents features *batch"]:
    """Returns velocity, position, ways to landmarks and to the others, and the others' silence."""
    agents = options.num_agents
    seen = common.ways(state.particles, agents, options.landmarks)
    silence = jnp.zeros((agents, SILENCE * (agents - 1), *state.t.shape), jnp.float32)
    return jnp.concatenate([*seen, silence], axis=1)


def observe(options: Options, state: State) -> Observation:
    """Shows every agent everything, from where it stands."""
    agents = options.num_agents
    return Observation(
        view=views(options, state),
        action_mask=common.action_mask(common.action_space(options), agents, state.t),
        alive=jnp.ones((agents, *state.t.shape), bool),
    )


def global_state(options: Options, state: State) -> Float[Array, "features *batch"]:
    """Returns all agents' views in a row."""
    view = views(options, state)
    return view.reshape(-1, *view.shape[2:])
