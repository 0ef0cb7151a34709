"""Boards and the things on them: rows and columns first, trailing axes of worlds last (`batch_last`)."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int


def inside(
    i: Int[Array, "things *batch"], j: Int[Array, "things *batch"], shape: tuple[int, ...]
) -> Bool[Array, "things *batch"]:
    """Returns which cells lie on a board of this shape (rows, columns, ...)."""
    return (i >= 0) & (i < shape[0]) & (j >= 0) & (j < shape[1])


def place(
    values: Int[Array, "things *batch"],
    i: Int[Array, "things *batch"],
    j: Int[Array, "things *batch"],
    shape: tuple[int, ...],
) -> Int[Array, "rows columns *batch"]:
    """Lays values above zero onto a board of zeros, the largest where several are; none beyond its edges.

    Args:
        values: [N, *B] integers, zero for what is not to be laid down.
        i: rows.
        j: columns.
        shape: the board's: (rows, columns, *B).
    """
    rows, columns, *batch = shape
    worlds = math.prod(batch)
    cell = jnp.where(inside(i, j, shape), i * columns + j, rows * columns)
    # One flat scatter, whose indices beyond the end are dropped, is faster than one for each world.
    place = cell.reshape(-1, worlds) * worlds + np.arange(worlds, dtype=np.int32)[None]
    flat = jnp.zeros(rows * columns * worlds, values.dtype)
    return flat.at[place].max(values.reshape(-1, worlds), mode="drop").reshape(shape)


def look_up(
    board: Array, i: Int[Array, "things *batch"], j: Int[Array, "things *batch"], beyond: Any
) -> Array:
    """Returns what stands in cells, ``beyond`` outside of the board.

    Args:
        board: [H, W, *B].
        i: rows.
        j: columns.
        beyond: of the board's dtype.
    """
    columns, *batch = board.shape[1:]
    worlds = math.prod(batch)
    known = inside(i, j, board.shape)
    cell = jnp.where(known, i * columns + j, 0).reshape(-1, worlds)
    place = cell * worlds + np.arange(worlds, dtype=np.int32)[None]
    found = board.reshape(-1).at[place].get(mode="promise_in_bounds")
    return jnp.where(known, found.reshape(known.shape), beyond)


def over(x: np.ndarray, like: Array, lead: int) -> np.ndarray:
    """Returns a fixed array with as many axes more as ``like`` has beyond its first ``lead``, one long."""
    return x.reshape(*x.shape, *[1] * (like.ndim - lead))
