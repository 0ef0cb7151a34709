"""Things that grow on cells. Trailing axes may be worlds."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from shoal.envs.commons.gridworld.maps import Layout

NEAR = 2
"""Steps within which cells are neighbours."""
OFFSETS = tuple(
    (i, j) for i in range(-NEAR, NEAR + 1) for j in range(-NEAR, NEAR + 1) if 0 < abs(i) + abs(j) <= NEAR
)
"""Row and column of the twelve neighbours."""
FORGOTTEN = (1, -1)
"""The neighbour that the published code tests against the wrong edge, so that the last column misses it."""


def neighbours(
    there: Bool[Array, "rows columns *batch"], even_edges: bool
) -> Int[Array, "rows columns *batch"]:
    """Returns how many of the twelve cells within two steps of each cell are so, i8.

    Args:
        there: which cells are.
        even_edges: whether the last column counts all its neighbours.
    """
    rows, columns = there.shape[:2]
    pad = [(NEAR, NEAR), (NEAR, NEAR), *[(0, 0)] * (there.ndim - 2)]
    padded = jnp.pad(there.astype(jnp.int8), pad)
    total = jnp.zeros(there.shape, jnp.int8)
    for i, j in OFFSETS:
        seen = padded[NEAR + i : NEAR + i + rows, NEAR + j : NEAR + j + columns]
        if (i, j) == FORGOTTEN and not even_edges:
            seen = seen.at[:, columns - 1].set(0)
        total = total + seen
    return total


def on_board(layout: Layout, drawn: Float[Array, "apples *batch"]) -> Float[Array, "rows columns *batch"]:
    """Returns the number drawn for each apple cell on its cell, one (which nothing grows at) elsewhere."""
    padded = jnp.concatenate([drawn, jnp.ones_like(drawn[:1])])
    return jnp.take(padded, layout.apple_number, axis=0, mode="clip")


def uniform(bits: Array) -> Array:
    """Turns uint32 bits into f32 in [0, 1), 24 bits of them."""
    return (bits >> 8).astype(jnp.float32) * np.float32(2**-24)
