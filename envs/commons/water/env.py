"""The water commons: agents open or shut valves on one renewable pool.

Source: "A game-theoretic analysis of networked system control for common-pool resource management
using multi-agent reinforcement learning", NeurIPS 2020, arXiv 2010.07777.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.envs.commons.water import observation, reward, types
from shoal.envs.commons.water.dynamics import step_pool
from shoal.envs.commons.water.types import TAKE, WAIT, Level, State
from shoal.envs.core.environment import Environment, Metadata
from shoal.envs.core.spaces import Box, Discrete
from shoal.envs.core.types import Key, Observation, Outcome, PyTree, Recording


class Water(Environment[State, Level]):
    """The smallest sequential dilemma: what one takes now, all miss later. Deterministic throughout."""

    Options = types.Options
    Params = types.Params
    options: types.Options
    params: types.Params

    def make_metadata(self) -> Metadata:
        """Returns four (or ``num_agents``) like agents on one team."""
        n, steps = self.options.num_agents, self.options.max_steps
        view, action = Box(-np.inf, np.inf, (2,)), Discrete(2)
        everybody = 1 - np.eye(n, dtype=np.int32)  # the complete graph
        return Metadata(
            agents=tuple(f"valve_{i}" for i in range(n)),
            teams=(0,) * n,
            agent_types=(0,) * n,
            groups={"valves": tuple(range(n))},
            observation_spaces=(view,) * n,
            action_spaces=(action,) * n,
            observation_space=view,
            action_space=action,
            state_space=Box(-np.inf, np.inf, (n + 2,)),
            max_steps=steps,
            time_limit_is_termination=self.options.time_limit_is_termination,
            team_reward="sum",
            metric_specs=reward.metric_specs(steps),
            citation="arXiv:2010.07777 (EGTA-NMARL, NeurIPS 2020)",
            extras={
                "idle_action": WAIT,
                "raw_rewards": {"coop_gamma": 0.0, "reward_norm": 1.0},
                "neighbours": everybody,
                "distances": everybody,
            },
        )

    def sample_level(self, key: Key, params: types.Params) -> Level:
        """Returns the only level there is with these numbers."""
        return Level(resource=jnp.asarray(params.start, jnp.float32), params=params)

    def initial_state(self, level: Level) -> State:
        """Returns the untouched pool."""
        n = self.options.num_agents
        return State(
            resource=level.resource,
            total_taken=jnp.zeros(n, jnp.float32),
            takes=jnp.zeros(n, jnp.int32),
            paid=jnp.zeros((), jnp.int32),
            t=jnp.zeros((), jnp.int32),
            params=level.params,
        )

    def draws(self, key: Key, state: State) -> PyTree:
        """Returns nothing: a step consumes no randomness."""
        return ()

    def dynamics(self, state: State, action: Array, draws: PyTree) -> tuple[State, Outcome]:
        """Opens the valves of those who take; every action other than 1 waits."""
        taking = action == TAKE
        resource, received, depleted = step_pool(state.resource, taking, state.params)
        state = State(
            resource=resource,
            total_taken=state.total_taken + received,
            takes=state.takes + taking.astype(jnp.int32),
            paid=state.paid + jnp.sum(received > 0.0, dtype=jnp.int32),
            t=state.t + 1,
            params=state.params,
        )
        time_is_up = state.t >= self.options.max_steps
        limit_ends = self.options.time_limit_is_termination
        nobody = jnp.zeros_like(taking)
        return state, Outcome(
            reward=reward.mix(received, state.params),
            terminated=depleted | (time_is_up & limit_ends),
            truncated=time_is_up & ~depleted & (not limit_ends),
            agent_done=nobody,
            joined=nobody,
            metrics=reward.metrics(state, self.options.max_steps),
        )

    def observe(self, state: State) -> Observation:
        """Returns (pool, own total) for every agent."""
        return observation.observe(state)

    def global_state(self, state: State) -> Array:
        """Returns [A + 2]: pool, totals, elapsed share of the time."""
        return observation.global_state(state, self.options.max_steps)

    def restraint(self, state: State) -> Array:
        """Returns the share of the lived steps in which each agent waited."""
        return reward.restraint(state.takes, state.t)

    def scene(self, recording: Recording) -> Any:
        """Draws tank, valves and bars, one picture per state."""
        from shoal.envs.commons.water.scene import clip

        return clip(recording)

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``scripted`` (the same as ``cooperator``), ``cooperator`` and ``defector``."""
        from shoal.envs.commons.water.bots import Cooperator, Defector

        return {
            "scripted": lambda: Cooperator(self),
            "cooperator": lambda: Cooperator(self),
            "defector": Defector,
        }
