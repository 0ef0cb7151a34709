"""The linear assignment problem, exactly, inside compiled programs.

Source: shortest augmenting paths of Jonker and Volgenant, "A shortest augmenting path algorithm for dense and
sparse linear assignment problems", Computing 38 (1987); rectangular as in Crouse (2016).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int


class _Search(NamedTuple):
    """A shortest path from a row to a free column, in every world at once."""

    distance: Array  # [N, *B] f32, shortest known path to each column
    before: Array  # [N, *B] i32, column that the path came from, -1 for the row itself
    scanned: Array  # [N, *B] bool
    last: Array  # [*B] i32, column scanned last
    reached: Array  # [*B] f32, its distance
    found: Array  # [*B] bool, whether it is free


def assign(cost: Float[Array, "rows columns *batch"]) -> Int[Array, "rows *batch"]:
    """Returns the column of each row, all different, with the least sum of costs.

    Args:
        cost: at least as many columns as rows; all finite.
    """
    rows, columns, *batch = cost.shape
    numbers = np.arange(columns, dtype=np.int32).reshape(-1, *[1] * len(batch))

    def add_row(row: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        price, owner = carry  # [N, *B] of columns, and the row that each belongs to, -1 for none
        here = jax.lax.dynamic_index_in_dim(cost, row, keepdims=False)
        none = jnp.full(batch, -1, jnp.int32)
        search = _Search(
            distance=here - price,
            before=jnp.full_like(owner, -1),
            scanned=jnp.zeros(owner.shape, bool),
            last=none,
            reached=jnp.zeros(batch, cost.dtype),
            found=jnp.zeros(batch, bool),
        )
        search = jax.lax.while_loop(
            lambda s: ~jnp.all(s.found), lambda s: _scan_one(cost, price, owner, numbers, s), search
        )
        ready = search.scanned & (numbers != search.last[None])
        price = jnp.where(ready, price + search.distance - search.reached[None], price)
        owner = _augment(owner, search, jnp.full(batch, row, jnp.int32), numbers)
        return price, owner

    price, owner = jnp.zeros(cost.shape[1:], cost.dtype), jnp.full(cost.shape[1:], -1, jnp.int32)
    _, owner = jax.lax.fori_loop(0, rows, add_row, (price, owner))
    # Turned round: the column of each row.
    each = np.arange(rows, dtype=np.int32).reshape(-1, 1, *[1] * len(batch))
    return jnp.argmax(owner[None] == each, axis=1).astype(jnp.int32)


def _scan_one(cost: Array, price: Array, owner: Array, numbers: Any, s: _Search) -> _Search:
    """Scans the nearest column that is not yet scanned, where none is found yet."""
    open_ones = jnp.where(s.scanned, jnp.inf, s.distance)
    nearest = jnp.argmin(open_ones, axis=0).astype(jnp.int32)
    is_it = numbers == nearest[None]
    reached = jnp.min(open_ones, axis=0)
    row = _at(owner, is_it)
    found = row < 0
    costs = jnp.take_along_axis(cost, jnp.maximum(row, 0)[None, None], axis=0)[0]
    here = costs - price
    through = here - _at(here, is_it)[None] + reached[None]
    scanned = s.scanned | is_it
    shorter = ~scanned & ~found[None] & (through < s.distance)
    after = _Search(
        distance=jnp.where(shorter, through, s.distance),
        before=jnp.where(shorter, nearest[None], s.before),
        scanned=scanned,
        last=nearest,
        reached=reached,
        found=found,
    )

    def keep(old: Array, new: Array) -> Array:
        done = s.found if old.ndim == s.found.ndim else s.found[None]
        return jnp.where(done, old, new)

    return _Search(*map(keep, s, after))


def _augment(owner: Array, search: _Search, row: Array, numbers: Any) -> Array:
    """Hands every column of the path to the row of the column before it, and the first to the new row."""

    def one(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        owner, column = carry
        is_it = (numbers == column[None]) & (column >= 0)[None]
        before = _at(search.before, is_it)
        new = jnp.where(before >= 0, _at(owner, numbers == before[None]), row)
        return jnp.where(is_it, new[None], owner), jnp.where(column >= 0, before, column)

    owner, _ = jax.lax.while_loop(lambda carry: jnp.any(carry[1] >= 0), one, (owner, search.last))
    return owner


def _at(values: Array, is_it: Array) -> Array:
    """Returns the one value picked out along the first axis."""
    return jnp.sum(jnp.where(is_it, values, jnp.zeros_like(values)), axis=0, dtype=values.dtype)
