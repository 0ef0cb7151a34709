"""A planner that knows the density as the team estimates it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jax import Array

from shoal.envs.swarm.coverage import dynamics, reward
from shoal.envs.swarm.coverage.types import State
from shoal.envs.swarm.planar import bots as planar_bots
from shoal.envs.swarm.planar.bots import Cost

if TYPE_CHECKING:
    from shoal.envs.swarm.coverage.env import AdaptiveCoverage


class BlockDescent(planar_bots.BlockDescent):
    """Descends on the J that the next places will be measured by."""

    def __init__(self, env: AdaptiveCoverage, candidates: int = 40) -> None:
        """Reads sizes and schedule."""
        super().__init__(env, candidates)
        self.options = env.options

    def cost_of(self, state: State) -> Cost:
        """Returns J as it will be measured next: by the estimate of the moment, or the true density."""
        weights = state.weights if self.options.density == "known" else state.estimate
        density = dynamics.density_on_lattice(self.options, state.params, weights)

        def cost(x: Array, y: Array) -> Array:
            return reward.cost(reward.stand(self.options, x, y), density)

        return cost
