"""In what the worlds differ, and what their metrics share. Batches lie in trailing axes (`batch_last`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from shoal.envs.commons.govsim.types import Options, State
from shoal.envs.core.environment import MetricSpec


class Rules(NamedTuple):
    """One world's own functions; ``params`` are those of the world."""

    share: Callable[[Options, Any, Array, Array], Array]
    """(options, params, stock, month) -> each one's fair share of the month, units"""
    keeps: Callable[[Array, Array], Array]
    """(requests, fair share) -> who kept to it"""
    settle: Callable[[Options, Any, Array], tuple[Array, Array]]
    """(options, params, what remains) -> (stock of the next month, whether the world broke down)"""
    pay: Callable[[Any, Array, Array, Array], Array]
    """(params, catches, who is there, broke down) -> [A, *batch] f32, what each is paid for itself"""
    metric_specs: Callable[[Options], tuple[MetricSpec, ...]]
    metrics: Callable[[Options, State], dict[str, Array]]


def heads(options: Options, t: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
    """Returns how many agents are there in month ``t``."""
    absent = (t < options.newcomer_month).astype(jnp.int32) if options.newcomer else 0
    return jnp.full_like(t, options.num_agents) - absent


def present(options: Options, t: Int[Array, "*batch"]) -> Bool[Array, "agents *batch"]:
    """Returns who is there in month ``t``: all, but for a newcomer before its time."""
    index = jnp.arange(options.num_agents, dtype=jnp.int32).reshape(-1, *(1,) * t.ndim)
    return index < heads(options, t)[None]


def months_there(options: Options, t: Int[Array, "*batch"]) -> Int[Array, "agents *batch"]:
    """Returns how many months each agent has been there for, ``t`` months into the episode."""
    late = ~present(options, jnp.zeros_like(t))
    return t[None] - jnp.where(late, jnp.minimum(t, options.newcomer_month)[None], 0)


def agent_months(options: Options, t: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
    """Returns how many months all agents have been there for, summed, ``t`` months into the episode."""
    missed = jnp.minimum(t, options.newcomer_month) if options.newcomer else 0
    return t * options.num_agents - missed


def survival(options: Options, t: Int[Array, "*batch"]) -> dict[str, Array]:
    """Returns the months lived, and 100 where that is all of them, even if the last one broke the world."""
    return {
        "survival_time": t.astype(jnp.float32),
        "survived": 100.0 * (t >= options.months).astype(jnp.float32),
    }


def mean_gain(gain: Int[Array, "agents *batch"]) -> Float[Array, "*batch"]:
    """Returns the units that an agent got, mean."""
    return jnp.sum(gain, axis=0).astype(jnp.float32) / gain.shape[0]


def ratio(part: Float[Array, "*batch"], whole: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Divides whole numbers; at most 1, which compiled divisions can round past. A whole of 0 counts as 1."""
    return jnp.minimum(part / jnp.maximum(whole, 1.0), 1.0)


SURVIVAL = (
    "months until the stock broke down, all if it did not",
    "100 where the episode lasted all its months (a breakdown in the last one counts as that), else 0",
)
"""What the metrics of `survival` mean."""
