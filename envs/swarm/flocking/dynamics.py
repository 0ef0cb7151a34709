"""How far agents are from a hollow square, wherever it may stand. Arrays may share trailing axes of worlds.

Source: SwarmBench (arXiv 2505.04364 v4) and its code: over all translations that bring a cell of the shape
onto an agent, the least sum of row and column distances over assignments of agents to cells.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from shoal.envs.common.assignment import assign


def ring(num_agents: int) -> np.ndarray:
    """Returns [M, 2] int32, the cells of a hollow square with side floor(N / 4) + 1, from (0, 0) on."""
    side = num_agents // 4 + 1
    return np.array(
        [(i, j) for i in range(side) for j in range(side) if i in (0, side - 1) or j in (0, side - 1)],
        np.int32,
    )


def distance(
    i: Int[Array, "agents *batch"], j: Int[Array, "agents *batch"], shape: np.ndarray, exact: bool
) -> Float[Array, "*batch"]:
    """Returns the least distance over translations and assignments, cells.

    Args:
        i: rows of the agents.
        j: columns of the agents.
        shape: from `ring`, at most as many cells as agents.
        exact: whether assignments are found, or only bounded from below (`bounds`).
    """
    steps_i, steps_j = _translations(i, shape[:, 0]), _translations(j, shape[:, 1])
    least = bounds(i, steps_i, shape[:, 0]) + bounds(j, steps_j, shape[:, 1])
    if not exact:
        return jnp.min(least, axis=0)
    return _search(i, j, shape, steps_i, steps_j, least)


def _translations(x: Int[Array, "agents *batch"], cells: np.ndarray) -> Int[Array, "pairs *batch"]:
    """Returns the translation that brings each cell onto each agent, along one axis."""
    columns = cells.reshape(1, -1, *[1] * (x.ndim - 1))
    return (x[:, None] - columns).reshape(-1, *x.shape[1:])


def bounds(
    x: Int[Array, "agents *batch"], steps: Int[Array, "pairs *batch"], cells: np.ndarray
) -> Float[Array, "pairs *batch"]:
    """Returns a lower bound of the distances along one axis for each translation of the shape.

    With as many agents as cells it is the best assignment along the axis alone: both in order. Otherwise each
    cell takes its nearest agent, whoever else does.
    """
    tail = [1] * (x.ndim - 1)
    if len(cells) == x.shape[0]:
        places = jnp.sort(x, axis=0)[None] - np.sort(cells).reshape(1, -1, *tail)
        return jnp.sum(jnp.abs(places - steps[:, None]), axis=1).astype(jnp.float32)
    apart = jnp.abs(x[None, None] - (steps[:, None, None] + cells.reshape(1, -1, 1, *tail)))
    return jnp.sum(jnp.min(apart, axis=2), axis=1).astype(jnp.float32)


def _search(
    i: Int[Array, "agents *batch"],
    j: Int[Array, "agents *batch"],
    shape: np.ndarray,
    steps_i: Int[Array, "pairs *batch"],
    steps_j: Int[Array, "pairs *batch"],
    least: Float[Array, "pairs *batch"],
) -> Float[Array, "*batch"]:
    """Tries translations by rising lower bound until none that is left could do better."""

    def better(state: tuple[Array, Array]) -> Bool[Array, ""]:
        bound, best = state
        return jnp.any(jnp.min(bound, axis=0) < best)

    def one(state: tuple[Array, Array]) -> tuple[Array, Array]:
        bound, best = state
        pick = jnp.argmin(bound, axis=0)[None]
        down, right = (jnp.take_along_axis(steps, pick, axis=0) for steps in (steps_i, steps_j))
        found = assigned_distance(i, j, shape, down[0], right[0])
        tried = (steps_i == down) & (steps_j == right)
        return jnp.where(tried, jnp.inf, bound), jnp.minimum(best, found)

    _, best = jax.lax.while_loop(better, one, (least, jnp.full(least.shape[1:], jnp.inf)))
    return best


def assigned_distance(
    i: Int[Array, "agents *batch"],
    j: Int[Array, "agents *batch"],
    shape: np.ndarray,
    down: Int[Array, "*batch"],
    right: Int[Array, "*batch"],
) -> Float[Array, "*batch"]:
    """Returns the least sum of distances to the shape moved by (down, right), one agent to each cell."""
    cost = costs(i, j, shape, down, right)
    column = assign(cost)
    return jnp.sum(jnp.take_along_axis(cost, column[:, None], axis=1), axis=(0, 1))


def costs(
    i: Int[Array, "agents *batch"],
    j: Int[Array, "agents *batch"],
    shape: np.ndarray,
    down: Int[Array, "*batch"],
    right: Int[Array, "*batch"],
) -> Float[Array, "cells agents *batch"]:
    """Returns the distance of every agent from every cell of the shape moved by (down, right)."""
    tail = [1] * (i.ndim - 1)
    rows = shape[:, 0].reshape(-1, *tail) + down[None]
    columns = shape[:, 1].reshape(-1, *tail) + right[None]
    return (jnp.abs(i[None] - rows[:, None]) + jnp.abs(j[None] - columns[:, None])).astype(jnp.float32)
