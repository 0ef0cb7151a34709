"""Synchronization of SwarmBench: all lights alike, in turns on and off.

Source: arXiv 2505.04364 v4 and its code; the hard form (no clock, no numbers, lights that flip, late starts)
is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from shoal.envs.core.environment import MetricSpec
from shoal.envs.core.errors import UserError
from shoal.envs.core.types import Key
from shoal.envs.swarm.grid import observation
from shoal.envs.swarm.grid.boards import check_room, distinct_cells
from shoal.envs.swarm.grid.frame import GridSwarm
from shoal.envs.swarm.synchronization import dynamics, reward, types
from shoal.envs.swarm.synchronization.types import Level, State


class Synchronization(GridSwarm[State, Level]):
    """A point for each round that ends with all lights alike, other than when it was last scored."""

    Options = types.Options
    Params = types.Params
    options: types.Options
    params: types.Params
    switches: ClassVar[bool] = True
    shows_flags: ClassVar[bool] = True

    def __init__(self, id: str = "", options: Any = None, params: Any = None) -> None:
        """Checks options and numbers.

        Raises:
            UserError: for one out of its range, or too many agents.
        """
        super().__init__(id, options, params)
        o = self.options
        check_room(o, int(np.sum(self.ring() == 0)), "inside the walls")
        if o.closest:
            rows, columns = min(o.closest, o.height - 2), min(o.closest, o.width - 2)
            check_room(o, rows * columns, f"in a square of closest={o.closest}")
        if o.fewest > o.num_agents:
            raise UserError(f"fewest={o.fewest} must be at most num_agents={o.num_agents}")

    def sample_level(self, key: Key, params: types.Params) -> Level:
        """Places agents anywhere and sets each light to on or off."""
        o = self.options
        cell_key, light_key = jax.random.split(key)
        free = jnp.asarray(self.ring() == 0)
        if o.closest:
            free &= self._square(jax.random.fold_in(cell_key, 1), params)
        i, j = distinct_cells(cell_key, free, o.num_agents)
        u = jax.random.uniform(light_key, (2, o.num_agents))
        wakes = jnp.minimum((u[1] * (o.start_delay + 1)).astype(jnp.int32), o.start_delay)
        present = jnp.ones(o.num_agents, bool)
        if o.fewest:
            fewest = _eased(o.fewest, o.num_agents, params)
            count = jax.random.randint(jax.random.fold_in(light_key, 1), (), fewest, o.num_agents + 1)
            present = jnp.arange(o.num_agents) < count
        return Level(i=i, j=j, light=u[0] < 0.5, wakes=wakes, present=present, params=params)

    def _square(self, key: Key, params: types.Params) -> Bool[Array, "rows columns"]:
        """Returns the cells of a square within the walls, of sides from ``closest`` to the board's."""
        o = self.options
        room = np.array([o.height - 2, o.width - 2], np.int32)
        longest = int(np.max(room))
        size_key, place_key = jax.random.split(key)
        side = jax.random.randint(size_key, (), _eased(o.closest, longest, params), longest + 1)
        first = 1 + jax.random.randint(place_key, (2,), 0, jnp.maximum(room - side, 0) + 1)
        i, j = jnp.arange(o.height)[:, None], jnp.arange(o.width)[None]
        return (i >= first[0]) & (i < first[0] + side) & (j >= first[1]) & (j < first[1] + side)

    def curriculum(self, progress: Float[Array, ""]) -> types.Params:
        """Stays easy for 0.4 of the training and then goes to the task itself, which it reaches at 0.85.

        Easy are teams and squares down to the smallest, with lights that flip as often as ``early_flips``
        says: small teams that see few flips learn to switch without looking.
        """
        p, ease = self.params, jnp.clip((0.85 - progress) / 0.45, 0.0, 1.0)
        return replace(p, ease=ease, flips=p.flips + ease * jnp.maximum(p.early_flips - p.flips, 0.0))

    def initial_state(self, level: Level) -> State:
        """Returns nothing scored yet."""
        nothing = jnp.full((), -1, jnp.int32)
        state = State(**self.open(level, level.light), wakes=level.wakes, last_sync=nothing)
        present = level.present
        return self.opened(replace(state, alive=present, flag=state.flag & present))

    def task_draws(self, key: Key, state: State) -> Float[Array, " agents"]:
        """Returns what decides whose light flips by itself."""
        return jax.random.uniform(key, (self.options.num_agents,))

    def may_act(self, state: State) -> Array:
        """Returns who is awake."""
        return state.alive & (state.t[None] >= state.wakes)

    def settle(
        self, before: State, after: State, draws: Float[Array, "agents *batch"]
    ) -> tuple[State, Array]:
        """Switches lights and looks whether they are alike."""
        return dynamics.switch(after, draws), jnp.zeros(after.t.shape, bool)

    def potential(self, state: State) -> Float[Array, "*batch"]:
        """Returns what `reward.potential` does."""
        return reward.potential(state)

    def own_metrics(self, state: State) -> dict[str, Array]:
        """Returns ``score_ratio``."""
        return {"score_ratio": state.score / self.options.max_steps}

    def own_specs(self) -> tuple[MetricSpec, ...]:
        """Declares points."""
        most = float(self.options.max_steps)
        return (
            MetricSpec("score", "times that all lights were alike in turn", 0.0, most, True),
            MetricSpec("score_ratio", "the score over the rounds of an episode", 0.0, 1.0, True),
        )

    def board(self, state: State) -> Array:
        """Returns the walls."""
        return observation.cells(jnp.asarray(self.ring()))

    def extra(self, state: State) -> Array:
        """Returns what was last scored, -1, 0 or 1."""
        return state.last_sync[None].astype(jnp.float32)

    def extra_size(self) -> int:
        """Returns 1."""
        return 1

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``scripted`` (the same as ``clock``), ``clock`` and ``vote``."""
        from shoal.envs.swarm.synchronization.bots import Clock, Vote

        return {"scripted": lambda: Clock(self), "clock": lambda: Clock(self), "vote": lambda: Vote(self)}


def _eased(least: int, most: int, params: types.Params) -> Int[Array, ""]:
    """Returns the least number to be drawn, between ``least`` and ``most``."""
    return jnp.round(most - jnp.asarray(params.ease) * (most - least)).astype(jnp.int32)
