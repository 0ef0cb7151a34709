"""Boards to open on: walls around, and different free cells for everybody."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int

from shoal.envs.core.errors import UserError
from shoal.envs.core.types import Key
from shoal.envs.swarm.grid.types import WALL


def ring(height: int, width: int) -> np.ndarray:
    """Returns [height, width] int8, floor with walls around."""
    board = np.zeros((height, width), np.int8)
    board[[0, -1], :] = WALL
    board[:, [0, -1]] = WALL
    return board


def distinct_cells(key: Key, free: Array, count: int) -> tuple[Int[Array, " count"], Int[Array, " count"]]:
    """Draws different cells, uniformly of those that are free.

    Args:
        key: decides.
        free: [H, W] bool, at least ``count`` true.
        count: how many.
    """
    u = jnp.where(free, jax.random.uniform(key, free.shape), -1.0)
    _, cell = jax.lax.top_k(u.reshape(-1), count)
    cell = cell.astype(jnp.int32)
    return cell // free.shape[1], cell % free.shape[1]


def check_room(options: Any, cells: int, where: str) -> None:
    """Refuses more agents than cells to open in.

    Raises:
        UserError: with the largest number there is room for.
    """
    if options.num_agents > cells:
        raise UserError(f"num_agents={options.num_agents} must be at most {cells}: they open {where}")
