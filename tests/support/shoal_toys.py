"""A chain of fields whose every value is known in closed form: the small environment that tests step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from shoal.envs.core import (
    Box,
    Discrete,
    Environment,
    Metadata,
    MetricSpec,
    MultiDiscrete,
    Observation,
    Outcome,
    option,
    param,
)

STAY, RIGHT, LEFT = 0, 1, 2


@dataclass(frozen=True)
class ChainOptions:
    num_agents: int = option(2, "walkers", low=1, high=8)
    length: int = option(4, "fields; the last one is the goal", low=2, high=100)
    max_steps: int = option(8, "time limit", low=1, high=1000)
    actions: str = option("discrete", "kind of action", choices=("discrete", "multi", "box"))
    refill: bool = option(False, "whether a newcomer takes the place of an arrived walker one step later")
    limit_terminates: bool = option(False, "whether the time limit is reported as an ordinary end")
    team_reward: str = option("sum", "how rewards are reduced", choices=("sum", "mean", "shared"))
    random_start: bool = option(True, "whether walkers start on field 0 or 1 by chance")


@struct.dataclass
class ChainParams:
    goal_reward: Any = param(1.0, "paid on arrival", low=0.0, high=100.0)
    step_cost: Any = param(0.125, "paid for each step before arrival", low=0.0, high=1.0)
    slip: Any = param(0.0, "chance that a move fails", low=0.0, high=1.0)


@struct.dataclass
class ChainLevel:
    start: Array  # [A] f32, field
    params: ChainParams


@struct.dataclass
class ChainState:
    position: Array  # [A] f32, field
    alive: Array  # [A] bool
    clock: Array  # [] i32
    arrivals: Array  # [] i32
    params: ChainParams


class Chain(Environment[ChainState, ChainLevel]):
    """Walkers go right to the goal. An arrival pays ``goal_reward - step_cost``, any other step
    ``-step_cost``; whoever arrived is gone. Illegal and non-finite actions stay."""

    Options = ChainOptions
    Params = ChainParams

    def make_metadata(self) -> Metadata:
        o = self.options
        space: Any = {
            "discrete": Discrete(3),
            "multi": MultiDiscrete((3, 2)),  # the second entry is a signal without effect
            "box": Box(-1.0, 1.0, (1,)),
        }[o.actions]
        view = Box(0.0, 1.0, (3,))
        agents = tuple(f"walker_{i}" for i in range(o.num_agents))
        return Metadata(
            agents=agents,
            teams=(0,) * o.num_agents,
            agent_types=(0,) * o.num_agents,
            groups={"walkers": tuple(range(o.num_agents))},
            observation_spaces=(view,) * o.num_agents,
            action_spaces=(space,) * o.num_agents,
            observation_space=view,
            action_space=space,
            state_space=Box(0.0, 1.0, (2 * o.num_agents + 1,)),
            max_steps=o.max_steps,
            time_limit_is_termination=o.limit_terminates,
            team_reward=o.team_reward,
            metric_specs=(MetricSpec("arrivals", "walkers that reached the goal", 0.0, float("inf"), True),),
            citation="made up for the tests",
            slots_refilled=o.refill,
        )

    def sample_level(self, key: Any, params: Any) -> ChainLevel:
        start = jnp.zeros(self.options.num_agents, jnp.float32)
        if self.options.random_start:
            start = jax.random.bernoulli(key, 0.5, start.shape).astype(jnp.float32)
        return ChainLevel(start, params)

    def initial_state(self, level: ChainLevel) -> ChainState:
        params = jax.tree.map(jnp.asarray, level.params)
        alive = jnp.ones(level.start.shape, bool)
        zero = jnp.zeros((), jnp.int32)
        return ChainState(jnp.asarray(level.start), alive, zero, zero, params)

    def draws(self, key: Any, state: ChainState) -> Array:
        return jax.random.uniform(key, state.position.shape)

    def dynamics(self, state: ChainState, action: Array, draws: Array) -> tuple[ChainState, Outcome]:
        o, p = self.options, state.params
        goal = float(o.length - 1)
        move = self.displacement(state, action)
        move = jnp.where(state.alive & (draws >= p.slip), move, 0.0)
        position = jnp.clip(state.position + move, 0.0, goal)
        arrived = state.alive & (position >= goal)
        reward = jnp.where(state.alive, arrived.astype(jnp.float32) * p.goal_reward - p.step_cost, 0.0)
        if o.team_reward == "shared":
            reward = jnp.full_like(reward, jnp.sum(reward))
        joined = ~state.alive if o.refill else jnp.zeros_like(state.alive)
        alive = (state.alive & ~arrived) | joined
        position = jnp.where(alive & ~joined, position, 0.0)
        clock = state.clock + 1
        arrivals = state.arrivals + jnp.sum(arrived, dtype=jnp.int32)
        over = jnp.zeros((), bool) if o.refill else ~jnp.any(alive)
        timeout = (clock >= o.max_steps) & ~over
        outcome = Outcome(
            reward=reward,
            terminated=over | timeout if o.limit_terminates else over,
            truncated=jnp.zeros((), bool) if o.limit_terminates else timeout,
            agent_done=arrived,
            joined=joined,
            metrics={"arrivals": arrivals.astype(jnp.float32)},
        )
        return ChainState(position, alive, clock, arrivals, p), outcome

    def displacement(self, state: ChainState, action: Array) -> Array:
        """Returns [A] f32, what each walker's action moves it by; nothing where the action is illegal."""
        if self.options.actions == "box":
            return jnp.clip(jnp.where(jnp.isfinite(action), action, 0.0)[:, 0], -1.0, 1.0)
        if self.options.actions == "multi":
            legal = (action[:, 1] >= 0) & (action[:, 1] < 2)
            action = jnp.where(legal, action[:, 0], STAY)
        right = (action == RIGHT).astype(jnp.float32)
        left = (action == LEFT) & (state.position > 0)
        return right - left.astype(jnp.float32)

    def observe(self, state: ChainState) -> Observation:
        o = self.options
        alive = state.alive.astype(jnp.float32)
        where = state.position / float(o.length - 1)
        when = jnp.broadcast_to(state.clock.astype(jnp.float32) / float(o.max_steps), where.shape)
        others = jnp.broadcast_to(jnp.mean(alive), where.shape)
        view = jnp.stack([where, when, others], axis=-1) * alive[:, None]
        return Observation(view=view, action_mask=self.mask(state), alive=state.alive)

    def mask(self, state: ChainState) -> Any:
        moves = jnp.stack([jnp.ones_like(state.alive), state.alive, state.alive & (state.position > 0)], -1)
        if self.options.actions == "discrete":
            return moves
        if self.options.actions == "multi":
            return moves, jnp.stack([jnp.ones_like(state.alive), state.alive], -1)
        return jnp.ones((*state.alive.shape, 1), bool)

    def global_state(self, state: ChainState) -> Array:
        o = self.options
        where = state.position / float(o.length - 1)
        when = state.clock.astype(jnp.float32)[None] / float(o.max_steps)
        return jnp.concatenate([where, state.alive.astype(jnp.float32), when])


def chain(**overrides: Any) -> Chain:
    """Builds a chain, by overrides of its options and parameters."""
    env = Chain.from_overrides("toy/chain-v1", overrides)
    assert isinstance(env, Chain)
    return env


def value(distance: int, goal_reward: float, step_cost: float, gamma: float) -> float:
    """The discounted return of going right without slipping, ``distance`` fields from the goal."""
    paid = np.full(distance, -step_cost)
    paid[-1] += goal_reward
    return float(np.sum(paid * gamma ** np.arange(distance)))
