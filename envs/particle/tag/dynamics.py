"""What a reset draws, and what a step moves. Batches lie in trailing axes, as in `particle.common`."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from shoal.envs.common.particles import Particles, column
from shoal.envs.core.types import Key
from shoal.envs.particle import common
from shoal.envs.particle.common import Level
from shoal.envs.particle.tag.types import Options, Params, State


def sample_level(options: Options, key: Key, params: Params) -> Level:
    """Places agents uniformly in the square from -1 to 1, obstacles in one of their own."""
    x, y, _ = common.place(key, options.bodies)
    is_agent = np.arange(len(options.bodies.size)) < options.num_agents
    spread = jnp.where(is_agent, 1.0, params.obstacle_spread)
    return Level(x=x * spread, y=y * spread, params=params)


def initial_state(level: Level) -> State:
    """Returns everything at rest."""
    return State(
        particles=common.at_rest(level),
        t=jnp.zeros((), jnp.int32),
        params=level.params,
        catches=jnp.zeros((), jnp.float32),
    )


def _by_kind(
    options: Options, adversary: Float[Array, "*batch"], good: Float[Array, "*batch"], count: int
) -> Float[Array, "entities *batch"]:
    """Returns one number for adversaries and another for all that follow."""
    is_adversary = column(np.arange(count) < options.num_adversaries, good[None])
    return jnp.where(is_adversary, adversary[None], good[None])


def move(options: Options, state: State, action: Array) -> Particles:
    """Moves the agents by their actions, and apart from each other and from the obstacles."""
    p = state.params
    return common.step(
        state.particles,
        common.pushes(options, action),
        _by_kind(options, p.adversary_acceleration, p.good_acceleration, options.num_agents),
        options.bodies,
        p,
        contact=p,
        max_speed=_by_kind(options, p.adversary_max_speed, p.good_max_speed, len(options.bodies.size)),
    )
