"""What is paid, and what an episode is judged by. For one world; batches come from `jax.vmap`."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from shoal.envs.core.environment import MetricSpec
from shoal.envs.traffic.junction.types import Cars, Params, Tally

METRICS = (
    MetricSpec("success", "1 where no cars have shared a cell so far", 0.0, 1.0, True),
    MetricSpec("collisions", "cars that share a cell, summed over the steps so far", 0.0, math.inf, False),
    MetricSpec("cars_passed", "cars that have left at the end of their route", 0.0, math.inf, True),
    MetricSpec("mean_wait", "steps since a car came, mean over the cars of all steps", 0.0, math.inf, False),
)


def crashed(cars: Cars) -> Bool[Array, " slots"]:
    """Returns which cars share their cell with another one; nobody drives on cell 0."""
    same = cars.cell[None] == cars.cell[:, None]
    return (cars.cell != 0) & (jnp.sum(same, axis=1, dtype=jnp.int32) > 1)


def rewards(params: Params, cars: Cars, crash: Bool[Array, " slots"]) -> Float[Array, " slots"]:
    """Returns what each car that is there now pays: more with every step, and most where it shares a cell."""
    cost = cars.wait.astype(jnp.float32) * params.wait_cost + jnp.where(crash, params.crash_cost, 0.0)
    return jnp.where(cars.alive, -cost, 0.0)


def count(tally: Tally, cars: Cars, crash: Bool[Array, " slots"], left: Bool[Array, " slots"]) -> Tally:
    """Adds a step."""
    return Tally(
        collisions=tally.collisions + jnp.sum(crash, dtype=jnp.int32),
        passed=tally.passed + jnp.sum(left, dtype=jnp.int32),
        driven=tally.driven + jnp.sum(cars.alive, dtype=jnp.int32),
        waited=tally.waited + jnp.sum(cars.wait, dtype=jnp.int32).astype(jnp.float32),
    )


def metrics(tally: Tally, failed: Bool[Array, ""]) -> dict[str, Array]:
    """Returns the running values named in `METRICS`."""
    return {
        "success": 1.0 - failed.astype(jnp.float32),
        "collisions": tally.collisions.astype(jnp.float32),
        "cars_passed": tally.passed.astype(jnp.float32),
        "mean_wait": tally.waited / jnp.maximum(tally.driven, 1).astype(jnp.float32),
    }
