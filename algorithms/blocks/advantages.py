"""Advantages and returns."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float


def gae(
    reward: Float[Array, time * batch],
    value: Float[Array, time * batch],
    last_value: Float[Array, "*batch"],
    terminated: Bool[Array, time * batch],
    cut: Bool[Array, time * batch],
    gamma: Float[Array, ""],
    gae_lambda: Float[Array, ""],
) -> tuple[Float[Array, time * batch], Float[Array, time * batch]]:
    """Generalised advantage estimation (Schulman et al. 2016, eq. 16) with both kinds of end told apart.

    Args:
        reward: r_t, paid for the step from observation t to t+1.
        value: V(o_t).
        last_value: V of the observation after the last step.
        terminated: nothing can be earned after step t, so the bootstrap V(o_{t+1}) is dropped.
        cut: step t+1 belongs to another episode (any kind of end), so the trace stops; a truncated step
            that is not terminated still bootstraps from V(o_{t+1}), which must then be its final observation.
        gamma: discount.
        gae_lambda: trace decay.

    Returns:
        Advantages, and the value targets (advantage + value).
    """
    next_value = jnp.concatenate([value[1:], last_value[None]])
    delta = reward + gamma * jnp.where(terminated, 0.0, next_value) - value
    decay = jnp.where(cut | terminated, 0.0, gamma * gae_lambda)

    def backwards(trace: Array, xs: tuple[Array, Array]) -> tuple[Array, Array]:
        delta_t, decay_t = xs
        trace = delta_t + decay_t * trace
        return trace, trace

    _, advantage = jax.lax.scan(backwards, jnp.zeros_like(last_value), (delta, decay), reverse=True)
    return advantage, advantage + value


def team_reward(reduction: str, reward: Float[Array, "*batch agents"]) -> Float[Array, "*batch"]:
    """Returns what a team is paid, as `Metadata.team_reward` says: ``shared``, ``sum`` or ``mean``."""
    if reduction == "shared":
        return reward[..., 0]
    return jnp.sum(reward, axis=-1) if reduction == "sum" else jnp.mean(reward, axis=-1)
