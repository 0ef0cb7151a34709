"""What all learners of action values share: agents that value actions, explore and play by them.

A learner adds where its targets come from: `q_learning` (replay) or `shoal.algorithms.pqn_vdn` (the rollout
itself). Shape letters as in `learner`: ``T`` steps, ``E`` environments, ``G`` agents, ``N`` actions.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jax import Array

from shoal.algorithms.blocks.advantages import team_reward
from shoal.algorithms.blocks.compat import expand_flags
from shoal.algorithms.blocks.learner import Moment, Setting, TrainState, Trajectory
from shoal.algorithms.blocks.networks import NetworkConfig, entity_actions_of, memory
from shoal.algorithms.blocks.optimisers import linear_anneal
from shoal.algorithms.blocks.q_networks import QNetwork, legal, with_agent_id
from shoal.algorithms.blocks.schedules import linear
from shoal.algorithms.blocks.sharing import Sharing
from shoal.envs.core import Discrete, Key, Observation, Policy, PyTree, UserError

Values = Callable[[PyTree, PyTree, PyTree, Array], tuple[PyTree, Array]]


@dataclass(frozen=True)
class QConfig:
    """Hyperparameters of every learner of action values; floats can be swept in one compiled program."""

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
    compat: tuple[str, ...] = ()  # defects of the original to restore, or paper for those of its tables

    def __post_init__(self) -> None:
        """Refuses values that cannot train."""
        self.check_least(rollout_length=1)
        self.check_between("gamma", "epsilon_start", "epsilon_finish", "epsilon_decay")
        for name in ("learning_rate", "max_grad_norm", "reward_scale"):
            if not getattr(self, name) > 0.0:
                raise UserError(f"algorithm.{name}={getattr(self, name)} must be above 0")
        _ = self.flags

    def check_least(self, **least: int) -> None:
        """Refuses numbers below these."""
        for name, low in least.items():
            if getattr(self, name) < low:
                raise UserError(f"algorithm.{name}={getattr(self, name)} must be at least {low}")

    def check_between(self, *names: str) -> None:
        """Refuses what is no share."""
        for name in names:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"algorithm.{name}={getattr(self, name)} must be between 0 and 1")

    @property
    def flags(self) -> frozenset[str]:
        """The named defects that are restored."""
        return expand_flags(self.compat, known=self.known_flags, paper=self.paper_flags)


class QAgents(abc.ABC):
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
        self.config = config
        self.network_config = network
        self.setting = setting
        self.flags = config.flags
        self.sharing = Sharing.of(setting.sharing, setting.env, setting.group)
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
        size = len(self.setting.group.indices)
        return QPolicy(params, self.q_values, self.initial_carry, size, self.config.epsilon_finish)

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

    def agents_reset(self, moment: Moment) -> Array:
        """Returns where an agent's memory is zeroed."""
        # D1 restores the original's memory, which only a dead agent's own done clears.
        return moment.done_before if "D1" in self.flags else moment.first | ~moment.observation.alive

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

    def imagine(self, needs_state: bool) -> tuple[Observation, PyTree]:
        """Returns zeros like the group's first observation [G, ...] and the global state."""
        env = self.setting.env

        def look(key: Array) -> tuple[Observation, PyTree]:
            state, timestep = env.reset(key)
            seen = self.setting.group.rows(timestep.observation, env.num_agents, axis=0)
            return seen, env.global_state(state) if needs_state else ()

        shapes = jax.eval_shape(look, jax.random.key(0))
        return cast(Any, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes))

    def draw_agents(self, key: Array, view: PyTree) -> PyTree:
        """Returns fresh parameters of every set, shaped by a view [G, ...]."""
        agents = len(self.setting.group.indices)
        view = self.identified(jax.tree.map(lambda x: x[None], view), 2)
        carry, reset = self.initial_carry((agents,)), jnp.zeros((1, agents), bool)
        return self.sharing.init(lambda k: self.network.init(k, carry, view, reset), key)

    def _values(self, params: PyTree, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, PyTree]:
        return cast(Any, self.network.apply(params, carry, view, reset))


@dataclass(frozen=True)
class QPolicy:
    """Plays by action values; see `shoal.envs.core.Policy` for the contract."""

    params: PyTree
    values: Values  # (params, carry, view [T, *B, G, ...], reset [T, *B, G]) -> carry, q [T, *B, G, N]
    carry: Callable[[tuple[int, ...]], PyTree]  # leading shape -> fresh memory
    group_size: int
    epsilon: float  # chance of a random action where not greedy
    needs_state: bool = False

    def initial_carry(self, batch: tuple[int, ...] = ()) -> PyTree:
        """Returns fresh memory for ``batch`` copies of the group."""
        return self.carry((*batch, self.group_size))

    def act(
        self,
        key: Key,
        carry: PyTree,
        observation: Observation,
        state: PyTree = None,
        greedy: bool = True,
        first: Array | None = None,
    ) -> tuple[PyTree, Array]:
        """Chooses actions [*B, G]; memory is zeroed where ``first`` or not alive."""
        reset = ~observation.alive if first is None else first | ~observation.alive
        view = jax.tree.map(lambda x: x[None], observation.view)
        carry, q = self.values(self.params, carry, view, reset[None])
        if greedy:
            return carry, best_action(q[0], observation.action_mask)
        return carry, epsilon_greedy(key, q[0], observation.action_mask, jnp.float32(self.epsilon))


def best_action(q: Array, mask: Array) -> Array:
    """Returns the legal actions [*B] of the highest values [*B, N]."""
    return jnp.argmax(legal(q, mask), axis=-1).astype(jnp.int32)


def epsilon_greedy(key: Array, q: Array, mask: Array, epsilon: Array) -> Array:
    """Returns actions [*B]: with chance ``epsilon`` any legal one, each as likely, else the best."""
    # One block of uniforms: one orders the agent's actions, the last decides whether it explores.
    draws = jax.random.uniform(key, (*q.shape[:-1], q.shape[-1] + 1))
    any_legal = jnp.argmax(jnp.where(mask, draws[..., :-1], -1.0), axis=-1).astype(jnp.int32)
    return jnp.where(draws[..., -1] < epsilon, any_legal, best_action(q, mask))
