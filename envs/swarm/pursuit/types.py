"""What pursuit is made of."""

from __future__ import annotations

from dataclasses import dataclass

from flax import struct
from jax import Array

from shoal.envs.core.options import option
from shoal.envs.swarm.grid import types


@dataclass(frozen=True)
class Options(types.Options):
    """The task's own options."""

    static_prey: str = option(
        "reference",
        "which prey agents cannot push: all but the first, as published, or every one",
        choices=("reference", "all"),
    )
    threshold: str = option(
        "left",
        "whose threat a flight must undercut: that of the cell left of the prey, as published, or its own",
        choices=("left", "own"),
    )


@struct.dataclass
class Level(types.Level):
    """What a reset draws."""

    prey_i: Array  # [] i32
    prey_j: Array  # [] i32


@struct.dataclass
class State(types.State):
    """Pursuers and a prey."""

    prey_i: Array  # [] i32
    prey_j: Array  # [] i32
    prey_static: Array  # [] bool, whether it cannot be pushed


@struct.dataclass
class Draws:
    """Cells looked at for a new prey, in order; those that are not empty are passed over."""

    i: Array  # [K] i32, negative for none
    j: Array  # [K] i32
