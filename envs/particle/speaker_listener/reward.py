"""What is paid, and what an episode is judged by."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.envs.core.environment import MetricSpec
from shoal.envs.particle.speaker_listener.types import TOUCHING

METRICS = (
    MetricSpec("goal_distance", "distance from the listener to the goal landmark", 0.0, math.inf, False),
    MetricSpec("at_goal", "one where listener and goal landmark touch", 0.0, 1.0, True),
)


def reward(dx: Float[Array, ""], dy: Float[Array, ""]) -> Float[Array, ""]:
    """Returns minus the squared distance from the listener to its goal; both agents get it."""
    return -(dx * dx + dy * dy)


def metrics(dx: Float[Array, ""], dy: Float[Array, ""]) -> dict[str, Array]:
    """Returns the running values named in `METRICS`."""
    distance = jnp.sqrt(dx * dx + dy * dy)
    return {"goal_distance": distance, "at_goal": (distance <= TOUCHING).astype(jnp.float32)}
