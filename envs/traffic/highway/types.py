"""What the highway is made of. Vehicles lie in the first axis, in the order in which they were made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import struct
from jax import Array

from shoal.envs.core.errors import UserError
from shoal.envs.core.options import option, param

ACTIONS = 5
LEFT, IDLE, RIGHT, FASTER, SLOWER = range(ACTIONS)
LEARNER, NORMAL, AGGRESSIVE, DEFENSIVE = range(4)
STYLES = 3  # of scripted drivers

LANE_WIDTH = 4.0  # m
LENGTH, WIDTH = 5.0, 2.0  # of a vehicle, m
ROAD = 10_000.0  # m
SPEEDS = (20.0, 25.0, 30.0)  # that a learner aims at, m/s
TOP_SPEED = 40.0  # m/s, either way
LEARNER_START, DRIVER_START = 25.0, (21.0, 24.0)  # m/s
FEATURES = 5  # presence, x, y, vx, vy


@dataclass(frozen=True)
class Options:
    """What shapes arrays or picks code."""

    num_agents: int = option(5, "learning vehicles", low=1, high=100)
    drivers: int = option(50, "scripted vehicles, shared out behind the learners", low=0, high=500)
    lanes: int = option(8, "lanes", low=1, high=30)
    start_lane: int = option(-1, "lane that learners start in; -1: a random one", low=-1, high=29)
    max_steps: int = option(90, "steps in an episode", low=1, high=300)
    policy_frequency: int = option(1, "decisions of a learner per second", low=1, high=100)
    simulation_frequency: int = option(5, "frames per second", low=1, high=100)
    observed: int = option(15, "rows of the view, one's own included", low=1, high=600)
    view: str = option(
        "rows",
        "rows: the nearest vehicles; history: a slot for every vehicle ever seen, zero while out of sight",
        choices=("rows", "history"),
    )
    style_brake: bool = option(
        False, "aggressive and defensive drivers brake for leaders (described) or never do (published)"
    )
    wrecks: str = option(
        "idle",
        "what crashed learners may do: idle, or go on choosing lanes, which pays a little (published)",
        choices=("idle", "steer"),
    )
    metrics: str = option(
        "clean",
        "clean, or iplan: with the published collector's artefacts; episodes then last for max_steps",
        choices=("clean", "iplan"),
    )

    def __post_init__(self) -> None:
        """Refuses what does not go together.

        Raises:
            UserError: when frames do not fit into decisions, or there is no such lane.
        """
        if self.policy_frequency < 1 or self.simulation_frequency % self.policy_frequency:
            raise UserError(
                f"simulation_frequency={self.simulation_frequency} must be a multiple of "
                f"policy_frequency={self.policy_frequency}"
            )
        if self.start_lane >= self.lanes:
            raise UserError(f"start_lane={self.start_lane} must be below lanes={self.lanes}")

    @property
    def vehicles(self) -> int:
        """How many vehicles there are."""
        return self.num_agents + self.drivers

    @property
    def frames(self) -> int:
        """Frames per step."""
        return self.simulation_frequency // self.policy_frequency

    @property
    def frame_seconds(self) -> float:
        """Length of a frame."""
        return 1.0 / self.simulation_frequency

    @property
    def rows(self) -> int:
        """How many vehicles a view shows, one's own included."""
        return min(self.observed, self.vehicles)

    @property
    def learners(self) -> np.ndarray:
        """[A] where the learners stand among the vehicles: each leads its share of the scripted ones."""
        share, rest = divmod(self.drivers, self.num_agents)
        followers = [share + (i < rest) for i in range(self.num_agents)]
        return np.cumsum([0, *(1 + n for n in followers[:-1])])

    @property
    def is_learner(self) -> np.ndarray:
        """[N] bool."""
        return np.isin(np.arange(self.vehicles), self.learners)

    @property
    def slots(self) -> int:
        """How many vehicles the flat view has room for."""
        return self.vehicles if self.view == "history" else self.observed


