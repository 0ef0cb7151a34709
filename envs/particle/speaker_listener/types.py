"""What simple speaker-listener is made of, and how its padded arrays are laid out."""

from __future__ import annotations

from dataclasses import dataclass

from flax import struct
from jax import Array

from shoal.envs.common.particles import Bodies, Motion, Particles
from shoal.envs.core.options import option

SPEAKER, LISTENER = 0, 1
AGENTS, LANDMARKS = 2, 3
FIRST_LANDMARK = AGENTS  # entities: speaker, listener, then the landmarks

BODIES = Bodies(
    size=(0.075, 0.075, 0.04, 0.04, 0.04),
    movable=(False, True, False, False, False),
    collide=(False,) * 5,
)
TOUCHING = BODIES.size[LISTENER] + BODIES.size[FIRST_LANDMARK]

# Both agents share one action axis: what can be said, then what can be done.
SAY = (0, 1, 2)
STAY = 3
MOVE = (3, 4, 5, 6, 7)

# And one view: the goal's colour, then what the listener sees.
GOAL_COLOUR = (0, 1, 2)
VELOCITY = (3, 4)
LANDMARK_POSITIONS = (5, 6, 7, 8, 9, 10)
HEARD = (11, 12, 13)
VIEW_SIZE = 14
SPEAKER_SEES = GOAL_COLOUR
LISTENER_SEES = (*VELOCITY, *LANDMARK_POSITIONS, *HEARD)


@dataclass(frozen=True)
class Options:
    """What shapes arrays or picks code."""

    max_steps: int = option(25, "steps in an episode", low=1, high=1_000_000)


@struct.dataclass
class Params(Motion):
    """Numbers of the dynamics: those of free motion, since nothing collides here."""


@struct.dataclass
class Level:
    """What a reset draws."""

    x: Array  # [5] f32, speaker, listener, landmarks
    y: Array  # [5] f32
    goal: Array  # [] i32, which landmark
    params: Params


@struct.dataclass
class State:
    """The world between two steps."""

    particles: Particles  # [5] each: speaker, listener, landmarks
    goal: Array  # [] i32, which landmark
    message: Array  # [] i32, what was said last; -1: nothing yet
    t: Array  # [] i32, steps so far
    params: Params
