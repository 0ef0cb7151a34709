"""What synchronization is made of."""

from __future__ import annotations

from dataclasses import dataclass

from flax import struct
from jax import Array

from shoal.envs.core.options import option, param
from shoal.envs.swarm.grid import types


@dataclass(frozen=True)
class Options(types.Options):
    """The task's own options."""

    start_delay: int = option(
        0, "rounds that an agent may have to wait before its first action, uniform from 0", low=0, high=1000
    )
    fewest: int = option(
        0,
        "least number of agents on the board, drawn uniformly up to all at a reset; 0: all",
        low=0,
        high=1_000_000,
    )
    closest: int = option(
        0,
        "side of the smallest square that agents start in, drawn uniformly up to the board's; 0: anywhere",
        low=0,
        high=4096,
    )


@struct.dataclass
class Params(types.Params):
    """Numbers, [] f32 each."""

    flips: Array = param(0.0, "probability that a light flips by itself in a round", low=0.0, high=1.0)
    ease: Array = param(
        1.0,
        "how far fewest and closest count: 1 as they are, 0 not at all; the curriculum takes it from 1 to 0",
        low=0.0,
        high=1.0,
    )
    early_flips: Array = param(
        0.0, "where above flips: what the curriculum begins with in its place", low=0.0, high=1.0
    )


@struct.dataclass
class Level(types.Level):
    """What a reset draws."""

    light: Array  # [A] bool
    wakes: Array  # [A] i32, round of the first action
    present: Array  # [A] bool, who is on the board


@struct.dataclass
class State(types.State):
    """Agents with a light each, which is their ``flag``."""

    wakes: Array  # [A] i32, round of the first action
    last_sync: Array  # [] i32, what was last scored: -1 nothing, 0 all off, 1 all on
