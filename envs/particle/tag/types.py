"""What simple tag is made of."""

from __future__ import annotations

from dataclasses import dataclass

from flax import struct
from jax import Array

from shoal.envs.common.particles import Bodies, Contact, Drift
from shoal.envs.core.options import option, param
from shoal.envs.particle import common

ADVERSARY_SIZE, GOOD_SIZE, OBSTACLE_SIZE = 0.075, 0.05, 0.2


@dataclass(frozen=True)
class Options(common.Options):
    """What shapes arrays or picks code."""

    num_adversaries: int = option(3, "adversaries: the hunters", low=1, high=1000)
    num_good: int = option(1, "good agents: the hunted", low=1, high=1000)
    num_obstacles: int = option(2, "obstacles", low=0, high=1000)

    @property
    def num_agents(self) -> int:
        """How many agents there are, adversaries first."""
        return self.num_adversaries + self.num_good

    @property
    def bodies(self) -> Bodies:
        """Adversaries, good agents, obstacles; all collide."""
        a, g, o = self.num_adversaries, self.num_good, self.num_obstacles
        return Bodies(
            size=(ADVERSARY_SIZE,) * a + (GOOD_SIZE,) * g + (OBSTACLE_SIZE,) * o,
            movable=(True,) * (a + g) + (False,) * o,
            collide=(True,) * (a + g + o),
        )

    @property
    def seen_by_all(self) -> int:
        """How many numbers an agent sees besides the velocities of good agents."""
        return 4 + 2 * self.num_obstacles + 2 * (self.num_agents - 1)


@struct.dataclass
class Params(Contact, Drift):
    """Numbers of the dynamics and the reward."""

    adversary_acceleration: Array = param(3.0, "force of an adversary's unit push", low=0.0)
    good_acceleration: Array = param(4.0, "force of a good agent's unit push", low=0.0)
    adversary_max_speed: Array = param(1.0, "top speed of adversaries", low=0.0)
    good_max_speed: Array = param(1.3, "top speed of good agents", low=0.0)
    catch_reward: Array = param(
        10.0, "what each touch of an adversary and a good agent pays and costs", low=0.0
    )
    obstacle_spread: Array = param(
        1.0, "half the side of the square where obstacles lie: 1 in jaxmarl, 0.9 in mpe2", low=0.0
    )


@struct.dataclass
class State(common.State):
    """The world between two steps."""

    catches: Array  # [] f32, touches of an adversary and a good agent, summed over the steps so far
