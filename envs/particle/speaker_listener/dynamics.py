"""What a reset draws, and what saying and moving do. Batches lie in trailing axes: see `particle.common`."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from shoal.envs.common import particles
from shoal.envs.common.particles import Particles, column
from shoal.envs.core.types import Key
from shoal.envs.particle import common
from shoal.envs.particle.speaker_listener.types import (
    BODIES,
    FIRST_LANDMARK,
    LANDMARKS,
    LISTENER,
    SAY,
    SPEAKER,
    STAY,
    Level,
    Params,
    State,
)


def sample_level(key: Key, params: Params) -> Level:
    """Places everything uniformly in the square from -1 to 1 and picks the goal, in one random call."""
    x, y, u = common.place(key, BODIES, rest=1)
    goal = jnp.minimum((u[0] * LANDMARKS).astype(jnp.int32), LANDMARKS - 1)
    return Level(x=x, y=y, goal=goal, params=params)


def hear(action: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
    """Returns the symbol that the speaker's action says; what is no symbol says symbol 0."""
    return jnp.where((action >= SAY[0]) & (action <= SAY[-1]), action, SAY[0])


def move(old: Particles, action: Int[Array, "agents *batch"], params: Params) -> Particles:
    """Moves the listener; what is no move stays, and nothing moves the speaker."""
    # Compared rather than shifted by STAY: subtracting could wrap an absurd action round to a move.
    direction = jnp.where(action > STAY, action, STAY) - STAY
    return common.step(old, particles.push(direction), params.acceleration[None], BODIES, params)


def step(state: State, action: Int[Array, "agents *batch"]) -> State:
    """Steps both agents at once: the message arrives with the new positions."""
    return State(
        particles=move(state.particles, action, state.params),
        goal=state.goal,
        message=hear(action[SPEAKER]),
        t=state.t + 1,
        params=state.params,
    )


def one_hot(index: Int[Array, "*batch"]) -> Bool[Array, "landmarks *batch"]:
    """Returns true at the landmark (or symbol) of this index."""
    return column(np.arange(LANDMARKS, dtype=np.int32), index[None]) == index[None]


def to_goal(state: State) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Returns the way from the listener to the goal landmark (x, y)."""
    is_goal, p = one_hot(state.goal), state.particles
    x, y = (jnp.sum(jnp.where(is_goal, part[FIRST_LANDMARK:], 0.0), axis=0) for part in (p.x, p.y))
    return x - p.x[LISTENER], y - p.y[LISTENER]
