"""What a reset draws, and what a step moves. Batches lie in trailing axes, as in `particle.common`."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from shoal.envs.common.particles import Particles
from shoal.envs.core.types import Key
from shoal.envs.particle import common
from shoal.envs.particle.common import Level
from shoal.envs.particle.spread.types import Options, Params, State


def sample_level(options: Options, key: Key, params: Params) -> Level:
    """Places agents and landmarks uniformly in the square from -1 to 1."""
    x, y, _ = common.place(key, options.bodies)
    return Level(x=x, y=y, params=params)


def initial_state(level: Level) -> State:
    """Returns everything at rest."""
    return State(
        particles=common.at_rest(level),
        t=jnp.zeros((), jnp.int32),
        params=level.params,
        collisions=jnp.zeros((), jnp.float32),
    )


def move(options: Options, state: State, action: Array) -> Particles:
    """Moves the agents by their actions and apart from each other."""
    params = state.params
    return common.step(
        state.particles,
        common.pushes(options, action),
        params.acceleration[None],
        options.bodies,
        params,
        contact=params,
    )
