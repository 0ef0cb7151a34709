"""What shapes the reward of transport. Arrays may share trailing axes of worlds."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.envs.swarm.grid.physics import BOX_MASS, DOWN, LEFT, MARGIN, RIGHT, ROW_STEP, UP, look_up
from shoal.envs.swarm.transport.types import State

OUTWARD = 4  # pushes outward that take the box off the map
FILES = 3  # pushers that stand one behind another count up to so many


def progress(state: State) -> Float[Array, "*batch"]:
    """Returns which part of the pushes that the box needs are done: one aside where planned, four outward."""
    aside, outward = state.plan[0], state.plan[1]
    done_aside = jnp.clip(_gone(state, aside), 0, 1)
    done = done_aside + jnp.clip(_gone(state, outward), 0, OUTWARD)
    needed = OUTWARD + (aside > 0).astype(jnp.int32)
    return done / needed


def _gone(state: State, direction: Array) -> Array:
    """Returns how many cells the box has gone in a direction."""
    down, right = state.box_i, state.box_j
    return jnp.select(
        [direction == UP, direction == DOWN, direction == LEFT, direction == RIGHT],
        [-down, down, -right, right],
        0,
    )


def next_push(state: State) -> Array:
    """Returns the direction in which the box must go next."""
    aside_left = (state.plan[0] > 0) & (_gone(state, state.plan[0]) < 1)
    return jnp.where(aside_left, state.plan[0], state.plan[1])


def pushers(state: State) -> Array:
    """Returns which agents stand in the files behind the box, as seen along its next push, [A, *B] bool."""
    direction = next_push(state)
    i, j = state.i + MARGIN, state.j + MARGIN
    behind = jnp.zeros_like(state.alive)
    for way in (UP, DOWN, LEFT, RIGHT):
        step = ROW_STEP[way], (0, 0, 0, -1, 1)[way]
        touches = jnp.zeros_like(state.alive)
        for depth in range(1, FILES + 1):
            touches |= look_up(state.box, i + depth * step[0], j + depth * step[1], False)
        behind |= touches & (direction == way)[None]
    return behind & state.alive


def potential(state: State) -> Float[Array, "*batch"]:
    """Returns half a point for five pushers in place, one for the box's way, less for the way to the gap."""
    count = jnp.sum(pushers(state), axis=0).astype(jnp.float32)
    way = progress(state)
    ready = 0.5 * jnp.minimum(count, BOX_MASS) / BOX_MASS
    return jnp.where(way >= 1.0, 0.5 - 0.1 * far_from_gap(state), ready) + way


def far_from_gap(state: State) -> Float[Array, "*batch"]:
    """Returns how far agents on the board are from the gap, mean, over half the perimeter."""
    rows, columns = state.board.shape[:2]
    i = jnp.arange(rows, dtype=jnp.int32).reshape(-1, 1, *[1] * state.t.ndim)
    j = jnp.arange(columns, dtype=jnp.int32).reshape(1, -1, *[1] * state.t.ndim)
    rim = (i == 0) | (i == rows - 1) | (j == 0) | (j == columns - 1)
    gap = rim & (state.board == 0)
    steps = jnp.abs(state.i[:, None, None] - i[None]) + jnp.abs(state.j[:, None, None] - j[None])
    nearest = jnp.min(jnp.where(gap[None], steps, rows + columns), axis=(1, 2)).astype(jnp.float32)
    return jnp.mean(jnp.where(state.alive, nearest, 0.0), axis=0) / (rows + columns)
