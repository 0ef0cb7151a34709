"""Ways over a board for scripted agents: how far it is, and who may step where. All of it for one world."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from shoal.envs.swarm.grid.physics import COLUMN_STEP, ROW_STEP, SWITCH

MOVES = SWITCH
"""Number of the primitives that end on a cell: to stay, and one for each direction."""
FAR = 1 << 14
"""Steps to what cannot be reached."""
_ROWS, _COLUMNS = np.array(ROW_STEP[:MOVES], np.int32), np.array(COLUMN_STEP[:MOVES], np.int32)


def shifted(board: Array, direction: int, beyond: Any) -> Array:
    """Returns for each cell what stands one step on in a direction, ``beyond`` outside of the board.

    Args:
        board: [*, H, W].
        direction: one of the four, static.
        beyond: of the board's dtype.
    """
    down, right = ROW_STEP[direction], COLUMN_STEP[direction]
    pad = [(0, 0)] * (board.ndim - 2) + [(max(-down, 0), max(down, 0)), (max(-right, 0), max(right, 0))]
    rows, columns = board.shape[-2:]
    padded = jnp.pad(board, pad, constant_values=beyond)
    return padded[..., max(down, 0) : max(down, 0) + rows, max(right, 0) : max(right, 0) + columns]


def steps_to(
    goals: Bool[Array, "goals rows columns"], free: Bool[Array, "rows columns"]
) -> Int[Array, "goals rows columns"]:
    """Returns how many steps over free cells lead from each cell to the nearest of each set of goals.

    Args:
        goals: sets of cells; they need not be free themselves.
        free: cells that can be walked on.

    Returns:
        `FAR` for cells without a way, also those that are neither free nor a goal.
    """

    def relax(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        steps, _ = carry
        near = steps
        for direction in range(1, MOVES):
            near = jnp.minimum(near, shifted(steps, direction, FAR) + 1)
        near = jnp.where(free[None], near, steps)
        return near, jnp.any(near != steps)

    start = jnp.where(goals, 0, FAR).astype(jnp.int32)
    steps, _ = jax.lax.while_loop(lambda carry: carry[1], relax, (start, jnp.array(True)))
    return steps


def on_cells(i: Int[Array, "*cells"], j: Int[Array, "*cells"], shape: tuple[int, ...]) -> Bool[Array, "..."]:
    """Returns a board for each cell on which it alone is true; none for cells outside of the board."""
    rows, columns = np.arange(shape[0], dtype=np.int32), np.arange(shape[1], dtype=np.int32)
    here_i, here_j = (part[..., None, None] for part in (i, j))
    lead = [1] * i.ndim
    return (here_i == rows.reshape(*lead, -1, 1)) & (here_j == columns.reshape(*lead, 1, -1))


def covered(
    i: Int[Array, " cells"], j: Int[Array, " cells"], which: Bool[Array, " cells"], shape: tuple[int, ...]
) -> Bool[Array, "rows columns"]:
    """Returns the cells that some of these are."""
    return jnp.any(on_cells(i, j, shape) & which[:, None, None], axis=0)


def around(board: Array, i: Int[Array, " agents"], j: Int[Array, " agents"], beyond: Any) -> Array:
    """Returns what stands where each of the five primitives leads, [A, 5].

    Args:
        board: [H, W], or [A, H, W] where each agent has its own.
        i: rows of the agents.
        j: columns of the agents.
        beyond: what stands outside of the board, of its dtype.
    """
    rows, columns = board.shape[-2:]
    to_i, to_j = i[:, None] + _ROWS[None], j[:, None] + _COLUMNS[None]
    known = (to_i >= 0) & (to_i < rows) & (to_j >= 0) & (to_j < columns)
    cell = jnp.where(known, to_i * columns + to_j, 0)
    if board.ndim == 2:
        found = board.reshape(-1)[cell]
    else:
        found = jnp.take_along_axis(board.reshape(board.shape[0], -1), cell, axis=1)
    return jnp.where(known, found, beyond)


def claim(
    i: Int[Array, " agents"],
    j: Int[Array, " agents"],
    present: Bool[Array, " agents"],
    cost: Float[Array, "agents 5"],
    order: Int[Array, " agents"],
    sweeps: int = 2,
) -> Int[Array, " agents"]:
    """Chooses for one agent after another the cheapest primitive that pushes nobody.

    A cell can be entered when nobody has claimed it and nobody stands on it, or who does has already chosen
    to leave in the same direction or in an earlier pass of the physics; so lines move up together. Later
    sweeps ask again those who stayed.

    Args:
        i: rows.
        j: columns.
        present: who is on the board.
        cost: of each primitive, infinite for what is forbidden; to stay is always possible.
        order: agents, first come first.
        sweeps: how often each is asked.

    Returns:
        A primitive from to stay to right for each.
    """
    to_i, to_j = i[:, None] + _ROWS[None], j[:, None] + _COLUMNS[None]
    directions = np.arange(MOVES, dtype=np.int32)

    def ask(turn: Array, chosen: Array) -> Array:
        agent = order[turn % order.shape[0]]
        others = present & (np.arange(i.shape[0]) != agent)
        taken_i, taken_j = (jnp.take_along_axis(to, chosen[:, None], axis=1)[:, 0] for to in (to_i, to_j))
        mine_i, mine_j = to_i[agent][:, None], to_j[agent][:, None]
        claimed = (mine_i == taken_i[None]) & (mine_j == taken_j[None])
        leaves = (chosen > 0)[None] & (chosen[None] <= directions[:, None])
        stands = (mine_i == i[None]) & (mine_j == j[None]) & ~leaves
        blocked = jnp.any((claimed | stands) & others[None], axis=1) & (directions > 0)
        best = jnp.argmin(jnp.where(blocked, jnp.inf, cost[agent])).astype(jnp.int32)
        may = present[agent] & (chosen[agent] == 0)
        return chosen.at[agent].set(jnp.where(may, best, chosen[agent]))

    return jax.lax.fori_loop(0, sweeps * order.shape[0], ask, jnp.zeros(i.shape, jnp.int32))
