"""What Commons Harvest is made of beside what every dilemma on the grid is (`gridworld.types`)."""

from __future__ import annotations

from dataclasses import dataclass

from flax import struct
from jax import Array

from shoal.envs.commons.gridworld import types
from shoal.envs.commons.harvest.levels import MAPS
from shoal.envs.core.options import option, param


@dataclass(frozen=True)
class Options(types.Options):
    """What shapes arrays or picks code."""

    map: str = option(
        "open", f"one of {', '.join(MAPS)}, or a map of your own: rows of . # a P Q with / between them"
    )
    even_edges: bool = option(
        False, "whether apple cells of the last column count all their neighbours; as published they miss one"
    )


@struct.dataclass
class Params(types.Params):
    """Numbers of growth and of the ways to pay, [] f32 each."""

    regrow_1: Array = param(0.001, "chance that an apple grows with one apple near", low=0.0, high=1.0)
    regrow_2: Array = param(0.005, "with two apples near", low=0.0, high=1.0)
    regrow_3: Array = param(0.025, "with three or more apples near", low=0.0, high=1.0)
