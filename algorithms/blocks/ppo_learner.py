"""What all learners by proximal policy optimisation share: exploring, advantages, minibatches, steps.

A variant says what its networks see: `draw_params`, `initial_carry`, `forward`, `descend` and what policies
play with. Shape letters as in `learner`: ``T`` steps, ``E`` environments, ``G`` agents of the group.
"""

from __future__ import annotations

import abc
import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jax import Array

from shoal.algorithms.blocks import ppo
from shoal.algorithms.blocks.advantages import gae, team_reward
from shoal.algorithms.blocks.base import BaseLearner, LearnerConfig
from shoal.algorithms.blocks.distributions import ActionDistribution
from shoal.algorithms.blocks.learner import (
    Metrics,
    Moment,
    Setting,
    TrainState,
    Trajectory,
    hyper_of,
)
from shoal.algorithms.blocks.minibatches import shuffles, take_rows
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.optimisers import clipped_adam, descend, linear_anneal
from shoal.algorithms.blocks.packing import Packed, means
from shoal.algorithms.blocks.sharing import Sharing
from shoal.envs.core import Policy, PyTree

ADAM_EPS = 1e-5


@dataclass(frozen=True)
class PPOConfig(LearnerConfig):
    """Hyperparameters of every variant."""

    known_flags: ClassVar[tuple[str, ...]] = ("D1",)
    paper_flags: ClassVar[tuple[str, ...]] = ("D1",)

    learning_rate: float = 2e-3
    anneal_learning_rate: bool = True
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy_coef: float = 0.01
    anneal_entropy: bool = False  # entropy_coef falls to 0 over the training, as the learning rate does
    value_coef: float = 0.5
    max_grad_norm: float = 0.5
    rollout_length: int = 64
    epochs: int = 4
    minibatches: int = 2
    normalise_advantage: bool = True
    learn_from_dead: bool = True  # dead agents' samples (no-op only) stay in the losses, as published
    squash: bool = False  # real-valued actions: tanh-squash the Gaussian into the box

    def __post_init__(self) -> None:
        """Refuses values that cannot train."""
        self.check_least(rollout_length=1, epochs=1, minibatches=1)
        self.check_between("gamma", "gae_lambda")
        self.check_above("learning_rate", "clip", "max_grad_norm")
        _ = self.flags

    def batching(self, num_envs: int, group_size: int) -> tuple[int, int]:
        """Returns how many sequences are shuffled, and into how many minibatches."""
        return num_envs * group_size, self.minibatches


