"""The heterogeneous highway of iPLAN, assembled.

Source: "iPLAN: Intent-Aware Planning in Heterogeneous Traffic via Distributed Multi-Agent Reinforcement
Learning", CoRL 2023, arXiv 2306.06236, and its code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.envs.common.batching import batch_last
from shoal.envs.common.world import World
from shoal.envs.core.environment import Metadata
from shoal.envs.core.spaces import Box, Discrete
from shoal.envs.core.types import Key, Outcome, Recording
from shoal.envs.traffic.highway import dynamics, levels, observation, reward, types
from shoal.envs.traffic.highway.neighbours import ranking
from shoal.envs.traffic.highway.types import ACTIONS, FEATURES, IDLE, LEFT, Level, State, Tally

if TYPE_CHECKING:
    from shoal.envs.scene import Clip

CITATION = "Wu et al., iPLAN, CoRL 2023, arXiv 2306.06236"


def _rules(options: types.Options, state: State, action: Array) -> tuple[State, Outcome]:
    """Plays one step and settles it; batches lie in trailing axes."""
    learners = options.learners
    acts = observation.alive(options, state)
    action = jnp.where(acts, action, IDLE)
    if options.metrics == "iplan":
        action = jnp.where(state.over[None], LEFT, action)
    v = dynamics.drive(options, state.params, state.vehicles, action)
    t = state.t + 1
    late = t >= options.max_steps
    crashed = v.crashed[learners]
    paid = reward.rewards(state.params, v, options.lanes)[learners]
    survives, speed = ~crashed, v.speed[learners]
    if options.metrics == "iplan":  # the last step is not stored, but padded: going on, at no speed
        survives, speed = survives | late[None], jnp.where(late[None], 0.0, speed)
    tally = reward.count(state.tally, survives, speed, paid)
    wrecked = jnp.all(crashed, axis=0)
    done = crashed | late[None]
    state = replace(state, vehicles=v, t=t, tally=tally)
    if options.metrics == "iplan":
        paid, done = jnp.where(state.over[None], 0.0, paid), done | state.over[None]
        again = levels.opening(state.encore, state.params)
        # The collector resets at once, and its rows of the old episode are gone.
        v = jax.tree.map(lambda new, old: jnp.where(wrecked[None], new, old), again, v)
        state = replace(state, vehicles=v, over=state.over | wrecked)
    state = _looked(options, state)
    gone = done if options.wrecks == "idle" else done & (late | wrecked)[None]
    outcome = Outcome(
        reward=paid,
        terminated=late if options.metrics == "iplan" else late | wrecked,
        truncated=jnp.zeros_like(late),
        agent_done=gone,
        joined=jnp.zeros_like(done),
        metrics=reward.metrics(options, tally),
    )
    return state, outcome


def _looked(options: types.Options, state: State) -> State:
    """Returns the state with who is seen, and slots for who is new."""
    v = state.vehicles
    seen = observation.in_view(options, v, ranking(v.x))
    slot = observation.slots_after(state.slot, seen) if options.view == "history" else state.slot
    return replace(state, seen=seen, slot=slot)


class Highway(World[State, Level]):
    """Learners among scripted drivers of three hidden styles: drive fast, keep right, do not crash."""

    Options = types.Options
    Params = types.Params
    options: types.Options
    params: types.Params
    rules = staticmethod(_rules)
    sight = staticmethod(observation.observe)
    whole = staticmethod(observation.global_state)

    def __init__(self, id: str = "", options: Any = None, params: Any = None) -> None:
        """Checks options and numbers.

        Raises:
            UserError: for one out of its range.
        """
        super().__init__(id, options, params)
        self._looked = batch_last(partial(_looked, self.options))

    def make_metadata(self) -> Metadata:
        """Returns like agents, each paid for itself."""
        o = self.options
        agents, view = o.num_agents, Box(-1.0, 1.0, (o.slots * FEATURES,))
        return Metadata(
            agents=tuple(f"agent_{i}" for i in range(agents)),
            teams=(0,) * agents,
            agent_types=(0,) * agents,
            groups={"agents": tuple(range(agents))},
            observation_spaces=(view,) * agents,
            action_spaces=(Discrete(ACTIONS),) * agents,
            observation_space=view,
            action_space=Discrete(ACTIONS),
            state_space=Box(-np.inf, np.inf, (o.vehicles * FEATURES,)),
            max_steps=o.max_steps,
            time_limit_is_termination=True,
            team_reward="sum",
            metric_specs=reward.specs(o),
            citation=CITATION,
            dead_agents_earn=True,
            extras={"idle_action": IDLE, "slots": (o.slots, FEATURES)},
        )

    def sample_level(self, key: Key, params: types.Params) -> Level:
        """Draws the convoy."""
        return levels.sample_level(self.options, key, params)

    def initial_state(self, level: Level) -> State:
        """Returns the convoy as it was made."""
        o, zero = self.options, jnp.zeros(self.options.num_agents, jnp.float32)
        history = (o.num_agents, o.vehicles if o.view == "history" else 0)
        state = State(
            vehicles=levels.opening(level.traffic, level.params),
            seen=jnp.zeros((o.num_agents, o.rows), jnp.int32),
            slot=jnp.full(history, -1, jnp.int32),
            t=jnp.zeros((), jnp.int32),
            tally=Tally(steps=zero.astype(jnp.int32), metres=zero, reward=zero),
            encore=level.encore,
            over=jnp.zeros((), bool) if o.metrics == "iplan" else (),
            params=level.params,
        )
        looked: State = self._looked(state)
        return looked

    def scene(self, recording: Recording) -> Clip:
        """Draws the road around the first learner, one picture per state."""
        from shoal.envs.traffic.highway.scene import clip

        return clip(self.options, recording)

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``scripted``: lane changes and speeds by the gaps that a learner sees."""
        from shoal.envs.traffic.highway.bots import GapDriver

        return {"scripted": lambda: GapDriver(self)}
