"""What saying and moving do."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from shoal.envs.common import particles
from shoal.envs.common.particles import Particles
from shoal.envs.core.types import Key
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
    count = len(BODIES.size)
    u = jax.random.uniform(key, (2 * count + 1,))
    goal = jnp.minimum((u[-1] * LANDMARKS).astype(jnp.int32), LANDMARKS - 1)
    place = 2.0 * u - 1.0
    return Level(x=place[:count], y=place[count : 2 * count], goal=goal, params=params)


def hear(action: Int[Array, ""]) -> Int[Array, ""]:
    """Returns the symbol that the speaker's action says; what is no symbol says symbol 0."""
    return jnp.where((action >= SAY[0]) & (action <= SAY[-1]), action, SAY[0])


def move(old: Particles, action: Int[Array, ""], params: Params) -> Particles:
    """Moves the listener; what is no move stays."""
    # Compared rather than shifted by STAY: subtracting could wrap an absurd action round to a move.
    direction = jnp.where(action > STAY, action, STAY) - STAY
    push_x, push_y = particles.push(direction)
    is_listener = jnp.arange(len(BODIES.size)) == LISTENER
    force_x = jnp.where(is_listener, push_x * params.acceleration, 0.0)
    force_y = jnp.where(is_listener, push_y * params.acceleration, 0.0)
    return particles.integrate(old, force_x, force_y, BODIES, params)


def step(state: State, action: Int[Array, "agents"]) -> State:
    """Steps both agents at once: the message arrives with the new positions."""
    return State(
        particles=move(state.particles, action[LISTENER], state.params),
        goal=state.goal,
        message=hear(action[SPEAKER]),
        t=state.t + 1,
        params=state.params,
    )


def to_goal(state: State) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns the way from the listener to the goal landmark (x, y)."""
    is_goal = jnp.arange(LANDMARKS) == state.goal
    x, y = state.particles.x, state.particles.y
    goal_x = jnp.sum(jnp.where(is_goal, x[FIRST_LANDMARK:], 0.0))
    goal_y = jnp.sum(jnp.where(is_goal, y[FIRST_LANDMARK:], 0.0))
    return goal_x - x[LISTENER], goal_y - y[LISTENER]
