"""What non-cooperative navigation is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flax import struct
from jax import Array

from shoal.envs.common.particles import Bodies, Contact, Motion
from shoal.envs.core.options import option, param
from shoal.envs.particle import common

# As published, where the names do not fit the sizes: "tiny" is the largest and "bulky" the smallest.
NAMES = ("normal", "tiny", "bulky")
SIZES = (0.08, 0.1, 0.06)
RANDOM_SIZE = 0.08
LANDMARK_SIZE = 0.04  # only drawn: nothing touches a landmark
AGENTS, LANDMARKS = len(SIZES), 3
FEATURES = 4  # of every entity in a view: x, y, and their velocities


@dataclass(frozen=True)
class Options(common.Options):
    """What shapes arrays or picks code."""

    max_steps: int = option(50, "steps in an episode", low=1, high=1_000_000)
    time_limit_is_termination: bool = option(
        True, "whether the time limit ends episodes like a rule (as published) or truncates them"
    )
    random_agents: int = option(
        0, "bodies that act at random and are no agents: 0 in easy, 1 in hard", low=0, high=1000
    )

    @property
    def moving(self) -> int:
        """How many bodies move: the agents, then those that act at random."""
        return AGENTS + self.random_agents

    @property
    def bodies(self) -> Bodies:
        """Agents, random bodies, landmarks; the landmarks neither move nor collide."""
        acts = (True,) * self.moving + (False,) * LANDMARKS
        return Bodies(
            size=SIZES + (RANDOM_SIZE,) * self.random_agents + (LANDMARK_SIZE,) * LANDMARKS,
            movable=acts,
            collide=acts,
        )

    @property
    def slots(self) -> tuple[int, int]:
        """How many entities an agent sees, itself among them, and how many numbers of each."""
        return self.moving + LANDMARKS, FEATURES


@struct.dataclass
class Params(Contact, Motion):
    """Numbers of the dynamics and the reward."""

    step_sizes: Any = param((1.0, 0.9, 1.1), "force of each agent's push, in units of acceleration", low=0.0)
    random_step_size: Array = param(1.0, "the same for bodies that act at random", low=0.0)
    collision_penalty: Array = param(10.0, "what every pair of bodies that touch costs each agent", low=0.0)
    near_within: Array = param(0.1, "a body is at a landmark when it is closer than this", low=0.0)
    near_bonus: Array = param(10.0, "what it pays an agent to be at a landmark while nobody touches", low=0.0)
    all_near_bonus: Array = param(
        100.0, "what it pays each agent when all bodies are at landmarks and nobody touches", low=0.0
    )


@struct.dataclass
class State(common.State):
    """The world between two steps."""

    earned: Array  # [] f32, rewards of all agents, summed over the steps so far
    collisions: Array  # [] f32, pairs of bodies that touched, summed over the steps so far
