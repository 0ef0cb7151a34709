"""Scripted flocks: one shares out the best square anew each round, in the other all have their cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int

from shoal.envs.common.assignment import assign
from shoal.envs.core.errors import UserError
from shoal.envs.core.types import Key
from shoal.envs.swarm.flocking import dynamics
from shoal.envs.swarm.flocking.types import State
from shoal.envs.swarm.grid import paths
from shoal.envs.swarm.grid.bots import Local, Planner, Seen
from shoal.envs.swarm.grid.paths import MOVES
from shoal.envs.swarm.grid.physics import COLUMN_STEP, ROW_STEP, STAY

if TYPE_CHECKING:
    from shoal.envs.swarm.flocking.env import Flocking

_SIDESTEPS = 0.3
_TRIED = 8  # places of the square looked at in full, those with the least bound


class Assign(Planner):
    """Finds the square and who goes where at least cost, and walks there without pushing; reads the state.

    The cost of a way is its length to the power 1.3: of two ways to share the same cells out it takes the one
    without long ways, so that who stands in the way moves on instead.
    """

    def __init__(self, env: Flocking) -> None:
        """Lays the square out in every place inside the walls."""
        super().__init__(env)
        self.floor, self.shape = env.ring() == 0, env.shape
        side = int(self.shape.max()) + 1
        o = self.options
        downs, rights = np.arange(1, o.height - side), np.arange(1, o.width - side)
        self.down = np.repeat(downs, len(rights)).astype(np.int32)
        self.right = np.tile(rights, len(downs)).astype(np.int32)

    def plan(self, key: Key, state: State) -> Int[Array, " agents"]:
        """Walks, those nearest to their cell first; who has none stays."""
        goal_i, goal_j, goes = self._goals(state)
        to_i = state.i[:, None] + np.array(ROW_STEP[:MOVES], np.int32)[None]
        to_j = state.j[:, None] + np.array(COLUMN_STEP[:MOVES], np.int32)[None]
        steps = jnp.abs(to_i - goal_i[:, None]) + jnp.abs(to_j - goal_j[:, None])
        far = jnp.where(goes, steps[:, STAY], 0)
        free = paths.around(jnp.asarray(self.floor), state.i, state.j, False) & (far > 0)[:, None]
        cost = jnp.where(free, steps.astype(jnp.float32), jnp.inf)
        return paths.claim(state.i, state.j, state.alive, cost, jnp.argsort(far).astype(jnp.int32))

    def _goals(self, state: State) -> tuple[Array, Array, Array]:
        """Returns the row and column that each agent goes to, [A] each, and whether it has any."""
        bound = dynamics.bounds(state.i, jnp.asarray(self.down), self.shape[:, 0])
        bound += dynamics.bounds(state.j, jnp.asarray(self.right), self.shape[:, 1])
        _, tried = jax.lax.top_k(-bound, min(_TRIED, bound.size))
        down, right = jnp.asarray(self.down)[tried], jnp.asarray(self.right)[tried]
        i, j = (jnp.broadcast_to(x[:, None], (*x.shape, down.size)) for x in (state.i, state.j))
        cost = dynamics.costs(i, j, self.shape, down, right) ** 1.3
        agent = assign(cost)  # [cells, tried]
        best = jnp.argmin(jnp.sum(jnp.take_along_axis(cost, agent[:, None], axis=1), axis=(0, 1)))
        numbers = np.arange(self.options.num_agents, dtype=np.int32)
        mine = agent[:, best][None] == numbers[:, None]  # [A, cells]
        cell = jnp.argmax(mine, axis=1)
        goal_i, goal_j = jnp.asarray(self.shape).T
        return goal_i[cell] + down[best], goal_j[cell] + right[best], jnp.any(mine, axis=1)


class Slot(Local):
    """Walks to a cell of its own, given by its number; reads its own view.

    When somebody stands in the way it steps aside now and then. The square lies in the middle of the board.
    Those with numbers beyond its cells stay where they are.
    """

    def __init__(self, env: Flocking) -> None:
        """Gives the cells out."""
        super().__init__(env)
        o = self.options
        if not o.agent_id:
            raise UserError(
                "the policy slot needs agent_id=true: an agent's number says which cell is its own"
            )
        side = int(env.shape.max()) + 1
        self.cells = env.shape + np.array([(o.height - side) // 2, (o.width - side) // 2], np.int32)

    def decide(self, key: Key, seen: Seen) -> Int[Array, ""]:
        """Walks."""
        number = jnp.minimum(seen.number, len(self.cells) - 1)
        goal_i, goal_j = jnp.asarray(self.cells)[number]
        down, right = goal_i - seen.i, goal_j - seen.j
        ways = down * np.array(ROW_STEP[:MOVES], np.int32) + right * np.array(COLUMN_STEP[:MOVES], np.int32)
        u = jax.random.uniform(key, (MOVES + 1,))
        open_ways = ~seen.blocked() & (np.arange(MOVES) > STAY)
        nearer = open_ways & (ways > 0)
        aside = open_ways & (u[-1] < _SIDESTEPS)
        pick = jnp.where(jnp.any(nearer), nearer, aside)
        step = jnp.where(jnp.any(pick), jnp.argmax(jnp.where(pick, u[:-1], -1.0)), STAY)
        settled = (jnp.abs(down) + jnp.abs(right) == 0) | (seen.number >= len(self.cells))
        return jnp.where(settled, STAY, step).astype(jnp.int32)
