"""Scripted agents that share the landmarks out and walk to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from shoal.envs.core.policy import Scripted
from shoal.envs.core.types import Key, Observation, PyTree
from shoal.envs.particle.walking import Walker

if TYPE_CHECKING:
    from shoal.envs.particle.spread.env import SimpleSpread

_FAR = 1e9


class ShareAndWalk(Scripted):
    """Takes the nearest pair of agent and landmark, then the nearest pair among the rest, and so on.

    Every agent sees all distances, so all come to the same shares, each from its own row alone. Who is left
    without a landmark stays where it is.
    """

    def __init__(self, env: SimpleSpread) -> None:
        """Reads sizes and how agents move."""
        o = env.options
        self.agents, self.landmarks = o.num_agents, o.landmarks
        self.walker = Walker(env.params, env.params.acceleration, o.continuous_actions)

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Walks; deterministic."""
        view = observation.view
        to = 4 + 2 * self.landmarks
        mark_x, mark_y = view[..., 4:to:2], view[..., 5:to:2]  # [*B, G, L]
        end = to + 2 * (self.agents - 1)
        me = jnp.zeros_like(view[..., :1])
        agent_x = jnp.concatenate([me, view[..., to:end:2]], axis=-1)  # [*B, G, A], itself first
        agent_y = jnp.concatenate([me, view[..., to + 1 : end : 2]], axis=-1)
        dx = mark_x[..., None, :] - agent_x[..., None]
        dy = mark_y[..., None, :] - agent_y[..., None]
        mine = _shares(dx * dx + dy * dy)[..., 0, :]
        way_x, way_y = (jnp.sum(jnp.where(mine, mark, 0.0), axis=-1) for mark in (mark_x, mark_y))
        return self.walker.go((way_x, way_y), (view[..., 0], view[..., 1]))


def _shares(far: Float[Array, "*rows agents landmarks"]) -> Bool[Array, "*rows agents landmarks"]:
    """Returns who gets which landmark: the nearest pair first, then the nearest of the rest."""

    def give(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        # Compared rather than indexed by argmin, which XLA takes minutes to compile for large batches on CPU;
        # computed once, behind a barrier, since what is computed twice may be rounded in two ways.
        left, given = jax.lax.optimization_barrier(carry)
        best = (left == jnp.min(left, axis=(-2, -1), keepdims=True)) & (left < _FAR)  # ties share a round
        taken = jnp.any(best, axis=-1, keepdims=True) | jnp.any(best, axis=-2, keepdims=True)
        return jnp.where(taken, _FAR, left), given | best

    nothing = jnp.zeros(far.shape, bool)
    _, given = jax.lax.fori_loop(0, min(far.shape[-2:]), give, (far, nothing))
    return given
