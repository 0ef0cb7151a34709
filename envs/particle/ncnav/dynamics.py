"""What resets and steps draw, and what a step moves. Batches lie in trailing axes: see `particle.common`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.envs.common import particles
from shoal.envs.common.particles import MOVES, Particles
from shoal.envs.core.types import Key
from shoal.envs.particle import common
from shoal.envs.particle.common import Level
from shoal.envs.particle.ncnav.types import Options, Params, State

_GRID = 5.0  # landmarks lie on multiples of 1 / 5, up to 4 of them from the middle


def sample_level(options: Options, key: Key, params: Params) -> Level:
    """Places bodies uniformly in the square from -1 to 1, landmarks on the 9 by 9 grid inside."""
    x, y, _ = common.place(key, options.bodies)
    moves = np.asarray(options.bodies.movable)
    # Nine equal parts of the range from -1 to 1, rounded to the whole numbers from -4 to 4.
    x, y = (jnp.where(moves, part, jnp.round(4.5 * part) / _GRID) for part in (x, y))
    return Level(x=x, y=y, params=params)


def initial_state(level: Level) -> State:
    """Returns everything at rest."""
    return State(
        particles=common.at_rest(level),
        t=jnp.zeros((), jnp.int32),
        params=level.params,
        earned=jnp.zeros((), jnp.float32),
        collisions=jnp.zeros((), jnp.float32),
    )


def draws(options: Options, key: Key) -> Array:
    """Returns what the random bodies do, [R] i32 moves or [R, 5] f32 pushes."""
    if options.continuous_actions:
        return jax.random.uniform(key, (options.random_agents, MOVES))
    return jax.random.randint(key, (options.random_agents,), 0, MOVES)


def move(options: Options, state: State, action: Array) -> Particles:
    """Moves all bodies by their actions, agents first, and apart from each other.

    Forces from the positions before the step, then new velocities, then positions by the new velocities.
    """
    p, old = state.params, state.particles
    # Right, left, up, down: the other way round than in the rest of the family.
    left, down = common.pushes(options, action)
    random = jnp.broadcast_to(p.random_step_size[None], (options.random_agents, *state.t.shape))
    strength = -p.acceleration[None] * jnp.concatenate([p.step_sizes, random])
    landmarks = jnp.zeros_like(old.x[options.moving :])
    own_x, own_y = (jnp.concatenate([strength * part, landmarks]) for part in (left, down))
    contact_x, contact_y = particles.contact_forces(old, options.bodies, p)
    return particles.integrate(
        old, own_x + contact_x, own_y + contact_y, options.bodies, p, semi_implicit=True
    )
