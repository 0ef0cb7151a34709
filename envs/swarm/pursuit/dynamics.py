"""How the prey flees, is caught, and appears anew. Arrays may share trailing axes of worlds.

Source: SwarmBench (arXiv 2505.04364 v4) and its code; the published slip in the threshold of flight is the
default.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int

from shoal.envs.common.boards import look_up
from shoal.envs.swarm.grid.physics import COLUMN_STEP, DOWN, LEFT, RIGHT, ROW_STEP, UP
from shoal.envs.swarm.pursuit.types import Draws, State

AGENT, WALL = 10, 9  # threat of an agent and of a wall, tenths
REACH = 8  # cells along a side of the square whose threats add up, from four before to three behind
_ORDER = (RIGHT, LEFT, DOWN, UP)
_STEPS = np.array([(ROW_STEP[a], COLUMN_STEP[a]) for a in _ORDER], np.int32)
_FIRST, _SECOND = np.repeat(_STEPS, 4, axis=0), np.tile(_STEPS, (4, 1))


def threat(
    agents: Bool[Array, "rows columns *batch"], walls: Bool[Array, "rows columns *batch"]
) -> Int[Array, "rows columns *batch"]:
    """Returns how threatened each cell is, in tenths: 10 for an agent and 9 for a wall in its square.

    The square has 8 x 8 cells, rows i - 4 to i + 3 and columns j - 4 to j + 3, cut at the edges of the map.
    """
    total = jnp.where(agents, AGENT, jnp.where(walls, WALL, 0))
    for axis in (0, 1):
        size = total.shape[axis]
        pad = [(0, 0)] * total.ndim
        pad[axis] = (REACH // 2, REACH // 2 - 1)
        total = jnp.pad(total, pad)
        for step in (1, 2, 4):  # sums of 2, 4, then 8 neighbours
            length = total.shape[axis] - step
            total = jax.lax.slice_in_dim(total, 0, length, axis=axis) + jax.lax.slice_in_dim(
                total, step, step + length, axis=axis
            )
        assert total.shape[axis] == size
    return total


def is_caught(empty: Bool[Array, "rows columns *batch"], state: State) -> Bool[Array, "*batch"]:
    """Returns whether something stands on each of the prey's four neighbours."""
    return beside(empty, state) == 0


def beside(cells: Bool[Array, "rows columns *batch"], state: State) -> Int[Array, "*batch"]:
    """Returns how many of the prey's four neighbours are such cells."""
    i, j = _around(state, _STEPS)
    return jnp.sum(look_up(cells, i, j, False), axis=0, dtype=jnp.int32)


def flight(
    empty: Bool[Array, "rows columns *batch"],
    threats: Int[Array, "rows columns *batch"],
    state: State,
    own: bool,
) -> tuple[Int[Array, "*batch"], Int[Array, "*batch"]]:
    """Returns the cell that a free prey goes to: two steps towards less threat, or none.

    Args:
        empty: cells without agent, wall and prey.
        threats: from `threat`.
        state: with the prey where physics left it.
        own: whether its own cell's threat must be undercut, instead of that of the cell to its left.
    """
    end_i, end_j = _around(state, _FIRST + _SECOND)
    free = look_up(empty, end_i, end_j, False)
    for steps in (_FIRST, _SECOND):
        free &= look_up(empty, *_around(state, steps), False)
    here_i, here_j = _around(state, np.array([(0, 0 if own else -1)], np.int32))
    worst = np.int32(2**30)
    level = jnp.where(free, look_up(threats, end_i, end_j, worst), worst)
    best = jnp.argmin(level, axis=0)[None]
    goes = jnp.take_along_axis(level, best, axis=0) < look_up(threats, here_i, here_j, worst)
    i = jnp.where(goes, jnp.take_along_axis(end_i, best, axis=0), state.prey_i[None])
    j = jnp.where(goes, jnp.take_along_axis(end_j, best, axis=0), state.prey_j[None])
    return i[0], j[0]


def respawn(
    empty: Bool[Array, "rows columns *batch"], threats: Int[Array, "rows columns *batch"], draws: Draws
) -> tuple[Int[Array, "*batch"], Int[Array, "*batch"]]:
    """Returns the first least threatened of the empty cells drawn; as many count as the map has cells.

    Args:
        empty: cells without agent and wall; the old prey's cell is one.
        threats: from `threat`.
        draws: [K, *B] cells.
    """
    free = look_up(empty, draws.i, draws.j, False)
    seen = jax.lax.associative_scan(jnp.add, free.astype(jnp.int32))
    counted = free & (seen <= empty.shape[0] * empty.shape[1])
    worst = np.int32(2**30)
    level = jnp.where(counted, look_up(threats, draws.i, draws.j, worst), worst)
    best = jnp.argmin(level, axis=0)[None]
    i, j = (jnp.take_along_axis(cells, best, axis=0)[0] for cells in (draws.i, draws.j))
    return i, j


def _around(state: State, steps: np.ndarray) -> tuple[Array, Array]:
    """Returns the prey's cell plus each of the steps [S, 2]: rows and columns [S, *B]."""
    shape = (-1, *[1] * state.prey_i.ndim)
    return state.prey_i[None] + steps[:, 0].reshape(shape), state.prey_j[None] + steps[:, 1].reshape(shape)


def number_of_draws(height: int, width: int, agents: int, most: int = 4096) -> int:
    """Returns how many cells to draw: nearly always, as many empty ones are found as the map has cells.

    Large maps are cut at ``most``: the best of so many cells lies where the best of more would.
    """
    inner = (height - 2) * (width - 2)
    wanted = height * width
    share = max(inner - agents, 1) / inner
    need = wanted / share + 4.0 * np.sqrt(wanted * (1.0 - share)) / share
    return int(min(np.ceil(need), most))


def draw(key: Any, height: int, width: int, count: int) -> Draws:
    """Draws cells uniformly inside the ring."""
    inner = (height - 2) * (width - 2)
    bits = jax.random.bits(key, (count,), jnp.uint32 if inner > 2**12 else jnp.uint16).astype(jnp.uint32)
    cell = (bits % np.uint32(inner)).astype(jnp.int32)
    return Draws(i=1 + cell // (width - 2), j=1 + cell % (width - 2))
