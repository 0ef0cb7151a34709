"""Scripted drivers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Int

from shoal.envs.core.policy import Scripted
from shoal.envs.core.types import Key, Observation, PyTree
from shoal.envs.traffic.junction.dynamics import cell_at
from shoal.envs.traffic.junction.types import BRAKE, GAS, Cars

if TYPE_CHECKING:
    from shoal.envs.traffic.junction.env import TrafficJunction


class Gas(Scripted):
    """Never brakes."""

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Gives gas where there is a car; deterministic."""
        return jnp.where(observation.alive, GAS, BRAKE).astype(jnp.int32)


class GiveWay(Scripted):
    """Knows all cars: nobody drives onto a cell that another one keeps or that one with right of way takes.

    Cars on a junction go first, so that it never locks; then the nearer a queue reaches to where cars come,
    the more urgent its cars, since who still stands there when the next one comes is hit. Apart from that
    nobody is: two cars never end a step on one cell unless one of them came onto it.
    """

    needs_state = True

    def __init__(self, env: TrafficJunction) -> None:
        """Reads the routes."""
        self.network = env.options.network

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Decides for each world of the batch by itself; deterministic."""
        decide = self._decide
        for _ in observation.alive.shape[:-1]:
            decide = jax.vmap(decide)
        return decide(state.cars)

    def _decide(self, cars: Cars) -> Int[Array, " slots"]:
        """Has all give gas, and brakes those who may not until that troubles nobody any more."""
        target = cell_at(self.network, cars.route, cars.progress + 1, cars.alive)
        enters = cars.alive & (target >= 0)
        other = ~jnp.eye(cars.alive.shape[0], dtype=bool)
        pair = other & enters[:, None] & cars.alive[None]  # i might come into the way of j
        yields = pair & enters[None] & (target[:, None] == target[None]) & _goes_first(self._urgency(cars))
        follows = pair & (target[:, None] == cars.cell[None])

        def again(carry: tuple[Array, Array]) -> tuple[Array, Array]:
            brake, _ = carry
            blocked = jnp.any((yields & ~brake[None]) | (follows & brake[None]), axis=1)
            return brake | blocked, jnp.any(blocked & ~brake)

        start = jnp.zeros_like(cars.alive)
        brake, _ = jax.lax.while_loop(lambda carry: carry[1], again, (start, jnp.ones((), bool)))
        return jnp.where(cars.alive & ~brake, GAS, BRAKE).astype(jnp.int32)

    def _urgency(self, cars: Cars) -> Int[Array, " slots"]:
        """Returns minus the free cells between a car and where it came from; 1 on a junction."""
        arrival = cars.route // self.network.choices
        ahead = cars.progress[None] < cars.progress[:, None]  # i is ahead of j
        behind = cars.alive[None] & (arrival[None] == arrival[:, None]) & ahead
        free = cars.progress.astype(jnp.int32) - jnp.sum(behind, axis=1, dtype=jnp.int32)
        inside = jnp.take(jnp.asarray(self.network.merges), cars.cell.astype(jnp.int32), mode="clip")
        return jnp.where(inside, 1, -free)


def _goes_first(urgency: Int[Array, " slots"]) -> Bool[Array, "slots slots"]:
    """Returns [i, j], whether j goes before i: the more urgent, of equally urgent ones the first."""
    index = jnp.arange(urgency.shape[0], dtype=jnp.int32)
    first = index[None] < index[:, None]
    return (urgency[None] > urgency[:, None]) | ((urgency[None] == urgency[:, None]) & first)
