"""What a reset draws, and what saying and moving do. Batches lie in trailing axes: see `particle.common`."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from shoal.envs.common.particles import MOVES, column
from shoal.envs.core.types import Key
from shoal.envs.particle import common
from shoal.envs.particle.reference.types import (
    AGENTS,
    BODIES,
    LANDMARKS,
    SYMBOLS,
    Level,
    Options,
    Params,
    State,
)


def sample_level(key: Key, params: Params) -> Level:
    """Places everything uniformly in the square from -1 to 1 and picks both goals, which may be one."""
    x, y, u = common.place(key, BODIES, rest=AGENTS)
    goal = jnp.minimum((u * LANDMARKS).astype(jnp.int32), LANDMARKS - 1)
    return Level(x=x, y=y, params=params, goal=goal)


def initial_state(level: Level) -> State:
    """Returns everything at rest and nothing said."""
    return State(
        particles=common.at_rest(level),
        t=jnp.zeros((), jnp.int32),
        params=level.params,
        goal=level.goal,
        message=jnp.zeros((AGENTS, SYMBOLS), jnp.float32),
    )


def split(options: Options, action: Array) -> tuple[Array, Float[Array, "agents symbols *batch"]]:
    """Returns what each agent does (for `common.pushes`) and what it says."""
    if options.continuous_actions:
        return action, common.clean(action)[:, MOVES:]
    legal = (action >= 0) & (action < MOVES * SYMBOLS)
    action = jnp.where(legal, action, 0)
    symbol = (action // MOVES)[:, None]
    said = symbol == column(np.arange(SYMBOLS, dtype=np.int32)[None], symbol)
    return action % MOVES, said.astype(jnp.float32)


def step(options: Options, state: State, action: Array) -> State:
    """Steps both agents at once: messages arrive with the new positions."""
    move, said = split(options, action)
    params = state.params
    return State(
        particles=common.step(
            state.particles, common.pushes(options, move), params.acceleration[None], BODIES, params
        ),
        t=state.t + 1,
        params=params,
        goal=state.goal,
        message=said,
    )
