"""Simple speaker-listener of the multi-agent particle environments.

Source: "Multi-agent actor-critic for mixed cooperative-competitive environments", NeurIPS 2017,
arXiv 1706.02275; the rules are those of `simple_speaker_listener_v4` in the package mpe2 1.1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.envs.common.world import World
from shoal.envs.core.environment import Metadata
from shoal.envs.core.spaces import Box, Discrete
from shoal.envs.core.types import Key, Outcome, Recording
from shoal.envs.particle import common
from shoal.envs.particle.speaker_listener import dynamics, observation, reward, types
from shoal.envs.particle.speaker_listener.types import (
    LISTENER_SEES,
    MOVE,
    SAY,
    SPEAKER_SEES,
    STAY,
    VIEW_SIZE,
    Level,
    State,
)


def _rules(options: types.Options, state: State, action: Array) -> tuple[State, Outcome]:
    """Plays one step and settles it; batches lie in trailing axes."""
    state = dynamics.step(state, action)
    return state, reward.outcome(options, state)


class SimpleSpeakerListener(World[State, Level]):
    """One agent sees which landmark is the goal and can only speak; the other can only listen and move."""

    Options = types.Options
    Params = types.Params
    options: types.Options
    params: types.Params
    rules = staticmethod(_rules)
    sight = staticmethod(observation.observe)
    whole = staticmethod(observation.global_state)

    def make_metadata(self) -> Metadata:
        """Returns two unlike agents on one team, padded to one view and one action axis."""
        return Metadata(
            agents=("speaker_0", "listener_0"),
            teams=(0, 0),
            agent_types=(0, 1),
            groups={"speaker": (0,), "listener": (1,)},
            observation_spaces=tuple(
                Box(-np.inf, np.inf, (len(sees),)) for sees in (SPEAKER_SEES, LISTENER_SEES)
            ),
            action_spaces=(Discrete(len(SAY)), Discrete(len(MOVE))),
            observation_space=Box(-np.inf, np.inf, (VIEW_SIZE,)),
            action_space=Discrete(len(SAY) + len(MOVE)),
            observation_columns=(SPEAKER_SEES, LISTENER_SEES),
            action_columns=(SAY, MOVE),
            state_space=Box(-np.inf, np.inf, (VIEW_SIZE,)),
            max_steps=self.options.max_steps,
            time_limit_is_termination=False,
            team_reward="shared",
            metric_specs=reward.METRICS,
            citation="arXiv:1706.02275 (MADDPG, NeurIPS 2017); mpe2 simple_speaker_listener_v4",
            extras={"idle_action": STAY},
        )

    def sample_level(self, key: Key, params: types.Params) -> Level:
        """Places speaker, listener and landmarks and picks the goal."""
        return dynamics.sample_level(key, params)

    def initial_state(self, level: Level) -> State:
        """Returns everything at rest and nothing said."""
        return State(
            particles=common.at_rest(level),
            goal=level.goal,
            message=jnp.full((), -1, jnp.int32),
            t=jnp.zeros((), jnp.int32),
            params=level.params,
        )

    def scene(self, recording: Recording) -> Any:
        """Draws landmarks, both agents and the message, one picture per state."""
        from shoal.envs.particle.speaker_listener.scene import clip

        return clip(recording)

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``scripted``: the speaker names the goal, the listener walks to it."""
        from shoal.envs.particle.speaker_listener.bots import NameAndWalk

        return {"scripted": lambda: NameAndWalk(self)}
