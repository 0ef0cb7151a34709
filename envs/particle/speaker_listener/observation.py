"""What the two agents and a centralised critic see."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from shoal.envs.core.types import Observation
from shoal.envs.particle.speaker_listener.types import (
    FIRST_LANDMARK,
    LANDMARKS,
    LISTENER,
    LISTENER_SEES,
    MOVE,
    SAY,
    SPEAKER_SEES,
    VIEW_SIZE,
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


def full_view(state: State) -> Float[Array, " features"]:
    """Returns what both see together: [14], the speaker's three numbers before the listener's eleven."""
    p = state.particles
    index = jnp.arange(LANDMARKS)
    colour = jnp.where(index == state.goal, jnp.float32(_BRIGHT), jnp.float32(_DARK))
    velocity = jnp.stack([p.vx[LISTENER], p.vy[LISTENER]])
    dx = p.x[FIRST_LANDMARK:] - p.x[LISTENER]
    dy = p.y[FIRST_LANDMARK:] - p.y[LISTENER]
    heard = (index == state.message).astype(jnp.float32)
    return jnp.concatenate([colour, velocity, jnp.stack([dx, dy], axis=-1).reshape(-1), heard])


def observe(state: State) -> Observation:
    """Shows each agent its own columns of the full view; the others are zero."""
    return Observation(
        view=jnp.where(SEEN, full_view(state)[None], 0.0),
        action_mask=jnp.asarray(LEGAL),
        alive=jnp.ones(len(SEEN), bool),
    )
