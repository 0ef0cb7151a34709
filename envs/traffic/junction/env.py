"""The traffic junction, assembled.

Source: the environment `traffic_junction` of IC3Net, "Learning when to Communicate at Scale in Multiagent
Cooperative and Competitive Tasks", ICLR 2019, arXiv 1812.09755, and its code; the task is older ("Learning
Multiagent Communication with Backpropagation", NIPS 2016, arXiv 1605.07736).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.envs.core.environment import Environment, Metadata
from shoal.envs.core.spaces import Box, Discrete
from shoal.envs.core.types import Key, Observation, Outcome, Recording
from shoal.envs.traffic.junction import dynamics, levels, observation, reward, types
from shoal.envs.traffic.junction.types import BRAKE, Draws, Level, State

if TYPE_CHECKING:
    from shoal.envs.scene import Clip

CITATION = "Singh, Jain, Sukhbaatar, IC3Net, ICLR 2019, arXiv 1812.09755"


class TrafficJunction(Environment[State, Level]):
    """Cars come at random, each on its route, and must cross without sharing a cell."""

    Options = types.Options
    Params = types.Params
    options: types.Options
    params: types.Params

    def make_metadata(self) -> Metadata:
        """Returns like cars, each paid for itself, in slots that are filled again."""
        o = self.options
        agents, view, action = o.num_agents, Box(0.0, float(o.num_agents), (o.view_size,)), Discrete(2)
        return Metadata(
            agents=tuple(f"car_{i}" for i in range(agents)),
            teams=(0,) * agents,
            agent_types=(0,) * agents,
            groups={"cars": tuple(range(agents))},
            observation_spaces=(view,) * agents,
            action_spaces=(action,) * agents,
            observation_space=view,
            action_space=action,
            state_space=Box(0.0, 1.0, (o.state_size,)),
            max_steps=o.max_steps,
            time_limit_is_termination=False,
            team_reward="sum",
            metric_specs=reward.METRICS,
            citation=CITATION,
            slots_refilled=True,
            dead_agents_earn=True,  # who comes onto a taken cell pays in the very step that brings it
            extras={"idle_action": BRAKE},
        )

    def sample_level(self, key: Key, params: types.Params) -> Level:
        """Draws nothing: every episode opens on an empty junction."""
        return Level(params=params)

    def initial_state(self, level: Level) -> State:
        """Returns an empty junction."""
        return levels.initial_state(self.options, level)

    def curriculum(self, progress: Float[Array, ""]) -> types.Params:
        """Returns params with the published `add_rate` of that part of the published training."""
        epoch = jnp.floor(progress * levels.EPOCHS).astype(jnp.int32)
        rate = levels.curriculum_rate(self.options.difficulty, epoch)
        return dataclasses.replace(self.params, add_rate=rate)

    def draws(self, key: Key, state: State) -> Draws:
        """Draws who comes, on which routes, and into which slots, in one random call."""
        arrivals = self.options.network.arrivals
        u = jax.random.uniform(key, (2 * arrivals + self.options.num_agents,))
        return Draws(arrive=u[:arrivals], way=u[arrivals : 2 * arrivals], order=u[2 * arrivals :])

    def dynamics(self, state: State, action: Array, draws: Draws) -> tuple[State, Outcome]:
        """Plays one step and settles it; what is no action brakes."""
        cars, left, joined = dynamics.advance(self.options, state.params, state.cars, action, draws)
        crash = reward.crashed(cars)
        tally = reward.count(state.tally, cars, crash, left)
        failed, t = state.failed | jnp.any(crash), state.t + 1
        outcome = Outcome(
            reward=reward.rewards(state.params, cars, crash),
            terminated=jnp.zeros((), bool),
            truncated=t >= self.options.max_steps,
            agent_done=left,
            joined=joined,
            metrics=reward.metrics(tally, failed),
        )
        return State(cars=cars, tally=tally, failed=failed, t=t, params=state.params), outcome

    def observe(self, state: State) -> Observation:
        """Returns the published vectors; the docs page names the columns."""
        return observation.observe(self.options, state.cars)

    def global_state(self, state: State) -> Array:
        """Returns the cars as centralised critics and mixers read them."""
        return observation.global_state(self.options, state)

    def scene(self, recording: Recording) -> Clip:
        """Draws roads and cars, one picture per state."""
        from shoal.envs.traffic.junction.scene import clip

        return clip(self.options, recording)

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``scripted``, which knows all cars and gives way, and ``gas``, which never brakes."""
        from shoal.envs.traffic.junction.bots import Gas, GiveWay

        return {"scripted": lambda: GiveWay(self), "gas": lambda: Gas()}
