"""What the traffic junction is made of. ``N`` slots for cars, ``K`` arrivals."""

from __future__ import annotations

from dataclasses import dataclass

from flax import struct
from jax import Array

from shoal.envs.core.options import option, param
from shoal.envs.traffic.junction.routes import DIFFICULTIES, Network, network

GAS, BRAKE = range(2)
NOWHERE = -1
"""Route and progress of a slot without a car."""

OWN = 2
"""Numbers of a view about the car itself: its last action and its route."""


@dataclass(frozen=True)
class Options:
    """What shapes arrays or picks code."""

    difficulty: str = option("easy", "which junction", choices=DIFFICULTIES)
    num_agents: int = option(5, "slots for cars: the most there can be at once", low=1, high=1000)
    vision: int = option(
        0, "cells that a car sees each way beyond its own: 0 in IC3Net, 1 in MAGIC", low=0, high=8
    )
    max_steps: int = option(20, "steps in an episode", low=1, high=1_000_000)

    @property
    def network(self) -> Network:
        """Roads and routes."""
        return network(self.difficulty)

    @property
    def window(self) -> int:
        """How many cells a car sees."""
        return (2 * self.vision + 1) ** 2

    @property
    def view_size(self) -> int:
        """How many numbers a car sees: its last action, its route, and the window's."""
        return OWN + self.window * self.network.channels

    @property
    def state_size(self) -> int:
        """How many numbers the global state has."""
        return self.num_agents * (4 + len(self.network.routes))


@struct.dataclass
class Params:
    """Numbers of arrivals and pay, [] f32 each."""

    add_rate: Array = param(
        0.3,
        "chance of a car at each arrival and step: the last of the published curriculum",
        low=0.0,
        high=1.0,
    )
    wait_cost: Array = param(0.01, "what a step costs a car, times the steps it has been there", low=0.0)
    crash_cost: Array = param(10.0, "what a step costs a car that shares its cell", low=0.0)


@struct.dataclass
class Level:
    """What a reset draws: nothing. All junctions open empty."""

    params: Params


@struct.dataclass
class Cars:
    """The slots; one without a car has cell 0, wait 0, route and progress -1."""

    alive: Array  # [N] bool, whether there is a car
    cell: Array  # [N] i16, where: row times size plus column
    route: Array  # [N] i8, number of its route
    progress: Array  # [N] i8, which cell of the route it is on
    wait: Array  # [N] i32, steps since it came, whatever it did in them
    braked: Array  # [N] bool, the last action, which outlives the car


@struct.dataclass
class Tally:
    """Sums over the steps so far."""

    collisions: Array  # [] i32, cars that share a cell
    passed: Array  # [] i32, cars that left at the end of their route
    driven: Array  # [] i32, cars there were
    waited: Array  # [] f32, their waits


@struct.dataclass
class State:
    """The junction between two steps."""

    cars: Cars
    tally: Tally
    failed: Array  # [] bool, whether cars shared a cell in this episode
    t: Array  # [] i32, steps so far
    params: Params


@struct.dataclass
class Draws:
    """What one step draws, uniforms in [0, 1)."""

    arrive: Array  # [K] f32, below the rate: a car comes
    way: Array  # [K] f32, which of the arrival's routes it takes
    order: Array  # [N] f32, free slots are filled in ascending order of these
