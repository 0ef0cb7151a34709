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
from shoal.envs.particle.tag.types import Options, State

METRICS = (
    MetricSpec(
        "catches",
        "touches of an adversary and a good agent, summed over the episode's steps",
        0.0,
        math.inf,
        True,
    ),
    MetricSpec(
        "prey_distance",
        "distance from a good agent to the nearest adversary, mean over good agents",
        0.0,
        math.inf,
        False,
    ),
    MetricSpec("prey_outside", "share of the good agents beyond the square from -1 to 1", 0.0, 1.0, False),
)

_SAFE, _EDGE, _MOST = 0.9, 1.0, 10.0


@struct.dataclass
class Measures:
    """What a reward depends on."""

    caught: Array  # [G] f32, how many adversaries touch each good agent
    hunter: Array  # [G] f32, distance to the nearest adversary
    x: Array  # [G] f32, how far out each good agent is
    y: Array  # [G] f32


def measure(options: Options, p: Particles) -> Measures:
    """Looks at where everything is after the step."""
    hunters = slice(0, options.num_adversaries)
    hunted = slice(options.num_adversaries, options.num_agents)
    touching = common.touching(p, options.bodies, hunted, hunters)
    return Measures(
        caught=jnp.sum(touching, axis=1, dtype=jnp.float32),
        hunter=jnp.min(distance(*common.gaps(p, hunted, hunters)), axis=1),
        x=jnp.abs(p.x[hunted]),
        y=jnp.abs(p.y[hunted]),
    )


def fine(far: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns what it costs a good agent to be ``far`` from the middle in one coordinate."""
    beyond = jnp.minimum(jnp.exp(2.0 * jnp.minimum(far, 3.0) - 2.0), _MOST)
    return jnp.where(far < _SAFE, 0.0, jnp.where(far < _EDGE, (far - _SAFE) * 10.0, beyond))


def outcome(options: Options, state: State, seen: Measures) -> Outcome:
    """Pays all adversaries for every touch; good agents pay for their own, and for leaving."""
    each = state.params.catch_reward
    hunters = each * jnp.sum(seen.caught, axis=0)
    hunted = -each[None] * seen.caught - fine(seen.x) - fine(seen.y)
    shape = (options.num_adversaries, *state.t.shape)
    reward = jnp.concatenate([jnp.broadcast_to(hunters[None], shape), hunted])
    terminated, truncated = common.ends(options, state.t)
    nobody = jnp.zeros_like(reward, bool)
    outside = jnp.maximum(seen.x, seen.y) > _EDGE
    return Outcome(
        reward=reward,
        terminated=terminated,
        truncated=truncated,
        agent_done=nobody,
        joined=nobody,
        metrics={
            "catches": state.catches,
            "prey_distance": jnp.sum(seen.hunter, axis=0) / options.num_good,
            "prey_outside": jnp.sum(outside, axis=0, dtype=jnp.float32) / options.num_good,
        },
    )
