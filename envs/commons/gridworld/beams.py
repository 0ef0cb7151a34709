"""Beams: which cells they reach, where they show, and whom they hit. Trailing axes may be worlds.

Source: SocialJax (arXiv 2503.14576) and its code, whose slips at the edges of the map are kept: what reads a
cell beyond the last row or column reads the last one, what writes there is dropped, and before the first row
or column both count from the end. So an agent that fires out of the last row or column hits itself.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int

from shoal.envs.common.boards import place
from shoal.envs.commons.gridworld.movement import COLUMN_STEP, ROW_STEP

CELLS = 4
"""That a beam reaches: one ahead, two ahead, and ahead of the cells to the left and to the right."""


class Reach(NamedTuple):
    """Cells of all agents' beams as the published code addresses them."""

    row: Int[Array, "4 agents *batch"]
    column: Int[Array, "4 agents *batch"]

    def read(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Returns the cells that are looked at."""
        return (
            jnp.minimum(jnp.where(self.row < 0, self.row + shape[0], self.row), shape[0] - 1),
            jnp.minimum(jnp.where(self.column < 0, self.column + shape[1], self.column), shape[1] - 1),
        )

    def written(self, shape: tuple[int, ...]) -> Bool[Array, "4 agents *batch"]:
        """Returns which cells are written at all; they are those of `read`."""
        return (self.row < shape[0]) & (self.column < shape[1])


def reach(
    row: Int[Array, "agents *batch"],
    column: Int[Array, "agents *batch"],
    heading: Int[Array, "agents *batch"],
    shape: tuple[int, ...],
) -> Reach:
    """Returns the cells of the beams that agents would fire; one beside the map is the cell one ahead."""
    down, across = jnp.asarray(ROW_STEP), jnp.asarray(COLUMN_STEP)
    row_1, column_1 = row + down[heading], column + across[heading]
    rows = [row_1, row_1 + down[heading]]
    columns = [column_1, column_1 + across[heading]]
    for side in (1, 3):
        turned = (heading + side) % 4
        r, c = row_1 + down[turned], column_1 + across[turned]
        outside = (r < 0) | (r >= shape[0]) | (c < 0) | (c >= shape[1])
        rows.append(jnp.where(outside, row_1, r))
        columns.append(jnp.where(outside, column_1, c))
    return Reach(jnp.stack(rows), jnp.stack(columns))


def lasting(
    cells: Reach,
    firing: Bool[Array, "agents *batch"],
    shape: tuple[int, ...],
    order: str,
) -> Bool[Array, "4 agents *batch"]:
    """Returns which cells of which beams take effect.

    Args:
        cells: of everybody's beam.
        firing: who fires.
        shape: the map's.
        order: ``none``: all beams that are fired do. The others are what the published code does on a CPU,
            where everybody writes to the cells it faces, those who do not fire the old value, and the last
            one to write counts: among agents, cell by cell of the beam (``agents``), or among all cells of
            all beams (``all``).
    """
    written = cells.written(shape)
    fired = written & firing[None]
    if order == "none":
        return fired
    row, column = cells.read(shape)
    cell = row * shape[1] + column
    agents = firing.shape[0]
    rank = np.arange(agents)[None]
    if order == "all":
        cell, rank = cell.reshape(1, -1, *cell.shape[2:]), np.arange(CELLS * agents)[None]
        written = written.reshape(cell.shape)
    behind = (rank[0][:, None] < rank[0][None]).reshape(1, rank.size, rank.size, *[1] * (cell.ndim - 2))
    over = jnp.any((cell[:, :, None] == cell[:, None]) & behind & written[:, None], axis=2)
    return fired & ~over.reshape(fired.shape)


def lit(
    cells: Reach, lasting: Bool[Array, "4 agents *batch"], shape: tuple[int, ...]
) -> Bool[Array, "rows columns *batch"]:
    """Returns which cells of the board are met by beams that take effect there."""
    flat = (-1, *shape[2:])
    row, column = (x.reshape(flat) for x in cells.read(shape))
    return place(lasting.astype(jnp.int8).reshape(flat), row, column, shape) > 0


def hit(
    cells: Reach,
    firing: Bool[Array, "agents *batch"],
    row: Int[Array, "agents *batch"],
    column: Int[Array, "agents *batch"],
    shape: tuple[int, ...],
) -> Bool[Array, "agents *batch"]:
    """Returns who stands in a beam, the one who fires it included."""
    at_row, at_column = cells.read(shape)
    meets = (at_row[:, :, None] == row[None, None]) & (at_column[:, :, None] == column[None, None])
    return jnp.any(meets & firing[None, :, None], axis=(0, 1))
