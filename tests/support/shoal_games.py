"""Tiny games for learners of action values, each with one thing that a broken learner gets wrong."""

from dataclasses import dataclass
from typing import Any

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
    option,
    param,
)


def metadata(
    agents: int, actions: int, features: int, states: int, max_steps: int, truncates: bool
) -> Metadata:
    space = Box(-1e3, 1e3, (features,))
    return Metadata(
        agents=tuple(f"agent_{i}" for i in range(agents)),
        teams=(0,) * agents,
        agent_types=(0,) * agents,
        groups={"all": tuple(range(agents))},
        observation_spaces=(space,) * agents,
        action_spaces=(Discrete(actions),) * agents,
        observation_space=space,
        action_space=Discrete(actions),
        state_space=Box(0.0, 1.0, (states,)),
        max_steps=max_steps,
        time_limit_is_termination=not truncates,
        team_reward="shared",
        metric_specs=(MetricSpec("paid", "what the last step paid", -1e3, 1e3, True),),
        citation="",
    )


def outcome(agents: int, reward: Array, terminated: Any, truncated: Any = False) -> Outcome:
    nobody = jnp.zeros(agents, bool)
    return Outcome(
        reward=jnp.broadcast_to(reward, (agents,)),
        terminated=jnp.asarray(terminated),
        truncated=jnp.asarray(truncated),
        agent_done=nobody,
        joined=nobody,
        metrics={"paid": reward},
    )


@dataclass(frozen=True)
class TwoStepOptions:
    seen: bool = option(True, "whether agents see which game they play; the global state always tells")


@struct.dataclass
class TwoStepParams:
    bonus: Any = param(0.0, "paid at once for choosing the safe game", low=-100.0, high=100.0)
    safe: Any = param(7.0, "what the safe game pays", low=-100.0, high=100.0)


@struct.dataclass
class TwoStepState:
    place: Array  # [] i32, 0: the choice, 1: the safe game, 2: the other
    params: TwoStepParams


class TwoStep(Environment[TwoStepState, TwoStepState]):
    """The two-step game of Rashid et al. 2018, section 6.1: the first agent chooses the second step's game.

    Safe: 7 whatever they do. Other: 0, 1, 1 or 8, the last if both take action 1. A sum of agents' values
    cannot tell that 8 (fitted to uniform play it says 6.5).
    """

    Options, Params = TwoStepOptions, TwoStepParams

    def make_metadata(self) -> Metadata:
        return metadata(2, 2, 3, 3, 2, truncates=False)

    def sample_level(self, key: Array, params: Any) -> TwoStepState:
        return TwoStepState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.float32, params))

    def initial_state(self, level: TwoStepState) -> TwoStepState:
        return level

    def draws(self, key: Array, state: TwoStepState) -> tuple[()]:
        return ()

    def dynamics(self, state: TwoStepState, action: Array, draws: Any) -> tuple[TwoStepState, Outcome]:
        p = state.params
        other = jnp.asarray([[0.0, 1.0], [1.0, 8.0]])[action[0], action[1]]
        chose_safe = action[0] == 0
        pays = jnp.stack([jnp.where(chose_safe, p.bonus, 0.0), p.safe, other])[state.place]
        place = jnp.where(chose_safe, 1, 2).astype(jnp.int32)
        return TwoStepState(place, p), outcome(2, pays, state.place > 0)

    def observe(self, state: TwoStepState) -> Observation:
        where = self.global_state(state)
        if not self.options.seen:
            where = jnp.stack([where[0], where[1] + where[2], jnp.zeros(())])
        return Observation(jnp.broadcast_to(where, (2, 3)), jnp.ones((2, 2), bool), jnp.ones(2, bool))

    def global_state(self, state: TwoStepState) -> Array:
        return jax.nn.one_hot(state.place, 3)


@dataclass(frozen=True)
class StreamOptions:
    limit: int = option(1, "steps until truncation", low=1)


@struct.dataclass
class StreamParams:
    leaving: Any = param(4.0, "what leaving pays", low=0.0)


@struct.dataclass
class StreamState:
    clock: Array  # [] i32
    params: StreamParams


