"""Simple reference of the multi-agent particle environments, assembled.

Source: "Multi-agent actor-critic for mixed cooperative-competitive environments", NeurIPS 2017,
arXiv 1706.02275; the rules are those of `simple_reference_v3` in the package mpe2 1.1.1, the length of an
episode that of `MPE_simple_reference_v3` in jaxmarl 0.2.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jax import Array

from shoal.envs.common.world import World
from shoal.envs.core.environment import Metadata
from shoal.envs.core.spaces import Box
from shoal.envs.core.types import Key, Outcome, Recording
from shoal.envs.particle import common
from shoal.envs.particle.reference import dynamics, observation, reward, types
from shoal.envs.particle.reference.types import AGENTS, SYMBOLS, VIEW_SIZE, Level, State

if TYPE_CHECKING:
    from shoal.envs.scene import Clip


def _rules(options: types.Options, state: State, action: Array) -> tuple[State, Outcome]:
    """Plays one step and settles it; batches lie in trailing axes."""
    state = dynamics.step(options, state, action)
    return state, reward.outcome(options, state)


class SimpleReference(World[State, Level]):
    """Two agents move and speak; each sees where the other should go, and hears where to go itself."""

    Options = types.Options
    Params = types.Params
    options: types.Options
    params: types.Params
    rules = staticmethod(_rules)
    sight = staticmethod(observation.observe)
    whole = staticmethod(observation.global_state)

    def make_metadata(self) -> Metadata:
        """Returns two like agents on one team."""
        view = Box(-np.inf, np.inf, (VIEW_SIZE,))
        action = common.action_space(self.options, SYMBOLS)
        return Metadata(
            agents=("agent_0", "agent_1"),
            teams=(0,) * AGENTS,
            agent_types=(0,) * AGENTS,
            groups={"agents": (0, 1)},
            observation_spaces=(view,) * AGENTS,
            action_spaces=(action,) * AGENTS,
            observation_space=view,
            action_space=action,
            state_space=Box(-np.inf, np.inf, (AGENTS * VIEW_SIZE,)),
            max_steps=self.options.max_steps,
            time_limit_is_termination=self.options.time_limit_is_termination,
            team_reward="sum",
            metric_specs=reward.METRICS,
            citation=f"{common.CITATION}; mpe2 simple_reference_v3",
        )

    def sample_level(self, key: Key, params: types.Params) -> Level:
        """Places agents and landmarks and picks the goals."""
        return dynamics.sample_level(key, params)

    def initial_state(self, level: Level) -> State:
        """Returns everything at rest and nothing said."""
        return dynamics.initial_state(level)

    def scene(self, recording: Recording) -> Clip:
        """Draws landmarks, both agents and what they say, one picture per state."""
        from shoal.envs.particle.reference.scene import clip

        return clip(recording)

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``scripted``: each agent names the other's goal and walks to what it hears."""
        from shoal.envs.particle.reference.bots import NameAndWalk

        return {"scripted": lambda: NameAndWalk(self)}
