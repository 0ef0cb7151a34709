"""The frame of worlds whose steps take no randomness of their own: batches in the last axis."""

from __future__ import annotations

import abc
from functools import partial
from typing import Any, TypeVar

from jax import Array

from shoal.envs.common.batching import batch_last
from shoal.envs.core.environment import Environment
from shoal.envs.core.types import Observation, Outcome, PyTree

StateT = TypeVar("StateT")
LevelT = TypeVar("LevelT")


class World(Environment[StateT, LevelT]):
    """A world names its rules; how they are called and batched stands here.

    The rules are functions of the options first, written for a single world and for a batch in trailing axes
    alike (`batch_last`).
    """

    @staticmethod
    @abc.abstractmethod
    def rules(options: Any, state: Any, action: Array) -> tuple[Any, Outcome]:
        """Plays one step and settles it; what is no action does nothing."""

    @staticmethod
    @abc.abstractmethod
    def sight(options: Any, state: Any) -> Observation:
        """Returns what the agents see; the docs page names the columns."""

    @staticmethod
    @abc.abstractmethod
    def whole(options: Any, state: Any) -> Array:
        """Returns what a centralised critic sees, [S, *batch]."""

    def __init__(self, id: str = "", options: Any = None, params: Any = None) -> None:
        """Checks options and numbers.

        Raises:
            UserError: for one out of its range.
        """
        super().__init__(id, options, params)
        self._rules, self._sight, self._whole = (
            batch_last(partial(rule, self.options)) for rule in (self.rules, self.sight, self.whole)
        )

    def draws(self, key: Array, state: StateT) -> PyTree:
        """Returns nothing: a step consumes no randomness."""
        return ()

    def dynamics(self, state: StateT, action: Array, draws: PyTree) -> tuple[StateT, Outcome]:
        """Plays one step by the world's `rules`."""
        new: tuple[StateT, Outcome] = self._rules(state, action)
        return new

    def observe(self, state: StateT) -> Observation:
        """Returns the agents' views by the world's `sight`."""
        seen: Observation = self._sight(state)
        return seen

    def global_state(self, state: StateT) -> Array:
        """Returns the state as centralised critics and mixers read it."""
        whole: Array = self._whole(state)
        return whole
