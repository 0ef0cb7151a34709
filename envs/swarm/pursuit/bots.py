"""Scripted pursuers who know where the prey is: one shares out the cells around it, one runs straight at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int

from shoal.envs.common.assignment import assign
from shoal.envs.core.types import Key
from shoal.envs.swarm.grid import paths
from shoal.envs.swarm.grid.bots import Planner
from shoal.envs.swarm.grid.paths import FAR
from shoal.envs.swarm.pursuit.types import State

if TYPE_CHECKING:
    from shoal.envs.swarm.pursuit.env import Pursuit


def _diamond(radius: int) -> list[tuple[int, int]]:
    """Returns the cells whose row and column distances add up to a radius."""
    reach = range(-radius, radius + 1)
    return [(i, j) for i in reach for j in reach if abs(i) + abs(j) == radius]


class Slots(Planner):
    """Shares out the four cells around the prey, those two away to the rest, and walks there; reads the state.

    Shares make the sum of the ways least, each to the power 1.5, so that nobody has far to go.
    """

    def __init__(self, env: Pursuit) -> None:
        """Reads sizes."""
        super().__init__(env)
        self.ring = env.ring()
        self.offsets = np.array(_diamond(1) + _diamond(2), np.int32)
        self.penalty = np.array([0.0] * 4 + [6.0] * 8, np.float32)

    def plan(self, key: Key, state: State) -> Int[Array, " agents"]:
        """Walks, those nearest to their cell first."""
        shape = (self.options.height, self.options.width)
        slot_i, slot_j = state.prey_i[None] + self.offsets[:, 0], state.prey_j[None] + self.offsets[:, 1]
        free = (self.ring == 0) & ~paths.on_cells(state.prey_i, state.prey_j, shape)
        goals = paths.on_cells(slot_i, slot_j, shape) & free[None]
        steps = paths.steps_to(goals, free)
        far = jax.vmap(lambda field: field[state.i, state.j])(steps)  # [S, A]
        cost = jnp.where(far < FAR, far.astype(jnp.float32) ** 1.5 + self.penalty[:, None], 200.0)
        agents = self.options.num_agents
        spare = jnp.full((agents, agents), 150.0)
        mine = assign(jnp.concatenate([cost.T, spare], axis=1))
        field = steps[jnp.minimum(mine, len(self.offsets) - 1)]
        waits = mine >= len(self.offsets)
        value = paths.around(field, state.i, state.j, FAR).astype(jnp.float32)
        value = jnp.where(waits[:, None], 0.0, value)
        moves = paths.around(free, state.i, state.j, False)
        value = jnp.where(moves, value, jnp.inf)
        order = jnp.argsort(value[:, 0]).astype(jnp.int32)
        return paths.claim(state.i, state.j, state.alive, value, order)


class Greedy(Planner):
    """Steps nearer to the prey wherever that is free, those nearest first; stays beside it. Reads its position."""

    def __init__(self, env: Pursuit) -> None:
        """Reads sizes."""
        super().__init__(env)
        self.ring = env.ring()

    def plan(self, key: Key, state: State) -> Int[Array, " agents"]:
        """Chases."""
        shape = (self.options.height, self.options.width)
        rows, columns = (np.arange(size, dtype=np.int32) for size in shape)
        away = jnp.abs(rows[:, None] - state.prey_i) + jnp.abs(columns[None] - state.prey_j)
        free = (self.ring == 0) & (away > 0)
        cost = jnp.where(free, away.astype(jnp.float32), jnp.inf)
        value = paths.around(cost, state.i, state.j, jnp.inf)
        order = jnp.argsort(value[:, 0]).astype(jnp.int32)
        return paths.claim(state.i, state.j, state.alive, value, order)
