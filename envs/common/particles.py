"""Particle physics of the multi-agent particle environments, as pure functions on struct-of-arrays.

``entities`` is the first axis, agents first, then landmarks; all arrays may share one trailing axis of worlds
(`batch_last`), which scalars then have alone. The rules are those of the package mpe2 1.1.1 (which jaxmarl
0.2.0 shares): forces from the positions before the step, positions moved by the old velocities, then
velocities damped, pushed and capped. `integrate` has an older order of moving too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Float, Int

from shoal.envs.core.options import param

MOVES = 5  # stay, left, right, down, up


@dataclass(frozen=True)
class Bodies:
    """What the entities of a world are; static, so that worlds without contacts compile without them."""

    size: tuple[float, ...]  # radius
    movable: tuple[bool, ...]
    collide: tuple[bool, ...]
    mass: tuple[float, ...] | None = None  # one each unless given
    max_speed: tuple[float, ...] | None = None  # unlimited unless given; inf for single ones

    def __post_init__(self) -> None:
        """Checks that all entries speak of the same entities."""
        for values in (self.movable, self.collide, self.mass, self.max_speed):
            if values is not None and len(values) != len(self.size):
                raise ValueError(f"{len(values)} values for {len(self.size)} entities")


@struct.dataclass
class Drift:
    """Numbers of free motion, [] f32 each."""

    time_step: Array = param(0.1, "seconds per step", low=0.0)
    damping: Array = param(0.25, "share of the velocity that a step takes away", low=0.0, high=1.0)


@struct.dataclass
class Motion(Drift):
    """Numbers of the motion of agents that are all equally strong, [] f32 each."""

    acceleration: Array = param(5.0, "force of a unit push", low=0.0)


@struct.dataclass
class Contact:
    """Numbers of the contacts between entities, [] f32 each."""

    contact_force: Array = param(100.0, "force per unit of overlap", low=0.0)
    contact_margin: Array = param(1e-3, "softness of contacts, length", low=1e-6)


@struct.dataclass
class Particles:
    """Where the entities are and how they move."""

    x: Array  # [N] f32
    y: Array  # [N] f32
    vx: Array  # [N] f32, per second
    vy: Array  # [N] f32


def push(move: Int[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Returns the unit force (x, y) of a move: 0 stay, 1 left, 2 right, 3 down, 4 up; others stay."""
    one = jnp.float32(1.0)
    x = jnp.where(move == 1, -one, jnp.where(move == 2, one, jnp.float32(0.0)))
    y = jnp.where(move == 3, -one, jnp.where(move == 4, one, jnp.float32(0.0)))
    return x, y


def column(values: Any, like: Array) -> np.ndarray:
    """Returns constants of the leading axes of ``like``, ready to meet it: ones for its trailing axes."""
    values = np.asarray(values)
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim))


def distance(dx: Float[Array, "*shape"], dy: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns the length of (dx, dy)."""
    return jnp.sqrt(dx * dx + dy * dy)


def contact_forces(
    particles: Particles, bodies: Bodies, contact: Contact
) -> tuple[Float[Array, "entities *batch"], Float[Array, "entities *batch"]]:
    """Returns the soft repulsion on every movable entity, summed over those that it collides with.

    Two entities at the very same place have no direction to part in and exert no force (mpe2 yields NaN).
    """
    hits, movable = np.asarray(bodies.collide, bool), np.asarray(bodies.movable, bool)
    pairs = (hits & movable)[:, None] & hits[None, :] & ~np.eye(len(hits), dtype=bool)
    if not pairs.any():
        return jnp.zeros_like(particles.x), jnp.zeros_like(particles.x)
    # Only as far as the last entity that can be pushed, and the last that can push.
    rows, others = (int(np.flatnonzero(pairs.any(axis=axis)).max()) + 1 for axis in (1, 0))
    size = np.asarray(bodies.size, np.float32)
    x, y = particles.x, particles.y
    dx, dy = x[:rows, None] - x[None, :others], y[:rows, None] - y[None, :others]
    squared = dx * dx + dy * dy
    apart = column(pairs[:rows, :others], squared) & (squared > 0.0)
    between = jnp.sqrt(jnp.where(apart, squared, 1.0))
    overlap = column(size[:rows, None] + size[None, :others], between) - between
    margin, force = _scalar(contact.contact_margin)[None], _scalar(contact.contact_force)[None]
    depth = jax.nn.softplus(overlap / margin) * margin
    scale = jnp.where(apart, force * depth / between, 0.0)
    unpushed = jnp.zeros_like(x[rows:])
    return (
        jnp.concatenate([jnp.sum(scale * dx, axis=1), unpushed]),
        jnp.concatenate([jnp.sum(scale * dy, axis=1), unpushed]),
    )


def integrate(
    particles: Particles,
    force_x: Float[Array, "entities *batch"],
    force_y: Float[Array, "entities *batch"],
    bodies: Bodies,
    motion: Drift,
    max_speed: Float[Array, "entities *batch"] | None = None,
    semi_implicit: bool = False,
) -> Particles:
    """Moves the movable entities by one step; forces on the others have no effect.

    Args:
        particles: before the step.
        force_x: on every entity.
        force_y: on every entity.
        bodies: what the entities are.
        motion: the numbers of the moment.
        max_speed: top speeds where they are numbers of the moment, instead of those of ``bodies``.
        semi_implicit: positions move by the new velocities, as in the first MPE of 2017 and what was built
            on it, instead of the old ones.
    """
    x, y, vx, vy = particles.x, particles.y, particles.vx, particles.vy
    movable = column(np.asarray(bodies.movable, bool), x)
    mass = column(np.asarray(bodies.mass or (1.0,) * len(bodies.size), np.float32), x)
    dt, keep = _scalar(motion.time_step), 1.0 - _scalar(motion.damping)
    new_vx = vx * keep + force_x / mass * dt
    new_vy = vy * keep + force_y / mass * dt
    if max_speed is None and bodies.max_speed is not None:
        max_speed = jnp.asarray(column(np.asarray(bodies.max_speed, np.float32), x))
    if max_speed is not None:
        speed = distance(new_vx, new_vy)
        brake = jnp.where(speed > max_speed, max_speed / jnp.where(speed > max_speed, speed, 1.0), 1.0)
        new_vx, new_vy = new_vx * brake, new_vy * brake
    by_x, by_y = (new_vx, new_vy) if semi_implicit else (vx, vy)
    return Particles(
        x=jnp.where(movable, x + by_x * dt, x),
        y=jnp.where(movable, y + by_y * dt, y),
        vx=jnp.where(movable, new_vx, vx),
        vy=jnp.where(movable, new_vy, vy),
    )


def _scalar(value: Any) -> Array:
    """Returns a number of each world ready to meet arrays of entities."""
    return jnp.asarray(value, jnp.float32)[None]
