"""Independent proximal policy optimisation (de Witt et al. 2020, arXiv 2011.09533).

Every agent of the group learns by PPO from its own observation, with one shared set of parameters.
Details follow the recurrent baseline of JaxMARL (arXiv 2311.10090); docs/algorithms/ippo.md lists them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
import optax
from jax import Array

from shoal.algorithms.blocks import ppo
from shoal.algorithms.blocks.advantages import gae
from shoal.algorithms.blocks.compat import expand_flags
from shoal.algorithms.blocks.distributions import ActionDistribution, head_size
from shoal.algorithms.blocks.learner import (
    Metrics,
    Moment,
    Setting,
    TrainState,
    Trajectory,
    hyper_of,
)
from shoal.algorithms.blocks.minibatches import check_minibatches, permutations, take_rows
from shoal.algorithms.blocks.networks import ActorCritic, NetworkConfig, initial_carry
from shoal.algorithms.blocks.optimisers import clipped_adam, descend, linear_anneal
from shoal.algorithms.blocks.policies import ActorPolicy
from shoal.envs.core import Policy, PyTree, UserError


@dataclass(frozen=True)
class IPPOConfig:
    """Hyperparameters; floats can be swept in one compiled program."""

    learning_rate: float = 2e-3
    anneal_learning_rate: bool = True
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy_coef: float = 0.01
    value_coef: float = 0.5
    max_grad_norm: float = 0.5
    rollout_length: int = 64
    epochs: int = 4
    minibatches: int = 2
    normalise_advantage: bool = True
    learn_from_dead: bool = True  # dead agents' samples (no-op only) stay in the losses, as published
    squash: bool = False  # real-valued actions: tanh-squash the Gaussian into the box
    compat: tuple[str, ...] = ()  # defects of the original to restore: D1, or paper for all

    def __post_init__(self) -> None:
        """Refuses values that cannot train."""
        for name in ("rollout_length", "epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise UserError(f"algorithm.{name}={getattr(self, name)} must be at least 1")
        for name, low, high in (("gamma", 0.0, 1.0), ("gae_lambda", 0.0, 1.0)):
            if not low <= getattr(self, name) <= high:
                raise UserError(
                    f"algorithm.{name}={getattr(self, name)} must be between {low:g} and {high:g}"
                )
        for name in ("learning_rate", "clip", "max_grad_norm"):
            if not getattr(self, name) > 0.0:
                raise UserError(f"algorithm.{name}={getattr(self, name)} must be above 0")
        expand_flags(self.compat, known=("D1",), paper=("D1",))

    def batching(self, num_envs: int, group_size: int) -> tuple[int, int]:
        """Returns how many sequences are shuffled, and into how many minibatches."""
        return num_envs * group_size, self.minibatches


class IPPO:
    """The learner; see `shoal.algorithms.blocks.learner.Learner` for the contract."""

    Config: ClassVar[type[IPPOConfig]] = IPPOConfig
    needs_state = False
    fresh_rollouts = False

    def __init__(self, config: IPPOConfig, network: NetworkConfig, setting: Setting) -> None:
        """Fixes everything static.

        Raises:
            UserError: when the environments do not divide into minibatches.
        """
        self.config = config
        self.network_config = network
        self.setting = setting
        self.space = setting.env.action_space
        self.network = ActorCritic(network, head_size(self.space))
        self.flags = expand_flags(config.compat, known=("D1",), paper=("D1",))
        self.rows = setting.num_envs * len(setting.group.indices)
        check_minibatches(self.rows, config.minibatches, setting.shuffle_groups)

    def init(self, key: Array, hyper: dict[str, Array] | None = None) -> TrainState:
        """Returns fresh parameters, shaped by one imagined observation of the group."""
        hyper = hyper_of(self.config) if hyper is None else hyper
        params_key, key = jax.random.split(key)
        shapes = jax.eval_shape(lambda k: self.setting.env.reset(k)[1].observation, key)
        view = jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape), leaf.dtype), shapes.view)
        agents = shapes.alive.shape
        params = self.network.init(
            params_key, initial_carry(self.network_config, agents), view, jnp.zeros((1, *agents), bool)
        )
        optimiser = clipped_adam(hyper["max_grad_norm"], eps=1e-5)
        return TrainState(params, optimiser.init(params), hyper, jnp.zeros((), jnp.int32), key)

    def initial_carry(self, batch: tuple[int, ...]) -> PyTree:
        """Returns fresh memory of leading shape ``batch`` (environments, agents)."""
        return initial_carry(self.network_config, batch)

    def explore(
        self, train_state: TrainState, key: Array, carry: PyTree, moment: Moment
    ) -> tuple[PyTree, Array, dict[str, Array]]:
        """Samples actions and notes their log-probabilities and values."""
        carry, distribution, value = self._forward(train_state.params, carry, _with_time(moment))
        action, log_prob = distribution.sample_and_log_prob(key)
        return carry, action[0], {"log_prob": log_prob[0], "value": value[0]}

    def learn(self, train_state: TrainState, trajectory: Trajectory) -> tuple[TrainState, Metrics]:
        """Runs ``epochs`` passes of ``minibatches`` gradient steps over the rollout."""
        config, hyper = self.config, train_state.hyper
        advantage, target = self._advantages(train_state, trajectory)
        weight = jnp.broadcast_to(trajectory.valid[..., None], advantage.shape)
        if not config.learn_from_dead:
            weight = weight & trajectory.moment.observation.alive
        samples = {
            "moment": dataclasses.replace(trajectory.moment, state=()),
            "action": trajectory.action,
            "log_prob": trajectory.extras["log_prob"],
            "value": trajectory.extras["value"],
            "advantage": advantage,
            "target": target,
            "weight": weight.astype(jnp.float32),
        }
        samples = jax.tree.map(lambda x: x.reshape(x.shape[0], self.rows, *x.shape[3:]), samples)
        carry = jax.tree.map(lambda x: x.reshape(self.rows, *x.shape[2:]), trajectory.carry)
        shuffle_key, key = jax.random.split(train_state.key)
        order = jax.vmap(
            lambda k: permutations(k, self.rows, config.minibatches, self.setting.shuffle_groups)
        )(jax.random.split(shuffle_key, config.epochs))
        order = order.reshape(-1, *order.shape[2:])
        rate = hyper["learning_rate"]
        if config.anneal_learning_rate:
            rate = linear_anneal(rate, train_state.updates, self.setting.total_updates)

        def gradient_step(
            carried: tuple[PyTree, PyTree], index: Array
        ) -> tuple[tuple[PyTree, PyTree], Metrics]:
            params, opt_state = carried
            batch, memory = take_rows(samples, index), take_rows(carry, index, axis=0)
            (_, metrics), grads = jax.value_and_grad(self._loss, has_aux=True)(params, memory, batch, hyper)
            optimiser = clipped_adam(hyper["max_grad_norm"], eps=1e-5)
            direction, opt_state = optimiser.update(grads, opt_state)
            metrics["grad_norm"] = optax.tree.norm(grads)
            return (descend(params, direction, rate), opt_state), metrics

        (params, opt_state), metrics = jax.lax.scan(
            gradient_step, (train_state.params, train_state.opt_state), order
        )
        metrics = {name: jnp.mean(values) for name, values in metrics.items()}
        metrics["learning_rate"] = rate
        metrics["explained_variance"] = ppo.explained_variance(
            samples["value"], samples["target"], samples["weight"]
        )
        return TrainState(params, opt_state, hyper, train_state.updates + 1, key), metrics

    def acting(self, params: PyTree) -> PyTree:
        """Returns all parameters: actor and critic may share them."""
        return params

    def policy(self, params: PyTree) -> Policy:
        """Returns the actor as a policy."""

        def actor(params: PyTree, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, Array]:
            carry, head = cast(Any, self.network.apply(params, carry, view, reset, method="act"))
            return carry, head

        return ActorPolicy(
            params, actor, self.initial_carry, self.space, len(self.setting.group.indices), self.config.squash
        )

    def _forward(
        self, params: PyTree, carry: PyTree, moment: Moment
    ) -> tuple[PyTree, ActionDistribution, Array]:
        """Runs the network over a sequence of moments [T, ...]."""
        observation = moment.observation
        # D1 restores the original's memory, which only a dead agent's own done clears.
        reset = moment.done_before if "D1" in self.flags else moment.first | ~observation.alive
        carry, head, value = cast(Any, self.network.apply(params, carry, observation.view, reset))
        mask = observation.action_mask
        return carry, ActionDistribution.from_head(self.space, head, mask, self.config.squash), value

    def _advantages(self, train_state: TrainState, trajectory: Trajectory) -> tuple[Array, Array]:
        """Returns advantages and value targets [T, E, G] with every end told apart."""
        _, _, last_value = self._forward(
            train_state.params, trajectory.last_carry, _with_time(trajectory.last)
        )
        over = trajectory.terminated | trajectory.truncated
        lost = trajectory.terminated if self.setting.final_observations else over
        terminated, cut = lost[..., None], over[..., None]
        if self.setting.env.team_reward != "shared":  # nothing more is paid to an agent that is done
            terminated, cut = terminated | trajectory.agent_done, cut | trajectory.agent_done
        shape = trajectory.reward.shape
        return gae(
            trajectory.reward,
            trajectory.extras["value"],
            last_value[0],
            jnp.broadcast_to(terminated, shape),
            jnp.broadcast_to(cut, shape),
            train_state.hyper["gamma"],
            train_state.hyper["gae_lambda"],
        )

    def _loss(
        self, params: PyTree, carry: PyTree, batch: dict[str, Any], hyper: dict[str, Array]
    ) -> tuple[Array, Metrics]:
        """Returns the PPO loss of whole sequences [T, rows]."""
        _, distribution, value = self._forward(params, carry, batch["moment"])
        weight, advantage = batch["weight"], batch["advantage"]
        if self.config.normalise_advantage:
            advantage = ppo.normalise(advantage, weight)
        policy_loss, watch = ppo.policy_terms(
            distribution.log_prob(batch["action"]), batch["log_prob"], advantage, weight, hyper["clip"]
        )
        value_loss = ppo.value_loss(value, batch["value"], batch["target"], weight, hyper["clip"])
        entropy = ppo.weighted_mean(distribution.entropy(), weight)
        loss = policy_loss + hyper["value_coef"] * value_loss - hyper["entropy_coef"] * entropy
        watch |= {"loss": loss, "policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}
        return loss, watch


def _with_time(moment: Moment) -> Moment:
    """Adds a time axis of one step."""
    return jax.tree.map(lambda leaf: leaf[None], moment)
