"""How the scripted agents of the particle worlds steer, by moves or by real pushes."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from shoal.envs.common.particles import Drift


def nearest_move(
    x: Float[Array, "*rows"], y: Float[Array, "*rows"], reach: Float[Array, "*rows"] | float
) -> Int[Array, "*rows"]:
    """Returns the move (0 stay, 1 left, 2 right, 3 down, 4 up) by ``reach`` that ends nearest to (x, y)."""
    stay = jnp.maximum(jnp.abs(x), jnp.abs(y)) <= 0.5 * reach
    sideways = jnp.where(x > 0.0, 2, 1)
    upright = jnp.where(y > 0.0, 4, 3)
    return jnp.where(stay, 0, jnp.where(jnp.abs(x) >= jnp.abs(y), sideways, upright)).astype(jnp.int32)


def nearest_push(
    x: Float[Array, "*rows"], y: Float[Array, "*rows"], reach: Float[Array, "*rows"] | float
) -> Float[Array, "*rows 5"]:
    """Returns the real push, by up to ``reach`` each way, that ends nearest to (x, y)."""
    right, up = (jnp.clip(part / jnp.maximum(reach, 1e-6), -1.0, 1.0) for part in (x, y))
    parts = (jnp.zeros_like(x), -right, right, -up, up)
    return jnp.stack([jnp.maximum(part, 0.0) for part in parts], axis=-1)


class Walker:
    """Steers one kind of agent.

    A push changes the velocity now and the position one step later, so places are aimed at two steps ahead.
    """

    def __init__(self, motion: Drift, acceleration: Array, continuous: bool = False) -> None:
        """Reads how agents move.

        Args:
            motion: the world's numbers.
            acceleration: force of a unit push, [] f32.
            continuous: whether actions are real pushes.
        """
        self.continuous = continuous
        self.keep = 1.0 - jnp.asarray(motion.damping)
        self.dt = jnp.asarray(motion.time_step)
        self.faster = jnp.asarray(acceleration) * self.dt  # how much faster a push makes

    def go(self, way: tuple[Array, Array], velocity: tuple[Array, Array]) -> Array:
        """Returns the actions [*B, G] or [*B, G, 5] that bring nearest to a place in two steps.

        Args:
            way: to the place, x and y, [*B, G] each.
            velocity: of the agent, x and y.
        """
        carried = self.dt * (1.0 + self.keep)
        x, y = (part - speed * carried for part, speed in zip(way, velocity, strict=True))
        return self._act(x, y, self.faster * self.dt)

    def head(self, wanted: tuple[Array, Array], velocity: tuple[Array, Array]) -> Array:
        """Returns the actions [*B, G] or [*B, G, 5] that bring the velocity nearest to the one ``wanted``."""
        x, y = (part - speed * self.keep for part, speed in zip(wanted, velocity, strict=True))
        return self._act(x, y, self.faster)

    def _act(self, x: Array, y: Array, reach: Array) -> Array:
        reach = jnp.broadcast_to(reach, x.shape)
        return nearest_push(x, y, reach) if self.continuous else nearest_move(x, y, reach)
