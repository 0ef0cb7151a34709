"""Who shares parameters with whom: all agents of a group, those of one type, or nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.algorithms.blocks.learner import Group
from shoal.envs.core import Environment, PyTree, UserError

MODES = ("all", "by_type", "none")


@dataclass(frozen=True)
class Sharing:
    """Which of ``count`` sets of parameters each agent of a group plays with.

    With one set, parameters are what a network makes; else their leaves have a leading axis ``count``.
    """

    owner: tuple[int, ...] | None  # agent of the group -> its set; None: one set for all

    @classmethod
    def of(cls, mode: str, env: Environment[Any, Any], group: Group) -> Sharing:
        """Returns how ``mode`` shares among the agents of ``group``.

        Raises:
            UserError: for an unknown mode.
        """
        if mode not in MODES:
            raise UserError(f"sharing={mode!r} is not one of {', '.join(MODES)}")
        if mode == "all":
            return cls(None)
        if mode == "none":
            return cls(tuple(range(len(group.indices))))
        types = [int(env.agent_types[i]) for i in group.indices]
        known = sorted(set(types))
        return cls(tuple(known.index(kind) for kind in types))

    @property
    def count(self) -> int:
        """How many sets of parameters there are."""
        return 1 if self.owner is None else max(self.owner) + 1

    def init(self, make: Callable[[Array], PyTree], key: Array) -> PyTree:
        """Draws the parameters, each set with a key of its own."""
        return make(key) if self.owner is None else jax.vmap(make)(jax.random.split(key, self.count))

    def each(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns ``function`` of one set (parameters, gradients, ...) as one of all sets, each apart."""
        return function if self.owner is None else jax.vmap(function)

    def own_means(self, grads: PyTree) -> PyTree:
        """Turns gradients of a mean over all agents into those of the means over each set's own agents."""
        if self.owner is None:
            return grads
        factors = np.float32(len(self.owner)) / np.bincount(self.owner).astype(np.float32)
        return jax.tree.map(lambda g: g * factors.reshape(-1, *(1,) * (g.ndim - 1)), grads)

    def normalised(self, normalise: Callable[[Array, Array], Array], x: Array, weight: Array) -> Array:
        """Applies ``normalise(x, weight)`` [..., G] to the agents of each set apart."""
        if self.owner is None:
            return normalise(x, weight)
        own = jnp.asarray(self.owner) == jnp.arange(self.count)[:, None]  # [sets, G]
        parts = jax.vmap(lambda mine: jnp.where(mine, normalise(x, jnp.where(mine, weight, 0.0)), 0.0))(own)
        return jnp.sum(parts, axis=0)

    def apply(
        self, network: Callable[..., tuple[PyTree, PyTree]], params: PyTree, carry: PyTree, *inputs: PyTree
    ) -> tuple[PyTree, PyTree]:
        """Runs ``network(params, carry, *inputs) -> carry, outputs``, every agent by its own parameters.

        Args:
            network: works on any batch shape.
            params: from `init`.
            carry: leaves [*B, G, ...].
            inputs: leaves [T, *B, G, ...]; the last one is the reset flag [T, *B, G], which tells the axes.
        """
        if self.owner is None:
            return network(params, carry, *inputs)
        agents = inputs[-1].ndim - 1
        carry = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, agents - 1, 0), carry)
        inputs = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, agents, 0), inputs)
        carry, outputs = self.per_agent(network)(params, carry, *inputs)
        return (
            jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, agents - 1), carry),
            jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, agents), outputs),
        )

    def per_agent(self, function: Callable[..., PyTree]) -> Callable[..., PyTree]:
        """Returns ``function(params, *leaves)`` of one agent as one of all, each by its own parameters.

        Agents are the first axis of all leaves, in and out: products of batches that lie elsewhere are
        transposed first.
        """

        def every(params: PyTree, *leaves: PyTree) -> PyTree:
            if self.owner is None:
                return jax.vmap(function, in_axes=(None, *(0 for _ in leaves)))(params, *leaves)
            if self.owner != tuple(range(self.count)):
                owner = jnp.asarray(self.owner)
                params = jax.tree.map(lambda leaf: jnp.take(leaf, owner, axis=0), params)
            return jax.vmap(function)(params, *leaves)

        return every
