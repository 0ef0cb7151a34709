"""A tiny task for learners: name the cue that was shown some steps ago."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from shoal.envs.core import Discrete, Environment, Metadata, MetricSpec, Observation, Outcome, option, param
from shoal.envs.core.spaces import Box


@dataclass(frozen=True)
class Options:
    num_agents: int = option(2, "agents, each with a cue of its own", low=1)
    cues: int = option(3, "how many cues there are", low=2)
    delay: int = option(0, "steps between seeing the cue and naming it", low=0)
    forever: bool = option(False, "pay 1 every step and stop by the clock alone: a known value")
    limit: int = option(5, "steps until truncation where `forever`", low=1)


@struct.dataclass
class Params:
    pay: float = param(1.0, "what a right answer pays", low=0.0)


@struct.dataclass
class State:
    cue: Array  # [A] i32
    step: Array  # [] i32
    pay: Array  # [] f32


class Recall(Environment[State, State]):
    """The last action is never legal, and pays double where a learner ignores the mask."""

    Options, Params = Options, Params

    def make_metadata(self) -> Metadata:
        o: Any = self.options
        space = Box(0.0, 1.0, (o.cues + 1,))
        return Metadata(
            agents=tuple(f"agent_{i}" for i in range(o.num_agents)),
            teams=(0,) * o.num_agents,
            agent_types=(0,) * o.num_agents,
            groups={"all": tuple(range(o.num_agents))},
            observation_spaces=(space,) * o.num_agents,
            action_spaces=(Discrete(o.cues + 1),) * o.num_agents,
            observation_space=space,
            action_space=Discrete(o.cues + 1),
            state_space=Box(0.0, 1e6, (o.num_agents,)),
            max_steps=o.limit if o.forever else o.delay + 1,
            time_limit_is_termination=not o.forever,
            team_reward="mean",
            metric_specs=(MetricSpec("right", "share of agents that named their cue", 0.0, 1.0, True),),
            citation="",
        )

    def sample_level(self, key: Array, params: Any) -> State:
        cue = jax.random.randint(key, (self.num_agents,), 0, self.options.cues, jnp.int32)
        return State(cue, jnp.zeros((), jnp.int32), jnp.asarray(params.pay, jnp.float32))

    def initial_state(self, level: State) -> State:
        return level

    def draws(self, key: Array, state: State) -> tuple[()]:
        return ()

    def dynamics(self, state: State, action: Array, draws: Any) -> tuple[State, Outcome]:
        o: Any = self.options
        asked = state.step == o.delay
        right = (action == state.cue) & asked
        wrong_side = action == o.cues
        reward = state.pay * (right.astype(jnp.float32) + 2.0 * wrong_side.astype(jnp.float32))
        step = state.step + 1
        nobody = jnp.zeros(self.num_agents, bool)
        never = jnp.zeros((), bool)
        if o.forever:
            reward = jnp.broadcast_to(state.pay, (self.num_agents,))
        outcome = Outcome(
            reward=reward,
            terminated=never if o.forever else step > o.delay,
            truncated=step >= o.limit if o.forever else never,
            agent_done=nobody,
            joined=nobody,
            metrics={"right": jnp.mean(right.astype(jnp.float32))},
        )
        return State(state.cue, step, state.pay), outcome

    def observe(self, state: State) -> Observation:
        o: Any = self.options
        shown = (state.step == 0) & (not o.forever)
        cue = jax.nn.one_hot(state.cue, o.cues) * shown.astype(jnp.float32)
        asked = jnp.broadcast_to((state.step == o.delay).astype(jnp.float32), (self.num_agents, 1))
        legal = jnp.broadcast_to(jnp.arange(o.cues + 1) < o.cues, (self.num_agents, o.cues + 1))
        return Observation(
            jnp.concatenate([cue, jnp.zeros_like(asked) if o.forever else asked], axis=1),
            legal,
            jnp.ones(self.num_agents, bool),
        )

    def global_state(self, state: State) -> Array:
        return state.cue.astype(jnp.float32)
