"""Policies that play with a network's parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
from jax import Array

from shoal.algorithms.blocks.distributions import ActionDistribution
from shoal.envs.core import Key, Observation, PyTree, Space

ActorApply = Callable[[PyTree, PyTree, PyTree, Array], tuple[PyTree, Array]]


@dataclass(frozen=True)
class ActorPolicy:
    """A stochastic actor; see `shoal.envs.core.Policy` for the contract."""

    params: PyTree
    actor: ActorApply  # (params, carry, view [T, *B, ...], reset [T, *B]) -> carry, head [T, *B, outputs]
    carry: Callable[[tuple[int, ...]], PyTree]  # leading shape -> fresh memory
    space: Space
    group_size: int
    squash: bool = False
    needs_state: bool = False

    def initial_carry(self, batch: tuple[int, ...] = ()) -> PyTree:
        """Returns fresh memory for ``batch`` copies of the group."""
        return self.carry((*batch, self.group_size))

    def act(
        self,
        key: Key,
        carry: PyTree,
        observation: Observation,
        state: PyTree = None,
        greedy: bool = True,
        first: Array | None = None,
    ) -> tuple[PyTree, Array]:
        """Chooses actions [*B, G, ...]; memory is zeroed where ``first`` or not alive."""
        reset = ~observation.alive if first is None else first | ~observation.alive
        view = jax.tree.map(lambda leaf: leaf[None], observation.view)
        carry, head = self.actor(self.params, carry, view, reset[None])
        distribution = ActionDistribution.from_head(self.space, head[0], observation.action_mask, self.squash)
        return carry, distribution.mode() if greedy else distribution.sample_and_log_prob(key)[0]
