"""Tiny tasks that each ask one thing of a learner: see the state, forget, look past the clock, differ."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from shoal.envs.core import Discrete, Environment, Metadata, MetricSpec, Observation, Outcome, option
from shoal.envs.core.spaces import Box

TASKS = ("luck", "opening", "exit", "roles")
ACTIONS = 3  # the last one is never legal, and pays double where a learner ignores the mask


@dataclass(frozen=True)
class Options:
    task: str = option("luck", "what is asked", choices=TASKS)
    types: tuple[int, ...] = option((0, 0), "agents, by type; in `roles` the type is the right action")
    pay: float = option(1.0, "what a right action pays", low=0.0)


@struct.dataclass
class Params:
    pass


@struct.dataclass
class State:
    cue: Array  # [A] i32, 0 or 1
    luck: Array  # [] f32, -1 or 1, for the state alone to see
    length: Array  # [] i32, steps of this episode
    step: Array  # [] i32


class Trials(Environment[State, State]):
    """Two legal actions.

    ``luck``: name the cue, in one step; the pay is small beside luck, which only the global state shows.
    ``opening``: action 0 in the first step and 1 after it; views say nothing and lengths are 1 to 3.
    ``exit``: action 0 pays 1 and ends the episode, action 1 pays 0.2; the clock stops the third step.
    ``roles``: act according to your type; views say nothing.
    """

    Options, Params = Options, Params

    def make_metadata(self) -> Metadata:
        o: Any = self.options
        agents = len(o.types)
        space = Box(0.0, 1.0, (2,))
        return Metadata(
            agents=tuple(f"agent_{i}" for i in range(agents)),
            teams=(0,) * agents,
            agent_types=tuple(o.types),
            groups={"all": tuple(range(agents))},
            observation_spaces=(space,) * agents,
            action_spaces=(Discrete(ACTIONS),) * agents,
            observation_space=space,
            action_space=Discrete(ACTIONS),
            state_space=Box(-1.0, 3.0, (agents + 2,)),
            max_steps=3,
            time_limit_is_termination=o.task != "exit",
            team_reward="mean",
            metric_specs=(MetricSpec("right", "share of agents that acted well, last step", 0.0, 1.0, True),),
            citation="",
        )

    def sample_level(self, key: Array, params: Any) -> State:
        o: Any = self.options
        u = jax.random.uniform(key, (self.num_agents + 2,))
        length = {"opening": 1 + (u[-1] * 3.0).astype(jnp.int32), "exit": jnp.asarray(3, jnp.int32)}
        return State(
            cue=(u[:-2] < 0.5).astype(jnp.int32),
            luck=jnp.where(u[-2] < 0.5, -1.0, 1.0),
            length=length.get(o.task, jnp.asarray(1, jnp.int32)),
            step=jnp.zeros((), jnp.int32),
        )

    def initial_state(self, level: State) -> State:
        return level

    def draws(self, key: Array, state: State) -> tuple[()]:
        return ()

    def dynamics(self, state: State, action: Array, draws: Any) -> tuple[State, Outcome]:
        o: Any = self.options
        wanted = {
            "luck": state.cue,
            "opening": jnp.broadcast_to(jnp.minimum(state.step, 1), action.shape),
            "exit": jnp.ones_like(action),
            "roles": jnp.asarray(o.types, jnp.int32),
        }[o.task]
        right = action == wanted
        illegal = action == ACTIONS - 1
        reward = o.pay * (right.astype(jnp.float32) + 2.0 * illegal.astype(jnp.float32))
        step = state.step + 1
        over, left = step >= state.length, jnp.zeros((), bool)
        if o.task == "luck":
            reward = reward + state.luck
        if o.task == "exit":
            left = jnp.any(action == 0)
            reward = jnp.where(action == 0, 1.0, 0.2)
        nobody = jnp.zeros(self.num_agents, bool)
        outcome = Outcome(
            reward=reward,
            terminated=left if o.task == "exit" else over,
            truncated=over & ~left if o.task == "exit" else jnp.zeros((), bool),
            agent_done=nobody,
            joined=nobody,
            metrics={"right": jnp.mean(right.astype(jnp.float32))},
        )
        return State(state.cue, state.luck, state.length, step), outcome

    def observe(self, state: State) -> Observation:
        o: Any = self.options
        cue = jax.nn.one_hot(state.cue, 2)
        shown = cue if o.task == "luck" else jnp.ones_like(cue)
        legal = jnp.broadcast_to(jnp.arange(ACTIONS) < ACTIONS - 1, (self.num_agents, ACTIONS))
        return Observation(shown, legal, jnp.ones(self.num_agents, bool))

    def global_state(self, state: State) -> Array:
        step = state.step.astype(jnp.float32)
        return jnp.concatenate([state.cue.astype(jnp.float32), jnp.stack([state.luck, step])])


def trials(**overrides: Any) -> Trials:
    """Builds a trial, by overrides of its options."""
    env = Trials.from_overrides("trials", overrides)
    assert isinstance(env, Trials)
    return env
