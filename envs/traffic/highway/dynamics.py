"""A step: what learners aim at, then frames in which drivers decide, vehicles move and collide."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int

from shoal.envs.traffic.highway import collisions, drivers, motion
from shoal.envs.traffic.highway.motion import centre
from shoal.envs.traffic.highway.neighbours import Ranking, ranking
from shoal.envs.traffic.highway.types import (
    FASTER,
    LANE_WIDTH,
    LEFT,
    LENGTH,
    RIGHT,
    ROAD,
    SLOWER,
    SPEEDS,
    Options,
    Params,
    Vehicles,
)


def aim(options: Options, v: Vehicles, action: Int[Array, "agents *batch"]) -> Vehicles:
    """Gives learners new target lanes and speeds; unknown actions change nothing.

    A lane is counted from the one aimed at, a speed from the actual one.
    """
    learners = options.learners
    x, y, lane = v.x[learners], v.y[learners], v.target_lane[learners]
    side = jnp.where(action == RIGHT, 1, jnp.where(action == LEFT, -1, 0))
    to = jnp.clip(lane + side, 0, options.lanes - 1)
    reachable = (jnp.abs(y - centre(to)) <= 2 * LANE_WIDTH) & (x >= 0) & (x < ROAD + LENGTH)
    lane = jnp.where(reachable, to, lane)
    top, (low, high) = len(SPEEDS) - 1, (SPEEDS[0], SPEEDS[-1])
    index = jnp.clip(jnp.round((v.speed[learners] - low) / (high - low) * top), 0, top)
    faster = jnp.where(action == FASTER, 1.0, jnp.where(action == SLOWER, -1.0, 0.0))
    speed = low + (high - low) / top * jnp.clip(index + faster, 0, top)
    speed = jnp.where(faster != 0, speed, v.target_speed[learners])
    return replace(
        v,
        target_lane=_put(v.target_lane, lane, learners),
        target_speed=_put(v.target_speed, speed, learners),
    )


def _put(every: Array, own: Array, learners: np.ndarray) -> Array:
    """Returns values of all vehicles with those of the learners replaced; selects fuse, unlike scatters."""
    place = np.zeros(every.shape[0], np.int32)
    place[learners] = np.arange(len(learners))
    is_learner = np.zeros(every.shape[0], bool)
    is_learner[learners] = True
    return jnp.where(is_learner.reshape(-1, *(1,) * (every.ndim - 1)), own[place], every)


def frame(options: Options, params: Params, v: Vehicles, order: Ranking) -> tuple[Vehicles, Ranking]:
    """Plays one frame."""
    seconds = options.frame_seconds
    v, wheel, acceleration = drivers.decide(options, params, v, order)
    v = motion.integrate(v, wheel, acceleration, seconds, options.lanes)
    order = ranking(v.x)
    return collisions.collide(v, order, seconds), order


def drive(options: Options, params: Params, v: Vehicles, action: Int[Array, "agents *batch"]) -> Vehicles:
    """Plays the frames of one step; pushes of the last one are still pending."""
    v = aim(options, v, action)

    def play(carry: tuple[Vehicles, Ranking], _: None) -> tuple[tuple[Vehicles, Ranking], None]:
        return frame(options, params, *carry), None

    (v, _), _ = jax.lax.scan(play, (v, ranking(v.x)), None, length=options.frames)
    return v
