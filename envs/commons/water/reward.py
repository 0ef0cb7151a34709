"""What is paid, and what an episode is judged by."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from shoal.envs.commons.social import equality
from shoal.envs.commons.water.types import Params, State
from shoal.envs.core.environment import MetricSpec

COOPERATOR_ABOVE, DEFECTOR_BELOW = 0.35, 0.25  # restraint, as published


def mix(received: Float[Array, " agents"], params: Params) -> Float[Array, " agents"]:
    """Adds the weighted rewards of the others (on the complete graph), then normalises.

    A negative weight stands for the plain sum, which is what a weight of one gives.
    """
    weight = jnp.where(params.coop_gamma < 0.0, 1.0, params.coop_gamma)
    others = jnp.sum(received) - received
    return (received + weight * others) / params.reward_norm


def restraint(takes: Int[Array, " agents"], steps: Int[Array, ""]) -> Float[Array, " agents"]:
    """Returns the share of the lived steps in which each agent waited."""
    share = takes.astype(jnp.float32) / jnp.maximum(steps, 1).astype(jnp.float32)
    return jnp.maximum(1.0 - share, 0.0)  # compiled division can round a whole share above 1


def utilitarian(totals: Float[Array, " agents"], max_steps: int) -> Float[Array, ""]:
    """Returns what all agents received together per step of a full-length episode."""
    return jnp.sum(totals) / max_steps


def sustainability(paid: Int[Array, ""], num_agents: int) -> Float[Array, ""]:
    """Returns how many paid takes there were per agent."""
    return paid.astype(jnp.float32) / num_agents


def metric_specs(max_steps: int) -> tuple[MetricSpec, ...]:
    """Declares the metrics; the first is the headline."""
    steps = float(max_steps)
    return (
        MetricSpec("utilitarian", "water received by all agents, per step of a full episode", 0.0, 1.0, True),
        MetricSpec("equality", "one minus the Gini coefficient of water received", 0.0, 1.0, True),
        MetricSpec("sustainability", "paid takes per agent", 0.0, steps, True),
        MetricSpec("restraint", "share of lived steps in which an agent waited, mean", 0.0, 1.0, True),
        MetricSpec("cooperators", "share of agents whose restraint is above 0.35", 0.0, 1.0, True),
        MetricSpec("defectors", "share of agents whose restraint is below 0.25", 0.0, 1.0, False),
        MetricSpec("depleted", "one where the pool was emptied", 0.0, 1.0, False),
    )


def metrics(state: State, max_steps: int) -> dict[str, Array]:
    """Returns the running values named in `metric_specs`, all from the unmixed rewards."""
    num_agents = state.total_taken.shape[0]
    waited = restraint(state.takes, state.t)
    return {
        "utilitarian": utilitarian(state.total_taken, max_steps),
        "equality": equality(state.total_taken),
        "sustainability": sustainability(state.paid, num_agents),
        "restraint": jnp.mean(waited),
        "cooperators": jnp.mean((waited > COOPERATOR_ABOVE).astype(jnp.float32)),
        "defectors": jnp.mean((waited < DEFECTOR_BELOW).astype(jnp.float32)),
        "depleted": (state.resource <= 0.0).astype(jnp.float32),
    }
