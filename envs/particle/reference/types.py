"""What simple reference is made of, and how its arrays are laid out."""

from __future__ import annotations

from dataclasses import dataclass

from flax import struct
from jax import Array

from shoal.envs.common.particles import Bodies, Motion
from shoal.envs.particle import common

AGENTS, LANDMARKS, SYMBOLS = 2, 3, 10
SIZE = 0.05  # of everything
BODIES = Bodies(
    size=(SIZE,) * (AGENTS + LANDMARKS),
    movable=(True,) * AGENTS + (False,) * LANDMARKS,
    collide=(False,) * (AGENTS + LANDMARKS),
)
TOUCHING = 2 * SIZE

# What an agent sees.
VELOCITY = slice(0, 2)
LANDMARK_X, LANDMARK_Y = slice(2, 8, 2), slice(3, 8, 2)
GOAL_COLOUR = slice(8, 11)  # of the landmark that the other agent should go to
HEARD = slice(11, 21)
VIEW_SIZE = 21


@dataclass(frozen=True)
class Options(common.Options):
    """What shapes arrays or picks code."""


@struct.dataclass
class Params(common.Ratio, Motion):
    """Numbers of the dynamics and the reward; nothing collides here."""


@struct.dataclass
class Level(common.Level):
    """What a reset draws."""

    goal: Array  # [2] i32, the landmark that each agent should go to; only the other one sees it


@struct.dataclass
class State(common.State):
    """The world between two steps."""

    goal: Array  # [2] i32, the landmark that each agent should go to
    message: Array  # [2, 10] f32, what each agent said last; zeros: nothing yet
