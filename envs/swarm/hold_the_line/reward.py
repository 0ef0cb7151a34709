"""What the places of the robots cost, and what an episode is judged by."""

from __future__ import annotations

import math

import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Bool, Float

from shoal.envs.core.environment import MetricSpec
from shoal.envs.swarm.hold_the_line.types import Options, Params, State
from shoal.envs.swarm.planar import frame as planar
from shoal.envs.swarm.planar.frame import Measured, Nearest, Team

METRICS = (
    MetricSpec("cost", "the team's cost J at the last round", 0.0, math.inf, False),
    MetricSpec("cost_ratio", "the same over J of the start", 0.0, math.inf, False),
    MetricSpec("idle_robots", "robots that are nearest to no point", 0.0, math.inf, False),
)


@struct.dataclass
class Standing:
    """How the robots stand to the line."""

    far: Array  # [A, K] f32, from each robot to each point
    near: Nearest
    idle: Array  # [A] bool, nearest to no point
    idle_cost: Array  # [] f32, what those cost


def stand(
    options: Options, params: Params, x: Float[Array, " agents"], y: Float[Array, " agents"]
) -> Standing:
    """Looks at where the robots are."""
    far = planar.distances(x, y, *map(jnp.asarray, options.line))
    near = planar.nearest(far)
    index = jnp.arange(options.num_agents, dtype=jnp.int32)[:, None]
    idle = ~jnp.any(near.owner[None] == index, axis=1)
    away = jnp.where(idle, jnp.min(far, axis=1), 0.0)
    return Standing(far=far, near=near, idle=idle, idle_cost=params.idle_weight * jnp.sum(away))


def cost(standing: Standing) -> Float[Array, ""]:
    """Returns J: from each point to its nearest robot, and what idle robots cost."""
    return jnp.sum(standing.near.least) + standing.idle_cost


def measure(
    options: Options,
    state: State,
    standing: Standing,
) -> Measured:
    """Measures the new places, and what each robot's move contributed.

    Differences are summed point by point, since those of two sums would keep few digits.
    """
    team, near = state.team, standing.near
    before = planar.distances(team.x, team.y, *map(jnp.asarray, options.line))
    rest, rest_owner = planar.without(near, options.num_agents)
    index = jnp.arange(options.num_agents, dtype=jnp.int32)[:, None]
    back = (before < rest) | ((before == rest) & (index < rest_owner))  # robot i, put back, owns the point
    moved = jnp.sum(near.least[None] - jnp.minimum(before, rest), axis=1)
    idle_cost = _idle_cost_put_back(state.params, standing, before, back)
    least_before = jnp.min(before, axis=0)
    change = jnp.sum(near.least - least_before) + (standing.idle_cost - state.idle_cost)
    return Measured(cost=cost(standing), change=change, contribution=moved + (standing.idle_cost - idle_cost))


def _idle_cost_put_back(
    params: Params,
    standing: Standing,
    before: Float[Array, "agents points"],
    back: Bool[Array, "agents points"],
) -> Float[Array, " agents"]:
    """Returns, for each robot i, what idle robots would cost with i where it was before."""
    near = standing.near
    index = jnp.arange(before.shape[0], dtype=jnp.int32)[:, None]
    own = (near.owner[None] == index).astype(jnp.float32)
    runner_up = (near.next_owner[None] == index).astype(jnp.float32)
    left = 1.0 - back.astype(jnp.float32)
    # [i, j]: the points that stay with j: its own, and those of i that fall to it; counts, so exact.
    points = left @ own.T + (left * own) @ runner_up.T
    mine = jnp.eye(before.shape[0], dtype=bool)
    idle = jnp.where(mine, ~jnp.any(back, axis=1)[:, None], points == 0.0)
    away = jnp.where(mine, jnp.min(before, axis=1)[:, None], jnp.min(standing.far, axis=1)[None])
    return params.idle_weight * jnp.sum(jnp.where(idle, away, 0.0), axis=1)


def metrics(team: Team, idle: Array) -> dict[str, Array]:
    """Returns the running values named in `METRICS`."""
    return {
        "cost": team.cost,
        "cost_ratio": planar.share(team.cost, team.start_cost),
        "idle_robots": idle.astype(jnp.float32),
    }
