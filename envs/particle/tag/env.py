"""Simple tag of the multi-agent particle environments, assembled.

Source: "Multi-agent actor-critic for mixed cooperative-competitive environments", NeurIPS 2017,
arXiv 1706.02275; the rules are those of `simple_tag_v3` in the package mpe2 1.1.1, the length of an
episode and the places of obstacles those of `MPE_simple_tag_v3` in jaxmarl 0.2.0.
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
from shoal.envs.particle.tag import dynamics, observation, reward, types
from shoal.envs.particle.tag.types import State

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
        catches=state.catches + jnp.sum(seen.caught, axis=0),
    )
    return state, reward.outcome(options, state, seen)


class SimpleTag(World[State, Level]):
    """Adversaries are paid for touching good agents, who are faster and pay for it."""

    Options = types.Options
    Params = types.Params
    options: types.Options
    params: types.Params
    rules = staticmethod(_rules)
    sight = staticmethod(observation.observe)
    whole = staticmethod(observation.global_state)

    def make_metadata(self) -> Metadata:
        """Returns two teams of unlike agents, padded to one view."""
        o = self.options
        hunters, good, shared = o.num_adversaries, o.num_good, o.seen_by_all
        sizes = (shared + 2 * good,) * hunters + (shared + 2 * (good - 1),) * good
        action = common.action_space(o)
        return Metadata(
            agents=(*(f"adversary_{i}" for i in range(hunters)), *(f"agent_{i}" for i in range(good))),
            teams=(0,) * hunters + (1,) * good,
            agent_types=(0,) * hunters + (1,) * good,
            groups={
                "adversaries": tuple(range(hunters)),
                "good": tuple(range(hunters, hunters + good)),
            },
            observation_spaces=tuple(Box(-np.inf, np.inf, (size,)) for size in sizes),
            action_spaces=(action,) * o.num_agents,
            observation_space=Box(-np.inf, np.inf, (max(sizes),)),
            action_space=action,
            observation_columns=tuple(tuple(range(size)) for size in sizes),
            state_space=Box(-np.inf, np.inf, (sum(sizes),)),
            max_steps=o.max_steps,
            time_limit_is_termination=o.time_limit_is_termination,
            team_reward="sum",
            metric_specs=reward.METRICS,
            citation=f"{common.CITATION}; mpe2 simple_tag_v3",
        )

    def sample_level(self, key: Key, params: types.Params) -> Level:
        """Places agents and obstacles."""
        return dynamics.sample_level(self.options, key, params)

    def initial_state(self, level: Level) -> State:
        """Returns everything at rest."""
        return dynamics.initial_state(level)

    def scene(self, recording: Recording) -> Clip:
        """Draws obstacles and agents, one picture per state."""
        from shoal.envs.particle.tag.scene import clip

        return clip(self.options, recording)

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``scripted``: adversaries chase the nearest good agent, good agents flee."""
        from shoal.envs.particle.tag.bots import ChaseAndFlee

        return {"scripted": lambda: ChaseAndFlee(self)}
