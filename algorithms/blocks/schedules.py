"""Numbers that change as training goes on."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

Scalar = Float[Array, ""]


def linear(start: Scalar, finish: Scalar, update: Int[Array, ""], over: Scalar) -> Scalar:
    """Returns ``start`` at update 0, ``finish`` from update ``over`` on, and a straight line between.

    With ``over`` 0 it is ``finish`` from the first update on.
    """
    share = jnp.where(over > 0.0, update.astype(jnp.float32) / jnp.maximum(over, 1e-6), 1.0)
    return start + (finish - start) * jnp.minimum(share, 1.0)
