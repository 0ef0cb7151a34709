"""What the GovSim worlds are made of. ``A`` agents, ``W`` words of the message channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flax import struct
from jax import Array

from shoal.envs.core.errors import UserError
from shoal.envs.core.options import option, param

SILENCE = 0
"""The word of those who say nothing."""


@dataclass(frozen=True)
class Options:
    """What shapes arrays or picks code."""

    num_agents: int = option(5, "people who share the stock", low=1, high=1000)
    capacity: int = option(100, "units that there can be, and are at the start", low=1, high=10_000)
    max_steps: int = option(
        12,
        "months in an episode that the stock survives, the newcomer's absence not counted",
        low=1,
        high=1000,
    )
    largest_request: int = option(100, "the most units that one can ask for", low=1, high=10_000)
    allocation: str = option(
        "stochastic",
        "who gets what where too much is asked for: units one by one to somebody who still wants, or "
        "shares of the demand",
        choices=("stochastic", "proportional"),
    )
    reward: str = option(
        "individual", "everybody is paid for itself, or the sum of all", choices=("individual", "common")
    )
    report: bool = option(True, "whether everybody sees what everybody got last month")
    universalization: bool = option(False, "whether everybody sees its fair share of the month")
    messages: int = option(0, "words that can be said to all each month; 0: no such channel", low=0, high=100)
    newcomer: bool = option(False, "whether the last agent joins late")
    newcomer_month: int = option(3, "months before the newcomer joins, if there is one", low=1, high=1000)
    time_limit_is_termination: bool = option(
        True, "whether the time limit is reported as an ordinary end, as published, or as a truncation"
    )

    def __post_init__(self) -> None:
        """Refuses a newcomer to nobody.

        Raises:
            UserError: where there is no other agent.
        """
        if self.newcomer and self.num_agents == 1:
            raise UserError("newcomer=True needs num_agents of at least 2: somebody must be there before")

    @property
    def months(self) -> int:
        """How many months an episode can last."""
        return self.max_steps + (self.newcomer_month if self.newcomer else 0)

    @property
    def view_size(self) -> int:
        """How many numbers an agent sees."""
        return 3 + self.num_agents + self.universalization + self.messages * (self.num_agents - 1)

    @property
    def state_size(self) -> int:
        """How many numbers the global state has."""
        return 2 + self.num_agents * (2 + self.messages)


@dataclass(frozen=True)
class PoolOptions(Options):
    """Those of the pools that are harvested."""

    setting: str = option(
        "fishery", "names of agents and units; changes no rule", choices=("fishery", "pasture", "pollution")
    )


@struct.dataclass
class PoolParams:
    """Numbers of the pools, [] i32 each."""

    growth: Array = param(2, "what remains is multiplied by this each month", low=1, high=1000)
    collapse_below: Array = param(5, "fewer units than this after a harvest end the episode", low=1)


@struct.dataclass
class TrashParams:
    """Numbers of the household, [] i32 each but for the pay, [] f32."""

    refill: Array = param(50, "units of trash that come each month", low=0, high=1_000_000)
    overfull_above: Array = param(95, "more units than this after the month's work end the episode", low=0)
    living: Array = param(10.0, "what everybody is paid in a month in which the house is not overfull")
    effort: Array = param(1.0, "what a unit that one removes costs oneself")


@struct.dataclass
class Level:
    """What a reset draws: nothing. All stocks open full."""

    params: Any


@struct.dataclass
class State:
    """The stock and its users between two months."""

    stock: Array  # [] i32, units, 0 to the capacity
    t: Array  # [] i32, months so far
    last_catch: Array  # [A] i32, units that each got last month
    gain: Array  # [A] i32, units that each got so far
    kept: Array  # [A] i32, months in which each kept to its fair share
    words: Array  # [A] i8, what each said last month, SILENCE for nothing
    params: Any


@struct.dataclass
class Draws:
    """What one month draws."""

    who: Array  # [units] f32, uniforms in [0, 1): who gets each unit that is handed out singly
