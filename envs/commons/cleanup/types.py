"""What Clean Up is made of beside what every dilemma on the grid is (`gridworld.types`)."""

from __future__ import annotations

from dataclasses import dataclass

from flax import struct
from jax import Array

from shoal.envs.commons.cleanup.levels import MAPS
from shoal.envs.commons.gridworld import types
from shoal.envs.commons.gridworld.types import FIRE, FIRST_OWN
from shoal.envs.core.options import option, param

RIVER, CLEAN, DIRT, SPRAY = range(FIRST_OWN, FIRST_OWN + 4)
"""Codes of what lies on a cell: river, cells of the polluted area without and with dirt, a cleaning beam."""
SWEEP = FIRE + 1
"""The action that cleans."""


@dataclass(frozen=True)
class Options(types.Options):
    """What shapes arrays or picks code."""

    map: str = option(
        "full", f"one of {', '.join(MAPS)}, or a map of your own: rows of . a P ~ d c with / between them"
    )


@struct.dataclass
class Params(types.Params):
    """Numbers of growth, of dirt, and of the ways to pay, [] each, f32 unless said."""

    growth: Array = param(0.05, "chance that an apple grows where the river is clean", low=0.0, high=1.0)
    depletion: Array = param(0.4, "share of dirt from which on nothing grows", low=0.0, high=1.0)
    restoration: Array = param(
        0.0, "share of dirt up to which growth is full; below depletion", low=0.0, high=1.0
    )
    dirt_chance: Array = param(0.5, "chance that a cell becomes dirty in a step", low=0.0, high=1.0)
    dirt_delay: Array = param(50, "last step, from 0, without new dirt; i32", low=-1, high=1_000_000)


@struct.dataclass
class Draws(types.Draws):
    """Every random number of a step."""

    coin: Array  # [] f32, uniform: whether a cell becomes dirty
    cell: (
        Array  # [] i32, which one of those of the polluted area in order of rows; a clean one if there is any
    )


@struct.dataclass
class State(types.State):
    """A world between two steps."""

    sweeps: Array  # [A] i32, times that each agent has tried to clean
    cleaned: Array  # [] i32, cells cleaned so far
    clean_time: Array  # [] f32, clean cells at the start of a step, summed over the steps
