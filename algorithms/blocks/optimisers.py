"""Optimisers whose numbers are traced, so that sweeps over them are a vmap.

Their state is one vector, whatever the parameters: see `packing`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Int

from shoal.envs.core import PyTree


def clipped_adam(max_grad_norm: Float[Array, ""] | float, eps: float) -> optax.GradientTransformation:
    """Returns Adam after clipping by the global norm; the learning rate is applied by `descend`."""
    return optax.flatten(optax.chain(optax.clip_by_global_norm(max_grad_norm), optax.scale_by_adam(eps=eps)))


def clipped_radam(max_grad_norm: Float[Array, ""] | float) -> optax.GradientTransformation:
    """Returns rectified Adam (Liu et al. 2020, arXiv 1908.03265) after clipping, as `clipped_adam`."""
    return optax.flatten(optax.chain(optax.clip_by_global_norm(max_grad_norm), optax.scale_by_radam()))


def descend(params: PyTree, direction: PyTree, learning_rate: Float[Array, ""]) -> PyTree:
    """Steps against a transformed gradient."""
    return jax.tree.map(lambda p, d: p - learning_rate * d, params, direction)


def linear_anneal(start: Float[Array, ""], update: Int[Array, ""], total_updates: int) -> Float[Array, ""]:
    """Returns ``start * (1 - update / total_updates)``, never below zero."""
    left = 1.0 - update.astype(jnp.float32) / total_updates
    return start * jnp.maximum(left, 0.0)
