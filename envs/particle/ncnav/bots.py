"""Scripted agents that share the landmarks out."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from shoal.envs.common.particles import distance
from shoal.envs.core.policy import Scripted
from shoal.envs.core.types import Key, Observation, PyTree
from shoal.envs.particle.ncnav.types import AGENTS, LANDMARKS
from shoal.envs.particle.walking import Walker

if TYPE_CHECKING:
    from shoal.envs.particle.ncnav.env import NonCooperativeNavigation

_WITHIN = 0.2  # seconds in which an agent wants to be where it goes


class ShareAndWalk(Scripted):
    """Shares the landmarks out so that all ways together are shortest, and walks straight to its own.

    Every agent sees all distances, so all come to the same shares, each from its own row alone. Nobody makes
    way, neither for agents nor for bodies that act at random.
    """

    def __init__(self, env: NonCooperativeNavigation) -> None:
        """Reads sizes and how agents move."""
        self.slots = env.options.slots
        self.walker = Walker(env.params, env.params.acceleration, env.options.continuous_actions)

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Walks; deterministic."""
        view = observation.view.reshape(*observation.alive.shape, *self.slots)
        x, y = view[..., 0], view[..., 1]  # [*B, G, slots]
        mark_x, mark_y = x[..., -LANDMARKS:], y[..., -LANDMARKS:]
        # Itself stands first and sees all others from where it is; rows are of agents in any order.
        me = jnp.zeros_like(x[..., :1])
        agent_x, agent_y = (jnp.concatenate([me, part[..., 1:AGENTS]], axis=-1) for part in (x, y))
        far = distance(mark_x[..., None, :] - agent_x[..., None], mark_y[..., None, :] - agent_y[..., None])
        mine = _share(far)
        way_x, way_y = (jnp.sum(mine * mark, axis=-1) for mark in (mark_x, mark_y))
        # Actions are those of the walker the other way round.
        wanted = -way_x / _WITHIN, -way_y / _WITHIN
        return self.walker.head(wanted, (-view[..., 0, 2], -view[..., 0, 3]))


def _share(far: Float[Array, "*rows agents landmarks"]) -> Float[Array, "*rows landmarks"]:
    """Returns one for the landmark of the first agent, where all distances together are least, else zero."""
    ways = np.asarray(list(permutations(range(LANDMARKS))))  # [ways, A], the landmark of each agent
    total = sum(far[..., agent, ways[:, agent]] for agent in range(AGENTS))
    best = total == jnp.min(total, axis=-1, keepdims=True)
    first = best & (jnp.cumsum(best, axis=-1) == 1)  # of ties, as where two landmarks coincide
    return first.astype(jnp.float32) @ np.eye(LANDMARKS, dtype=np.float32)[ways[:, 0]]
