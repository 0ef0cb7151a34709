"""Normalising: inputs whose scale nobody states by running moments, rows by their own."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Float

_EPS = 1e-6
_LIMIT = 10.0  # standard deviations; what is further out is an outlier


@struct.dataclass
class Moments:
    """Mean and spread of everything seen so far, entry by entry."""

    count: Array  # [] f32
    mean: Array  # [F] f32
    squares: Array  # [F] f32, sum of squared distances from the mean


def no_moments(features: int) -> Moments:
    """Returns the moments of nothing, which leave what they normalise as it is."""
    return Moments(jnp.zeros(()), jnp.zeros(features), jnp.zeros(features))


def seen(moments: Moments, x: Float[Array, "*batch features"]) -> Moments:
    """Adds a batch (Chan et al. 1983, the update of two samples' moments)."""
    x = x.reshape(-1, x.shape[-1])
    count = jnp.asarray(x.shape[0], jnp.float32)
    total = moments.count + count
    mean = jnp.mean(x, axis=0)
    away = mean - moments.mean
    squares = jnp.sum((x - mean) ** 2, axis=0) + away**2 * (moments.count * count / total)
    return Moments(total, moments.mean + away * (count / total), moments.squares + squares)


def normalised(moments: Moments, x: Float[Array, "*batch features"]) -> Float[Array, "*batch features"]:
    """Shifts and scales to mean 0 and standard deviation 1; what never changed becomes 0."""
    deviation = jnp.sqrt(moments.squares / jnp.maximum(moments.count, 1.0))
    x_normal = jnp.clip((x - moments.mean) / jnp.maximum(deviation, 1e-4), -_LIMIT, _LIMIT)
    return jnp.where(moments.count > 0, x_normal, x)


@jax.custom_vjp
def standardised(x: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
    """Returns each row less its mean, in standard deviations: layer normalisation without its parameters.

    The gradient is written by hand: what JAX derives takes twice the time on CPU.
    """
    return _standardised(x)[0]


def _standardised(x: Array) -> tuple[Array, tuple[Array, Array]]:
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.mean(centred * centred, axis=-1, keepdims=True) + _EPS)
    return centred * scale, (centred * scale, scale)


def _standardised_backward(kept: tuple[Array, Array], d: Array) -> tuple[Array]:
    y, scale = kept
    mean, slope = jnp.mean(d, axis=-1, keepdims=True), jnp.mean(d * y, axis=-1, keepdims=True)
    return (scale * (d - mean - y * slope),)


standardised.defvjp(_standardised, _standardised_backward)


class LayerNorm(nn.Module):
    """Layer normalisation (Ba et al. 2016, arXiv 1607.06450)."""

    @nn.compact
    def __call__(self, x: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        """Normalises every row, then scales and shifts its entries."""
        scale = self.param("scale", nn.initializers.ones_init(), x.shape[-1:])
        shift = self.param("shift", nn.initializers.zeros_init(), x.shape[-1:])
        return standardised(x) * scale + shift
