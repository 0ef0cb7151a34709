"""What is paid, and what an episode is judged by. Batches lie in trailing axes, as in `particle.common`."""

from __future__ import annotations

import math

import jax.numpy as jnp
from flax import struct
from jax import Array

from shoal.envs.common.particles import Particles, distance
from shoal.envs.core.environment import MetricSpec
from shoal.envs.core.types import Outcome
from shoal.envs.particle import common
from shoal.envs.particle.spread.types import Options, State

METRICS = (
    MetricSpec("covered", "share of the landmarks with an agent within 0.1", 0.0, 1.0, True),
    MetricSpec(
        "landmark_distance", "distance from a landmark to its nearest agent, mean", 0.0, math.inf, False
    ),
    MetricSpec(
        "collisions", "pairs of agents that touch, summed over the episode's steps", 0.0, math.inf, False
    ),
)


@struct.dataclass
class Measures:
    """What a reward depends on."""

    nearest: Array  # [L] f32, from each landmark to the nearest agent
    touched: Array  # [A] f32, how many others each agent touches


def measure(options: Options, p: Particles) -> Measures:
    """Looks at where everything is after the step."""
    agents = slice(0, options.num_agents)
    landmarks = slice(options.num_agents, None)
    touching = common.touching(p, options.bodies, agents, agents)
    return Measures(
        nearest=jnp.min(distance(*common.gaps(p, agents, landmarks)), axis=0),
        touched=jnp.sum(touching, axis=1, dtype=jnp.float32),
    )


def outcome(options: Options, state: State, seen: Measures) -> Outcome:
    """Pays for distances (all alike) and collisions (each for its own), and says what they amount to."""
    params = state.params
    ratio = params.local_ratio
    shared, own = -jnp.sum(seen.nearest, axis=0), -params.collision_penalty[None] * seen.touched
    terminated, truncated = common.ends(options, state.t)
    nobody = jnp.zeros_like(seen.touched, bool)
    covered = seen.nearest < params.covered_within[None]
    return Outcome(
        reward=own * ratio[None] + (shared * (1.0 - ratio))[None],
        terminated=terminated,
        truncated=truncated,
        agent_done=nobody,
        joined=nobody,
        metrics={
            "covered": jnp.sum(covered, axis=0, dtype=jnp.float32) / options.landmarks,
            "landmark_distance": jnp.sum(seen.nearest, axis=0) / options.landmarks,
            "collisions": state.collisions,
        },
    )
