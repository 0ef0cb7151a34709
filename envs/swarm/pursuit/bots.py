"""Scripted pursuers who know where the prey is: four share out the cells beside it, or all run at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int

from shoal.envs.common.assignment import assign
from shoal.envs.core.types import Key
from shoal.envs.swarm.grid import paths
from shoal.envs.swarm.grid.bots import Planner
from shoal.envs.swarm.grid.paths import FAR, MOVES
from shoal.envs.swarm.grid.physics import COLUMN_STEP, ROW_STEP
from shoal.envs.swarm.pursuit.types import State

if TYPE_CHECKING:
    from shoal.envs.swarm.pursuit.env import Pursuit

_SIDES = 4
_HESITATES = 0.1


class Slots(Planner):
    """Sends one agent to each cell beside the prey and has the rest stand still; reads the whole state.

    Ways are shared out so that their sum, each to the power 1.5, is least: nobody has far to go. The next
    prey appears where few agents are around, so those who stand apart keep it near: with all twelve around
    each prey a third as many are caught.
    """

    def __init__(self, env: Pursuit) -> None:
        """Reads the board."""
        super().__init__(env)
        self.floor = env.ring() == 0

    def plan(self, key: Key, state: State) -> Int[Array, " agents"]:
        """Walks, those nearest to their cell first."""
        free = self.floor & ~paths.on_cells(state.prey_i, state.prey_j, self.floor.shape)
        slot_i = state.prey_i[None] + np.array(ROW_STEP[1:MOVES], np.int32)
        slot_j = state.prey_j[None] + np.array(COLUMN_STEP[1:MOVES], np.int32)
        steps = paths.steps_to(paths.on_cells(slot_i, slot_j, free.shape) & free[None], free)
        slot = self._shared(steps[:, state.i, state.j])
        value = paths.around(steps[jnp.maximum(slot, 0)], state.i, state.j, FAR)
        # Now and then one hesitates, else prey and pursuers can go round in circles for ever.
        goes = (slot >= 0) & (jax.random.uniform(key, slot.shape) > _HESITATES)
        open_cells = paths.around(free, state.i, state.j, False) & goes[:, None]
        cost = jnp.where(open_cells, value.astype(jnp.float32), jnp.inf)
        return paths.claim(state.i, state.j, state.alive, cost, jnp.argsort(value[:, 0]).astype(jnp.int32))

    def _shared(self, steps: Int[Array, "slots agents"]) -> Int[Array, " agents"]:
        """Returns the cell that each agent goes to, -1 for none."""
        agents = steps.shape[1]
        reached = steps < FAR
        cost = jnp.where(reached, steps.astype(jnp.float32) ** 1.5, 0.0)
        nobody = jnp.full((_SIDES, max(_SIDES - agents, 0)), 1e4, jnp.float32)
        agent = assign(jnp.concatenate([cost, nobody], axis=1))
        known: Bool[Array, " slots"] = jnp.any(reached, axis=1)
        goes = (agent[:, None] == np.arange(agents)) & known[:, None]
        return jnp.where(jnp.any(goes, axis=0), jnp.argmax(goes, axis=0).astype(jnp.int32), -1)


class Greedy(Planner):
    """Steps nearer to the prey where that is free, nearest first, and stays beside it; reads the state."""

    def __init__(self, env: Pursuit) -> None:
        """Reads the board."""
        super().__init__(env)
        self.floor = env.ring() == 0

    def plan(self, key: Key, state: State) -> Int[Array, " agents"]:
        """Runs."""
        rows, columns = (np.arange(size, dtype=np.int32) for size in self.floor.shape)
        away = jnp.abs(rows[:, None] - state.prey_i) + jnp.abs(columns[None] - state.prey_j)
        taken = paths.covered(state.i, state.j, state.alive, self.floor.shape)
        free = self.floor & (away > 0) & ~taken
        value = paths.around(away, state.i, state.j, FAR)
        open_cells = paths.around(free, state.i, state.j, False).at[:, 0].set(True)
        cost = jnp.where(open_cells, value.astype(jnp.float32), jnp.inf)
        return paths.claim(state.i, state.j, state.alive, cost, jnp.argsort(value[:, 0]).astype(jnp.int32))
