"""What the robots in the plane share: moves, the bookkeeping of decisions and costs, and views.

Source: "A distributed, plug-n-play algorithm for multi-robot applications with a priori non-computable
objective functions", IJRR 38(7), 2019, arXiv 2111.07441: a team of robots chooses places, and only then is
what they cost together measured.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Float, Int

from shoal.envs.core.environment import Environment, Metadata, MetricSpec
from shoal.envs.core.errors import UserError
from shoal.envs.core.options import option, param
from shoal.envs.core.spaces import Box
from shoal.envs.core.types import Key, Observation, Outcome, PyTree

CITATION = "Kapoutsis, Chatzichristofis, Kosmatopoulos, IJRR 38(7):813-832, 2019, arXiv 2111.07441"
LOW, HIGH = 0.0, 1.0  # the domain, both ways
PLACE, SUBCOST = (0, 1), 2  # where a view holds the robot's own place and private subcost
_ROUND = 3  # numbers that a view holds of one round: place and subcost
_TINY = 1e-9  # no start costs less, so that shares of it stay finite
USUAL = 1000.0  # about what starts cost

StateT = TypeVar("StateT")
LevelT = TypeVar("LevelT")
Places = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Options:
    """What shapes arrays or picks code."""

    num_agents: int = option(2, "robots", low=1, high=1000)
    max_steps: int = option(300, "rounds in an episode", low=1, high=1_000_000)
    starts: str = option(
        "published", "the published places, or drawn uniformly", choices=("published", "uniform")
    )
    credit: str = option(
        "shared",
        "what pays a robot: the fall of the team's cost, or the part of it that its own move made",
        choices=("shared", "difference"),
    )
    memory: int = option(5, "earlier rounds in a view", low=1, high=1000)
    neighbours: int = option(0, "nearest robots in a view; 0: robots do not see each other", low=0, high=999)


@struct.dataclass
class Motion:
    """Numbers of moves and pay."""

    speed: Array = param(1.2, "largest speed along each axis, domains per unit of time", low=1e-6, high=1e6)
    time_step: Array = param(0.01, "length of a round, units of time", low=1e-6, high=1e3)
    reward_norm: Array = param(1.0, "what rewards are divided by", low=1e-6)


@struct.dataclass
class Team:
    """Where the robots are and were, and what that cost."""

    x: Array  # [A] f32
    y: Array  # [A] f32
    subcost: Array  # [A] f32, the private subcosts J_i
    past_x: Array  # [M, A] f32, the rounds before, the last one first; the start where there were fewer
    past_y: Array  # [M, A] f32
    past_subcost: Array  # [M, A] f32
    cost: Array  # [] f32, the team's cost J of this round
    start_cost: Array  # [] f32, J of the start
    t: Array  # [] i32, rounds so far


@struct.dataclass
class Measured:
    """What a round's places cost."""

    cost: Array  # [] f32, J
    change: Array  # [] f32, J minus that of the round before
    contribution: Array  # [A] f32, J minus what it would be with this robot where it was before


# Places and moves ------------------------------------------------------------------------------------------


def place(
    options: Options, key: Key, published: Mapping[int, Places]
) -> tuple[Float[Array, " agents"], Float[Array, " agents"]]:
    """Returns the robots' starts, x and y; ``published`` holds them by number of robots."""
    if options.starts == "published":
        places = np.asarray(published[options.num_agents], np.float32)
        return jnp.asarray(places[:, 0]), jnp.asarray(places[:, 1])
    u = jax.random.uniform(key, (2, options.num_agents), minval=LOW, maxval=HIGH)
    return u[0], u[1]


def opened(
    options: Options, x: Float[Array, " agents"], y: Float[Array, " agents"], cost: Float[Array, ""]
) -> Team:
    """Returns a team that has not moved yet: all its past is its start."""
    x, y = jnp.asarray(x), jnp.asarray(y)
    subcost = jnp.broadcast_to(cost, x.shape)
    past_x, past_y, past_subcost = (
        jnp.broadcast_to(part[None], (options.memory, *part.shape)) for part in (x, y, subcost)
    )
    return Team(
        x=x,
        y=y,
        subcost=subcost,
        past_x=past_x,
        past_y=past_y,
        past_subcost=past_subcost,
        cost=cost,
        start_cost=cost,
        t=jnp.zeros((), jnp.int32),
    )


def move(
    team: Team, action: Float[Array, "agents 2"], params: Motion
) -> tuple[Float[Array, " agents"], Float[Array, " agents"]]:
    """Returns the places that the robots choose; actions that are not finite stay, walls stop."""
    action = jnp.clip(jnp.where(jnp.isfinite(action), action, 0.0), -1.0, 1.0)
    reach = params.speed * params.time_step
    x, y = (
        jnp.clip(old + reach * part, LOW, HIGH)
        for old, part in ((team.x, action[:, 0]), (team.y, action[:, 1]))
    )
    return x, y


