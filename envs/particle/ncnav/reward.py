"""What is paid, and what an episode is judged by. Batches lie in trailing axes, as in `particle.common`."""

from __future__ import annotations

import math

import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Float

from shoal.envs.common.particles import Particles, distance
from shoal.envs.core.environment import MetricSpec
from shoal.envs.core.types import Outcome
from shoal.envs.particle import common
from shoal.envs.particle.ncnav.types import AGENTS, Options, Params, State

METRICS = (
    MetricSpec(
        "return_fifth",
        "returns of the three agents, summed and divided by five, as published",
        -math.inf,
        math.inf,
        True,
    ),
    MetricSpec("reached", "share of the agents that are at a landmark", 0.0, 1.0, True),
    MetricSpec(
        "collisions", "pairs of bodies that touch, summed over the episode's steps", 0.0, math.inf, False
    ),
)
_DIVISOR = 5.0  # the publication's, from its traffic with five agents


@struct.dataclass
class Measures:
    """What a reward depends on."""

    nearest: Array  # [M] f32, from each body that moves to the nearest landmark
    collisions: Array  # [] f32, pairs of bodies that touch


def measure(options: Options, p: Particles) -> Measures:
    """Looks at where everything is after the step."""
    moving, landmarks = slice(0, options.moving), slice(options.moving, None)
    touching = common.touching(p, options.bodies, moving, moving)
    return Measures(
        nearest=jnp.min(distance(*common.gaps(p, moving, landmarks)), axis=1),
        collisions=jnp.sum(touching, axis=(0, 1), dtype=jnp.float32) / 2.0,
    )


def pay(params: Params, seen: Measures) -> Float[Array, "agents *batch"]:
    """Pays each agent for its own distance and bonus, and all alike for collisions and for all being near."""
    near = seen.nearest < params.near_within[None]
    every = jnp.all(near, axis=0)
    bonus = jnp.where(near, params.near_bonus[None], 0.0) + jnp.where(every, params.all_near_bonus, 0.0)[None]
    calm = (seen.collisions == 0.0)[None]
    costs = seen.nearest + (params.collision_penalty * seen.collisions)[None]
    return (jnp.where(calm, bonus, 0.0) - costs)[:AGENTS]


def outcome(options: Options, state: State, seen: Measures, reward: Float[Array, "agents *batch"]) -> Outcome:
    """Says what the step and the episode so far amount to."""
    terminated, truncated = common.ends(options, state.t)
    nobody = jnp.zeros_like(reward, bool)
    near = seen.nearest[:AGENTS] < state.params.near_within[None]
    return Outcome(
        reward=reward,
        terminated=terminated,
        truncated=truncated,
        agent_done=nobody,
        joined=nobody,
        metrics={
            "return_fifth": state.earned / _DIVISOR,
            "reached": jnp.sum(near, axis=0, dtype=jnp.float32) / AGENTS,
            "collisions": state.collisions,
        },
    )
