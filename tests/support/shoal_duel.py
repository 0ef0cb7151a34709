"""A zero-sum game of two teams whose equilibrium is pure, but not the best answer to chance.

Each player of a team meets each of the other; what it earns is the mean over them of

    mine \\ theirs   GREEDY  SOUND  BAIT
    GREEDY            0      -1      3
    SOUND             1       0      0.5
    BAIT             -3      -0.5    0

BAIT is dominated by SOUND; without it SOUND dominates GREEDY, so the equilibrium is SOUND against SOUND.
Against players that choose by chance GREEDY pays best (2/3, SOUND 1/2).
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from shoal.envs.core import Discrete, Environment, Metadata, MetricSpec, Observation, Outcome, option
from shoal.envs.core.policy import Scripted
from shoal.envs.core.spaces import Box

GREEDY, SOUND, BAIT = 0, 1, 2
PAYS = np.asarray([[0.0, -1.0, 3.0], [1.0, 0.0, 0.5], [-3.0, -0.5, 0.0]], np.float32)


@dataclass(frozen=True)
class Options:
    first: int = option(2, "players of the first team", low=1)
    second: int = option(2, "players of the second team", low=1)
    rounds: int = option(1, "rounds of an episode", low=1)
    interleaved: bool = option(False, "teams alternate on the agent axis instead of following each other")
    scripted: bool = option(True, "whether there is a script: BAIT for ever")


@struct.dataclass
class Params:
    pass


@struct.dataclass
class State:
    round: Array  # [] i32


class AlwaysBait(Scripted):
    def choose(self, key: Any, observation: Observation, state: Any) -> Array:
        return jnp.full(observation.alive.shape, BAIT, jnp.int32)


class Duel(Environment[State, State]):
    """Each sees which team it is on and the round."""

    Options, Params = Options, Params

    def make_metadata(self) -> Metadata:
        o: Any = self.options
        n = o.first + o.second
        teams = (0,) * o.first + (1,) * o.second
        if o.interleaved:
            teams = tuple(i % 2 for i in range(n))
        view = Box(0.0, 1.0, (3,))
        return Metadata(
            agents=tuple(f"player_{i}" for i in range(n)),
            teams=teams,
            agent_types=teams,
            groups={"reds": tuple(i for i in range(n) if teams[i] == 0)},
            observation_spaces=(view,) * n,
            action_spaces=(Discrete(3),) * n,
            observation_space=view,
            action_space=Discrete(3),
            state_space=Box(0.0, 1e6, (1,)),
            max_steps=o.rounds,
            time_limit_is_termination=True,
            team_reward="mean",
            metric_specs=(MetricSpec("sound", "share of the first team that chose SOUND", 0.0, 1.0, True),),
            citation="made up for the tests",
        )

    def sample_level(self, key: Array, params: Any) -> State:
        return State(jnp.zeros((), jnp.int32))

    def initial_state(self, level: State) -> State:
        return level

    def draws(self, key: Array, state: State) -> tuple[()]:
        return ()

    def dynamics(self, state: State, action: Array, draws: Any) -> tuple[State, Outcome]:
        against = (self.teams[:, None] != self.teams[None, :]).astype(np.float32)
        pays = jnp.asarray(PAYS)[action[:, None], action[None, :]] * against
        nobody = jnp.zeros(self.num_agents, bool)
        first = self.teams == 0
        outcome = Outcome(
            reward=jnp.sum(pays, axis=1) / against.sum(axis=1),
            terminated=state.round + 1 >= self.options.rounds,
            truncated=jnp.zeros((), bool),
            agent_done=nobody,
            joined=nobody,
            metrics={"sound": jnp.mean((action[np.flatnonzero(first)] == SOUND).astype(jnp.float32))},
        )
        return State(state.round + 1), outcome

    def observe(self, state: State) -> Observation:
        side = jnp.asarray(np.eye(2, dtype=np.float32)[self.teams])
        when = jnp.broadcast_to(state.round.astype(jnp.float32) / self.options.rounds, (self.num_agents, 1))
        alive = jnp.ones(self.num_agents, bool)
        return Observation(jnp.concatenate([side, when], axis=1), jnp.ones((self.num_agents, 3), bool), alive)

    def global_state(self, state: State) -> Array:
        return state.round.astype(jnp.float32)[None]

    def scripted_policies(self) -> Any:
        return {"scripted": AlwaysBait} if self.options.scripted else {}


def duel(**overrides: Any) -> Duel:
    return Duel.from_overrides("toy/duel-v1", overrides)
