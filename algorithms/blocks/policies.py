"""Policies that play with a network's parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
from jax import Array

from shoal.algorithms.blocks.distributions import ActionDistribution
from shoal.envs.core import Key, Observation, PyTree, Space

Apply = Callable[[PyTree, PyTree, PyTree, Array], tuple[PyTree, Array]]
Choose = Callable[[Key, Array, PyTree, bool], Array]


@dataclass(frozen=True)
class NetworkPolicy:
    """A network whose outputs choose the actions; see `shoal.envs.core.Policy` for the contract."""

    params: PyTree
    network: Apply  # (params, carry, view [T, *B, G, ...], reset [T, *B, G]) -> carry, head [T, *B, G, N]
    carry: Callable[[tuple[int, ...]], PyTree]  # leading shape -> fresh memory
    choose: Choose  # (key, head [*B, G, N], action mask, greedy) -> actions [*B, G, ...]
    group_size: int
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
        carry, head = self.network(self.params, carry, view, reset[None])
        return carry, self.choose(key, head[0], observation.action_mask, greedy)


def from_distribution(space: Space, squash: bool) -> Choose:
    """Returns what reads a head as a distribution: its mode where greedy, else a draw."""

    def choose(key: Key, head: Array, mask: PyTree, greedy: bool) -> Array:
        distribution = ActionDistribution.from_head(space, head, mask, squash)
        return distribution.mode() if greedy else distribution.sample_and_log_prob(key)[0]

    return choose
