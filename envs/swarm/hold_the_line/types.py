"""What hold-the-line is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from flax import struct
from jax import Array

from shoal.envs.core.options import option, param
from shoal.envs.swarm.planar import frame as planar
from shoal.envs.swarm.planar.frame import Team


@dataclass(frozen=True)
class Options(planar.Options):
    """What shapes arrays or picks code."""

    num_agents: int = option(4, "robots", low=1, high=1000)
    points: int = option(2000, "points on the line", low=1, high=100_000)

    @property
    def line(self) -> tuple[np.ndarray, np.ndarray]:
        """[K] f32 each, the places of the points, x and y."""
        y = np.arange(self.points) / self.points
        x = np.polyval([4.0, -12.0, 10.0, -2.0, 0.55], y)
        return x.astype(np.float32), y.astype(np.float32)


@struct.dataclass
class Params(planar.Motion):
    """Numbers of the moves, the cost and the reward."""

    idle_weight: Array = param(
        80.0, "what a robot nearest to no point costs, per unit of distance to the line", low=0.0, high=1e6
    )


@struct.dataclass
class Level:
    """What a reset draws."""

    x: Array  # [A] f32
    y: Array  # [A] f32
    params: Params


@struct.dataclass
class State:
    """The robots between two rounds."""

    team: Team
    idle_cost: Array  # [] f32, the part of J that idle robots make
    idle: Array  # [] i32, robots nearest to no point
    params: Params
