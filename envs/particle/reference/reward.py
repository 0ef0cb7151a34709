"""What is paid, and what an episode is judged by. Batches lie in trailing axes, as in `particle.common`."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.envs.common.particles import distance
from shoal.envs.core.environment import MetricSpec
from shoal.envs.core.types import Outcome
from shoal.envs.particle import common
from shoal.envs.particle.reference.observation import is_goal
from shoal.envs.particle.reference.types import AGENTS, TOUCHING, Options, State

METRICS = (
    MetricSpec("goal_distance", "distance from an agent to its goal, mean of both", 0.0, math.inf, False),
    MetricSpec("at_goal", "share of the agents that touch their goal", 0.0, 1.0, True),
)


def to_goal(state: State) -> Float[Array, "agents *batch"]:
    """Returns how far each agent is from its goal."""
    way = common.gaps(state.particles, slice(0, AGENTS), slice(AGENTS, None))
    return jnp.sum(jnp.where(is_goal(state), distance(*way), 0.0), axis=1)


def outcome(options: Options, state: State) -> Outcome:
    """Pays each agent for the other's distance, whose goal it knows, and for both together."""
    far, ratio = to_goal(state), state.params.local_ratio
    mean = jnp.sum(far, axis=0) / AGENTS
    terminated, truncated = common.ends(options, state.t)
    nobody = jnp.zeros_like(far, bool)
    return Outcome(
        reward=-(mean * (1.0 - ratio))[None] - far[::-1] * ratio[None],
        terminated=terminated,
        truncated=truncated,
        agent_done=nobody,
        joined=nobody,
        metrics={
            "goal_distance": mean,
            "at_goal": jnp.sum(far <= TOUCHING, axis=0, dtype=jnp.float32) / AGENTS,
        },
    )
