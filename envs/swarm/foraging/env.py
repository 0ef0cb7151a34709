"""Foraging of SwarmBench: food in one corner, the nest in another, walls with openings between.

Source: arXiv 2505.04364 v4 and its code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from shoal.envs.core.environment import MetricSpec
from shoal.envs.core.errors import UserError
from shoal.envs.core.types import Key
from shoal.envs.swarm.foraging import dynamics, levels, reward, types
from shoal.envs.swarm.foraging.types import Level, State
from shoal.envs.swarm.grid import observation
from shoal.envs.swarm.grid import types as grid
from shoal.envs.swarm.grid.boards import check_room, distinct_cells
from shoal.envs.swarm.grid.frame import GridSwarm

REFERENCE = 36.0
"""Deliveries that a coordinated script reaches in 100 rounds: what ``score_ratio`` divides by."""


class Foraging(GridSwarm[State, Level]):
    """A point for each load of food carried to the nest; picking up and dropping happen by themselves."""

    Options = types.Options
    Params = grid.Params
    options: types.Options
    shows_flags: ClassVar[bool] = True

    def __init__(self, id: str = "", options: Any = None, params: Any = None) -> None:
        """Checks options and numbers, and lays out the boards.

        Raises:
            UserError: for one out of its range, or too many agents.
        """
        super().__init__(id, options, params)
        o = self.options
        height, width = o.height // o.tiles, o.width // o.tiles
        if (height * o.tiles, width * o.tiles) != (o.height, o.width) or min(height, width) < 8:
            raise UserError(
                f"tiles={o.tiles} must cut height={o.height} and width={o.width} into maps from 8 x 8 on"
            )
        self.layouts = levels.tiled(levels.layouts(height, width), o.tiles)
        check_room(o, int(np.min(np.sum(self.layouts == 0, axis=(1, 2)))), "on free cells")
        self.distances = np.zeros((len(self.layouts), 2, 0, 0), np.int16)
        self.longest = 1.0
        if o.reward == "shaped":
            self.distances = np.stack([levels.distances(board) for board in self.layouts])
            self.longest = float(np.max(self.distances[self.distances < levels.FAR]))

    def sample_level(self, key: Key, params: grid.Params) -> Level:
        """Draws one of the layouts, then places agents on free cells."""
        layout_key, cell_key = jax.random.split(key)
        number = jax.random.randint(layout_key, (), 0, len(self.layouts), jnp.int32)
        board = jnp.asarray(self.layouts)[number]
        i, j = distinct_cells(cell_key, board == 0, self.options.num_agents)
        return Level(i=i, j=j, board=board, distance=jnp.asarray(self.distances)[number], params=params)

    def initial_state(self, level: Level) -> State:
        """Returns everybody with empty hands, also those who open beside the food."""
        nobody = jnp.zeros(self.options.num_agents, bool)
        state = State(**self.open(level), board=level.board, distance=level.distance, delivered=nobody)
        return self.opened(state)

    def static(self, state: State) -> Int[Array, "rows columns *batch"]:
        """Returns walls, nest and food."""
        return state.board.astype(jnp.int32)

    def settle(self, before: State, after: State, draws: Any) -> tuple[State, Array]:
        """Picks up and delivers."""
        return dynamics.carry(after), jnp.zeros(after.t.shape, bool)

    def individual(self, before: State, after: State) -> Float[Array, "agents *batch"]:
        """Returns who delivered."""
        return after.delivered.astype(jnp.float32)

    def potential(self, state: State) -> Array:
        """Returns what `reward.potential` does, mean or own."""
        own = reward.potential(state, self.longest)
        return own if self.credits_agents() else jnp.mean(own, axis=0)

    def own_metrics(self, state: State) -> dict[str, Array]:
        """Returns ``score_ratio`` and ``carrying``."""
        carrying = jnp.mean(state.flag.astype(jnp.float32), axis=0)
        return {"score_ratio": state.score / REFERENCE, "carrying": carrying}

    def own_specs(self) -> tuple[MetricSpec, ...]:
        """Declares deliveries."""
        most = float(self.options.max_steps * self.options.num_agents)
        return (
            MetricSpec("score", "loads delivered", 0.0, most, True),
            MetricSpec("score_ratio", f"loads delivered over {REFERENCE:g}", 0.0, most / REFERENCE, True),
            MetricSpec("carrying", "share of agents with a load", 0.0, 1.0, True),
        )

    def board(self, state: State) -> Array:
        """Returns walls, nest and food."""
        return observation.cells(state.board.astype(jnp.int32))

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``scripted`` (the same as ``conveyor``) and ``conveyor``."""
        from shoal.envs.swarm.foraging.bots import Conveyor

        return {"scripted": lambda: Conveyor(self), "conveyor": lambda: Conveyor(self)}
