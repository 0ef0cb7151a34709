"""What is paid, and what an episode is judged by. Batches lie in trailing axes."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from shoal.envs.core.environment import MetricSpec
from shoal.envs.traffic.highway.motion import TINY, centre, not_zero
from shoal.envs.traffic.highway.types import LANE_WIDTH, LENGTH, ROAD, Options, Params, Tally, Vehicles


def specs(options: Options) -> tuple[MetricSpec, ...]:
    """Declares what an episode is judged by."""
    return (
        MetricSpec("success_rate", "learners that end without a crash, percent", 0.0, 100.0, True),
        MetricSpec("survival_time", "steps before a crash, mean over learners", 0.0, options.max_steps, True),
        MetricSpec("average_speed", "m/s while not crashed, mean over learners", -math.inf, math.inf, True),
        MetricSpec(
            "episodic_reward", "sum of rewards, mean over learners, as published", -math.inf, math.inf, True
        ),
    )


def rewards(params: Params, v: Vehicles, lanes: int) -> Float[Array, "vehicles *batch"]:
    """Returns what each vehicle would be paid for being where it is, between 0 and 1; 0 off the road."""
    slow, fast = params.slow[None], params.fast[None]
    forward = jnp.clip((v.speed * jnp.cos(v.heading) - slow) / not_zero(fast - slow), 0.0, 1.0)
    right = v.target_lane.astype(jnp.float32) / max(lanes - 1, 1)
    crash, lane, speed = (
        x[None] for x in (params.collision_reward, params.right_lane_reward, params.speed_reward)
    )
    raw = crash * v.crashed.astype(jnp.float32) + lane * right + speed * forward
    paid = (raw - crash) / jnp.maximum(lane + speed - crash, TINY)
    on_road = (jnp.abs(v.y - centre(v.lane)) <= 0.5 * LANE_WIDTH) & (v.x >= -LENGTH) & (v.x < ROAD + LENGTH)
    return jnp.where(on_road, paid, 0.0)


def count(
    tally: Tally,
    survives: Bool[Array, "agents *batch"],
    speed: Float[Array, "agents *batch"],
    paid: Float[Array, "agents *batch"],
) -> Tally:
    """Adds one step."""
    return Tally(
        steps=tally.steps + survives.astype(jnp.int32),
        metres=tally.metres + jnp.where(survives, speed, 0.0),
        reward=tally.reward + paid,
    )


def metrics(options: Options, tally: Tally) -> dict[str, Array]:
    """Returns the running values named in `specs`."""
    steps = tally.steps.astype(jnp.float32)
    whole = tally.steps >= options.max_steps
    return {
        "success_rate": 100.0 * jnp.mean(whole.astype(jnp.float32), axis=0),
        "survival_time": jnp.mean(steps, axis=0),
        "average_speed": jnp.mean(tally.metres / (steps + 1e-10), axis=0),
        "episodic_reward": jnp.mean(tally.reward, axis=0),
    }
