"""What simple spread is made of."""

from __future__ import annotations

from dataclasses import dataclass

from flax import struct
from jax import Array

from shoal.envs.common.particles import Bodies, Contact, Motion
from shoal.envs.core.options import option, param
from shoal.envs.particle import common

AGENT_SIZE, LANDMARK_SIZE = 0.15, 0.05
SILENCE = 2  # numbers of each other agent's message in a view; nobody can speak, so they are zero


@dataclass(frozen=True)
class Options(common.Options):
    """What shapes arrays or picks code."""

    num_agents: int = option(3, "agents", low=1, high=1000)
    num_landmarks: int = option(0, "landmarks; 0: as many as agents", low=0, high=1000)

    @property
    def landmarks(self) -> int:
        """How many landmarks there are."""
        return self.num_landmarks or self.num_agents

    @property
    def bodies(self) -> Bodies:
        """Agents, then landmarks; only agents move and collide."""
        agents, landmarks = self.num_agents, self.landmarks
        acts = (True,) * agents + (False,) * landmarks
        return Bodies(size=(AGENT_SIZE,) * agents + (LANDMARK_SIZE,) * landmarks, movable=acts, collide=acts)

    @property
    def view_size(self) -> int:
        """How many numbers an agent sees."""
        return 4 + 2 * self.landmarks + (2 + SILENCE) * (self.num_agents - 1)


@struct.dataclass
class Params(common.Ratio, Contact, Motion):
    """Numbers of the dynamics and the reward."""

    collision_penalty: Array = param(1.0, "what each agent that one touches costs", low=0.0)
    covered_within: Array = param(0.1, "a landmark counts as covered from this distance on", low=0.0)


@struct.dataclass
class State(common.State):
    """The world between two steps."""

    collisions: Array  # [] f32, pairs of agents that touched, summed over the steps so far
