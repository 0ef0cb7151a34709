"""A household whose stock is a bad: trash comes each month, and removing it costs those who do."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from shoal.envs.commons.govsim import rules
from shoal.envs.commons.govsim.rules import Rules
from shoal.envs.commons.govsim.types import Options, State, TrashParams
from shoal.envs.commons.social import equality
from shoal.envs.core.environment import MetricSpec


def share(
    options: Options, params: TrashParams, stock: Int[Array, "*batch"], t: Int[Array, "*batch"]
) -> Int[Array, "*batch"]:
    """Returns one agent's part of what comes each month, whatever there is."""
    return params.refill // rules.heads(options, t)


def keeps(requests: Int[Array, "agents *batch"], share: Int[Array, "*batch"]) -> Bool[Array, "agents *batch"]:
    """Returns who offered to remove at least its share."""
    return requests >= share[None]


def settle(
    options: Options, params: TrashParams, remains: Int[Array, "*batch"]
) -> tuple[Int[Array, "*batch"], Bool[Array, "*batch"]]:
    """Tells whether the house is overfull, which is asked before more trash comes."""
    return jnp.minimum(remains + params.refill, options.capacity), remains > params.overfull_above


def pay(
    params: TrashParams,
    catches: Int[Array, "agents *batch"],
    there: Bool[Array, "agents *batch"],
    overfull: Bool[Array, "*batch"],
) -> Float[Array, "agents *batch"]:
    """Pays for a month in the house, unless it is overfull, less what one's own work costs."""
    living = jnp.where(overfull, 0.0, params.living)
    return jnp.where(there, living[None] - params.effort * catches.astype(jnp.float32), 0.0)


def metric_specs(options: Options) -> tuple[MetricSpec, ...]:
    """Declares the metrics; the first is the headline."""
    lived, survived = rules.SURVIVAL
    most = float(options.months * options.capacity)
    return (
        MetricSpec("survival_time", lived, 0.0, float(options.months), True),
        MetricSpec("survived", survived, 0.0, 100.0, True),
        MetricSpec("removed", "units removed in the episode, mean over agents", 0.0, most, True),
        MetricSpec("equality", "one minus the Gini coefficient of the units removed", 0.0, 1.0, True),
        MetricSpec("contribution", "share of requests of at least the announced share", 0.0, 1.0, True),
    )


def metrics(options: Options, state: State) -> dict[str, Array]:
    """Returns the running values named in `metric_specs`."""
    lived, kept = rules.agent_months(options, state.t), jnp.sum(state.kept, axis=0)
    return rules.survival(options, state.t) | {
        "removed": rules.mean_gain(state.gain),
        "equality": equality(state.gain.astype(jnp.float32)),
        "contribution": rules.ratio(kept.astype(jnp.float32), lived.astype(jnp.float32)),
    }


TRASH = Rules(share, keeps, settle, pay, metric_specs, metrics)
