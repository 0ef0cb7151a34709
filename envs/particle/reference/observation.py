"""What the agents and a centralised critic see. Batches lie in trailing axes, as in `particle.common`."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from shoal.envs.common.particles import column
from shoal.envs.core.types import Observation
from shoal.envs.particle import common
from shoal.envs.particle.reference.types import AGENTS, LANDMARKS, SYMBOLS, Options, State

_BRIGHT, _DARK = 0.75, 0.25  # the channels of a landmark's colour


def is_goal(state: State) -> Bool[Array, "agents landmarks *batch"]:
    """Returns which landmark each agent should go to, one-hot."""
    goal = state.goal[:, None]
    return goal == column(np.arange(LANDMARKS, dtype=np.int32)[None], goal)


def views(state: State) -> Float[Array, "agents features *batch"]:
    """Returns velocity, ways to the landmarks, the colour of the other's goal, and what the other said."""
    velocity, _, to_landmarks, _ = common.ways(state.particles, AGENTS, LANDMARKS)
    colour = jnp.where(is_goal(state), jnp.float32(_BRIGHT), jnp.float32(_DARK))
    return jnp.concatenate([velocity, to_landmarks, colour[::-1], state.message[::-1]], axis=1)


def observe(options: Options, state: State) -> Observation:
    """Shows each agent what it needs to know about the other, and what it was told."""
    return Observation(
        view=views(state),
        action_mask=common.action_mask(common.action_space(options, SYMBOLS), AGENTS, state.t),
        alive=jnp.ones((AGENTS, *state.t.shape), bool),
    )


def global_state(options: Options, state: State) -> Float[Array, "features *batch"]:
    """Returns both views in a row."""
    view = views(state)
    return view.reshape(-1, *view.shape[2:])
