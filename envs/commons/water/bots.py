"""Scripted takers: one that spares the pool, one that does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
from jax import Array

from shoal.envs.commons.water.types import TAKE, WAIT
from shoal.envs.core.policy import Scripted
from shoal.envs.core.types import Key, Observation, PyTree

if TYPE_CHECKING:
    from shoal.envs.commons.water.env import Water


class Cooperator(Scripted):
    """Takes while the pool is at or above a threshold, waits below it.

    The default threshold, twice what goes when everybody takes, can never be emptied by cooperators alone,
    and stays so low that hardly any inflow is lost at the brim.
    """

    def __init__(self, env: Water, threshold: float | None = None) -> None:
        """Fixes the threshold (pool fraction)."""
        self.threshold = 2.0 * float(env.params.take_total) if threshold is None else threshold

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Compares the pool with the threshold."""
        plenty = observation.view[..., 0] >= self.threshold
        return jnp.where(plenty, jnp.int32(TAKE), jnp.int32(WAIT))


class Defector(Scripted):
    """Always takes."""

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Takes."""
        return jnp.full(observation.alive.shape, TAKE, jnp.int32)
