"""Where walls, food and nest lie, and how far it is to them. Computed once, without JAX.

Source: SwarmBench (arXiv 2505.04364 v4), code of the foraging task.
"""

from __future__ import annotations

import numpy as np

from shoal.envs.swarm.grid import boards
from shoal.envs.swarm.grid.types import FOOD, NEST, WALL

FAR = np.iinfo(np.int16).max


def layouts(height: int, width: int) -> np.ndarray:
    """Returns [8, H, W] int8: each way of the walls with each corner for the food; some are alike."""
    ways = [_layout(height, width, corner) for corner in range(4)]
    turned = [_layout(width, height, corner).T for corner in range(4)]
    return np.stack(ways + turned)


def _layout(height: int, width: int, corner: int) -> np.ndarray:
    """Returns the layout with horizontal walls and the food in a corner, counted along rows."""
    board = boards.ring(height, width)
    lines = range(4, height - 4, 4)
    for number, row in enumerate(lines):
        covered = slice(0, width - -(-width // 3) + 1) if number % 2 == 0 else slice(width // 3, width)
        board[row, covered] = WALL
    food_i, food_j = (1, height - 3)[corner // 2], (1, width - 3)[corner % 2]
    nest_i, nest_j = height - 2 - food_i, width - 2 - food_j
    if len(lines) % 2:
        food_j = nest_j = 1
    board[food_i : food_i + 2, food_j : food_j + 2] = FOOD
    board[nest_i : nest_i + 2, nest_j : nest_j + 2] = NEST
    return board


def tiled(layouts: np.ndarray, tiles: int) -> np.ndarray:
    """Returns boards of ``tiles`` by ``tiles`` copies each, with one ring of walls around all of them."""
    if tiles == 1:
        return layouts
    inner = layouts.copy()
    for rim in (inner[:, [0, -1], :], inner[:, :, [0, -1]]):
        assert np.all(rim == WALL)
    inner[:, [0, -1], :] = 0
    inner[:, :, [0, -1]] = 0
    boards = np.tile(inner, (1, tiles, tiles))
    boards[:, [0, -1], :] = WALL
    boards[:, :, [0, -1]] = WALL
    return boards


def distances(board: np.ndarray) -> np.ndarray:
    """Returns [2, H, W] int16: steps from each cell to one beside the food, and to one beside the nest."""
    return np.stack([_steps_beside(board, kind) for kind in (FOOD, NEST)])


def _steps_beside(board: np.ndarray, kind: int) -> np.ndarray:
    free, found = board == 0, np.full(board.shape, FAR, np.int16)
    front = _spread(board == kind) & free
    steps = 0
    while front.any():
        found[front] = steps
        front = _spread(front) & free & (found == FAR)
        steps += 1
    return found


def _spread(cells: np.ndarray) -> np.ndarray:
    """Returns the cells beside those given; the outermost ring is wall, so that nothing wraps round."""
    return np.logical_or.reduce([np.roll(cells, step, axis) for step in (1, -1) for axis in (0, 1)])