class PPOLearner(BaseLearner, abc.ABC):
    """The common part; see `shoal.algorithms.blocks.learner.Learner` for the contract."""

    fresh_rollouts = False
    team_values = False  # whether a value is its environment's [T, E] instead of its agent's [T, E, G]

    def __init__(self, config: Any, network: NetworkConfig, setting: Setting) -> None:
        """Fixes everything static."""
        super().__init__(config, network, setting)
        self.space = setting.env.action_space

    @property
    def whole_environments(self) -> bool:
        """Whether minibatches are drawn of environments, their agents together, instead of agents."""
        return self.team_values or self.sharing.owner is not None

    @property
    def rows(self) -> int:
        """How many sequences the minibatches are drawn of."""
        return self.setting.num_envs * (1 if self.whole_environments else len(self.setting.group.indices))

    # What a variant says -----------------------------------------------------------------------------

    @abc.abstractmethod
    def draw_params(self, key: Array, view: PyTree, state: PyTree) -> PyTree:
        """Returns fresh parameters, shaped by one view [1, G, ...] and one state [1, ...] (zeros)."""

    @abc.abstractmethod
    def open_optimiser(self, params: PyTree, max_grad_norm: Array) -> PyTree:
        """Returns the optimiser's opening state."""

    @abc.abstractmethod
    def descend(
        self,
        params: PyTree,
        opt_state: PyTree,
        grads: PyTree,
        hyper: dict[str, Array],
        rates: dict[str, Array],
    ) -> tuple[PyTree, PyTree, Metrics]:
        """Takes one gradient step at this update's `learning_rates`; returns metrics as well."""

    @abc.abstractmethod
    def initial_carry(self, batch: tuple[int, ...]) -> PyTree:
        """Returns fresh memory of leading shape ``batch`` (environments, agents)."""

    @abc.abstractmethod
    def forward(self, params: PyTree, carry: PyTree, moment: Moment) -> tuple[PyTree, Array, Array]:
        """Runs actor and critic over a sequence of moments [T, *B].

        Returns:
            The memory, the policy head [T, *B, outputs] and values [T, *B] (without G where `team_values`).
        """

    @abc.abstractmethod
    def acting(self, params: PyTree) -> PyTree:
        """Returns the part of the parameters that `policy` plays with."""

    @abc.abstractmethod
    def policy(self, params: PyTree) -> Policy:
        """Returns the policy that these parameters (from `acting`) play."""

    def open_extra(self, state: PyTree) -> PyTree:
        """Returns what else is kept, given one state [1, ...] (zeros)."""
        return ()

    def next_extra(self, extra: PyTree, trajectory: Trajectory) -> PyTree:
        """Returns what else is kept after a rollout."""
        return extra

    def prepared(self, extra: PyTree, moment: Moment) -> Moment:
        """Returns a moment as `forward` is to see it."""
        return dataclasses.replace(moment, state=())

    def learning_rates(self, hyper: dict[str, Array]) -> dict[str, Array]:
        """Returns the rates at which training starts, by the names of their metrics."""
        return {"learning_rate": hyper["learning_rate"]}

    def minibatch(self, samples: dict[str, Any], index: Array) -> dict[str, Any]:
        """Selects the sequences of one minibatch."""
        return take_rows(samples, index)

    def one_batch(self, samples: dict[str, Any]) -> dict[str, Any]:
        """Returns all sequences as one minibatch, in their own order."""
        return samples

    # The contract ------------------------------------------------------------------------------------

    def init(self, key: Array, hyper: dict[str, Array] | None = None) -> TrainState:
        """Returns fresh parameters, shaped by one imagined observation of the group."""
        hyper = hyper_of(self.config) if hyper is None else hyper
        params_key, key = jax.random.split(key)
        observation, state = self.imagine(self.needs_state)
        view, state = jax.tree.map(lambda leaf: leaf[None], (observation.view, state))
        params = self.draw_params(params_key, view, state)
        opt_state = self.open_optimiser(params, hyper["max_grad_norm"])
        return TrainState(params, opt_state, hyper, jnp.zeros((), jnp.int32), key, self.open_extra(state))

    def explore(
        self, train_state: TrainState, key: Array, carry: PyTree, moment: Moment
    ) -> tuple[PyTree, Array, dict[str, Array]]:
        """Samples actions and notes their log-probabilities and values."""
        moment = with_time(self.prepared(train_state.extra, moment))
        carry, distribution, value = self._forward(train_state.params, carry, moment)
        action, log_prob = distribution.sample_and_log_prob(key)
        return carry, action[0], {"log_prob": log_prob[0], "value": value[0]}

    def learn(self, train_state: TrainState, trajectory: Trajectory) -> tuple[TrainState, Metrics]:
        """Runs ``epochs`` passes of ``minibatches`` gradient steps over the rollout.

        Raises:
            UserError: when the environments do not divide into minibatches.
        """
        hyper = train_state.hyper
        samples, carry = self._samples(train_state, trajectory)
        shuffle_key, key = jax.random.split(train_state.key)
        c, blocks = self.config, self.setting.shuffle_groups
        if c.minibatches == 1:  # nobody asks in which order
            order, samples = None, self.one_batch(samples)
        else:
            order = shuffles(shuffle_key, c.epochs, self.rows, c.minibatches, blocks)
        fall = partial(linear_anneal, update=train_state.updates, total_updates=self.setting.total_updates)
        rates = self.learning_rates(hyper)
        if c.anneal_learning_rate:
            rates = {name: fall(rate) for name, rate in rates.items()}
        weights = hyper | {"entropy_coef": fall(hyper["entropy_coef"])} if c.anneal_entropy else hyper

        def gradient_step(
            carried: tuple[PyTree, PyTree], index: Array | None
        ) -> tuple[tuple[PyTree, PyTree], Packed]:
            params, opt_state = carried
            batch, memory = samples, carry
            if index is not None:
                batch, memory = self.minibatch(samples, index), take_rows(carry, index, axis=0)
            (_, metrics), grads = jax.value_and_grad(self._loss, has_aux=True)(params, memory, batch, weights)
            params, opt_state, watch = self.descend(params, opt_state, grads, hyper, rates)
            return (params, opt_state), Packed.of(metrics | watch)

        (params, opt_state), watched = jax.lax.scan(
            gradient_step, (train_state.params, train_state.opt_state), order, length=c.epochs * c.minibatches
        )
        metrics = means(watched) | rates
        metrics["explained_variance"] = ppo.explained_variance(
            samples["value"], samples["target"], value_weight(samples)
        )
        extra = self.next_extra(train_state.extra, trajectory)
        return TrainState(params, opt_state, hyper, train_state.updates + 1, key, extra), metrics

    # Parts -------------------------------------------------------------------------------------------

    def _forward(
        self, params: PyTree, carry: PyTree, moment: Moment
    ) -> tuple[PyTree, ActionDistribution, Array]:
        """As `forward`, with the head read as a distribution."""
        carry, head, value = self.forward(params, carry, moment)
        mask = moment.observation.action_mask
        return carry, ActionDistribution.from_head(self.space, head, mask, self.config.squash), value

    def _samples(self, train_state: TrainState, trajectory: Trajectory) -> tuple[dict[str, Any], PyTree]:
        """Returns everything that minibatches are drawn of, leaves [T, rows, ...], and memory [rows, ...]."""
        advantage, target = self._advantages(train_state, trajectory)
        weight = jnp.broadcast_to(trajectory.valid[..., None], trajectory.reward.shape)
        if not self.config.learn_from_dead:
            weight = weight & trajectory.moment.observation.alive
        samples: dict[str, Any] = {
            "moment": self.prepared(train_state.extra, trajectory.moment),
            "action": trajectory.action,
            "log_prob": trajectory.extras["log_prob"],
            "value": trajectory.extras["value"],
            "advantage": advantage,
            "target": target,
            "weight": weight.astype(jnp.float32),
        }
        if self.whole_environments:
            return samples, trajectory.carry
        state = samples["moment"].state  # one for all agents of an environment
        samples["moment"] = dataclasses.replace(samples["moment"], state=())
        samples = jax.tree.map(lambda x: x.reshape(x.shape[0], self.rows, *x.shape[3:]), samples)
        samples["moment"] = dataclasses.replace(samples["moment"], state=state)
        return samples, jax.tree.map(lambda x: x.reshape(self.rows, *x.shape[2:]), trajectory.carry)

    def _advantages(self, train_state: TrainState, trajectory: Trajectory) -> tuple[Array, Array]:
        """Returns advantages and value targets, in the shape of the values, with every end told apart."""
        last_value = self.last_value(train_state, trajectory)
        over = trajectory.terminated | trajectory.truncated
        terminated = trajectory.terminated if self.setting.final_observations else over
        reward, cut = trajectory.reward, over
        if self.team_values:
            reward = team_reward(self.setting.env.team_reward, reward)
        else:
            terminated, cut = terminated[..., None], cut[..., None]
            if self.setting.env.team_reward != "shared":  # nothing more is paid to an agent that is done
                terminated, cut = terminated | trajectory.agent_done, cut | trajectory.agent_done
        return gae(
            reward,
            trajectory.extras["value"],
            last_value,
            *self.ends(jnp.broadcast_to(terminated, reward.shape), jnp.broadcast_to(cut, reward.shape)),
            train_state.hyper["gamma"],
            train_state.hyper["gae_lambda"],
        )

    def last_value(self, train_state: TrainState, trajectory: Trajectory) -> Array:
        """Returns the values after the last step."""
        last = with_time(self.prepared(train_state.extra, trajectory.last))
        value: Array = self._forward(train_state.params, trajectory.last_carry, last)[2][0]
        return value

    def ends(self, terminated: Array, cut: Array) -> tuple[Array, Array]:
        """Returns after which steps nothing is bootstrapped, and where the trace stops."""
        return terminated, cut

    def advantage(self, value: Array, batch: dict[str, Any]) -> Array:
        """Returns the advantages, given the values at hand."""
        advantage: Array = batch["advantage"]
        return advantage

    def value_loss(self, value: Array, batch: dict[str, Any], hyper: dict[str, Array]) -> Array:
        """Returns the critic's loss."""
        return ppo.value_loss(value, batch["value"], batch["target"], value_weight(batch), hyper["clip"])

    def _loss(
        self, params: PyTree, carry: PyTree, batch: dict[str, Any], hyper: dict[str, Array]
    ) -> tuple[Array, Metrics]:
        """Returns the PPO loss of whole sequences [T, rows]."""
        _, distribution, value = self._forward(params, carry, batch["moment"])
        weight, advantage = batch["weight"], self.advantage(value, batch)
        if self.team_values:
            advantage = jnp.broadcast_to(advantage[..., None], weight.shape)
        if self.config.normalise_advantage:
            advantage = self.sharing.normalised(ppo.normalise, advantage, weight)
        policy_loss, watch = ppo.policy_terms(
            distribution.log_prob(batch["action"]), batch["log_prob"], advantage, weight, hyper["clip"]
        )
        value_loss = self.value_loss(value, batch, hyper)
        entropy = ppo.weighted_mean(distribution.entropy(), weight)
        loss = policy_loss + hyper["value_coef"] * value_loss - hyper["entropy_coef"] * entropy
        watch |= {"loss": loss, "policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}
        return loss, watch


def with_time(moment: Moment) -> Moment:
    """Adds a time axis of one step."""
    return jax.tree.map(lambda leaf: leaf[None], moment)


def value_weight(samples: dict[str, Any]) -> Array:
    """Returns which values are learned: those of agents that count, a team's where any of its agents does."""
    weight: Array = samples["weight"]
    return weight if samples["value"].ndim == weight.ndim else jnp.max(weight, axis=-1)


def adam_opening(params: PyTree, max_grad_norm: Array, sharing: Sharing) -> PyTree:
    """Returns the opening state for `adam_step`."""
    return sharing.each(clipped_adam(max_grad_norm, eps=ADAM_EPS).init)(params)


def adam_step(
    params: PyTree, opt_state: PyTree, grads: PyTree, max_grad_norm: Array, rate: Array, sharing: Sharing
) -> tuple[PyTree, PyTree]:
    """Clips the gradient by its global norm and steps; every set of parameters on its own."""
    optimiser = clipped_adam(max_grad_norm, eps=ADAM_EPS)
    direction, opt_state = sharing.each(optimiser.update)(sharing.own_means(grads), opt_state)
    return descend(params, direction, rate), opt_state


def grad_norm(grads: PyTree) -> Array:
    """Returns the global norm of a gradient, before clipping."""
    return optax.tree.norm(grads)
