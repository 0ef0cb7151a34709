"""Targets for action values: what was paid, and the value of where it led to."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float


def n_step(
    reward: Float[Array, time * batch],
    next_value: Float[Array, time * batch],
    terminated: Bool[Array, time * batch],
    cut: Bool[Array, time * batch],
    gamma: Float[Array, ""],
    steps: int,
) -> Float[Array, time * batch]:
    """Sums ``steps`` discounted rewards and the value after them (Sutton and Barto 2018, eq. 7.1).

    With one step this is r_t + gamma V(o_{t+1}), Q-learning's target. Fewer steps where the episode or the
    sequence ends.

    Args:
        reward: r_t, paid for the step from observation t to t+1.
        next_value: V(o_{t+1}).
        terminated: nothing can be earned after step t, so that the value after it is dropped.
        cut: step t+1 belongs to another episode (any kind of end): a step that is not terminated as well
            stops at V(o_{t+1}), which must then be that of its final observation.
        gamma: discount.
        steps: how many.
    """
    target = _one_step(reward, next_value, terminated, gamma)
    for _ in range(steps - 1):
        following = jnp.concatenate([target[1:], next_value[-1:]])
        target = _one_step(reward, jnp.where(cut, next_value, following), terminated, gamma)
    return target


def td_lambda(
    reward: Float[Array, time * batch],
    next_value: Float[Array, time * batch],
    terminated: Bool[Array, time * batch],
    cut: Bool[Array, time * batch],
    gamma: Float[Array, ""],
    trace: Float[Array, ""],
) -> Float[Array, time * batch]:
    """Mixes all n-step targets: G_t = r_t + gamma [trace G_{t+1} + (1 - trace) V(o_{t+1})].

    Sutton and Barto 2018, eq. 12.20, without correction for off-policy actions (Peng and Williams 1996). With
    ``trace`` 0 it is `n_step` of one step. Arguments as there; ``trace`` is lambda.
    """

    def backwards(following: Array, xs: tuple[Array, ...]) -> tuple[Array, Array]:
        reward_t, value, terminated_t, cut_t = xs
        mixed = trace * following + (1.0 - trace) * value
        target = _one_step(reward_t, jnp.where(cut_t, value, mixed), terminated_t, gamma)
        return target, target

    _, target = jax.lax.scan(backwards, next_value[-1], (reward, next_value, terminated, cut), reverse=True)
    return target


def _one_step(reward: Array, value: Array, terminated: Array, gamma: Array) -> Array:
    return reward + gamma * jnp.where(terminated, 0.0, value)
