"""Boards and the things on them: rows and columns first, trailing axes of worlds last (`batch_last`)."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int, Shaped


def over(x: np.ndarray, like: Array, lead: int) -> np.ndarray:
    """Returns a fixed array with as many axes more as ``like`` has beyond its first ``lead``, one long."""
    return x.reshape(*x.shape, *[1] * (like.ndim - lead))


def _place(row: Array, column: Array, shape: tuple[int, ...], known: Array) -> Array:
    """Returns flat indices [N, worlds] into a board; beyond its end where unknown."""
    rows, columns, *batch = shape
    worlds = math.prod(batch)
    cell = jnp.where(known, row * columns + column, rows * columns).reshape(-1, worlds)
    return cell * worlds + np.arange(worlds, dtype=np.int32)[None]


def mark(
    row: Int[Array, "things *batch"],
    column: Int[Array, "things *batch"],
    which: Bool[Array, "things *batch"],
    shape: tuple[int, ...],
) -> Bool[Array, "rows columns *batch"]:
    """Returns which cells hold any of these things, which lie on the board.

    Args:
        row: of each.
        column: of each.
        which: those that count.
        shape: the board's: (rows, columns, *batch).
    """
    # One flat scatter, whose indices beyond the end are dropped, is faster than one for each world.
    place = _place(row, column, shape, which)
    return jnp.zeros(math.prod(shape), bool).at[place].set(True, mode="drop").reshape(shape)


def look_up(
    board: Shaped[Array, "rows columns *batch"],
    row: Int[Array, "things *batch"],
    column: Int[Array, "things *batch"],
) -> Shaped[Array, "things *batch"]:
    """Returns what lies on cells of the board."""
    place = _place(row, column, board.shape, jnp.ones_like(row, bool))
    return board.reshape(-1).at[place].get(mode="promise_in_bounds").reshape(row.shape)
