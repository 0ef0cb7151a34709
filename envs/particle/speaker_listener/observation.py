"""What the two agents and a centralised critic see. Batches lie in trailing axes: see `particle.common`."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from shoal.envs.common.particles import column
from shoal.envs.core.types import Observation
from shoal.envs.particle import common
from shoal.envs.particle.speaker_listener.dynamics import one_hot
from shoal.envs.particle.speaker_listener.types import (
    FIRST_LANDMARK,
    LISTENER,
    LISTENER_SEES,
    MOVE,
    SAY,
    SPEAKER_SEES,
    VIEW_SIZE,
    Options,
    State,
)

_BRIGHT, _DARK = 0.65, 0.15  # the channels of a landmark's colour


def _rows(columns: tuple[tuple[int, ...], ...], width: int) -> np.ndarray:
    """Returns [A, width] bool, true in the columns named for each agent."""
    rows = np.zeros((len(columns), width), bool)
    for row, own in zip(rows, columns, strict=True):
        row[list(own)] = True
    return rows


SEEN = _rows((SPEAKER_SEES, LISTENER_SEES), VIEW_SIZE)
LEGAL = _rows((SAY, MOVE), len(SAY) + len(MOVE))


def global_state(options: Options, state: State) -> Float[Array, "features *batch"]:
    """Returns what both see together: [14], the speaker's three numbers before the listener's eleven."""
    p = state.particles
    colour = jnp.where(one_hot(state.goal), jnp.float32(_BRIGHT), jnp.float32(_DARK))
    listener = slice(LISTENER, LISTENER + 1)
    velocity = jnp.concatenate([p.vx[listener], p.vy[listener]])
    to_landmarks = common.pairs(*common.gaps(p, listener, slice(FIRST_LANDMARK, None)))[0]
    heard = one_hot(state.message).astype(jnp.float32)
    return jnp.concatenate([colour, velocity, to_landmarks, heard])


def observe(options: Options, state: State) -> Observation:
    """Shows each agent its own columns of the full view; the others are zero."""
    everything = global_state(options, state)[None]
    return Observation(
        view=jnp.where(column(SEEN, everything), everything, 0.0),
        action_mask=jnp.broadcast_to(column(LEGAL, everything), (*LEGAL.shape, *state.t.shape)),
        alive=jnp.ones((len(SEEN), *state.t.shape), bool),
    )
