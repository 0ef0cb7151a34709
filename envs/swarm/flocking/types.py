"""What flocking is made of."""

from __future__ import annotations

from dataclasses import dataclass

from flax import struct
from jax import Array

from shoal.envs.core.options import option, param
from shoal.envs.swarm.grid import types


@dataclass(frozen=True)
class Options(types.Options):
    """The task's own options."""

    start: str = option(
        "published",
        "where agents open: the one start of all published runs with 12 agents on 10 x 10, or anywhere",
        choices=("published", "random"),
    )
    matching: str = option(
        "exact",
        "how the distance to the shape is found: by best assignment, or by its faster lower bound along axes",
        choices=("exact", "axes"),
    )


@struct.dataclass
class Params(types.Params):
    """Numbers, [] f32 each."""

    unit: Array = param(
        0.5, "points for a cell of distance: 1/2 in the paper's tables, 1 in its code", low=0.0
    )


@struct.dataclass
class Level(types.Level):
    """What a reset draws: where agents open."""


@struct.dataclass
class State(types.State):
    """Agents, and how far they are from the shape."""

    distance: Array  # [] f32, cells
    start_distance: Array  # [] f32, cells, at the reset
    best: Array  # [] f32, cells, by which the distance was ever below that of the start
