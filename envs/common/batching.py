"""Batches that lie in the last axis, so that small worlds still fill vector registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap


def batch_last(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns ``function`` with a different meaning under `jax.vmap`: the batch becomes the LAST axis.

    ``function`` must treat trailing axes that its arrays all share as a batch: units lie in the first axis,
    scalars have no axis of their own. Then one body serves a single world ([N]) and a batch ([N, B]), and the
    minor axis, which the compiler vectorises, is the long one. An outer vmap adds its axis in front as usual.
    """
    wrapped = custom_vmap(function)

    @wrapped.def_vmap
    def rule(axis_size: int, is_batched: Any, *args: Any) -> tuple[Any, Any]:
        def to_last(batched: bool, leaf: Any) -> Any:
            if batched:
                return jnp.moveaxis(leaf, 0, -1)
            return jnp.broadcast_to(jnp.asarray(leaf)[..., None], (*jnp.shape(leaf), axis_size))

        # The barrier has the small inputs transposed once, not within every loop that reads them.
        moved = jax.lax.optimization_barrier(jax.tree.map(to_last, tuple(is_batched), args))
        out = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), function(*moved))
        return out, jax.tree.map(lambda _: True, out)

    return wrapped
