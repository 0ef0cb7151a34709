"""How vehicles steer and move: two nested proportional controllers and a kinematic bicycle.

Source: spec A1.6; the bicycle is that of Polack et al., IV 2017. Batches lie in trailing axes.
"""

from __future__ import annotations

import math
from dataclasses import replace

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from shoal.envs.traffic.highway.types import LANE_WIDTH, LENGTH, TOP_SPEED, Vehicles

SPEED_SECONDS = 0.6  # time constants of the controllers
LATERAL_SECONDS = 0.6
HEADING_SECONDS = 0.2
STEEPEST_COURSE = math.pi / 4  # towards a lane, rad
STEEPEST_WHEEL = math.pi / 3  # rad
HALF = LENGTH / 2  # from the centre to an axle, m
TINY = 0.01

Numbers = Float[Array, "*batch"]


def not_zero(x: Numbers) -> Numbers:
    """Returns ``x``, but at least 0.01 away from zero, upwards for zero itself."""
    return jnp.where(jnp.abs(x) > TINY, x, jnp.where(x >= 0, TINY, -TINY))


def wrap(angle: Numbers) -> Numbers:
    """Returns the angle between -pi and pi."""
    return jnp.mod(angle + math.pi, 2 * math.pi) - math.pi


def lane_at(y: Numbers, lanes: int) -> Int[Array, "*batch"]:
    """Returns the nearest lane, the left one half way between two."""
    return jnp.clip(jnp.ceil(y / LANE_WIDTH - 0.5), 0, lanes - 1).astype(jnp.int32)


def centre(lane: Int[Array, "*batch"]) -> Numbers:
    """Returns where a lane's centre lies, m."""
    return LANE_WIDTH * lane.astype(jnp.float32)


def steering(v: Vehicles) -> Numbers:
    """Returns the angle of the wheels [N, *B], rad, that brings each vehicle into its target lane."""
    speed = not_zero(v.speed)
    lateral = -(v.y - centre(v.target_lane)) / LATERAL_SECONDS
    course = jnp.arcsin(jnp.clip(lateral / speed, -1.0, 1.0))
    course = jnp.clip(course, -STEEPEST_COURSE, STEEPEST_COURSE)
    turn = wrap(course - v.heading) / HEADING_SECONDS
    # The tangent of the slip's arcsine, which single precision may take past a right angle.
    slip = jnp.clip(HALF * turn / speed, -1.0, 1.0)
    slip = slip / jnp.sqrt(jnp.maximum(1.0 - slip * slip, 1e-12))
    return jnp.clip(jnp.arctan(2.0 * slip), -STEEPEST_WHEEL, STEEPEST_WHEEL)


def cruising(v: Vehicles) -> Numbers:
    """Returns the acceleration [N, *B], m/s2, that brings each vehicle to its target speed."""
    return (v.target_speed - v.speed) / SPEED_SECONDS


def applied(v: Vehicles, wheel: Numbers, acceleration: Numbers) -> tuple[Numbers, Numbers]:
    """Returns steering and acceleration as the vehicle takes them: wrecks roll out, speeds are limited."""
    wheel = jnp.where(v.crashed, 0.0, wheel)
    acceleration = jnp.where(v.crashed, -v.speed, acceleration)
    most, least = TOP_SPEED - v.speed, -TOP_SPEED - v.speed
    acceleration = jnp.where(v.speed > TOP_SPEED, jnp.minimum(acceleration, most), acceleration)
    return wheel, jnp.where(v.speed < -TOP_SPEED, jnp.maximum(acceleration, least), acceleration)


def integrate(v: Vehicles, wheel: Numbers, acceleration: Numbers, seconds: float, lanes: int) -> Vehicles:
    """Moves every vehicle by one frame, by its old speed and pending push."""
    wheel, acceleration = applied(v, wheel, acceleration)
    slip = jnp.arctan(0.5 * jnp.tan(wheel))
    along = v.heading + slip
    y = v.y + v.speed * jnp.sin(along) * seconds + jnp.where(v.pushed, v.push_y, 0.0)
    return replace(
        v,
        x=v.x + v.speed * jnp.cos(along) * seconds + jnp.where(v.pushed, v.push_x, 0.0),
        y=y,
        heading=v.heading + v.speed * jnp.sin(slip) / HALF * seconds,
        speed=v.speed + acceleration * seconds,
        lane=lane_at(y, lanes),
        crashed=v.crashed | v.pushed,
        push_x=jnp.zeros_like(v.push_x),
        push_y=jnp.zeros_like(v.push_y),
        pushed=jnp.zeros_like(v.pushed),
        ticks=v.ticks + 1,
    )
