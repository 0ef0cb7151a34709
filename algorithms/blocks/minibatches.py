"""Shuffling whole sequences into minibatches without moving them between devices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Int, Key

from shoal.envs.core import PyTree, UserError


def check_minibatches(rows: int, minibatches: int, shuffle_groups: int) -> None:
    """Checks that sequences divide evenly.

    Raises:
        UserError: naming the figures that must fit.
    """
    if minibatches < 1 or rows % (minibatches * shuffle_groups):
        raise UserError(
            f"{rows} sequences (environments x agents) do not divide into algorithm.minibatches="
            f"{minibatches} over {shuffle_groups} shuffle groups; choose num_envs and minibatches that do"
        )


def shuffles(
    key: Key[Array, ""], epochs: int, rows: int, minibatches: int, shuffle_groups: int
) -> Int[Array, "steps groups rows"]:
    """Draws which sequences each gradient step takes, over ``epochs`` passes of ``minibatches`` steps.

    Sequences are permuted within ``shuffle_groups`` contiguous blocks, so that where each device holds
    whole blocks, no sequence leaves its device.

    Returns:
        Indices into each block.

    Raises:
        UserError: when sequences do not divide evenly.
    """
    check_minibatches(rows, minibatches, shuffle_groups)
    size = rows // shuffle_groups
    # Ranking uniforms permutes everything in one random call; ties of float32 draws are harmless to argsort.
    drawn = jax.random.uniform(key, (epochs * rows,)).reshape(epochs, shuffle_groups, size)
    order = jnp.argsort(drawn, axis=-1).reshape(epochs, shuffle_groups, minibatches, size // minibatches)
    return jnp.moveaxis(order, 2, 1).reshape(-1, shuffle_groups, size // minibatches)


def take_rows(batch: PyTree, index: Int[Array, "groups rows"], axis: int = 1) -> PyTree:
    """Selects sequences of one minibatch: every leaf's ``axis`` (all rows) is indexed block by block."""
    groups = index.shape[0]

    def take(leaf: Array) -> Array:
        shape = leaf.shape
        blocks = leaf.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
        pick = jax.vmap(lambda block, i: jnp.take(block, i, axis=axis), in_axes=(axis, 0), out_axes=axis)
        chosen = pick(blocks, index)
        return chosen.reshape(*shape[:axis], groups * index.shape[1], *shape[axis + 1 :])

    return jax.tree.map(take, batch)
