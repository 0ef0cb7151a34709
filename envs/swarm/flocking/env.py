"""Flocking of SwarmBench: agents form a hollow square, wherever they like.

Source: arXiv 2505.04364 v4 and its code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from shoal.envs.core.environment import MetricSpec
from shoal.envs.core.errors import UserError
from shoal.envs.core.types import Key
from shoal.envs.swarm.flocking import dynamics, types
from shoal.envs.swarm.flocking.types import Level, State
from shoal.envs.swarm.grid import observation
from shoal.envs.swarm.grid.boards import check_room, distinct_cells
from shoal.envs.swarm.grid.frame import GridSwarm

PUBLISHED_START = (
    ((1, 2), (4, 5), (3, 4), (2, 2), (1, 7), (2, 1), (4, 4), (4, 1), (4, 7), (5, 8), (3, 1), (6, 7))
)  # fmt: skip
"""Cells of agents 0 to 11: the original seeds this task with 42 whatever it is told."""


class Flocking(GridSwarm[State, Level]):
    """The score is the largest amount by which the distance to the shape was ever below that of the start."""

    Options = types.Options
    Params = types.Params
    options: types.Options
    params: types.Params

    def __init__(self, id: str = "", options: Any = None, params: Any = None) -> None:
        """Checks options and numbers.

        Raises:
            UserError: for one out of its range, too few or too many agents, a start that is not known.
        """
        super().__init__(id, options, params)
        o = self.options
        check_room(o, int(np.sum(self.ring() == 0)), "inside the walls")
        if o.num_agents < 4:
            raise UserError(f"num_agents={o.num_agents} must be at least 4, which form the smallest square")
        if o.start == "published" and (o.num_agents, o.height, o.width) != (12, 10, 10):
            raise UserError("start='published' is known for 12 agents on 10 x 10 only; take start='random'")
        self.shape = dynamics.ring(o.num_agents)
        if o.matching == "axes" and len(self.shape) < o.num_agents:
            raise UserError(
                f"matching='axes' says little of num_agents={o.num_agents}, which outnumber the square's "
                f"{len(self.shape)} cells; take a multiple of 4, or matching='exact'"
            )

    def sample_level(self, key: Key, params: types.Params) -> Level:
        """Places agents anywhere, or where the published runs had them."""
        if self.options.start == "published":
            i, j = jnp.asarray(np.array(PUBLISHED_START, np.int32).T)
        else:
            i, j = distinct_cells(key, jnp.asarray(self.ring() == 0), self.options.num_agents)
        return Level(i=i, j=j, params=params)

    def initial_state(self, level: Level) -> State:
        """Returns the start and its distance."""
        distance = dynamics.distance(level.i, level.j, self.shape, self.options.matching == "exact")
        nothing = jnp.zeros((), jnp.float32)
        return self.opened(
            State(**self.open(level), distance=distance, start_distance=distance, best=nothing)
        )

    def settle(self, before: State, after: State, draws: Any) -> tuple[State, Array]:
        """Measures the distance; the score never falls."""
        distance = dynamics.distance(after.i, after.j, self.shape, self.options.matching == "exact")
        best = jnp.maximum(after.best, after.start_distance - distance)
        after = replace(after, distance=distance, best=best, score=best * after.params.unit)
        return after, distance == 0.0

    def potential(self, state: State) -> Float[Array, "*batch"]:
        """Returns the distance over that of the start, times -1/4."""
        return -0.25 * state.distance / jnp.maximum(state.start_distance, 1.0)

    def own_metrics(self, state: State) -> dict[str, Array]:
        """Returns ``score_ratio`` and ``distance``."""
        start = jnp.maximum(state.start_distance, 1.0)
        # A start that is the shape already is wholly done.
        ratio = jnp.where(state.start_distance > 0, state.best / start, 1.0)
        return {"score_ratio": ratio, "distance": state.distance}

    def own_specs(self) -> tuple[MetricSpec, ...]:
        """Declares how much nearer the shape came."""
        far = float(self.options.num_agents * (self.options.height + self.options.width))
        return (
            MetricSpec("score", "cells come nearer to the shape, times unit", 0.0, far, True),
            MetricSpec("score_ratio", "cells come nearer over the start's distance", 0.0, 1.0, True),
            MetricSpec("distance", "cells from the shape at the end", 0.0, far, False),
        )

    def board(self, state: State) -> Array:
        """Returns the walls."""
        return observation.cells(jnp.asarray(self.ring()))

    def target_size(self) -> float:
        """Returns the square's side over the board's height."""
        return (self.options.num_agents // 4 + 1) / self.options.height

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``scripted`` (the same as ``assign``), ``assign`` and ``slot``."""
        from shoal.envs.swarm.flocking.bots import Assign, Slot

        return {"scripted": lambda: Assign(self), "assign": lambda: Assign(self), "slot": lambda: Slot(self)}