def remember(team: Team, x: Float[Array, " agents"], y: Float[Array, " agents"], seen: Measured) -> Team:
    """Returns the team in its new places, after what they cost was measured."""

    def shifted(past: Array, newest: Array) -> Array:
        return jnp.concatenate([newest[None], past[:-1]])

    return Team(
        x=x,
        y=y,
        subcost=team.subcost + seen.contribution,
        past_x=shifted(team.past_x, team.x),
        past_y=shifted(team.past_y, team.y),
        past_subcost=shifted(team.past_subcost, team.subcost),
        cost=seen.cost,
        start_cost=team.start_cost,
        t=team.t + 1,
    )


def share(cost: Float[Array, ""], start_cost: Float[Array, ""]) -> Float[Array, ""]:
    """Returns a cost over that of the start."""
    return cost / jnp.maximum(start_cost, _TINY)


# Who is nearest --------------------------------------------------------------------------------------------


@struct.dataclass
class Nearest:
    """The two robots nearest to each point; of robots equally far the first is nearer."""

    least: Array  # [K] f32, distance of the nearest
    owner: Array  # [K] i32, who it is
    next_least: Array  # [K] f32, distance of the second, infinite where there is none
    next_owner: Array  # [K] i32


def distances(
    x: Float[Array, " agents"],
    y: Float[Array, " agents"],
    points_x: Float[Array, " points"],
    points_y: Float[Array, " points"],
) -> Float[Array, "agents points"]:
    """Returns how far every robot is from every point."""
    dx, dy = points_x[None] - x[:, None], points_y[None] - y[:, None]
    # Compared with its own minimum later: what is computed twice may be rounded in two ways.
    return jax.lax.optimization_barrier(jnp.sqrt(dx * dx + dy * dy))


def nearest(far: Float[Array, "agents points"]) -> Nearest:
    """Finds the nearest two robots of each point, without `argmin`, which is slow on CPU."""
    index = jnp.arange(far.shape[0], dtype=jnp.int32)[:, None]

    def first(distance: Array) -> tuple[Array, Array]:
        least = jnp.min(distance, axis=0)
        return least, jnp.min(jnp.where(distance == least[None], index, far.shape[0]), axis=0)

    least, owner = first(far)
    next_least, next_owner = first(jnp.where(index == owner[None], jnp.inf, far))
    return Nearest(least=least, owner=owner, next_least=next_least, next_owner=next_owner)


def without(
    near: Nearest, agents: int
) -> tuple[Float[Array, "{agents} points"], Int[Array, "{agents} points"]]:
    """Returns, for each robot, who is nearest to the points when it is gone: distance and robot."""
    mine = near.owner[None] == jnp.arange(agents, dtype=jnp.int32)[:, None]
    return (
        jnp.where(mine, near.next_least[None], near.least[None]),
        jnp.where(mine, near.next_owner[None], near.owner[None]),
    )


# What is seen ----------------------------------------------------------------------------------------------


def view_size(options: Options, extra: int) -> int:
    """Returns how many numbers a robot sees, ``extra`` of them the world's own."""
    return _ROUND * (1 + options.memory) + extra + 2 * options.neighbours + 1


def observe(options: Options, team: Team, extra: Sequence[Array] = ()) -> Observation:
    """Shows every robot its own rounds, what the world adds, and perhaps its neighbours.

    Args:
        options: what is in a view.
        team: whom to show it to.
        extra: what the world adds, [A] f32 each.
    """
    agents = options.num_agents
    unit = jnp.maximum(team.start_cost, _TINY)
    now = [team.x, team.y, team.subcost / unit]
    rounds = jnp.stack([team.past_x, team.past_y, team.past_subcost / unit], axis=1)  # [M, 3, A]
    elapsed = jnp.full((1, agents), team.t.astype(jnp.float32) / options.max_steps)
    rows = [
        jnp.stack(now),
        rounds.reshape(-1, agents),
        *(row[None] for row in extra),
        *_neighbours(options, team),
        elapsed,
    ]
    return Observation(
        view=jnp.concatenate(rows).T,
        action_mask=jnp.ones((agents, 2), bool),
        alive=jnp.ones(agents, bool),
    )


def _neighbours(options: Options, team: Team) -> list[Float[Array, "rows agents"]]:
    """Returns the ways to the nearest robots, nearest first: x, y, x, y, ..."""
    count = options.neighbours
    if count == 0:
        return []
    dx, dy = team.x[None, :] - team.x[:, None], team.y[None, :] - team.y[:, None]
    far = jnp.where(jnp.eye(options.num_agents, dtype=bool), jnp.inf, dx * dx + dy * dy)
    _, who = jax.lax.top_k(-far, count)  # [A, N]
    ways = jnp.stack([jnp.take_along_axis(part, who, axis=1) for part in (dx, dy)], axis=2)
    return [ways.reshape(options.num_agents, 2 * count).T]


