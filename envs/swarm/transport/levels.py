"""Where the gap is and how the box fills it. Computed once, without JAX.

Source: SwarmBench (arXiv 2505.04364 v4), code of the transport task.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from shoal.envs.swarm.grid import boards
from shoal.envs.swarm.grid.physics import DOWN, LEFT, MARGIN, RIGHT, STAY, UP


class Layouts(NamedTuple):
    """All starts of a board's size."""

    board: np.ndarray  # [L, H, W] int8
    box: np.ndarray  # [L, H + 2 MARGIN, W + 2 MARGIN] bool
    plan: np.ndarray  # [L, 2] int32


def hooked(height: int, width: int) -> Layouts:
    """Returns the eight mirror images and turns of the box of 13 cells: three by three with a tail of four.

    In the first, the tail fills a gap in the lower wall up to the right corner, with the block above it.
    """
    found = []
    for turned in (False, True):
        rows, columns = (width, height) if turned else (height, width)
        board, box = boards.ring(rows, columns), np.zeros((rows, columns), bool)
        box[rows - 4 : rows - 1, columns - 5 : columns - 2] = True
        box[rows - 1, columns - 4 :] = True
        board[box] = 0
        for mirrored in (False, True):
            for upside_down in (False, True):
                plan = [LEFT if mirrored else RIGHT, UP if upside_down else DOWN]
                found.append(_placed(board, box, mirrored, upside_down, turned, plan))
    return _stacked(found)


def square(height: int, width: int) -> Layouts:
    """Returns a box of 4 x 4 set into a gap of each side, at each place that leaves the corners."""
    found = []
    for turned in (False, True):
        rows, columns = (width, height) if turned else (height, width)
        for start in range(1, columns - 4):
            board, box = boards.ring(rows, columns), np.zeros((rows, columns), bool)
            box[rows - 4 :, start : start + 4] = True
            board[box] = 0
            for upside_down in (False, True):
                plan = [STAY, UP if upside_down else DOWN]
                found.append(_placed(board, box, False, upside_down, turned, plan))
    return _stacked(found)


def _placed(
    board: np.ndarray, box: np.ndarray, mirrored: bool, upside_down: bool, turned: bool, plan: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mirrors and turns one layout; a turn exchanges rows and columns, and directions with them."""

    def place(cells: np.ndarray) -> np.ndarray:
        cells = cells[:, ::-1] if mirrored else cells
        cells = cells[::-1] if upside_down else cells
        return cells.T if turned else cells

    exchanged = {STAY: STAY, UP: LEFT, LEFT: UP, DOWN: RIGHT, RIGHT: DOWN}
    if turned:
        plan = [exchanged[direction] for direction in plan]
    return place(board), np.pad(place(box), MARGIN), np.array(plan, np.int32)


def _stacked(found: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Layouts:
    return Layouts(*(np.stack(parts) for parts in zip(*found, strict=True)))
