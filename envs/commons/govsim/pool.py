"""A pool that is harvested and grows back: fishery, pasture and clean water are one dynamics."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from shoal.envs.commons.govsim import rules
from shoal.envs.commons.govsim.rules import Rules
from shoal.envs.commons.govsim.types import Options, PoolParams, State
from shoal.envs.commons.social import equality
from shoal.envs.core.environment import MetricSpec


def threshold(params: PoolParams, stock: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
    """Returns the most that all can take together so that what remains grows back to the same stock."""
    return stock - (stock + params.growth - 1) // params.growth


def share(
    options: Options, params: PoolParams, stock: Int[Array, "*batch"], t: Int[Array, "*batch"]
) -> Int[Array, "*batch"]:
    """Returns one agent's part of the `threshold`, rounded down, among those who are there."""
    return threshold(params, stock) // rules.heads(options, t)


def keeps(requests: Int[Array, "agents *batch"], share: Int[Array, "*batch"]) -> Bool[Array, "agents *batch"]:
    """Returns who asked for no more than its share."""
    return requests <= share[None]


def settle(
    options: Options, params: PoolParams, remains: Int[Array, "*batch"]
) -> tuple[Int[Array, "*batch"], Bool[Array, "*batch"]]:
    """Tells whether the pool has collapsed, which is asked before it grows."""
    return jnp.minimum(remains * params.growth, options.capacity), remains < params.collapse_below


def pay(
    params: PoolParams,
    catches: Int[Array, "agents *batch"],
    there: Bool[Array, "agents *batch"],
    collapsed: Bool[Array, "*batch"],
) -> Float[Array, "agents *batch"]:
    """Pays every unit with one."""
    return catches.astype(jnp.float32)


def metric_specs(options: Options) -> tuple[MetricSpec, ...]:
    """Declares the metrics; the first is the headline."""
    lived, survived = rules.SURVIVAL
    most = float(options.months * options.capacity)
    return (
        MetricSpec("survival_time", lived, 0.0, float(options.months), True),
        MetricSpec("survived", survived, 0.0, 100.0, True),
        MetricSpec("gain", "units taken in the episode, mean over agents", 0.0, most, True),
        MetricSpec("efficiency", "units taken over months times first threshold, capped", 0.0, 1.0, True),
        MetricSpec("equality", "one minus the Gini coefficient of the units taken", 0.0, 1.0, True),
        MetricSpec("over_usage", "share of requests above the fair share", 0.0, 1.0, False),
    )


def metrics(options: Options, state: State) -> dict[str, Array]:
    """Returns the running values named in `metric_specs`."""
    full = jnp.full_like(state.t, options.capacity)
    sustained = options.months * threshold(state.params, full)
    lived, kept = rules.agent_months(options, state.t), jnp.sum(state.kept, axis=0)
    return rules.survival(options, state.t) | {
        "gain": rules.mean_gain(state.gain),
        "efficiency": rules.ratio(
            jnp.sum(state.gain, axis=0).astype(jnp.float32), sustained.astype(jnp.float32)
        ),
        "equality": equality(state.gain.astype(jnp.float32)),
        "over_usage": rules.ratio((lived - kept).astype(jnp.float32), lived.astype(jnp.float32)),
    }


POOL = Rules(share, keeps, settle, pay, metric_specs, metrics)
