"""What the water commons is made of."""

from __future__ import annotations

from dataclasses import dataclass

from flax import struct
from jax import Array

from shoal.envs.core.options import option, param

WAIT, TAKE = 0, 1


@dataclass(frozen=True)
class Options:
    """What shapes arrays or picks code."""

    num_agents: int = option(4, "valves on the pool", low=1, high=1024)
    max_steps: int = option(100, "steps in an episode that the pool survives", low=1, high=1_000_000)
    time_limit_is_termination: bool = option(
        True, "whether the time limit is reported as an ordinary end, as published, or as a truncation"
    )


@struct.dataclass
class Params:
    """Numbers of the dynamics and of the reward, [] f32 each."""

    regeneration: Array = param(0.055, "pool fraction that flows back after every step", low=0.0, high=1.0)
    take_total: Array = param(
        0.1,
        "pool fraction that goes when everybody takes; one take is this over num_agents",
        low=0.0,
        high=1.0,
    )
    start: Array = param(0.5, "pool fraction at the start", low=0.0, high=1.0)
    coop_gamma: Array = param(
        0.0, "weight of the others' rewards in one's own; below 0: everybody gets the sum", low=-1.0, high=1.0
    )
    reward_norm: Array = param(1.0, "what rewards are divided by, after mixing", low=1e-6)


@struct.dataclass
class Level:
    """What a reset draws: nothing, so only the start and the numbers."""

    resource: Array  # [] f32, pool fraction
    params: Params


@struct.dataclass
class State:
    """One pool and its takers."""

    resource: Array  # [] f32, pool fraction, at most 1; at or below 0 once emptied
    total_taken: Array  # [A] f32, pool fractions received so far
    takes: Array  # [A] i32, how often each agent took, paid or not
    paid: Array  # [] i32, how many takes were paid
    t: Array  # [] i32, steps so far
    params: Params