@struct.dataclass
class Params:
    """Numbers of traffic and reward; three values are those of normal, aggressive and defensive drivers."""

    aggressive: Array = param(0.1, "chance of a scripted driver to be aggressive", low=0.0, high=1.0)
    defensive: Array = param(0.1, "chance of a scripted driver to be defensive", low=0.0, high=1.0)
    spacing: Array = param(
        2.0, "distance between a learner and who was made before, in units", low=0.1, high=20.0
    )
    density: Array = param(1.0, "how close scripted vehicles are made", low=0.1, high=10.0)
    acceleration: Array = param((3.0, 6.0, 2.0), "comfortable acceleration, m/s2", low=0.1, high=20.0)
    braking: Array = param((5.0, 9.0, 4.0), "comfortable braking, m/s2", low=0.1, high=20.0)
    limit: Array = param((6.0, 9.0, 5.0), "largest acceleration either way, m/s2", low=0.1, high=50.0)
    gap: Array = param((10.0, 5.5, 18.0), "distance wanted at rest, centre to centre, m", low=0.0, high=100.0)
    headway: Array = param((1.5, 1.2, 1.8), "time headway wanted, s", low=0.0, high=10.0)
    politeness: Array = param((0.2, 0.0, 0.5), "weight of others' gains in a lane change", low=0.0, high=1.0)
    least_gain: Array = param((0.2, 0.1, 0.3), "gain that a lane change takes, m/s2", low=0.0, high=10.0)
    safe_braking: Array = param(
        (2.0, 9.0, 2.0), "braking that may be imposed on a follower, m/s2", low=0.0, high=20.0
    )
    delay: Array = param((1.0, 0.5, 1.0), "time between lane decisions, s", low=0.0, high=10.0)
    least_speed: Array = param(
        (1.0, 0.0, 0.0), "speed below which lanes are not changed, m/s", low=0.0, high=40.0
    )
    abort: Array = param(
        (1.0, 0.5, 1.0), "distances to rivals for the same lane are multiplied by it", low=0.0, high=10.0
    )
    exponent_low: Array = param((3.5, 4.0, 3.0), "exponent of the free-road term, least", low=0.5, high=10.0)
    exponent_high: Array = param((4.5, 4.0, 4.0), "exponent of the free-road term, most", low=0.5, high=10.0)
    collision_reward: Array = param(-1.0, "for being crashed", low=-100.0, high=0.0)
    right_lane_reward: Array = param(0.1, "for aiming at the last lane", low=0.0, high=100.0)
    speed_reward: Array = param(0.4, "for driving at the top of the rewarded range", low=0.0, high=100.0)
    slow: Array = param(20.0, "speed that is not yet rewarded, m/s", low=0.0, high=39.0)
    fast: Array = param(30.0, "speed that is rewarded most, m/s", low=1.0, high=100.0)


@struct.dataclass
class Traffic:
    """The vehicles when they are made."""

    x: Array  # [N] f32, m
    lane: Array  # [N] i32
    speed: Array  # [N] f32, m/s; at first also what scripted drivers aim at
    kind: Array  # [N] i32, LEARNER, NORMAL, AGGRESSIVE or DEFENSIVE
    exponent: Array  # [N] f32, of the free-road term; zero for learners


@struct.dataclass
class Level:
    """What a reset draws."""

    traffic: Traffic
    encore: Any  # Traffic that a finished collector went on with (``metrics=iplan``), else ()
    params: Params


@struct.dataclass
class Vehicles:
    """The vehicles between two frames."""

    x: Array  # [N] f32, m, forwards
    y: Array  # [N] f32, m, to the right; lane k lies at 4 k
    heading: Array  # [N] f32, rad, 0 along the road
    speed: Array  # [N] f32, m/s, signed
    lane: Array  # [N] i32, the nearest one
    target_lane: Array  # [N] i32
    target_speed: Array  # [N] f32, m/s
    crashed: Array  # [N] bool
    push_x: Array  # [N] f32, m, what the last collision will move it by in the next frame
    push_y: Array  # [N] f32, m
    pushed: Array  # [N] bool, whether such a push is pending
    waited: Array  # [N] f32, s since the last lane decision when ``ticks`` was zero; scripted drivers
    ticks: Array  # [N] i32, frames since then
    kind: Array  # [N] i32
    exponent: Array  # [N] f32


@struct.dataclass
class Tally:
    """What the metrics are made of."""

    steps: Array  # [A] i32, steps survived
    metres: Array  # [A] f32, speeds after those steps, summed
    reward: Array  # [A] f32, summed


@struct.dataclass
class State:
    """The road between two steps."""

    vehicles: Vehicles
    seen: Array  # [A, rows] i32, vehicles in view by distance along the road, itself first; -1 for none
    slot: Array  # [A, N] i32, each vehicle's slot in the history, -1 if not seen yet; [A, 0] for rows
    t: Array  # [] i32
    tally: Tally
    encore: Any  # Traffic, or ()
    over: Any  # [] bool, the episode was over and goes on for ``metrics=iplan``; or ()
    params: Params
