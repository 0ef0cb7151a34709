"""The scripted agents: each names the goal of the other and walks to what was named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import Array

from shoal.envs.common.particles import MOVES
from shoal.envs.core.policy import Scripted
from shoal.envs.core.types import Key, Observation, PyTree
from shoal.envs.particle.reference.types import (
    GOAL_COLOUR,
    HEARD,
    LANDMARK_X,
    LANDMARK_Y,
    LANDMARKS,
    SYMBOLS,
    VELOCITY,
)
from shoal.envs.particle.walking import Walker

if TYPE_CHECKING:
    from shoal.envs.particle.reference.env import SimpleReference


class NameAndWalk(Scripted):
    """Says the number of the other's goal; walks to the landmark heard, or to their middle before that."""

    def __init__(self, env: SimpleReference) -> None:
        """Reads how agents move."""
        self.continuous = env.options.continuous_actions
        self.walker = Walker(env.params, env.params.acceleration, self.continuous)

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Speaks and moves; deterministic."""
        view = observation.view
        heard = view[..., HEARD][..., :LANDMARKS]
        silent = jnp.sum(heard, axis=-1, keepdims=True) == 0.0
        weight = jnp.where(silent, jnp.float32(1.0 / LANDMARKS), heard)
        way_x, way_y = (jnp.sum(weight * view[..., at], axis=-1) for at in (LANDMARK_X, LANDMARK_Y))
        velocity = view[..., VELOCITY]
        move = self.walker.go((way_x, way_y), (velocity[..., 0], velocity[..., 1]))
        symbol = jnp.argmax(view[..., GOAL_COLOUR], axis=-1).astype(jnp.int32)
        if self.continuous:
            return jnp.concatenate([move, jax.nn.one_hot(symbol, SYMBOLS, dtype=jnp.float32)], axis=-1)
        return move + MOVES * symbol
