"""Value decomposition networks (Sunehag et al. 2017, arXiv 1706.05296).

The team's value is the sum of its agents' values, learned from the team's reward; each agent acts on its own.
Details follow the recurrent baseline of JaxMARL (arXiv 2311.10090); docs/algorithms/vdn.md lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from jax import Array

from shoal.algorithms.blocks import mixers
from shoal.algorithms.blocks.q_learning import QLearner, QLearningConfig
from shoal.envs.core import PyTree


@dataclass(frozen=True)
class VDNConfig(QLearningConfig):
    """Hyperparameters; those of every learner that replays."""


class VDN(QLearner):
    """The learner: a sum for a mixer."""

    Config: ClassVar[type[Any]] = VDNConfig
    needs_state = False

    def mix(self, params: PyTree, q: Array, state: Array) -> Array:
        """Returns the team's values [*B] of agents' values [*B, G]."""
        return mixers.total(q)
