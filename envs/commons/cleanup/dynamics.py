"""How dirt comes and what it does to the orchard. Trailing axes may be worlds.

Source: SocialJax (arXiv 2503.14576) and its code.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from shoal.envs.common.boards import over
from shoal.envs.commons.cleanup.types import CLEAN, DIRT, Params, State


def dirty_cells(items: Int[Array, "rows columns *batch"]) -> Int[Array, "*batch"]:
    """Returns how many cells are dirty."""
    return jnp.sum(items == DIRT, axis=(0, 1), dtype=jnp.int32)


def growth(dirty: Int[Array, "*batch"], water: int, params: Params) -> Float[Array, "*batch"]:
    """Returns the chance that an apple grows on an empty cell of the orchard.

    Args:
        dirty: number of dirty cells.
        water: number of cells of river and polluted area.
        params: with the shares of dirt between which growth falls from full to none.
    """
    share = dirty.astype(jnp.float32) / np.float32(water)
    span = jnp.minimum(jnp.asarray(params.restoration) - params.depletion, -1e-6)
    return params.growth * jnp.clip((share - params.depletion) / span, 0.0, 1.0)


def soil(
    state: State,
    covered: Bool[Array, "rows columns *batch"],
    coin: Float[Array, "*batch"],
    cell: Int[Array, "*batch"],
    number: np.ndarray,
) -> Int[Array, "rows columns *batch"]:
    """Returns the board after at most one clean cell has become dirty; one that is covered does not.

    Args:
        state: at the start of the step.
        covered: cells that hold an agent.
        coin: whether a cell becomes dirty: below the chance.
        cell: which.
        number: [H, W] i32, which cell of the polluted area each one is, -1 for none.
    """
    falls = (coin < state.params.dirt_chance) & (state.t > state.params.dirt_delay)
    there = over(number, state.items, 2) == cell[None, None]
    turns = there & falls[None, None] & (state.items == CLEAN) & ~covered
    return jnp.where(turns, DIRT, state.items).astype(jnp.int8)