class Stream(Environment[StreamState, StreamState]):
    """Staying (0) pays 1 for ever, seen in pieces; leaving (1) pays once and ends the episode.

    At a discount of 0.9 staying is worth 10. Who takes the clock for an end of the rules thinks 1.
    """

    Options, Params = StreamOptions, StreamParams

    def make_metadata(self) -> Metadata:
        return metadata(1, 2, 1, 1, self.options.limit, truncates=True)

    def sample_level(self, key: Array, params: Any) -> StreamState:
        return StreamState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.float32, params))

    def initial_state(self, level: StreamState) -> StreamState:
        return level

    def draws(self, key: Array, state: StreamState) -> tuple[()]:
        return ()

    def dynamics(self, state: StreamState, action: Array, draws: Any) -> tuple[StreamState, Outcome]:
        left, clock = action[0] == 1, state.clock + 1
        pays = jnp.where(left, state.params.leaving, 1.0)
        late = (clock >= self.options.limit) & ~left
        return StreamState(clock, state.params), outcome(1, pays, left, late)

    def observe(self, state: StreamState) -> Observation:
        return Observation(jnp.ones((1, 1)), jnp.ones((1, 2), bool), jnp.ones(1, bool))

    def global_state(self, state: StreamState) -> Array:
        return jnp.zeros(1)


@dataclass(frozen=True)
class DoorOptions:
    """None."""


@struct.dataclass
class DoorParams:
    opening: Any = param(3.0, "what opening pays", low=0.0)


@struct.dataclass
class DoorState:
    late: Array  # [] bool
    params: DoorParams


class Door(Environment[DoorState, DoorState]):
    """Passing (0) pays 1 and ends, opening (2) pays 3 and ends, waiting (1) pays 1 and leads to a second
    step that looks like the first, where only passing is legal.

    So waiting is worth 2 at most; who thinks that the door can still be opened then prefers it.
    """

    Options, Params = DoorOptions, DoorParams

    def make_metadata(self) -> Metadata:
        return metadata(1, 3, 1, 1, 2, truncates=False)

    def sample_level(self, key: Array, params: Any) -> DoorState:
        return DoorState(jnp.zeros((), bool), jax.tree.map(jnp.float32, params))

    def initial_state(self, level: DoorState) -> DoorState:
        return level

    def draws(self, key: Array, state: DoorState) -> tuple[()]:
        return ()

    def dynamics(self, state: DoorState, action: Array, draws: Any) -> tuple[DoorState, Outcome]:
        opens = (action[0] == 2) & ~state.late
        pays = jnp.where(opens, state.params.opening, 1.0)
        over = state.late | (action[0] != 1)
        return DoorState(jnp.ones((), bool), state.params), outcome(1, pays, over)

    def observe(self, state: DoorState) -> Observation:
        legal = jnp.stack([jnp.ones((), bool), ~state.late, ~state.late])[None]
        return Observation(jnp.ones((1, 1)), legal, jnp.ones(1, bool))

    def global_state(self, state: DoorState) -> Array:
        return state.late.astype(jnp.float32)[None]


@dataclass(frozen=True)
class OpeningOptions:
    limit: int = option(6, "steps until the end at the latest", low=1)


@struct.dataclass
class OpeningParams:
    ends: Any = param(0.5, "chance that a step is the last", low=0.0, high=1.0)


@struct.dataclass
class OpeningState:
    clock: Array  # [] i32
    params: OpeningParams


class Opening(Environment[OpeningState, OpeningState]):
    """Pays 1 for action 1 at an episode's first step and for action 0 at any other. Nothing is seen, and
    episodes end by chance: only memory that starts afresh knows when it started."""

    Options, Params = OpeningOptions, OpeningParams

    def make_metadata(self) -> Metadata:
        return metadata(1, 2, 1, 1, self.options.limit, truncates=False)

    def sample_level(self, key: Array, params: Any) -> OpeningState:
        return OpeningState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.float32, params))

    def initial_state(self, level: OpeningState) -> OpeningState:
        return level

    def draws(self, key: Array, state: OpeningState) -> Array:
        return jax.random.uniform(key)

    def dynamics(self, state: OpeningState, action: Array, draws: Array) -> tuple[OpeningState, Outcome]:
        right = action[0] == (state.clock == 0).astype(jnp.int32)
        clock = state.clock + 1
        over = (draws < state.params.ends) | (clock >= self.options.limit)
        return OpeningState(clock, state.params), outcome(1, right.astype(jnp.float32), over)

    def observe(self, state: OpeningState) -> Observation:
        return Observation(jnp.ones((1, 1)), jnp.ones((1, 2), bool), jnp.ones(1, bool))

    def global_state(self, state: OpeningState) -> Array:
        return jnp.zeros(1)
