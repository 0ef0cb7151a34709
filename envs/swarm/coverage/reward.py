"""What the places of the robots cost, and what an episode is judged by."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.envs.core.environment import MetricSpec
from shoal.envs.swarm.coverage.types import Options, State
from shoal.envs.swarm.planar import frame as planar
from shoal.envs.swarm.planar.frame import Measured, Nearest

METRICS = (
    MetricSpec(
        "cost", "the team's cost J at the last round, by the density as estimated then", 0.0, math.inf, False
    ),
    MetricSpec("cost_ratio", "the same over J of the start", 0.0, math.inf, False),
    MetricSpec("true_cost", "J at the last round by the true density", 0.0, math.inf, False),
    MetricSpec("true_cost_ratio", "the same over that of the start", 0.0, math.inf, False),
    MetricSpec("estimate_error", "mean distance of estimated from true weights", 0.0, math.inf, False),
)


def stand(options: Options, x: Float[Array, " agents"], y: Float[Array, " agents"]) -> Nearest:
    """Finds who is nearest to each point."""
    return planar.nearest(planar.distances(x, y, *map(jnp.asarray, options.points)))


def cost(near: Nearest, density: Float[Array, " points"]) -> Float[Array, ""]:
    """Returns J: half the distances from the points to their nearest robots, weighed by a density."""
    return 0.5 * jnp.sum(near.least * density)


def measure(
    options: Options,
    state: State,
    near: Nearest,
    density: Float[Array, " points"],
    density_before: Float[Array, " points"],
    density_judging: Float[Array, " points"],
) -> Measured:
    """Measures the new places, and what each robot's move contributed.

    Differences are summed point by point, since those of two sums would keep few digits.

    Args:
        options: sizes.
        state: before the round.
        near: who is nearest in the new places.
        density: by which this round's J is measured.
        density_before: by which that of the round before was.
        density_judging: by which J is measured with a robot put back.
    """
    team = state.team
    before = planar.distances(team.x, team.y, *map(jnp.asarray, options.points))
    rest, _ = planar.without(near, options.num_agents)
    here = near.least * density
    put_back = jnp.minimum(before, rest) * density_judging[None]
    return Measured(
        cost=0.5 * jnp.sum(here),
        change=0.5 * jnp.sum(here - jnp.min(before, axis=0) * density_before),
        contribution=0.5 * jnp.sum(here[None] - put_back, axis=1),
    )


def metrics(state: State) -> dict[str, Array]:
    """Returns the running values named in `METRICS`."""
    team = state.team
    return {
        "cost": team.cost,
        "cost_ratio": planar.share(team.cost, team.start_cost),
        "true_cost": state.true_cost,
        "true_cost_ratio": planar.share(state.true_cost, state.true_start_cost),
        "estimate_error": jnp.mean(jnp.abs(state.judged - state.weights)),
    }
