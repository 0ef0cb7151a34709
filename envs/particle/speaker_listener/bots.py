"""The scripted pair: the speaker names the goal, the listener walks to what was named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jax import Array

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
from shoal.envs.particle.walking import Walker

if TYPE_CHECKING:
    from shoal.envs.particle.speaker_listener.env import SimpleSpeakerListener


class NameAndWalk(Scripted):
    """Acts for any of the two agents: a row that may move walks, the other speaks.

    The target is the landmark named, or the middle of all three before anything was said.
    """

    def __init__(self, env: SimpleSpeakerListener) -> None:
        """Reads how the listener moves from ``env.params``."""
        self.walker = Walker(env.params, env.params.acceleration)

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Speaks and moves; deterministic."""
        view = observation.view
        said = jnp.argmax(view[..., np.asarray(GOAL_COLOUR)], axis=-1).astype(jnp.int32) + SAY[0]
        may_move = observation.action_mask[..., STAY]
        return jnp.where(may_move, self._walk(view), said)

    def _walk(self, view: Array) -> Array:
        """Returns the move of each row [*B, G] of ``view`` [*B, G, 14]."""
        heard = view[..., np.asarray(HEARD)]
        silent = jnp.sum(heard, axis=-1, keepdims=True) == 0.0
        weight = jnp.where(silent, jnp.float32(1.0 / LANDMARKS), heard)
        x, y = (
            jnp.sum(weight * view[..., np.asarray(LANDMARK_POSITIONS[axis::2])], axis=-1) for axis in (0, 1)
        )
        return self.walker.go((x, y), (view[..., VELOCITY[0]], view[..., VELOCITY[1]])) + STAY
