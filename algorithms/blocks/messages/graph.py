"""Who is whose neighbour among the agents of a group.

Shape letters: ``G`` agents of the group, ``K`` neighbours of the agent that has most.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.algorithms.blocks.learner import Group
from shoal.envs.core import Environment, UserError


@dataclass(frozen=True, eq=False)
class Graph:
    """Neighbours in the order of their indices; agents that have fewer than others have silent ones."""

    neighbours: np.ndarray  # [G, G] bool: the row's agent hears the column's

    @classmethod
    def of(cls, env: Environment[Any, Any], group: Group) -> Graph:
        """Returns the group's part of ``metadata.extras["neighbours"]`` [A, A]; without that, all hear all.

        Raises:
            UserError: where that is no matrix of all agents with an empty diagonal.
        """
        agents = env.num_agents
        everybody = ~np.eye(agents, dtype=bool)
        given = np.asarray(env.metadata.extras.get("neighbours", everybody)).astype(bool)
        if given.shape != (agents, agents) or given.diagonal().any():
            raise UserError(
                f"{env.id}: metadata.extras['neighbours'] of shape {given.shape} must be "
                f"[{agents}, {agents}] with an empty diagonal"
            )
        return cls(given[np.ix_(group.indices, group.indices)])

    @property
    def most(self) -> int:
        """``K``, at least one."""
        return max(1, int(self.neighbours.sum(axis=1).max()))

    @cached_property
    def slots(self) -> tuple[np.ndarray, np.ndarray]:
        """Which agent sits in each slot [G, K], and in which there is one [G, K] f32."""
        order = np.argsort(~self.neighbours, axis=1, kind="stable")[:, : self.most]
        return order, np.take_along_axis(self.neighbours, order, axis=1).astype(np.float32)

    def heard(self, x: Array) -> Array:
        """Returns what the neighbours of each agent say: [G, *B, F] -> [G, *B, K, F], zero where silent."""
        index, present = self.slots
        said = x.at[index].get(mode="promise_in_bounds")  # [G, K, *B, F]
        said = said * present.reshape(*present.shape, *(1,) * (x.ndim - 1))
        return jnp.moveaxis(said, 1, -2)

    def mean(self, heard: Array) -> Array:
        """Returns the mean over the neighbours that there are, of `heard`: [G, *B, F]; zero without any."""
        count = np.maximum(self.slots[1].sum(axis=1), 1.0)
        return jnp.sum(heard, axis=-2) / count.reshape(-1, *(1,) * (heard.ndim - 2))

    def without_last(self) -> Graph:
        """Returns the graph in which every agent's last neighbour is missing."""
        last = self.neighbours.shape[1] - 1 - np.argmax(self.neighbours[:, ::-1], axis=1)
        fewer = self.neighbours.copy()
        fewer[np.arange(len(last)), last] = False
        return Graph(fewer)

    def consensus(self, in_order: bool = False) -> np.ndarray:
        """Returns the matrix [G, G] f32 that takes each agent to the mean of itself and its neighbours.

        Args:
            in_order: one agent after the other, so that later ones read what earlier ones have become.
        """
        circle = self.neighbours | np.eye(len(self.neighbours), dtype=bool)
        means = (circle / circle.sum(axis=1, keepdims=True)).astype(np.float32)
        if not in_order:
            return means
        result = np.eye(len(means), dtype=np.float32)
        for agent, row in enumerate(means):
            result[agent] = row @ result
        return result
