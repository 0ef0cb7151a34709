"""What all learners of action values share: agents that value actions, explore and play by them.

A learner adds where its targets come from: `q_learning` (replay) or `shoal.algorithms.pqn_vdn` (the rollout
itself). Shape letters as in `learner`: ``T`` steps, ``E`` environments, ``G`` agents, ``N`` actions.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jax import Array

from shoal.algorithms.blocks.advantages import team_reward
from shoal.algorithms.blocks.base import BaseLearner, LearnerConfig
from shoal.algorithms.blocks.learner import Moment, Setting, TrainState, Trajectory
from shoal.algorithms.blocks.networks import NetworkConfig, entity_actions_of, memory
from shoal.algorithms.blocks.optimisers import linear_anneal
from shoal.algorithms.blocks.policies import NetworkPolicy
from shoal.algorithms.blocks.q_networks import QNetwork, legal, with_agent_id
from shoal.algorithms.blocks.schedules import linear
from shoal.envs.core import Discrete, Key, Policy, PyTree, UserError


@dataclass(frozen=True)
class QConfig(LearnerConfig):
    """Hyperparameters of every learner of action values."""

    known_flags: ClassVar[tuple[str, ...]] = ("D1", "D3")
    paper_flags: ClassVar[tuple[str, ...]] = ("D1", "D3")

    learning_rate: float = 5e-4
    anneal_learning_rate: bool = False  # linearly to zero
    gamma: float = 0.99
    reward_scale: float = 1.0  # rewards are multiplied by it before anything is learned from them
    epsilon_start: float = 1.0  # chance that an agent explores
    epsilon_finish: float = 0.05
    epsilon_decay: float = 0.1  # share of the run's updates until it is reached
    max_grad_norm: float = 10.0
    rollout_length: int = 64
    agent_id: bool = True  # agents are told their place in the group

    def __post_init__(self) -> None:
        """Refuses values that cannot train."""
        self.check_least(rollout_length=1)
        self.check_between("gamma", "epsilon_start", "epsilon_finish", "epsilon_decay")
        self.check_above("learning_rate", "max_grad_norm", "reward_scale")
        _ = self.flags


class QAgents(BaseLearner, abc.ABC):
    """The common part; see `shoal.algorithms.blocks.learner.Learner` for the contract."""

    team_values = True  # whether targets are the team's [T, E] instead of each agent's own [T, E, G]

    def __init__(self, config: Any, network: NetworkConfig, setting: Setting) -> None:
        """Fixes everything static.

        Raises:
            UserError: when actions cannot be counted.
        """
        space = setting.env.action_space
        if not isinstance(space, Discrete):
            raise UserError(
                f"{setting.env.id} has actions {space}, but action values need Discrete ones; "
                "ippo and mappo learn any"
            )
        super().__init__(config, network, setting)
        self.network = self.make_network(space.n, entity_actions_of(network, setting.env))

    def make_network(self, actions: int, entity_actions: tuple[int, ...] | None) -> QNetwork:
        """Returns the agents' network."""
        return QNetwork(self.network_config, actions, entity_actions)

    # Valuing and acting ------------------------------------------------------------------------------

    def initial_carry(self, batch: tuple[int, ...]) -> PyTree:
        """Returns fresh memory of leading shape ``batch`` (environments, agents)."""
        return memory(self.network_config, batch)

    def q_values(self, params: PyTree, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, Array]:
        """Runs the agents over views [T, *B, G, ...]; returns memory and values [T, *B, G, N]."""
        view = self.identified(view, reset.ndim)
        return self.sharing.apply(self._values, params, carry, view, reset)

    def identified(self, view: PyTree, lead: int) -> PyTree:
        """Returns views as the network sees them."""
        return with_agent_id(view, len(self.setting.group.indices), lead) if self.config.agent_id else view

    def explore(
        self, train_state: TrainState, key: Array, carry: PyTree, moment: Moment
    ) -> tuple[PyTree, Array, dict[str, Array]]:
        """Takes the best legal action, or a random one with the chance of the moment; notes nothing."""
        view, reset = jax.tree.map(lambda x: x[None], (self.seen(moment), self.agents_reset(moment)))
        carry, q = self.q_values(self.acting(train_state.params), carry, view, reset)
        epsilon = self.epsilon(train_state)
        return carry, epsilon_greedy(key, q[0], moment.observation.action_mask, epsilon), {}

    def policy(self, params: PyTree) -> Policy:
        """Returns the agents as a policy; not greedy, it explores as at the end of training."""
        exploring = self.config.epsilon_finish

        def choose(key: Key, q: Array, mask: Array, greedy: bool) -> Array:
            if greedy:
                return best_action(q, mask)
            return epsilon_greedy(key, q, mask, jnp.float32(exploring))

        size = len(self.setting.group.indices)
        return NetworkPolicy(params, self.q_values, self.initial_carry, choose, size)

    @abc.abstractmethod
    def acting(self, params: PyTree) -> PyTree:
        """Returns the part of the parameters that `policy` plays with."""

    # What the moment asks for --------------------------------------------------------------------------

    def epsilon(self, train_state: TrainState) -> Array:
        """Returns the chance of a random action."""
        hyper = train_state.hyper
        over = hyper["epsilon_decay"] * self.setting.total_updates
        return linear(hyper["epsilon_start"], hyper["epsilon_finish"], train_state.updates, over)

    def learning_rate(self, train_state: TrainState) -> Array:
        """Returns the optimiser's step."""
        rate = train_state.hyper["learning_rate"]
        if not self.config.anneal_learning_rate:
            return rate
        return linear_anneal(rate, train_state.updates, self.setting.total_updates)

    # Reading moments and trajectories ------------------------------------------------------------------

    def seen(self, moment: Moment) -> PyTree:
        """Returns the agents' views."""
        view = moment.observation.view
        if "D3" not in self.flags:
            return view

        def blank(x: Array) -> Array:  # D3: who died in the last episode does not see the next one open
            done = moment.done_before
            return jnp.where(done.reshape(*done.shape, *(1,) * (x.ndim - done.ndim)), 0, x)

        return jax.tree.map(blank, view)

    def ends(self, trajectory: Trajectory) -> tuple[Array, Array]:
        """Returns where nothing can be earned any more, and where the next step is another episode's.

        Both [T, E], or [T, E, G] where every agent learns of its own: there an agent that is done has its
        own end, unless rewards are the team's.
        """
        cut = trajectory.terminated | trajectory.truncated
        ended = trajectory.terminated if self.setting.final_observations else cut
        if self.team_values:
            return ended, cut
        ended, cut = (jnp.broadcast_to(x[..., None], trajectory.agent_done.shape) for x in (ended, cut))
        if self.setting.env.team_reward == "shared" and "D4" not in self.flags:
            return ended, cut
        return ended | trajectory.agent_done, cut | trajectory.agent_done

    def paid(self, trajectory: Trajectory) -> Array:
        """Returns rewards: the team's [T, E], or each agent's own [T, E, G]."""
        if not self.team_values:
            return trajectory.reward
        return team_reward(self.setting.env.team_reward, trajectory.reward)

    def draw_agents(self, key: Array, view: PyTree) -> PyTree:
        """Returns fresh parameters of every set, shaped by a view [G, ...]."""
        agents = len(self.setting.group.indices)
        view = self.identified(jax.tree.map(lambda x: x[None], view), 2)
        carry, reset = self.initial_carry((agents,)), jnp.zeros((1, agents), bool)
        return self.sharing.init(lambda k: self.network.init(k, carry, view, reset), key)

    def _values(self, params: PyTree, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, PyTree]:
        return cast(Any, self.network.apply(params, carry, view, reset))


def best_action(q: Array, mask: Array) -> Array:
    """Returns the legal actions [*B] of the highest values [*B, N]."""
    return jnp.argmax(legal(q, mask), axis=-1).astype(jnp.int32)


def epsilon_greedy(key: Array, q: Array, mask: Array, epsilon: Array) -> Array:
    """Returns actions [*B]: with chance ``epsilon`` any legal one, each as likely, else the best."""
    # One block of uniforms: one orders the agent's actions, the last decides whether it explores.
    draws = jax.random.uniform(key, (*q.shape[:-1], q.shape[-1] + 1))
    any_legal = jnp.argmax(jnp.where(mask, draws[..., :-1], -1.0), axis=-1).astype(jnp.int32)
    return jnp.where(draws[..., -1] < epsilon, any_legal, best_action(q, mask))
