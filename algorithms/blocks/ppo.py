"""Proximal policy optimisation: the terms that every variant shares (Schulman et al. 2017, eq. 7 and 9)."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

Batch = Float[Array, "*batch"]
Scalar = Float[Array, ""]


def weighted_mean(x: Batch, weight: Batch) -> Scalar:
    """Returns the mean of ``x`` over the samples that count; zero when none does."""
    return jnp.sum(x * weight) / jnp.maximum(jnp.sum(weight), 1.0)


def normalise(advantage: Batch, weight: Batch) -> Batch:
    """Shifts and scales a minibatch's advantages to mean 0 and standard deviation 1 (plus 1e-8)."""
    centred = advantage - weighted_mean(advantage, weight)
    return centred / (jnp.sqrt(weighted_mean(centred**2, weight)) + 1e-8)


def policy_terms(
    log_prob: Batch, old_log_prob: Batch, advantage: Batch, weight: Batch, clip: Scalar
) -> tuple[Scalar, dict[str, Scalar]]:
    """Returns the clipped surrogate loss, with ``approx_kl`` and ``clip_fraction`` to watch it by."""
    log_ratio = log_prob - old_log_prob
    ratio = jnp.exp(log_ratio)
    surrogate = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1.0 - clip, 1.0 + clip) * advantage)
    clipped = (jnp.abs(ratio - 1.0) > clip).astype(jnp.float32)
    watch = {
        # Schulman's low-variance estimate of KL(old || new).
        "approx_kl": weighted_mean((ratio - 1.0) - log_ratio, weight),
        "clip_fraction": weighted_mean(clipped, weight),
    }
    return -weighted_mean(surrogate, weight), watch


def squared(error: Batch) -> Batch:
    """Returns half the squared error."""
    return 0.5 * error * error


def value_loss(
    value: Batch,
    old_value: Batch,
    target: Batch,
    weight: Batch,
    clip: Scalar,
    penalty: Callable[[Batch], Batch] = squared,
) -> Scalar:
    """Returns what the error costs, the worse of the value and its copy clipped around the old value.

    ``penalty`` is of the target less the value.
    """
    near_old = old_value + jnp.clip(value - old_value, -clip, clip)
    return weighted_mean(jnp.maximum(penalty(target - value), penalty(target - near_old)), weight)


def explained_variance(value: Batch, target: Batch, weight: Batch) -> Scalar:
    """Returns 1 - Var(target - value) / Var(target): how much of the returns the critic predicts."""

    def variance(x: Batch) -> Scalar:
        return weighted_mean((x - weighted_mean(x, weight)) ** 2, weight)

    return 1.0 - variance(target - value) / jnp.maximum(variance(target), 1e-8)
