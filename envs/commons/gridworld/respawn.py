"""Where agents appear: at a reset, and after they were hit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int

from shoal.envs.common.boards import over
from shoal.envs.core.types import Key

HEADINGS = 3
"""Headings to appear with: 0, 1 and 2, never 3, as published."""


def opening(key: Key, inside: np.ndarray, outside: np.ndarray, num_agents: int) -> tuple[Array, Array, Array]:
    """Draws where agents open: the first of them on the inside cells, the others on outside ones.

    Args:
        key: decides.
        inside: [Q, 2] rows and columns.
        outside: [S, 2] rows and columns, at least as many as agents.
        num_agents: A.

    Returns:
        Row, column and heading, [A] i32 each.
    """
    cells = np.concatenate([inside, outside])
    bits = jax.random.bits(key, (len(cells) + num_agents,), jnp.uint32)
    drawn = (bits[: len(cells)] >> 1).astype(jnp.int32)
    first = min(len(inside), num_agents)
    # A place in line: inside cells in any order, then outside ones.
    inner = jnp.argsort(drawn[: len(inside)])[:first]
    outer = len(inside) + jnp.argsort(drawn[len(inside) :])[: num_agents - first]
    at = jnp.asarray(cells)[jnp.concatenate([inner, outer])]
    return at[:, 0], at[:, 1], (bits[len(cells) :] % np.uint32(HEADINGS)).astype(jnp.int32)


def relocate(
    cells: np.ndarray,
    hit: Bool[Array, "agents *batch"],
    row: Int[Array, "agents *batch"],
    column: Int[Array, "agents *batch"],
    order: Int[Array, "cells *batch"],
) -> tuple[Array, Array]:
    """Returns where everybody will stand: those hit, one by one, on the first spawn cell that is free.

    Args:
        cells: [S, 2] rows and columns of spawn cells, at least as many as agents.
        hit: who is moved; their present cells count as free.
        row: of everybody.
        column: of everybody.
        order: in which cells are filled, the smallest first.
    """
    at_row, at_column = over(cells[:, 0, None], row, 1), over(cells[:, 1, None], row, 1)
    kept = (row[None] == at_row) & (column[None] == at_column) & ~hit[None]
    last = jnp.int32(np.iinfo(np.int32).max)
    waiting = jnp.where(jnp.any(kept, axis=1), last, order)

    def one(waiting: Array, moves: Array) -> tuple[Array, Array]:
        place = jnp.argmin(waiting, axis=0).astype(jnp.int32)
        taken = over(np.arange(len(cells), dtype=np.int32), waiting, 1) == place[None]
        return jnp.where(taken & moves[None], last, waiting), place

    _, place = jax.lax.scan(one, waiting, hit)
    new = jnp.asarray(cells)[place]
    return jnp.where(hit, new[..., 0], row), jnp.where(hit, new[..., 1], column)
