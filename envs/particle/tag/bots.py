"""Scripted hunters and hunted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.envs.common.particles import distance
from shoal.envs.core.errors import UserError
from shoal.envs.core.policy import Scripted
from shoal.envs.core.types import Key, Observation, PyTree
from shoal.envs.particle.walking import Walker

if TYPE_CHECKING:
    from shoal.envs.particle.tag.env import SimpleTag

_NEAR = 1e-3  # keeps directions finite
_LEAD = 0.25  # seconds that a hunter aims ahead, at most
_HOME = 0.5  # the hunted turn back from here on
_HOMESICK = 30.0


class ChaseAndFlee(Scripted):
    """Adversaries head for where the nearest good agent will be; good agents flee from all of them.

    Plays for the adversaries, the good agents or (given all rows) both, as the number of rows says; where
    both teams have as many, rows of one team are taken for the adversaries'.
    """

    def __init__(self, env: SimpleTag) -> None:
        """Reads sizes and how agents move."""
        o, p = env.options, env.params
        self.options = o
        self.hunter_speed, self.hunted_speed = (
            jnp.asarray(p.adversary_max_speed),
            jnp.asarray(p.good_max_speed),
        )
        self.hunter = Walker(p, p.adversary_acceleration, o.continuous_actions)
        self.hunted = Walker(p, p.good_acceleration, o.continuous_actions)

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Moves; deterministic.

        Raises:
            UserError: for rows that are neither a team nor both.
        """
        view, o = observation.view, self.options
        rows = view.shape[-2]
        if rows == o.num_agents:
            hunters = o.num_adversaries
            axis = observation.alive.ndim - 1
            both = [self._chase(view[..., :hunters, :]), self._flee(view[..., hunters:, :])]
            return jnp.concatenate(both, axis=axis)
        if rows == o.num_adversaries:
            return self._chase(view)
        if rows == o.num_good:
            return self._flee(view)
        raise UserError(
            f"{rows} agents are no team; there are {o.num_adversaries} adversaries and {o.num_good} good ones"
        )

    def _places(self, view: Array, skip: int, count: int) -> tuple[Array, Array]:
        """Returns ``count`` of the ways to other agents after the first ``skip``, x and y, [*B, G, count]."""
        start = 4 + 2 * self.options.num_obstacles + 2 * skip
        end = start + 2 * count
        return view[..., start:end:2], view[..., start + 1 : end : 2]

    def _chase(self, view: Float[Array, "*rows features"]) -> Array:
        """Heads for the nearest good agent, a little ahead of it."""
        o = self.options
        prey_x, prey_y = self._places(view, o.num_adversaries - 1, o.num_good)
        speeds = view[..., o.seen_by_all :]
        far = distance(prey_x, prey_y)
        ahead = jnp.minimum(far / (self.hunter_speed + _NEAR), _LEAD)
        aim_x, aim_y = prey_x + ahead * speeds[..., 0::2], prey_y + ahead * speeds[..., 1::2]
        index = jnp.arange(o.num_good).reshape((1,) * (far.ndim - 1) + (-1,))
        nearest = index == jnp.argmin(far, axis=-1, keepdims=True)
        x, y = (jnp.sum(jnp.where(nearest, aim, 0.0), axis=-1) for aim in (aim_x, aim_y))
        return self.hunter.head(_at_speed(x, y, self.hunter_speed), _velocity(view))

    def _flee(self, view: Float[Array, "*rows features"]) -> Array:
        """Heads away from adversaries, the nearer the more, and back from the edge."""
        hunter_x, hunter_y = self._places(view, 0, self.options.num_adversaries)
        fear = 1.0 / (distance(hunter_x, hunter_y) + _NEAR) ** 3
        x, y = (-jnp.sum(fear * part, axis=-1) for part in (hunter_x, hunter_y))
        x, y = (part - _homesick(view[..., at]) for part, at in ((x, 2), (y, 3)))
        return self.hunted.head(_at_speed(x, y, self.hunted_speed), _velocity(view))


def _velocity(view: Array) -> tuple[Array, Array]:
    return view[..., 0], view[..., 1]


def _at_speed(x: Array, y: Array, speed: Array) -> tuple[Array, Array]:
    """Returns the velocity of this ``speed`` in the direction of (x, y)."""
    scale = speed / (distance(x, y) + _NEAR)
    return x * scale, y * scale


def _homesick(where: Array) -> Array:
    return _HOMESICK * jnp.sign(where) * jnp.maximum(jnp.abs(where) - _HOME, 0.0)
