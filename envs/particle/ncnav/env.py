"""Non-cooperative navigation, assembled.

Source: "iPLAN: Intent-Aware Planning in Heterogeneous Traffic via Distributed Multi-Agent Reinforcement
Learning", CoRL 2023, arXiv 2306.06236; the rules are those of the environment that was published with it.
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
from shoal.envs.particle.ncnav import dynamics, observation, reward, types
from shoal.envs.particle.ncnav.types import AGENTS, State

if TYPE_CHECKING:
    from shoal.envs.scene import Clip


def _rules(options: types.Options, state: State, action: Array) -> tuple[State, Outcome]:
    """Plays one step of all bodies and settles it; batches lie in trailing axes."""
    moved = dynamics.move(options, state, action)
    seen = reward.measure(options, moved)
    paid = reward.pay(state.params, seen)
    state = State(
        particles=moved,
        t=state.t + 1,
        params=state.params,
        earned=state.earned + jnp.sum(paid, axis=0),
        collisions=state.collisions + seen.collisions,
    )
    return state, reward.outcome(options, state, seen, paid)


class NonCooperativeNavigation(World[State, Level]):
    """Three unlike agents want to be at a landmark, any one, and are paid best when nobody touches."""

    Options = types.Options
    Params = types.Params
    options: types.Options
    params: types.Params
    rules = staticmethod(_rules)
    sight = staticmethod(observation.observe)
    whole = staticmethod(observation.global_state)

    def make_metadata(self) -> Metadata:
        """Returns three agents of three types; ``extras["slots"]`` says how to split a view by entity."""
        o = self.options
        view, action = Box(-np.inf, np.inf, (int(np.prod(o.slots)),)), common.action_space(o)
        return Metadata(
            agents=tuple(f"agent_{i}" for i in range(AGENTS)),
            teams=(0,) * AGENTS,
            agent_types=tuple(range(AGENTS)),
            groups={"agents": tuple(range(AGENTS))},
            observation_spaces=(view,) * AGENTS,
            action_spaces=(action,) * AGENTS,
            observation_space=view,
            action_space=action,
            state_space=view,
            max_steps=o.max_steps,
            time_limit_is_termination=o.time_limit_is_termination,
            team_reward="sum",
            metric_specs=reward.METRICS,
            citation="Wu et al., iPLAN: Intent-aware planning in heterogeneous traffic, CoRL 2023, "
            "arXiv 2306.06236",
            extras={"slots": o.slots},
        )

    def sample_level(self, key: Key, params: types.Params) -> Level:
        """Places bodies and landmarks."""
        return dynamics.sample_level(self.options, key, params)

    def initial_state(self, level: Level) -> State:
        """Returns everything at rest."""
        return dynamics.initial_state(level)

    def draws(self, key: Key, state: State) -> Array:
        """Returns what the random bodies do: actions like those of the agents."""
        return dynamics.draws(self.options, key)

    def dynamics(self, state: State, action: Array, draws: Array) -> tuple[State, Outcome]:
        """Plays one step in which the random bodies do as drawn; what is no action does nothing."""
        return super().dynamics(state, jnp.concatenate([action, draws]), ())

    def scene(self, recording: Recording) -> Clip:
        """Draws landmarks and bodies, one picture per state."""
        from shoal.envs.particle.ncnav.scene import clip

        return clip(self.options, recording)

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``scripted``: the agents share the landmarks out and walk to them."""
        from shoal.envs.particle.ncnav.bots import ShareAndWalk

        return {"scripted": lambda: ShareAndWalk(self)}
