"""The GovSim worlds, assembled.

Sources: "Cooperate or Collapse: Emergence of Sustainable Cooperation in a Society of LLM Agents", NeurIPS
2024, arXiv 2404.16698, and its code (fishery, pasture, pollution); a reproducibility study of it, arXiv
2505.09289, and that one's code (trash).
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.envs.common.batching import batch_last
from shoal.envs.commons.govsim import dynamics, observation, types
from shoal.envs.commons.govsim.allocation import units_drawn
from shoal.envs.commons.govsim.pool import POOL
from shoal.envs.commons.govsim.rules import Rules, months_there, ratio
from shoal.envs.commons.govsim.trash import TRASH
from shoal.envs.commons.govsim.types import Draws, Level, State
from shoal.envs.core.environment import Environment, Metadata
from shoal.envs.core.spaces import Box, Discrete, MultiDiscrete
from shoal.envs.core.types import Key, Observation, Outcome, Recording

if TYPE_CHECKING:
    from shoal.envs.scene import Clip


class GovSim(Environment[State, Level]):
    """What the worlds share: people ask for units of one stock, month by month. A subclass has the rules."""

    Options = types.Options
    options: types.Options
    rules: ClassVar[Rules]
    citation: ClassVar[str]

    def __init__(self, id: str = "", options: Any = None, params: Any = None) -> None:
        """Checks options and numbers.

        Raises:
            UserError: for one out of its range.
        """
        super().__init__(id, options, params)
        self._month = batch_last(partial(dynamics.month, self.rules, self.options))
        self._observe = batch_last(partial(observation.observe, self.rules, self.options))
        self._global_state = batch_last(partial(observation.global_state, self.options))

    @property
    @abc.abstractmethod
    def people(self) -> tuple[str, str]:
        """What one agent is called, and all of them."""

    def make_metadata(self) -> Metadata:
        """Returns like agents on one team, the last of which may come late."""
        o = self.options
        n, (one, many) = o.num_agents, self.people
        # The fair share of fewer heads may exceed what one could take of a full stock.
        view = Box(0.0, np.inf if o.universalization else 1.0, (o.view_size,))
        requests = o.largest_request + 1
        action = MultiDiscrete((requests, o.messages + 1)) if o.messages else Discrete(requests)
        return Metadata(
            agents=tuple(f"{one}_{i}" for i in range(n)),
            teams=(0,) * n,
            agent_types=(0,) * n,
            groups={many: tuple(range(n))},
            observation_spaces=(view,) * n,
            action_spaces=(action,) * n,
            observation_space=view,
            action_space=action,
            state_space=Box(0.0, np.inf, (o.state_size,)),
            max_steps=o.months,
            time_limit_is_termination=o.time_limit_is_termination,
            team_reward="shared" if o.reward == "common" else "sum",
            metric_specs=self.rules.metric_specs(o),
            citation=self.citation,
            slots_refilled=o.newcomer,
            extras={"idle_action": 0, "raw_rewards": {"reward": "individual"}},
        )

    def sample_level(self, key: Key, params: Any) -> Level:
        """Draws nothing: every stock opens full."""
        return Level(params=params)

    def initial_state(self, level: Level) -> State:
        """Returns the full stock."""
        zero = jnp.zeros((), jnp.int32)
        nothing = jnp.zeros(self.options.num_agents, jnp.int32)
        return State(
            stock=jnp.full_like(zero, self.options.capacity),
            t=zero,
            last_catch=nothing,
            gain=nothing,
            kept=nothing,
            words=nothing.astype(jnp.int8),
            params=level.params,
        )

    def draws(self, key: Key, state: State) -> Draws:
        """Draws who gets the units that are handed out singly, in one random call."""
        return Draws(who=jax.random.uniform(key, (units_drawn(self.options),)))

    def dynamics(self, state: State, action: Array, draws: Draws) -> tuple[State, Outcome]:
        """Plays one month; a request out of range asks for nothing."""
        new: tuple[State, Outcome] = self._month(state, action, draws)
        return new

    def observe(self, state: State) -> Observation:
        """Returns the agents' views; the docs page names the columns."""
        seen: Observation = self._observe(state)
        return seen

    def global_state(self, state: State) -> Array:
        """Returns the state as centralised critics and mixers read it."""
        whole: Array = self._global_state(state)
        return whole

    def restraint(self, state: State) -> Array:
        """Returns the share of its months in which each agent kept to its fair share."""
        there = months_there(self.options, state.t)
        return ratio(state.kept.astype(jnp.float32), there.astype(jnp.float32))

    def scene(self, recording: Recording) -> Clip:
        """Draws the stock and everybody's catches month by month, one picture per state."""
        from shoal.envs.commons.govsim.scene import clip

        return clip(self, recording)


class Pool(GovSim):
    """A stock that is harvested and grows back."""

    Options = types.PoolOptions
    Params = types.PoolParams
    options: types.PoolOptions
    params: types.PoolParams
    rules = POOL
    citation = "Piatti et al., GovSim, NeurIPS 2024, arXiv 2404.16698"

    @property
    def people(self) -> tuple[str, str]:
        """What one agent is called, and all of them."""
        return {
            "fishery": ("fisher", "fishers"),
            "pasture": ("shepherd", "shepherds"),
            "pollution": ("factory", "factories"),
        }[self.options.setting]

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``scripted`` (the same as ``restrained``) and others who take more."""
        from shoal.envs.commons.govsim import bots

        return {
            "scripted": lambda: bots.Restrained(self),
            "restrained": lambda: bots.Restrained(self),
            "greedy": lambda: bots.Greedy(self),
            "endgame": lambda: bots.Endgame(self),
            "one-selfish": lambda: bots.OneSelfish(self),
        }


class Trash(GovSim):
    """The inverse: a stock that nobody wants, and that somebody has to keep low."""

    Params = types.TrashParams
    params: types.TrashParams
    rules = TRASH
    citation = "reproducibility study of GovSim, arXiv 2505.09289"

    @property
    def people(self) -> tuple[str, str]:
        """What one agent is called, and all of them."""
        return "housemate", "housemates"

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``scripted`` (the same as ``sparing``) and others who do more, or leave it to one."""
        from shoal.envs.commons.govsim import bots

        return {
            "scripted": lambda: bots.Sparing(self),
            "sparing": lambda: bots.Sparing(self),
            "fair": lambda: bots.Fair(self),
            "one-volunteer": lambda: bots.OneVolunteer(self),
        }
