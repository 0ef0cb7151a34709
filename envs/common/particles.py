"""Particle physics of the multi-agent particle environments, as pure functions on struct-of-arrays.

One world at a time: ``entities`` is the only axis, agents first, then landmarks. The rules are those of the
package mpe2 1.1.1 (which jaxmarl 0.2.0 shares): forces from the positions before the step, positions moved by
the old velocities, then velocities damped, pushed and capped.
"""

from __future__ import annotations

from dataclasses import dataclass

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
class Motion:
    """Numbers of free motion, [] f32 each."""

    time_step: Array = param(0.1, "seconds per step", low=0.0)
    damping: Array = param(0.25, "share of the velocity that a step takes away", low=0.0, high=1.0)
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


def contact_forces(
    particles: Particles, bodies: Bodies, contact: Contact
) -> tuple[Float[Array, " entities"], Float[Array, " entities"]]:
    """Returns the soft repulsion between all pairs that collide.

    Two entities at the very same place have no direction to part in and exert no force (mpe2 yields NaN).
    """
    nothing = jnp.zeros(len(bodies.size), jnp.float32)
    hits = np.asarray(bodies.collide, bool)
    pairs = hits[:, None] & hits[None, :] & ~np.eye(len(hits), dtype=bool)
    if not pairs.any():
        return nothing, nothing
    size = np.asarray(bodies.size, np.float32)
    dx = particles.x[:, None] - particles.x[None, :]
    dy = particles.y[:, None] - particles.y[None, :]
    squared = dx * dx + dy * dy
    apart = pairs & (squared > 0.0)
    distance = jnp.sqrt(jnp.where(apart, squared, 1.0))
    overlap = size[:, None] + size[None, :] - distance
    depth = jax.nn.softplus(overlap / contact.contact_margin) * contact.contact_margin
    scale = jnp.where(apart, contact.contact_force * depth / distance, 0.0)
    return jnp.sum(scale * dx, axis=1), jnp.sum(scale * dy, axis=1)


def integrate(
    particles: Particles,
    force_x: Float[Array, " entities"],
    force_y: Float[Array, " entities"],
    bodies: Bodies,
    motion: Motion,
) -> Particles:
    """Moves the movable entities by one step; forces on the others have no effect."""
    movable = np.asarray(bodies.movable, bool)
    dt, keep = motion.time_step, 1.0 - motion.damping
    vx = particles.vx * keep + force_x / _mass(bodies) * dt
    vy = particles.vy * keep + force_y / _mass(bodies) * dt
    if bodies.max_speed is not None:
        limit = np.asarray(bodies.max_speed, np.float32)
        speed = jnp.sqrt(vx * vx + vy * vy)
        brake = jnp.where(speed > limit, limit / jnp.where(speed > limit, speed, 1.0), 1.0)
        vx, vy = vx * brake, vy * brake
    return Particles(
        x=jnp.where(movable, particles.x + particles.vx * dt, particles.x),
        y=jnp.where(movable, particles.y + particles.vy * dt, particles.y),
        vx=jnp.where(movable, vx, particles.vx),
        vy=jnp.where(movable, vy, particles.vy),
    )


def _mass(bodies: Bodies) -> np.ndarray:
    return np.asarray(bodies.mass or (1.0,) * len(bodies.size), np.float32)
