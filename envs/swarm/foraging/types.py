"""What foraging is made of."""

from __future__ import annotations

from dataclasses import dataclass

from flax import struct
from jax import Array

from shoal.envs.core.options import option
from shoal.envs.swarm.grid import types


@dataclass(frozen=True)
class Options(types.Options):
    """The task's own options."""

    tiles: int = option(
        1,
        "how many copies of the map lie side by side each way, without walls between: food and nest for many",
        low=1,
        high=256,
    )
    credit: str = option(
        "team",
        "who is paid for a delivery: everybody, as published, or who delivers",
        choices=("team", "agent"),
    )


@struct.dataclass
class Level(types.Level):
    """What a reset draws."""

    board: Array  # [H, W] i8, walls, nest and food
    distance: (
        Array  # [2, H, W] i16, steps to a cell beside the food, and beside the nest; no cells unless shaped
    )


@struct.dataclass
class State(types.State):
    """Agents who carry food where their ``flag`` is on."""

    board: Array  # [H, W] i8
    distance: Array  # [2, H, W] i16
    delivered: Array  # [A] bool, who delivered in the round before
