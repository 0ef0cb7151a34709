"""What is paid, and what an episode is judged by. Batches lie in trailing axes: see `particle.common`."""

from __future__ import annotations

import math

import jax.numpy as jnp

from shoal.envs.common.particles import distance
from shoal.envs.core.environment import MetricSpec
from shoal.envs.core.types import Outcome
from shoal.envs.particle.speaker_listener.dynamics import to_goal
from shoal.envs.particle.speaker_listener.types import AGENTS, TOUCHING, Options, State

METRICS = (
    MetricSpec("goal_distance", "distance from the listener to the goal landmark", 0.0, math.inf, False),
    MetricSpec("at_goal", "one where listener and goal landmark touch", 0.0, 1.0, True),
)


def outcome(options: Options, state: State) -> Outcome:
    """Pays both minus the squared distance from the listener to its goal; only time ends an episode."""
    dx, dy = to_goal(state)
    far = distance(dx, dy)
    agents = (AGENTS, *state.t.shape)
    nobody = jnp.zeros(agents, bool)
    return Outcome(
        reward=jnp.broadcast_to(-(dx * dx + dy * dy)[None], agents),
        terminated=jnp.zeros_like(state.t, bool),
        truncated=state.t >= options.max_steps,
        agent_done=nobody,
        joined=nobody,
        metrics={"goal_distance": far, "at_goal": (far <= TOUCHING).astype(jnp.float32)},
    )
