"""A scripted conveyor: everybody keeps to a lane, one towards the food and one towards the nest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int

from shoal.envs.core.errors import UserError
from shoal.envs.core.types import Key
from shoal.envs.swarm.foraging import lanes
from shoal.envs.swarm.foraging.types import State
from shoal.envs.swarm.grid import paths
from shoal.envs.swarm.grid.bots import Planner
from shoal.envs.swarm.grid.paths import MOVES
from shoal.envs.swarm.grid.physics import STAY

if TYPE_CHECKING:
    from shoal.envs.swarm.foraging.env import Foraging


class Conveyor(Planner):
    """Follows the lane to the food with empty hands and that to the nest with a load; reads the whole state.

    The two lanes share only their ends and together are the shortest such circuit (`lanes.circuit`). Whoever
    stands elsewhere walks to its lane first. Nobody pushes anybody.
    """

    def __init__(self, env: Foraging) -> None:
        """Lays lanes on each of the environment's layouts.

        Raises:
            UserError: for a board without room for two lanes, or of several maps.
        """
        super().__init__(env)
        o = self.options
        tiles = env.options.tiles
        if tiles > 1:
            raise UserError(f"the policy conveyor knows boards of one map, not of tiles={tiles}")
        self.layouts = env.layouts
        found = [lanes.lay(board) for board in self.layouts]
        known = [each for each in found if each is not None]
        if len(known) < len(found):
            raise UserError(
                f"the policy conveyor finds no room for two lanes on {o.height} x {o.width} cells; "
                "square boards have it, but for 9 x 9"
            )
        self.lanes = lanes.Lanes(*(np.stack(parts) for parts in zip(*known, strict=True)))

    def plan(self, key: Key, state: State) -> Int[Array, " agents"]:
        """Steps on, those nearest to their goal first."""
        number = jnp.argmax(jnp.all(jnp.asarray(self.layouts) == state.board[None], axis=(1, 2)))
        onward, lane, cost = (jnp.asarray(part)[number] for part in self.lanes)
        i, j, goal = state.i, state.j, state.flag.astype(jnp.int32)
        value = paths.around(cost[goal], i, j, jnp.inf)
        here = value[:, STAY]
        onward = onward[i, j][:, None]
        advances = (onward == np.arange(MOVES, dtype=np.int32)[None]) & (onward > 0)
        # On the other lane it goes with the traffic until it can change over.
        against = (onward > 0) & paths.around(lane[1 - goal] & ~lane[goal], i, j, False)
        nearer = (value < here[:, None]) & ~lane[goal, i, j][:, None] & ~against
        cost_of = jnp.where(advances | nearer, value, jnp.inf)
        return paths.claim(i, j, state.alive, cost_of, jnp.argsort(here).astype(jnp.int32))
