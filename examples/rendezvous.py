"""Rendezvous on a ring: agents who cannot talk meet in one cell, as soon as they can.

The whole environment is this file. ``shoal train env=examples.rendezvous`` plays it.

After the rendezvous search problem (Alpern 1995, SIAM J. Control Optim. 33(3)), with sight: every agent sees
who stands how far ahead of it, and all share one sense of direction. Two agents who step towards each other
from an odd distance pass in between, so one of them must wait, and nobody says which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from shoal.envs.core import (
    Box,
    Discrete,
    Environment,
    Metadata,
    MetricSpec,
    Observation,
    Outcome,
    Recording,
    Scripted,
    UserError,
    option,
    param,
)

if TYPE_CHECKING:
    from shoal.envs.scene import Clip

WAIT, FORWARD, BACK = 0, 1, 2


@dataclass(frozen=True)
class RingOptions:
    """What shapes arrays."""

    num_agents: int = option(2, "agents", low=2, high=16)
    cells: int = option(11, "cells of the ring", low=3, high=101)
    max_steps: int = option(20, "time limit", low=1, high=1000)


@struct.dataclass
class RingParams:
    """Numbers."""

    step_cost: Any = param(0.05, "paid by everybody for each step", low=0.0, high=1.0)
    slip: Any = param(0.1, "chance that a step fails", low=0.0, high=1.0)


@struct.dataclass
class Level:
    """What a reset draws."""

    cell: Array  # [A] i32
    params: RingParams


@struct.dataclass
class State:
    """A running episode."""

    cell: Array  # [A] i32, counted forwards
    t: Array  # [] i32, steps played
    params: RingParams


class Rendezvous(Environment[State, Level]):
    """Whoever is not together pays; being together pays everybody 1 and ends the episode."""

    Options: ClassVar[type[Any]] = RingOptions
    Params: ClassVar[type[Any]] = RingParams

    def __init__(self, id: str = "", options: Any = None, params: Any = None) -> None:
        """Checks that there is room for everybody.

        Raises:
            UserError: for more agents than cells, or a value out of its range.
        """
        super().__init__(id, options, params)
        if self.options.num_agents > self.options.cells:
            raise UserError(
                f"num_agents={self.options.num_agents} must be at most cells={self.options.cells}: at first "
                "nobody shares one"
            )

    def make_metadata(self) -> Metadata:
        """Returns like agents of one team."""
        o = self.options
        agents = o.num_agents
        view = Box(0.0, 1.0, (o.cells + 1,))
        return Metadata(
            agents=tuple(f"agent_{i}" for i in range(agents)),
            teams=(0,) * agents,
            agent_types=(0,) * agents,
            groups={"agents": tuple(range(agents))},
            observation_spaces=(view,) * agents,
            action_spaces=(Discrete(3),) * agents,
            observation_space=view,
            action_space=Discrete(3),
            state_space=Box(0.0, 1.0, (agents + 1,)),
            max_steps=o.max_steps,
            time_limit_is_termination=False,
            team_reward="shared",
            metric_specs=(
                MetricSpec("time_left", "share of the time left when all met, 0 if never", 0.0, 1.0, True),
                MetricSpec("met", "whether all met", 0.0, 1.0, True),
            ),
            citation="none: Shoal's example of an environment of one's own",
        )

    def sample_level(self, key: Array, params: RingParams) -> Level:
        """Places everybody in a cell of their own."""
        cells = jax.random.permutation(key, self.options.cells)
        return Level(cells[: self.options.num_agents].astype(jnp.int32), params)

    def initial_state(self, level: Level) -> State:
        """Returns the level as it was drawn."""
        return State(
            jnp.asarray(level.cell), jnp.zeros((), jnp.int32), jax.tree.map(jnp.asarray, level.params)
        )

    def draws(self, key: Array, state: State) -> Array:
        """Returns [A] f32, what decides whose step fails."""
        return jax.random.uniform(key, state.cell.shape)

    def dynamics(self, state: State, action: Array, draws: Array) -> tuple[State, Outcome]:
        """Steps everybody at once; an action that is none of the three waits."""
        o, p = self.options, state.params
        shift = (action == FORWARD).astype(jnp.int32) - (action == BACK).astype(jnp.int32)
        cell = jnp.mod(state.cell + jnp.where(draws >= p.slip, shift, 0), o.cells)
        met = jnp.all(cell == cell[:1])
        state = State(cell, state.t + 1, p)
        left = (o.max_steps - state.t).astype(jnp.float32) / float(o.max_steps)
        nobody = jnp.zeros(cell.shape, bool)
        outcome = Outcome(
            reward=jnp.broadcast_to(met.astype(jnp.float32) - p.step_cost, cell.shape),
            terminated=met,
            truncated=(state.t >= o.max_steps) & ~met,
            agent_done=nobody,
            joined=nobody,
            metrics={
                "time_left": jnp.where(met, left, 0.0),
                "met": met.astype(jnp.float32),
            },
        )
        return state, outcome

    def observe(self, state: State) -> Observation:
        """Returns for each agent the share of the others in the cells ahead (its own first), and the time."""
        o = self.options
        ahead = jnp.mod(state.cell[None, :] - state.cell[:, None], o.cells)  # [A, A]
        counts = jnp.sum(jax.nn.one_hot(ahead, o.cells), axis=1)  # [A, cells]
        others = (counts - jax.nn.one_hot(jnp.zeros_like(state.cell), o.cells)) / float(o.num_agents - 1)
        time = jnp.broadcast_to(self._time(state), (o.num_agents, 1))
        alive = jnp.ones(o.num_agents, bool)
        return Observation(
            view=jnp.concatenate([others, time], axis=-1),
            action_mask=jnp.broadcast_to(alive[:, None], (o.num_agents, 3)),
            alive=alive,
        )

    def global_state(self, state: State) -> Array:
        """Returns where everybody is, and the time, all 0 to 1."""
        where = state.cell.astype(jnp.float32) / float(self.options.cells - 1)
        return jnp.append(where, self._time(state))

    def _time(self, state: State) -> Array:
        return state.t.astype(jnp.float32) / float(self.options.max_steps)

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``scripted``: whoever has the longest way to the next agent ahead waits, the rest come."""
        return {"scripted": lambda: LongestGapWaits(self)}

    def scene(self, recording: Recording) -> Clip:
        """Draws the ring, one picture for each state."""
        from shoal.envs import scene as draw

        frames = tuple(self._picture(state) for state in recording.states)
        return draw.Clip(frames, frame_seconds=0.5, title="Rendezvous")

    def _picture(self, state: State) -> Any:
        from shoal.envs import scene as draw

        items: list[draw.Item] = []
        here = [int(cell) for cell in state.cell]
        for cell in range(self.options.cells):
            turn = 2.0 * math.pi * cell / self.options.cells
            x, y = 4.0 + 3.0 * math.sin(turn), 4.0 + 3.0 * math.cos(turn)
            count = here.count(cell)
            colour = draw.GREEN if count == len(here) else draw.BLUE if count else draw.LIGHT_GREY
            items.append(draw.Circle(x, y, 0.45, colour, draw.WHITE, 0.03))
            if count:
                items.append(draw.Text(x, y, str(count), 0.45, draw.WHITE))
        return draw.Scene.of_size(8.0, 8.0, items, title="Rendezvous", subtitle=f"step {int(state.t)}")


class LongestGapWaits(Scripted):
    """Waits with the longest way to the next agent ahead, else goes forward: all gather where it is longest.

    Agents with equal ways, such as two who face each other across an even ring, wait for ever.
    """

    def __init__(self, env: Rendezvous) -> None:
        """Reads the size of the ring."""
        self.cells = env.options.cells

    def choose(self, key: Array, observation: Observation, state: Any) -> Array:
        """Decides from what an agent sees alone."""
        taken = observation.view[..., 1 : self.cells] > 0.0  # [*B, G, cells - 1], somebody so far ahead
        distance = jnp.arange(1, self.cells)
        ahead = jnp.where(taken, distance, self.cells)
        # The ways between the others, in order: from each taken cell to the next one, the last one to me.
        following = jnp.flip(jax.lax.cummin(jnp.flip(ahead, -1), axis=ahead.ndim - 1), -1)
        following = jnp.concatenate([following[..., 1:], jnp.full_like(ahead[..., :1], self.cells)], axis=-1)
        others = jnp.max(jnp.where(taken, following - distance, 0), axis=-1)
        mine = jnp.min(ahead, axis=-1)
        return jnp.where(mine >= others, WAIT, FORWARD).astype(jnp.int32)