def whole(options: Options, team: Team) -> Float[Array, " features"]:
    """Returns the team as a critic reads it: places, subcosts, the rounds before, J, the time."""
    unit = jnp.maximum(team.start_cost, _TINY)
    parts = [team.x, team.y, team.subcost / unit, team.past_x, team.past_y, team.past_subcost / unit]
    last = jnp.stack(
        [team.cost / unit, team.start_cost / USUAL, team.t.astype(jnp.float32) / options.max_steps]
    )
    return jnp.concatenate([*(part.ravel() for part in parts), last])


def whole_size(options: Options) -> int:
    """Returns how many numbers `whole` has."""
    return _ROUND * (1 + options.memory) * options.num_agents + 3


# Pay and ends ----------------------------------------------------------------------------------------------


def outcome(
    options: Options, team: Team, seen: Measured, params: Motion, metrics: dict[str, Array]
) -> Outcome:
    """Pays for a round; only the time limit ends an episode, and it truncates."""
    nobody = jnp.zeros(team.x.shape, bool)
    shared = jnp.broadcast_to(seen.change, team.x.shape)
    paid = shared if options.credit == "shared" else seen.contribution
    return Outcome(
        reward=-paid / params.reward_norm,
        terminated=jnp.zeros((), bool),
        truncated=team.t >= options.max_steps,
        agent_done=nobody,
        joined=nobody,
        metrics=metrics,
    )


class Planar(Environment[StateT, LevelT]):
    """The frame of both worlds: a world names its rules, its starts and what planners need to know.

    The rules are functions of the options first.
    """

    options: Options
    metrics: ClassVar[tuple[MetricSpec, ...]]
    published: ClassVar[Mapping[int, Places]]  # number of robots -> starts
    cao: ClassVar[Mapping[str, float]]  # the published numbers of the planner CAO
    extra_view: ClassVar[int] = 0  # numbers that the world adds to a view

    @staticmethod
    @abc.abstractmethod
    def rules(options: Any, state: Any, action: Array) -> tuple[Any, Outcome]:
        """Plays one round and settles it."""

    @property
    @abc.abstractmethod
    def state_size(self) -> int:
        """How many numbers the global state has."""

    def __init__(self, id: str = "", options: Any = None, params: Any = None) -> None:
        """Checks options and numbers.

        Raises:
            UserError: for one out of its range, and for a team without published starts.
        """
        super().__init__(id, options, params)
        o = self.options
        if o.starts == "published" and o.num_agents not in self.published:
            known = ", ".join(map(str, self.published))
            raise UserError(
                f"num_agents={o.num_agents} has no published starts (known: {known}); use starts=uniform"
            )
        if o.neighbours >= o.num_agents:
            raise UserError(f"neighbours={o.neighbours} must be less than num_agents={o.num_agents}")

    def make_metadata(self) -> Metadata:
        """Returns like robots on one team."""
        o, params = self.options, self.params
        agents, size = o.num_agents, view_size(o, self.extra_view)
        view, action = Box(-np.inf, np.inf, (size,)), Box(-1.0, 1.0, (2,))
        return Metadata(
            agents=tuple(f"robot_{i}" for i in range(agents)),
            teams=(0,) * agents,
            agent_types=(0,) * agents,
            groups={"robots": tuple(range(agents))},
            observation_spaces=(view,) * agents,
            action_spaces=(action,) * agents,
            observation_space=view,
            action_space=action,
            state_space=Box(-np.inf, np.inf, (self.state_size,)),
            max_steps=o.max_steps,
            time_limit_is_termination=False,
            team_reward="shared" if o.credit == "shared" else "sum",
            metric_specs=self.metrics,
            citation=CITATION,
            extras={
                "planning": {
                    "place": PLACE,
                    "subcost": SUBCOST,
                    "bounds": (LOW, HIGH),
                    "time_step": float(params.time_step),
                    "reach": float(params.speed * params.time_step),
                    "cao": {**self.cao, "rounds": o.max_steps},
                }
            },
        )

    def draws(self, key: Key, state: StateT) -> PyTree:
        """Returns nothing: a round consumes no randomness."""
        return ()

    def dynamics(self, state: StateT, action: Array, draws: PyTree) -> tuple[StateT, Outcome]:
        """Plays one round by the world's `rules`."""
        new: tuple[StateT, Outcome] = self.rules(self.options, state, action)
        return new
