"""What every social dilemma on the grid is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flax import struct
from jax import Array

from shoal.envs.commons.social import MODES
from shoal.envs.core.options import option, param

EMPTY, WALL, ZAP, APPLE = range(4)
"""Codes of what lies on a cell; a game's own follow from `FIRST_OWN`. Layer code - 1 of a view shows it."""
FIRST_OWN = 6
"""Codes 4 and 5 are spawn cells, which are never seen: they have published layers that stay zero."""
LEFT, RIGHT, EAST, WEST, SOUTH, NORTH, STAY, FIRE = range(8)
"""Actions: turn left or right; go one column or row on (+1, -1) whatever the heading; nothing; zap."""
CITATION = "Guo et al., SocialJax, arXiv:2503.14576 (ICLR 2026)"
FLAGS = ("beam-order", "view")
"""Published forms that are not the default, for every game."""


@dataclass(frozen=True)
class Options:
    """What shapes arrays or picks code."""

    map: str = option("", "name of a map, or a map of your own: rows of characters with / between them")
    num_agents: int = option(7, "agents", low=1, high=1024)
    max_steps: int = option(1000, "steps in an episode", low=1, high=1_000_000)
    view_ahead: int = option(9, "cells that are seen ahead", low=1, high=63)
    view_behind: int = option(1, "cells that are seen behind", low=0, high=63)
    view_side: int = option(5, "cells that are seen to each side", low=1, high=63)
    reward: str = option(
        "individual", "how own rewards are mixed (`shoal.envs.commons.social`)", choices=MODES
    )
    last_step_pays: bool = option(
        False, "whether the last step pays what was earned in it; as published it pays zero"
    )
    time_limit_is_termination: bool = option(
        True, "whether the time limit is reported as an ordinary end, as published, or as a truncation"
    )
    compat: tuple[str, ...] = option(
        (), "published forms to restore, by name; paper: all that were in force for the published runs"
    )


@struct.dataclass
class Params:
    """Numbers of the ways to pay, [] f32 each; read only where `Options.reward` names the way."""

    svo_weight: Array = param(0.5, "svo: weight of the distance between angles", low=0.0)
    svo_angle: Array = param(90.0, "svo: ideal angle, degrees", low=0.0, high=90.0)
    envy: Array = param(5.0, "inequity: taken off for what others got more", low=0.0)
    guilt: Array = param(0.05, "inequity: taken off for what others got less", low=0.0)
    smoothing: Array = param(
        0.0, "inequity: share of an agent's trace of rewards that a step keeps", low=0.0, high=1.0
    )
    transfer_ratio: Array = param(
        0.5, "transfer: what each other agent is given, over what is kept", low=0.0, high=1e6
    )


@struct.dataclass
class Level:
    """What a reset draws."""

    row: Array  # [A] i32
    column: Array  # [A] i32
    heading: Array  # [A] i32
    params: Any


@struct.dataclass
class Draws:
    """Every random number of a step."""

    grow: Array  # [P] f32, uniform in [0, 1), of the apple cells in order of rows
    priority: Array  # [A] i32, who wins a cell that several go to: the largest
    order: Array  # [S] i32, in which spawn cells are filled: the smallest first
    heading: Array  # [A] i32, of those who are moved away


@struct.dataclass
class State:
    """A world between two steps."""

    items: Array  # [H, W] i8, what lies on each cell, also beneath agents
    row: Array  # [A] i32, downwards
    column: Array  # [A] i32, to the right
    heading: Array  # [A] i32, 0 down, 1 right, 2 up, 3 left
    next_row: Array  # [A] i32, where the next step begins: elsewhere for those who were hit
    next_column: Array  # [A] i32
    next_heading: Array  # [A] i32
    eaten: Array  # [A] i32, apples so far
    eaten_time: Array  # [A] f32, sum of the steps in which they were eaten
    zaps: Array  # [] i32, beams fired so far
    hits: Array  # [] i32, agents moved away so far
    t: Array  # [] i32, steps so far
    trace: Array | None  # [A] f32, smoothed own rewards, which `inequity` compares; None for other ways
    params: Any
