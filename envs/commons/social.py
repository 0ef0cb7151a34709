"""What social dilemmas pay and are judged by: own rewards mixed among agents, and measures of a group.

All are pure functions of each agent's own raw reward o_i, agents first, and may share trailing axes of
worlds. Source of the five modes: SocialJax (arXiv 2503.14576) and its code; with N agents each is so scaled
that the mean over agents is what the group earned, o_1 + ... + o_N, where nothing is taken off.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

MODES = ("individual", "common", "svo", "inequity", "transfer")
"""Names of the ways to pay."""


def mix(mode: str, own: Float[Array, "agents *batch"], params: Any) -> Float[Array, "agents *batch"]:
    """Pays by one of `MODES`.

    Args:
        mode: which.
        own: raw rewards.
        params: with the numbers that the mode reads: svo_weight, svo_angle, envy, guilt, transfer_ratio.
    """
    if mode == "common":
        return common(own)
    if mode == "svo":
        return svo(own, params.svo_weight, params.svo_angle)
    if mode == "inequity":
        return inequity(own, params.envy, params.guilt)
    return transfer(own, params.transfer_ratio) if mode == "transfer" else individual(own)


def common(own: Float[Array, "agents *batch"]) -> Float[Array, "agents *batch"]:
    """Pays everybody what all earned together."""
    return jnp.broadcast_to(jnp.sum(own, axis=0, keepdims=True), own.shape)


def individual(own: Float[Array, "agents *batch"]) -> Float[Array, "agents *batch"]:
    """Pays everybody N times what it earned itself."""
    return own.shape[0] * own


def svo(own: Float[Array, "agents *batch"], weight: Any, angle: Any) -> Float[Array, "agents *batch"]:
    """Takes off for the distance between an agent's angle of social value orientation and the ideal one.

    Args:
        own: raw rewards.
        weight: of what is taken off, [*batch].
        angle: ideal, degrees: 0 for itself, 90 for the others, [*batch].
    """
    mine = individual(own)
    found = jnp.arctan2(_mean_of_others(mine), mine)
    ideal = jnp.deg2rad(jnp.asarray(angle))[None]
    return mine - own.shape[0] * jnp.asarray(weight)[None] * jnp.abs(found - ideal)


def inequity(own: Float[Array, "agents *batch"], envy: Any, guilt: Any) -> Float[Array, "agents *batch"]:
    """Takes off for what others got more (envy) and less (guilt), on average over the others.

    Where nobody earned anything everybody loses (envy + guilt)(N - 1): a special case of the published code.
    """
    mine, others = individual(own), own.shape[0] - 1
    more = jnp.sum(jnp.maximum(mine[None] - mine[:, None], 0.0), axis=1)
    less = jnp.sum(jnp.maximum(mine[:, None] - mine[None], 0.0), axis=1)
    envy, guilt = jnp.asarray(envy)[None], jnp.asarray(guilt)[None]
    paid = mine - (envy * more + guilt * less) / max(others, 1)
    nothing = jnp.all(own == 0.0, axis=0, keepdims=True)
    return jnp.where(nothing, -(envy + guilt) * others, paid)


def transfer(own: Float[Array, "agents *batch"], ratio: Any) -> Float[Array, "agents *batch"]:
    """Keeps the share s = 1 / (1 + ratio (N - 1)) of one's own and gets 1 - s of the others' mean."""
    mine = individual(own)
    kept = (1.0 / (1.0 + jnp.asarray(ratio) * (own.shape[0] - 1)))[None]
    return kept * mine + (1.0 - kept) * _mean_of_others(mine)


def _mean_of_others(x: Float[Array, "agents *batch"]) -> Float[Array, "agents *batch"]:
    return (jnp.sum(x, axis=0, keepdims=True) - x) / max(x.shape[0] - 1, 1)


def equality(totals: Float[Array, "agents *batch"]) -> Float[Array, "*batch"]:
    """Returns one minus the Gini coefficient; one where nobody received anything."""
    gaps = jnp.sum(jnp.abs(totals[:, None] - totals[None]), axis=(0, 1))
    scale = 2.0 * totals.shape[0] * jnp.sum(totals, axis=0)
    return 1.0 - jnp.where(scale > 0.0, gaps / jnp.where(scale > 0.0, scale, 1.0), 0.0)


def mean_time(
    times: Float[Array, "agents *batch"], counts: Float[Array, "agents *batch"]
) -> Float[Array, "*batch"]:
    """Returns when rewards came, mean over each agent's rewards, then over agents that had any; else zero.

    Args:
        times: sum of the times of an agent's rewards.
        counts: how many they were.
    """
    some: Bool[Array, "agents *batch"] = counts > 0.0
    each = jnp.where(some, times / jnp.where(some, counts, 1.0), 0.0)
    return jnp.sum(each, axis=0) / jnp.maximum(jnp.sum(some, axis=0, dtype=jnp.float32), 1.0)
