"""The scripted pair: the speaker names the goal, the listener walks to what was named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.envs.common.particles import MOVES, push
from shoal.envs.core.policy import Scripted
from shoal.envs.core.types import Key, Observation, PyTree
from shoal.envs.particle.speaker_listener.types import (
    GOAL_COLOUR,
    HEARD,
    LANDMARK_POSITIONS,
    LANDMARKS,
    SAY,
    STAY,
    VELOCITY,
)

if TYPE_CHECKING:
    from shoal.envs.particle.speaker_listener.env import SimpleSpeakerListener


class NameAndWalk(Scripted):
    """Acts for any of the two agents: a row that may move walks, the other speaks.

    A push moves the listener only one step later, so it takes the move that brings it nearest to its target
    in two steps; the target is the landmark named, or the middle of all three before anything was said.
    """

    def __init__(self, env: SimpleSpeakerListener) -> None:
        """Reads how the listener moves from ``env.params``."""
        p = env.params
        keep, dt = 1.0 - float(p.damping), float(p.time_step)
        self.per_velocity = dt * (1.0 + keep)  # how far the present velocity carries it in two steps
        self.per_push = dt * dt * float(p.acceleration)  # and what a push now adds to that

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Speaks and moves; deterministic."""
        view = observation.view
        said = jnp.argmax(view[..., np.asarray(GOAL_COLOUR)], axis=-1).astype(jnp.int32) + SAY[0]
        may_move = observation.action_mask[..., STAY]
        return jnp.where(may_move, self._walk(view), said)

    def _walk(self, view: Array) -> Array:
        """Returns the move of each row [*B, G] of ``view`` [*B, G, 14]."""
        velocity = view[..., np.asarray(VELOCITY)]
        landmarks = view[..., np.asarray(LANDMARK_POSITIONS)]
        landmarks = landmarks.reshape(*landmarks.shape[:-1], LANDMARKS, 2)
        heard = view[..., np.asarray(HEARD)]
        silent = jnp.sum(heard, axis=-1, keepdims=True) == 0.0
        weight = jnp.where(silent, jnp.float32(1.0 / LANDMARKS), heard)
        target = jnp.sum(weight[..., None] * landmarks, axis=-2)
        rest = target - velocity * self.per_velocity
        push_x, push_y = push(jnp.arange(MOVES, dtype=jnp.int32))
        moved = jnp.stack([push_x, push_y], axis=-1) * self.per_push
        moved = moved.reshape((1,) * (view.ndim - 1) + moved.shape)
        left = rest[..., None, :] - moved
        return jnp.argmin(jnp.sum(left * left, axis=-1), axis=-1).astype(jnp.int32) + STAY
