"""Weight initialisers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

# Each step multiplies small singular values by 1.5 until they near 1, then squares the error: enough for
# the worst-conditioned Gaussian matrices that float32 can tell from singular ones.
_POLAR_STEPS = 50


def orthogonal(gain: float = 1.0) -> Callable[..., Array]:
    """Returns an initialiser of matrices with orthonormal rows or columns (Saxe et al. 2014), times ``gain``.

    Leading axes are of matrices drawn apart.
    The polar factor of a Gaussian matrix is uniform over such matrices, as the QR factor is. It is formed
    by products alone (Newton-Schulz), because jaxlib's batched QR on CPU waits inside its own thread pool:
    on two cores, two of them at a time wait for ever.
    """

    def draw(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        *batch, rows, columns = shape
        tall = jax.random.normal(key, (*batch, max(rows, columns), min(rows, columns)), jnp.float32)
        tall = tall / jnp.linalg.norm(tall, axis=(-2, -1), keepdims=True)

        def step(_: Array, x: Array) -> Array:
            return 1.5 * x - 0.5 * x @ (x.mT @ x)

        tall = jax.lax.fori_loop(0, _POLAR_STEPS, step, tall)
        return (gain * (tall if rows >= columns else tall.mT)).astype(dtype)

    return draw
