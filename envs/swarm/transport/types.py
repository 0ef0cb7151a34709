"""What transport is made of."""

from __future__ import annotations

from dataclasses import dataclass

from flax import struct
from jax import Array

from shoal.envs.core.options import option
from shoal.envs.swarm.grid import types


@dataclass(frozen=True)
class Options(types.Options):
    """The task's own options."""

    box: str = option(
        "hooked",
        "a box of 13 cells that must be pushed aside first, or 4 x 4 as in the benchmark's early version",
        choices=("hooked", "square"),
    )
    credit: str = option(
        "team", "who is paid for an exit: everybody, as published, or who leaves", choices=("team", "agent")
    )


@struct.dataclass
class Level(types.Level):
    """What a reset draws."""

    board: Array  # [H, W] i8, walls with a gap
    box: Array  # [H + 2 MARGIN, W + 2 MARGIN] bool, the box's cells, the map in the middle
    plan: Array  # [2] i32, which way the box must go: first one step so, then outward; directions, 0 for none


@struct.dataclass
class State(types.State):
    """Agents, walls and the box."""

    board: Array  # [H, W] i8
    box: Array  # [H + 2 MARGIN, W + 2 MARGIN] bool, where the box is now
    box_i: Array  # [] i32, rows it has gone down
    box_j: Array  # [] i32, columns it has gone right
    plan: Array  # [2] i32
