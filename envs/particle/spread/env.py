"""Simple spread of the multi-agent particle environments, assembled.

Source: "Multi-agent actor-critic for mixed cooperative-competitive environments", NeurIPS 2017,
arXiv 1706.02275; the rules are those of `simple_spread_v3` in the package mpe2 1.1.1, the length of an
episode that of `MPE_simple_spread_v3` in jaxmarl 0.2.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.envs.common.world import World
from shoal.envs.core.environment import Metadata
from shoal.envs.core.spaces import Box
from shoal.envs.core.types import Key, Outcome, Recording
from shoal.envs.particle import common
from shoal.envs.particle.common import Level
from shoal.envs.particle.spread import dynamics, observation, reward, types
from shoal.envs.particle.spread.types import State

if TYPE_CHECKING:
    from shoal.envs.scene import Clip


def _rules(options: types.Options, state: State, action: Array) -> tuple[State, Outcome]:
    """Plays one step and settles it; batches lie in trailing axes."""
    moved = dynamics.move(options, state, action)
    seen = reward.measure(options, moved)
    state = State(
        particles=moved,
        t=state.t + 1,
        params=state.params,
        collisions=state.collisions + jnp.sum(seen.touched, axis=0) / 2.0,
    )
    return state, reward.outcome(options, state, seen)


class SimpleSpread(World[State, Level]):
    """As many agents as landmarks: each landmark wants an agent near, and agents that touch pay for it."""

    Options = types.Options
    Params = types.Params
    options: types.Options
    params: types.Params
    rules = staticmethod(_rules)
    sight = staticmethod(observation.observe)
    whole = staticmethod(observation.global_state)

    def make_metadata(self) -> Metadata:
        """Returns like agents on one team."""
        o = self.options
        agents, view = o.num_agents, Box(-np.inf, np.inf, (o.view_size,))
        action = common.action_space(o)
        return Metadata(
            agents=tuple(f"agent_{i}" for i in range(agents)),
            teams=(0,) * agents,
            agent_types=(0,) * agents,
            groups={"agents": tuple(range(agents))},
            observation_spaces=(view,) * agents,
            action_spaces=(action,) * agents,
            observation_space=view,
            action_space=action,
            state_space=Box(-np.inf, np.inf, (agents * o.view_size,)),
            max_steps=o.max_steps,
            time_limit_is_termination=o.time_limit_is_termination,
            team_reward="sum",
            metric_specs=reward.METRICS,
            citation=f"{common.CITATION}; mpe2 simple_spread_v3",
        )

    def sample_level(self, key: Key, params: types.Params) -> Level:
        """Places agents and landmarks."""
        return dynamics.sample_level(self.options, key, params)

    def initial_state(self, level: Level) -> State:
        """Returns everything at rest."""
        return dynamics.initial_state(level)

    def scene(self, recording: Recording) -> Clip:
        """Draws landmarks and agents, one picture per state."""
        from shoal.envs.particle.spread.scene import clip

        return clip(self.options, recording)

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``scripted``: the agents share the landmarks out and walk to them."""
        from shoal.envs.particle.spread.bots import ShareAndWalk

        return {"scripted": lambda: ShareAndWalk(self)}
