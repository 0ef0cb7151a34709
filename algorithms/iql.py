"""Independent Q-learning (Tan 1993; with deep recurrent networks as in Rashid et al. 2018, arXiv 1803.11485).

Every agent of the group learns the values of its own actions from its own reward, as if it were alone.
Details follow the recurrent baseline of JaxMARL (arXiv 2311.10090); docs/algorithms/iql.md lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from shoal.algorithms.blocks.q_learning import QLearner, QLearningConfig


@dataclass(frozen=True)
class IQLConfig(QLearningConfig):
    """Hyperparameters; those of every learner that replays."""

    # D4: an agent's own end cuts its bootstrap even where the team goes on earning for it.
    known_flags: ClassVar[tuple[str, ...]] = (*QLearningConfig.known_flags, "D4")
    paper_flags: ClassVar[tuple[str, ...]] = (*QLearningConfig.paper_flags, "D4")


class IQL(QLearner):
    """The learner: values stay those of single agents."""

    Config: ClassVar[type[Any]] = IQLConfig
    needs_state = False
    team_values = False
