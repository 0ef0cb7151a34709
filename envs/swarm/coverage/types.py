"""What adaptive coverage is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from flax import struct
from jax import Array

from shoal.envs.core.options import option, param
from shoal.envs.swarm.planar import frame as planar
from shoal.envs.swarm.planar.frame import Team

HOT = ((0, 0), (2, 1))  # which basis functions are large in the true density, by x and y


@dataclass(frozen=True)
class Options(planar.Options):
    """What shapes arrays or picks code."""

    num_agents: int = option(10, "robots", low=1, high=1000)
    max_steps: int = option(800, "rounds in an episode", low=1, high=1_000_000)
    side: int = option(15, "points along each side of the square", low=1, high=1000)
    basis: int = option(7, "basis functions along each side", low=3, high=100)
    density: str = option(
        "estimated",
        "what J is measured by: the density as the team estimates it, as published, or as it is",
        choices=("estimated", "known"),
    )
    weight: str = option(
        "one",
        "how much a robot's sample counts: one; or, as in the published code, the number of Voronoi "
        "neighbours that it shares with the robot before it",
        choices=("one", "common-neighbours"),
    )
    counterfactual: str = option(
        "measured",
        "the estimate by which a robot's contribution is judged: that by which J was measured, or, as in the "
        "published code, the one updated after it",
        choices=("measured", "updated"),
    )

    @property
    def lattice(self) -> np.ndarray:
        """[S] f32, the coordinates of the points, the same both ways."""
        return (np.arange(1, self.side + 1) / (self.side + 1)).astype(np.float32)

    @property
    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """[S * S] f32 each, the points in order: x is the slower."""
        x, y = np.meshgrid(self.lattice, self.lattice, indexing="ij")
        return x.ravel(), y.ravel()

    @property
    def middles(self) -> np.ndarray:
        """[2 * B - 1] f32, the coordinates halfway between centres a and c, in the order of a + c."""
        return (np.arange(2, 2 * self.basis + 1) / (2 * (self.basis + 1))).astype(np.float32)

    @property
    def centres(self) -> np.ndarray:
        """[B] f32, the coordinates of the basis functions' centres, the same both ways."""
        return (np.arange(1, self.basis + 1) / (self.basis + 1)).astype(np.float32)


@struct.dataclass
class Params(planar.Motion):
    """Numbers of the moves, the density, its estimate and the reward."""

    variance: Array = param(0.02, "of the basis functions, along each axis", low=1e-4, high=1e4)
    hot: Array = param(100.0, "true weight of the two large basis functions", low=0.0, high=1e6)
    cold: Array = param(0.1, "true weight of the others", low=0.0, high=1e6)
    gain: Array = param(0.01, "how fast the estimate follows the samples", low=0.0, high=1e3)
    floor: Array = param(0.1, "no estimated weight starts or falls below", low=0.0, high=1e6)
    ceiling: Array = param(10_000.0, "no estimated weight rises above", low=0.0, high=1e6)


@struct.dataclass
class Level:
    """What a reset draws."""

    x: Array  # [A] f32
    y: Array  # [A] f32
    weights: Array  # [B, B] f32, the true weights of the basis functions, by x and y of their centres
    params: Params


@struct.dataclass
class State:
    """The robots between two rounds, and what is known of the density."""

    team: Team
    weights: Array  # [B, B] f32, true
    estimate: Array  # [B, B] f32, estimated weights, the last round's samples included
    judged: Array  # [B, B] f32, the estimate by which J was measured: without those samples
    evidence: (
        Array  # [2 * B - 1, 2 * B - 1] f32, the samples so far: what Lambda is made of (dynamics.follow)
    )
    true_cost: Array  # [] f32, J by the true density
    true_start_cost: Array  # [] f32, that of the start
    params: Params
