"""What transport pays, and what shapes it. Arrays may share trailing axes of worlds."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from shoal.envs.swarm.grid.physics import BOX_MASS, COLUMN_STEP, DOWN, LEFT, MARGIN, RIGHT, ROW_STEP, UP
from shoal.envs.swarm.transport.types import State

OUTWARD = 4  # pushes outward that take the box off the map
FILES = 3  # pushers that stand one behind another count up to so many


def exits(before: State, after: State, max_steps: int) -> Float[Array, "agents *batch"]:
    """Returns what each agent adds to the score: who left, the share of the rounds that is left."""
    left = before.alive & ~after.alive
    return left.astype(jnp.float32) * ((max_steps - before.t) / max_steps)[None]


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


def places(state: State) -> Bool[Array, "rows columns *batch"]:
    """Returns where agents are wanted: in the files behind the box, and in the gap once the box is gone."""
    direction, rows, columns = next_push(state), *state.board.shape[:2]
    behind = jnp.zeros(state.board.shape, bool)
    for way in (UP, DOWN, LEFT, RIGHT):
        reached = jnp.zeros_like(behind)
        for depth in range(1, FILES + 1):
            i, j = MARGIN + depth * ROW_STEP[way], MARGIN + depth * COLUMN_STEP[way]
            reached |= state.box[i : i + rows, j : j + columns]
        behind |= reached & (direction == way)[None, None]
    rim = np.ones((rows, columns), bool)
    rim[1:-1, 1:-1] = False
    free = (state.board == 0) & ~state.box[MARGIN:-MARGIN, MARGIN:-MARGIN]
    gap = (state.board == 0) & rim.reshape(rows, columns, *[1] * state.t.ndim)
    return jnp.where((progress(state) >= 1.0)[None, None], gap, behind & free)


def potential(state: State, own: bool) -> Array:
    """Returns the potential of all, [*B], or of each agent, [A, *B].

    One for the box's way, a quarter for five agents behind it and another for five that pushed it on last,
    less half of an agent's way to where it is wanted over half the board's perimeter: its own, or the mean.
    """
    rows, columns = state.board.shape[:2]
    wanted, way = places(state), progress(state)
    tail = [1] * state.t.ndim
    down = jnp.abs(state.i[:, None] - np.arange(rows, dtype=np.int32).reshape(1, -1, *tail))
    right = jnp.abs(state.j[:, None] - np.arange(columns, dtype=np.int32).reshape(1, -1, *tail))
    steps = jnp.where(wanted[None], down[:, :, None] + right[:, None], rows + columns)
    far = jnp.where(state.alive, jnp.min(steps, axis=(1, 2)), 0)
    there = state.alive & (far == 0)
    pushing = there & (state.primitive == next_push(state)[None])
    ready = (_share_of_five(there) + _share_of_five(pushing)) / 2
    team = way + 0.5 * jnp.where(way >= 1.0, 1.0, ready)
    share = 0.5 * far.astype(jnp.float32) / (rows + columns)
    return team[None] - share if own else team - jnp.mean(share, axis=0)


def _share_of_five(agents: Bool[Array, "agents *batch"]) -> Float[Array, "*batch"]:
    return jnp.minimum(jnp.sum(agents, axis=0), BOX_MASS) / BOX_MASS
