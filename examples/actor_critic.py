"""Advantage actor-critic (Mnih et al. 2016, arXiv 1602.01783), every agent from its own observation.

The whole algorithm is this file: what it learns by (`A2C.learn`, `A2C.loss`), how it acts, and its numbers.
Networks, advantages, sharing and the optimiser are those of `shoal.algorithms.blocks`; environments, seeds,
sweeps, evaluation, checkpoints and the command line come with them. ``shoal train
algorithm=examples.actor_critic`` trains it.

Shape letters: ``T`` steps of a rollout, ``E`` environments, ``G`` agents of the group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jax import Array

from shoal.algorithms.blocks.advantages import gae
from shoal.algorithms.blocks.base import BaseLearner, LearnerConfig
from shoal.algorithms.blocks.distributions import ActionDistribution, head_size
from shoal.algorithms.blocks.learner import Metrics, Moment, Setting, TrainState, Trajectory, hyper_of
from shoal.algorithms.blocks.networks import ActorCritic, NetworkConfig, entity_actions_of, initial_carry
from shoal.algorithms.blocks.policies import NetworkPolicy, from_distribution
from shoal.algorithms.blocks.ppo import squared, weighted_mean
from shoal.algorithms.blocks.ppo_learner import adam_opening, adam_step, grad_norm, with_time
from shoal.envs.core import Policy, PyTree


@dataclass(frozen=True)
class A2CConfig(LearnerConfig):
    """Hyperparameters; floats can be swept in one compiled program (``sweep.learning_rate=[1e-3,3e-3]``)."""

    learning_rate: float = 3e-3
    gamma: float = 0.99
    gae_lambda: float = 0.95
    entropy_coef: float = 0.01
    value_coef: float = 0.5
    max_grad_norm: float = 0.5
    rollout_length: int = 8

    def __post_init__(self) -> None:
        """Refuses values that cannot train."""
        self.check_least(rollout_length=1)
        self.check_between("gamma", "gae_lambda")
        self.check_above("learning_rate", "max_grad_norm")

    def batching(self, num_envs: int, group_size: int) -> tuple[int, int]:
        """Returns how many sequences there are, and into how many minibatches they are divided."""
        return num_envs * group_size, 1


class A2C(BaseLearner):
    """The learner: one gradient step for each rollout."""

    Config: ClassVar[type[Any]] = A2CConfig
    needs_state = False
    fresh_rollouts = False

    def __init__(self, config: A2CConfig, network: NetworkConfig, setting: Setting) -> None:
        """Fixes everything static."""
        super().__init__(config, network, setting)
        self.space = setting.env.action_space
        self.network = ActorCritic(network, head_size(self.space), entity_actions_of(network, setting.env))

    # Learning ------------------------------------------------------------------------------------------

    def init(self, key: Array, hyper: dict[str, Array] | None = None) -> TrainState:
        """Returns fresh parameters, shaped by one imagined observation of the group."""
        hyper = hyper_of(self.config) if hyper is None else hyper
        params_key, key = jax.random.split(key)
        observation, _ = self.imagine(needs_state=False)
        view = jax.tree.map(lambda leaf: leaf[None], observation.view)
        agents = (len(self.setting.group.indices),)
        carry, reset = self.initial_carry(agents), jnp.zeros((1, *agents), bool)
        params = self.sharing.init(lambda k: self.network.init(k, carry, view, reset), params_key)
        opt_state = adam_opening(params, hyper["max_grad_norm"], self.sharing)
        return TrainState(params, opt_state, hyper, jnp.zeros((), jnp.int32), key)

    def learn(self, train_state: TrainState, trajectory: Trajectory) -> tuple[TrainState, Metrics]:
        """Takes one step along the gradient of `loss`."""
        params, hyper = train_state.params, train_state.hyper
        (_, metrics), grads = jax.value_and_grad(self.loss, has_aux=True)(params, trajectory, hyper)
        metrics["grad_norm"] = grad_norm(grads)
        limit, rate = hyper["max_grad_norm"], hyper["learning_rate"]
        params, opt_state = adam_step(params, train_state.opt_state, grads, limit, rate, self.sharing)
        return TrainState(params, opt_state, hyper, train_state.updates + 1, train_state.key), metrics

    def loss(self, params: PyTree, trajectory: Trajectory, hyper: dict[str, Array]) -> tuple[Array, Metrics]:
        """Returns the loss of a rollout, and its terms."""
        carry, distribution, value = self.forward(params, trajectory.carry, trajectory.moment)
        _, _, last_value = self.forward(params, carry, with_time(trajectory.last))
        advantage, target = jax.lax.stop_gradient(self.advantages(value, last_value[0], trajectory, hyper))
        seen = trajectory.valid[..., None] & trajectory.moment.observation.alive
        weight = seen.astype(jnp.float32)
        policy_loss = -weighted_mean(distribution.log_prob(trajectory.action) * advantage, weight)
        value_loss = weighted_mean(squared(target - value), weight)
        entropy = weighted_mean(distribution.entropy(), weight)
        loss = policy_loss + hyper["value_coef"] * value_loss - hyper["entropy_coef"] * entropy
        return loss, {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}

    def advantages(
        self, value: Array, last_value: Array, trajectory: Trajectory, hyper: dict[str, Array]
    ) -> tuple[Array, Array]:
        """Returns advantages and value targets [T, E, G]; a time limit is no end of what can be earned."""
        over = (trajectory.terminated | trajectory.truncated)[..., None]
        final = trajectory.terminated[..., None] if self.setting.final_observations else over
        if self.setting.env.team_reward != "shared":  # nothing more is paid to an agent that is done
            over, final = over | trajectory.agent_done, final | trajectory.agent_done
        final, over = (jnp.broadcast_to(end, value.shape) for end in (final, over))
        gamma, trace = hyper["gamma"], hyper["gae_lambda"]
        return gae(trajectory.reward, value, last_value, final, over, gamma, trace)

    def forward(
        self, params: PyTree, carry: PyTree, moments: Moment
    ) -> tuple[PyTree, ActionDistribution, Array]:
        """Runs the network over moments [T, E, G]; returns memory, distributions and values of that shape."""
        view, mask = moments.observation.view, moments.observation.action_mask
        carry, (head, value) = self.sharing.apply(
            self._network, params, carry, view, self.agents_reset(moments)
        )
        return carry, ActionDistribution.from_head(self.space, head, mask), value

    # Acting --------------------------------------------------------------------------------------------

    def initial_carry(self, batch: tuple[int, ...]) -> PyTree:
        """Returns fresh memory of leading shape ``batch`` (environments, agents)."""
        return initial_carry(self.network_config, batch)

    def explore(
        self, train_state: TrainState, key: Array, carry: PyTree, moment: Moment
    ) -> tuple[PyTree, Array, dict[str, Array]]:
        """Samples actions; `loss` looks at everything again, so nothing is noted."""
        carry, distribution, _ = self.forward(train_state.params, carry, with_time(moment))
        action, _ = distribution.sample_and_log_prob(key)
        return carry, action[0], {}

    def acting(self, params: PyTree) -> PyTree:
        """Returns all parameters: actor and critic may share them."""
        return params

    def policy(self, params: PyTree) -> Policy:
        """Returns the actor as a policy."""

        def act(params: PyTree, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, PyTree]:
            return cast(Any, self.network.apply(params, carry, view, reset, method="act"))

        def actor(params: PyTree, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, Array]:
            return self.sharing.apply(act, params, carry, view, reset)

        choose = from_distribution(self.space, squash=False)
        return NetworkPolicy(params, actor, self.initial_carry, choose, len(self.setting.group.indices))

    def _network(self, params: PyTree, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, PyTree]:
        return cast(Any, self.network.apply(params, carry, view, reset))
