"""Transport of SwarmBench: push a heavy box out of a gap in the wall, and leave through it.

Source: arXiv 2505.04364 v4 and its code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from shoal.envs.core.environment import MetricSpec
from shoal.envs.core.types import Key
from shoal.envs.swarm.grid import observation, physics
from shoal.envs.swarm.grid import types as grid
from shoal.envs.swarm.grid.boards import check_room, distinct_cells
from shoal.envs.swarm.grid.frame import GridSwarm
from shoal.envs.swarm.grid.physics import MARGIN
from shoal.envs.swarm.transport import levels, reward, types
from shoal.envs.swarm.transport.types import Level, State

REFERENCE = 10.5
"""The best score of a coordinated script: what ``score_ratio`` divides by."""


class Transport(GridSwarm[State, Level]):
    """Every agent that leaves adds the share of the rounds that is left; the episode ends with the last."""

    Options = types.Options
    Params = grid.Params
    options: types.Options
    agents_leave: ClassVar[bool] = True

    def __init__(self, id: str = "", options: Any = None, params: Any = None) -> None:
        """Checks options and numbers, and lays out the boards.

        Raises:
            UserError: for one out of its range, or too many agents.
        """
        super().__init__(id, options, params)
        o = self.options
        kinds = {"hooked": levels.hooked, "square": levels.square}
        self.layouts = kinds[o.box](o.height, o.width)
        inner = self.layouts.box[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
        self.free = (self.layouts.board == 0) & ~inner
        check_room(o, int(np.min(np.sum(self.free, axis=(1, 2)))), "on free cells")

    def sample_level(self, key: Key, params: grid.Params) -> Level:
        """Draws one of the layouts, then places agents on free cells."""
        layout_key, cell_key = jax.random.split(key)
        number = jax.random.randint(layout_key, (), 0, len(self.free), jnp.int32)
        i, j = distinct_cells(cell_key, jnp.asarray(self.free)[number], self.options.num_agents)
        board, box, plan = (jnp.asarray(part)[number] for part in self.layouts)
        return Level(i=i, j=j, board=board, box=box, plan=plan, params=params)

    def initial_state(self, level: Level) -> State:
        """Returns the box in the gap."""
        nothing = jnp.zeros((), jnp.int32)
        return self.opened(
            State(
                **self.open(level),
                board=level.board,
                box=level.box,
                box_i=nothing,
                box_j=nothing,
                plan=level.plan,
            )
        )

    def static(self, state: State) -> Int[Array, "rows columns *batch"]:
        """Returns the walls."""
        return state.board.astype(jnp.int32)

    def move(self, state: State, primitive: Array) -> State:
        """Pushes agents and box; agents that go beyond the edge leave."""
        bodies = physics.Bodies(state.i, state.j, state.alive, primitive)
        crate = physics.Crate(state.box, state.box_i, state.box_j)
        bodies, crate = physics.push_with_box(bodies, self.static(state) > 0, crate)
        return replace(
            state, i=bodies.i, j=bodies.j, alive=bodies.present, box=crate.mask, box_i=crate.i, box_j=crate.j
        )

    def settle(self, before: State, after: State, draws: Any) -> tuple[State, Array]:
        """Scores those who left."""
        earned = jnp.sum(reward.exits(before, after, self.options.max_steps), axis=0)
        return replace(after, score=after.score + earned), ~jnp.any(after.alive, axis=0)

    def individual(self, before: State, after: State) -> Float[Array, "agents *batch"]:
        """Returns what those who left added."""
        return reward.exits(before, after, self.options.max_steps)

    def potential(self, state: State) -> Array:
        """Returns how far the box is along its way, and how well agents stand (`reward.potential`)."""
        return reward.potential(state, self.credits_agents())

    def own_metrics(self, state: State) -> dict[str, Array]:
        """Returns ``score_ratio``, ``left``, ``all_left`` and ``box_moves``."""
        left = jnp.mean((~state.alive).astype(jnp.float32), axis=0)
        return {
            "score_ratio": state.score / REFERENCE,
            "left": left,
            "all_left": (left == 1.0).astype(jnp.float32),
            "box_moves": (jnp.abs(state.box_i) + jnp.abs(state.box_j)).astype(jnp.float32),
        }

    def own_specs(self) -> tuple[MetricSpec, ...]:
        """Declares exits."""
        most = float(self.options.num_agents)
        return (
            MetricSpec("score", "shares of the rounds left when agents leave, summed", 0.0, most, True),
            MetricSpec("score_ratio", f"the score over {REFERENCE:g}", 0.0, most / REFERENCE, True),
            MetricSpec("left", "share of agents that have left", 0.0, 1.0, True),
            MetricSpec("all_left", "whether all agents have left", 0.0, 1.0, True),
            MetricSpec("box_moves", "cells that the box is from its start", 0.0, np.inf, True),
        )

    def board(self, state: State) -> Array:
        """Returns walls and what of the box is on the map."""
        inner = state.box[MARGIN:-MARGIN, MARGIN:-MARGIN]
        return observation.cells(state.board.astype(jnp.int32), box=inner)

    def extra(self, state: State) -> Array:
        """Returns how far the box is from its start, rows and columns, over five."""
        return jnp.stack([state.box_i, state.box_j]).astype(jnp.float32) / MARGIN

    def extra_size(self) -> int:
        """Returns 2."""
        return 2

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``scripted`` (the same as ``two-team``) and ``two-team``."""
        from shoal.envs.swarm.transport.bots import TwoTeam

        return {"scripted": lambda: TwoTeam(self), "two-team": lambda: TwoTeam(self)}
