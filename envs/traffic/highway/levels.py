"""What a reset draws: a convoy made vehicle by vehicle, each ahead of all before it."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array

from shoal.envs.core.types import Key
from shoal.envs.traffic.highway.motion import centre
from shoal.envs.traffic.highway.types import (
    AGGRESSIVE,
    DEFENSIVE,
    DRIVER_START,
    LEARNER,
    LEARNER_START,
    NORMAL,
    SPEEDS,
    STYLES,
    Level,
    Options,
    Params,
    Traffic,
    Vehicles,
)

HEADWAY = 12.0  # m, to which the distance of a second is added
JITTER = 0.1  # of distances, either way
FIRST = 3.0  # distances from the start of the road to the first vehicle, less its own


def sample_level(options: Options, key: Key, params: Params) -> Level:
    """Draws the traffic, and another one where episodes may be followed by an encore."""
    many = 2 if options.metrics == "iplan" else 1
    u = jax.random.uniform(key, (many, 5, options.vehicles))
    encore = traffic(options, u[1], params) if many == 2 else ()
    return Level(traffic=traffic(options, u[0], params), encore=encore, params=params)


def traffic(options: Options, u: Array, params: Params) -> Traffic:
    """Makes the vehicles of uniforms [5, N]: lane, speed, distance, style, exponent."""
    learns = jnp.asarray(options.is_learner)
    lane = jnp.minimum((u[0] * options.lanes).astype(jnp.int32), options.lanes - 1)
    if options.start_lane >= 0:
        lane = jnp.where(learns, options.start_lane, lane)
    low, high = DRIVER_START
    speed = jnp.where(learns, LEARNER_START, low + (high - low) * u[1])
    spacing = jnp.where(learns, params.spacing, 1.0 / params.density)
    distance = spacing * (HEADWAY + speed) * math.exp(-5.0 / 40.0 * options.lanes)
    gaps = distance * (1.0 - JITTER + 2.0 * JITTER * u[2])
    # Nothing is added after the sum: phases show an addition that a compiler fuses in one program only.
    x = jnp.cumsum(gaps.at[0].add(FIRST * distance[0]))
    style = jnp.where(u[3] < params.aggressive, jnp.int32(AGGRESSIVE), NORMAL)
    style = jnp.where((u[3] >= params.aggressive) & (u[3] > 1.0 - params.defensive), DEFENSIVE, style)
    bounds = jnp.stack([jnp.asarray(params.exponent_low), jnp.asarray(params.exponent_high)])
    least, most = (sum(jnp.where(style == s + 1, row[s], 0.0) for s in range(STYLES)) for row in bounds)
    exponent = least + (most - least) * u[4]
    return Traffic(
        x=x,
        lane=lane,
        speed=speed,
        kind=jnp.where(learns, LEARNER, style),
        exponent=jnp.where(learns, 0.0, exponent),
    )


def opening(made: Traffic, params: Params) -> Vehicles:
    """Returns the vehicles, [N, *B] each, as an episode opens."""
    still, nobody = jnp.zeros_like(made.x), jnp.zeros_like(made.lane, bool)
    y = centre(made.lane)
    delays = (jnp.asarray(params.delay[s])[None] for s in range(STYLES))
    delay = sum(jnp.where(made.kind == s, d, 0.0) for s, d in enumerate(delays, start=NORMAL))
    phase = jnp.mod(math.pi * (made.x + y), jnp.maximum(delay, 1e-6))
    return Vehicles(
        x=made.x,
        y=y,
        heading=still,
        speed=made.speed,
        lane=made.lane,
        target_lane=made.lane,
        target_speed=jnp.where(made.kind == LEARNER, SPEEDS[1], made.speed),
        crashed=nobody,
        push_x=still,
        push_y=still,
        pushed=nobody,
        waited=jnp.where(made.kind == LEARNER, 0.0, phase),
        ticks=jnp.zeros_like(made.lane),
        kind=made.kind,
        exponent=made.exponent,
    )
