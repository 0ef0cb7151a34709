"""Parallelised Q-network with value decomposition (Gallici et al. 2024, arXiv 2407.04811, its VDN form).

The team's value is the sum of its agents', learned on policy: lambda returns of the latest rollout are the
targets, a few epochs of minibatches the lesson. Normalised layers stand in for a target network and many
environments for replay. Details follow JaxMARL's recurrent script; docs/algorithms/pqn-vdn.md lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
import optax
from jax import Array

from shoal.algorithms.blocks import mixers, returns
from shoal.algorithms.blocks.learner import Metrics, Setting, TrainState, Trajectory, hyper_of
from shoal.algorithms.blocks.minibatches import shuffles, take_rows
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.optimisers import clipped_radam, descend
from shoal.algorithms.blocks.packing import Packed, means
from shoal.algorithms.blocks.ppo import weighted_mean
from shoal.algorithms.blocks.q_agents import QAgents, QConfig
from shoal.algorithms.blocks.q_networks import NORMS, QNetwork, legal, value_of
from shoal.envs.core import PyTree, UserError
from shoal.envs.core.errors import nearest


@dataclass(frozen=True)
class PQNVDNConfig(QConfig):
    """Hyperparameters; floats can be swept in one compiled program."""

    td_lambda: float = 0.65  # trace decay of the targets
    max_grad_norm: float = 1.0
    epochs: int = 4
    minibatches: int = 4  # whole environments are drawn
    norm: str = "layer"  # in the encoder: none, layer or batch
    norm_input: bool = False  # batch-normalise what is seen

    def __post_init__(self) -> None:
        """Refuses values that cannot train."""
        super().__post_init__()
        self.check_least(epochs=1, minibatches=1)
        self.check_between("td_lambda")
        if self.norm not in NORMS:
            raise UserError(
                f"algorithm.norm={self.norm!r} is not one of {', '.join(NORMS)}{nearest(self.norm, NORMS)}"
            )

    @property
    def normalises_batches(self) -> bool:
        """Whether the network keeps running means."""
        return self.norm == "batch" or self.norm_input

    def batching(self, num_envs: int, group_size: int) -> tuple[int, int]:
        """Returns how many sequences are shuffled, and into how many minibatches."""
        return num_envs, self.minibatches


class PQNVDN(QAgents):
    """The learner: no replay, no target network, no mixer but a sum."""

    Config: ClassVar[type[Any]] = PQNVDNConfig
    needs_state = False
    fresh_rollouts = False

    def __init__(self, config: PQNVDNConfig, network: NetworkConfig, setting: Setting) -> None:
        """Fixes everything static.

        Raises:
            UserError: when batch normalisation is asked for and parameters are not shared.
        """
        super().__init__(config, network, setting)
        if config.normalises_batches and self.sharing.owner is not None:
            raise UserError(
                "algorithm.norm=batch and norm_input=true need sharing=all; norm=layer goes with any sharing"
            )

    def make_network(self, actions: int, entity_actions: tuple[int, ...] | None) -> QNetwork:
        """Returns the agents' network, with norms."""
        c = self.config
        return QNetwork(self.network_config, actions, entity_actions, c.norm, c.norm_input)

    # The contract ------------------------------------------------------------------------------------

    def acting(self, params: PyTree) -> PyTree:
        """Returns everything: parameters, and running means where there are any."""
        return params

    def init(self, key: Array, hyper: dict[str, Array] | None = None) -> TrainState:
        """Returns fresh parameters, shaped by one imagined observation of the group."""
        hyper = hyper_of(self.config) if hyper is None else hyper
        params_key, key = jax.random.split(key)
        observation, _ = self.imagine(needs_state=False)
        params = self.draw_agents(params_key, observation.view)
        opt_state = clipped_radam(hyper["max_grad_norm"]).init(params["params"])
        return TrainState(params, opt_state, hyper, jnp.zeros((), jnp.int32), key)

    def learn(self, train_state: TrainState, trajectory: Trajectory) -> tuple[TrainState, Metrics]:
        """Runs ``epochs`` passes of ``minibatches`` gradient steps over the rollout.

        Raises:
            UserError: when the environments do not divide into minibatches.
        """
        hyper, rate = train_state.hyper, self.learning_rate(train_state)
        samples = self.samples(trajectory)
        shuffle_key, key = jax.random.split(train_state.key)
        optimiser = clipped_radam(hyper["max_grad_norm"])
        c, setting = self.config, self.setting
        order = shuffles(shuffle_key, c.epochs, setting.num_envs, c.minibatches, setting.shuffle_groups)

        def gradient_step(
            carried: tuple[PyTree, PyTree], index: Array
        ) -> tuple[tuple[PyTree, PyTree], Packed]:
            params, opt_state = carried
            batch, memory = take_rows(samples, index), take_rows(trajectory.carry, index, axis=0)

            def loss(weights: PyTree) -> tuple[Array, tuple[PyTree, Metrics]]:
                return self.loss(params | {"params": weights}, memory, batch, hyper)

            (_, (averages, metrics)), grads = jax.value_and_grad(loss, has_aux=True)(params["params"])
            direction, opt_state = optimiser.update(grads, opt_state)
            metrics["grad_norm"] = optax.tree.norm(grads)
            params = averages | {"params": descend(params["params"], direction, rate)}
            return (params, opt_state), Packed.of(metrics)

        (params, opt_state), watched = jax.lax.scan(
            gradient_step, (train_state.params, train_state.opt_state), order
        )
        metrics = means(watched) | {"epsilon": self.epsilon(train_state), "learning_rate": rate}
        return TrainState(params, opt_state, hyper, train_state.updates + 1, key), metrics

    # Parts -------------------------------------------------------------------------------------------

    def samples(self, trajectory: Trajectory) -> dict[str, PyTree]:
        """Returns what minibatches are drawn of, leaves [T, E, ...]; what is seen, one step more."""
        moment = trajectory.moments()
        ended, cut = self.ends(trajectory)
        return {
            "view": self.seen(moment),
            "action_mask": moment.observation.action_mask,
            "reset": self.agents_reset(moment),
            "action": trajectory.action,
            "reward": self.paid(trajectory),
            "ended": ended,
            "cut": cut,
            "weight": trajectory.valid.astype(jnp.float32),
        }

    def loss(
        self, params: PyTree, carry: PyTree, batch: dict[str, PyTree], hyper: dict[str, Array]
    ) -> tuple[Array, tuple[PyTree, Metrics]]:
        """Returns the mean squared error of the team's values, running means, and metrics.

        The targets are made of the network at hand, as if they were given.
        """
        q, means = self._learning_values(params, carry, batch["view"], batch["reset"])
        value = mixers.total(value_of(q[:-1], batch["action"]))
        best = jnp.max(legal(jax.lax.stop_gradient(q[1:]), batch["action_mask"][1:]), axis=-1)
        target = returns.td_lambda(
            batch["reward"] * hyper["reward_scale"],
            mixers.total(best),
            batch["ended"],
            batch["cut"],
            hyper["gamma"],
            hyper["td_lambda"],
        )
        loss = weighted_mean((value - target) ** 2, batch["weight"])
        watch = {
            "loss": loss,
            "q_mean": weighted_mean(value, batch["weight"]),
            "target_mean": weighted_mean(target, batch["weight"]),
        }
        return loss, (means, watch)

    def _learning_values(
        self, params: PyTree, carry: PyTree, view: PyTree, reset: Array
    ) -> tuple[Array, PyTree]:
        """As `q_values`, batches normalised by their own means; returns the running means as well."""
        if not self.config.normalises_batches:
            return self.q_values(params, carry, view, reset)[1], {}
        seen = self.identified(view, reset.ndim)
        (_, q), means = cast(
            Any, self.network.apply(params, carry, seen, reset, train=True, mutable=["batch_stats"])
        )
        return q, means
