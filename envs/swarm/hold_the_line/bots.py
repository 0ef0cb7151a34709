"""A planner that knows the line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jax import Array

from shoal.envs.swarm.hold_the_line import reward
from shoal.envs.swarm.hold_the_line.types import State
from shoal.envs.swarm.planar import bots as planar_bots
from shoal.envs.swarm.planar.bots import Cost

if TYPE_CHECKING:
    from shoal.envs.swarm.hold_the_line.env import HoldTheLine


class BlockDescent(planar_bots.BlockDescent):
    """Descends on J itself."""

    def __init__(self, env: HoldTheLine, candidates: int = 40) -> None:
        """Reads sizes and schedule."""
        super().__init__(env, candidates)
        self.options = env.options

    def cost_of(self, state: State) -> Cost:
        """Returns J, which does not change."""

        def cost(x: Array, y: Array) -> Array:
            return reward.cost(reward.stand(self.options, state.params, x, y))

        return cost
