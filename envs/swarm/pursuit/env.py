"""Pursuit of SwarmBench: agents surround a prey that flees from where many agents and walls are.

Source: arXiv 2505.04364 v4 and its code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from shoal.envs.common.boards import place
from shoal.envs.core.environment import MetricSpec
from shoal.envs.core.types import Key
from shoal.envs.swarm.grid import observation, physics
from shoal.envs.swarm.grid import types as grid
from shoal.envs.swarm.grid.boards import check_room, distinct_cells
from shoal.envs.swarm.grid.frame import GridSwarm
from shoal.envs.swarm.grid.physics import STAY
from shoal.envs.swarm.pursuit import dynamics, reward, types
from shoal.envs.swarm.pursuit.types import Draws, Level, State

REFERENCE = 25.0
"""Captures that a coordinated script reaches in 100 rounds: ``score_ratio`` and the view divide by it."""


class Pursuit(GridSwarm[State, Level]):
    """A point for each time that nothing is free around the prey; the next one then appears elsewhere."""

    Options = types.Options
    Params = grid.Params
    options: types.Options

    def __init__(self, id: str = "", options: Any = None, params: Any = None) -> None:
        """Checks options and numbers.

        Raises:
            UserError: for one out of its range, or too many agents.
        """
        super().__init__(id, options, params)
        rows, columns = self._opening_square()
        check_room(self.options, rows * columns, f"in {rows} x {columns} cells")

    def _opening_square(self) -> tuple[int, int]:
        o = self.options
        return min(max(o.height // 2, 5), o.height - 2), min(max(o.width // 2, 5), o.width - 2)

    def sample_level(self, key: Key, params: grid.Params) -> Level:
        """Places the prey in the lower right quarter, the agents in the upper left one."""
        o = self.options
        agents_key, prey_key = jax.random.split(key)
        rows, columns = self._opening_square()
        low = np.array([o.height // 2 + 1, o.width // 2 + 1], np.int32)
        prey = jax.random.randint(prey_key, (2,), low, np.array([o.height - 1, o.width - 1]), jnp.int32)
        free = np.zeros((o.height, o.width), bool)
        free[1 : rows + 1, 1 : columns + 1] = True
        i, j = distinct_cells(agents_key, jnp.asarray(free), o.num_agents)
        return Level(i=i, j=j, prey_i=prey[0], prey_j=prey[1], params=params)

    def initial_state(self, level: Level) -> State:
        """Returns everybody in place."""
        every = self.options.static_prey == "all"
        return self.opened(
            State(
                **self.open(level),
                prey_i=level.prey_i,
                prey_j=level.prey_j,
                prey_static=jnp.asarray(every),
            )
        )

    def task_draws(self, key: Key, state: State) -> Draws:
        """Draws the cells where a new prey may appear."""
        o = self.options
        count = dynamics.number_of_draws(o.height, o.width, o.num_agents)
        return dynamics.draw(key, o.height, o.width, count)

    def static(self, state: State) -> Array:
        """Returns walls and a prey that cannot be pushed."""
        walls = super().static(state)
        prey = place(
            state.prey_static.astype(jnp.int32)[None], state.prey_i[None], state.prey_j[None], walls.shape
        )
        return walls + prey

    def move(self, state: State, primitive: Array) -> State:
        """Pushes agents, and the first prey among them."""
        bodies = physics.Bodies(
            i=jnp.concatenate([state.i, state.prey_i[None]]),
            j=jnp.concatenate([state.j, state.prey_j[None]]),
            present=jnp.concatenate([state.alive, ~state.prey_static[None]]),
            action=jnp.concatenate([primitive, jnp.full_like(primitive[:1], STAY)]),
        )
        bodies = physics.push(bodies, self.static(state) > 0)
        return replace(state, i=bodies.i[:-1], j=bodies.j[:-1], prey_i=bodies.i[-1], prey_j=bodies.j[-1])

    def settle(self, before: State, after: State, draws: Draws) -> tuple[State, Array]:
        """Scores a capture and places the next prey, or lets the prey flee."""
        walls = super().static(after) > 0
        agents = place(after.alive.astype(jnp.int32), after.i, after.j, walls.shape) > 0
        empty = ~walls & ~agents
        prey = (
            place(jnp.ones_like(after.prey_i)[None], after.prey_i[None], after.prey_j[None], walls.shape) > 0
        )
        threats = dynamics.threat(agents, walls)
        caught = dynamics.is_caught(empty, after)
        fled = dynamics.flight(empty & ~prey, threats, after, self.options.threshold == "own")
        new = dynamics.respawn(empty, threats, draws)
        after = replace(
            after,
            prey_i=jnp.where(caught, new[0], fled[0]),
            prey_j=jnp.where(caught, new[1], fled[1]),
            prey_static=after.prey_static | caught,
            score=after.score + caught.astype(jnp.float32),
        )
        return after, jnp.zeros_like(caught)

    def potential(self, state: State) -> Float[Array, "*batch"]:
        """Returns what `reward.potential` does."""
        return reward.potential(state, super().static(state) > 0)

    def shaped(self, before: State, after: State) -> Array:
        """Returns where the prey was not caught: it appears elsewhere then."""
        return after.score == before.score

    def own_metrics(self, state: State) -> dict[str, Array]:
        """Returns ``score_ratio``."""
        return {"score_ratio": state.score / REFERENCE}

    def own_specs(self) -> tuple[MetricSpec, ...]:
        """Declares captures."""
        most = float(self.options.max_steps)
        return (
            MetricSpec("score", "captures", 0.0, most, True),
            MetricSpec("score_ratio", f"captures over {REFERENCE:g}", 0.0, most / REFERENCE, True),
        )

    def shown_score(self, state: State) -> Float[Array, ""]:
        """Returns captures over 25."""
        return state.score / REFERENCE

    def board(self, state: State) -> Array:
        """Returns walls and the prey."""
        shape = (self.options.height, self.options.width)
        one = jnp.ones(1, jnp.int32)
        prey = place(one, state.prey_i[None], state.prey_j[None], shape) > 0
        return observation.cells(jnp.asarray(self.ring()), prey=prey)

    def extra(self, state: State) -> Array:
        """Returns whether the prey cannot be pushed."""
        return state.prey_static[None].astype(jnp.float32)

    def extra_size(self) -> int:
        """Returns 1."""
        return 1

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``scripted`` (the same as ``slots``), ``slots`` and ``greedy``."""
        from shoal.envs.swarm.pursuit.bots import Greedy, Slots

        return {"scripted": lambda: Slots(self), "slots": lambda: Slots(self), "greedy": lambda: Greedy(self)}
