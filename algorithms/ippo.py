"""Independent proximal policy optimisation (de Witt et al. 2020, arXiv 2011.09533).

Every agent of the group learns by PPO from its own observation, actor and critic alike.
Details follow the recurrent baseline of JaxMARL (arXiv 2311.10090); docs/algorithms/ippo.md lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import jax.numpy as jnp
from jax import Array

from shoal.algorithms.blocks.distributions import head_size
from shoal.algorithms.blocks.learner import Metrics, Moment, Setting
from shoal.algorithms.blocks.networks import ActorCritic, NetworkConfig, entity_actions_of, initial_carry
from shoal.algorithms.blocks.policies import NetworkPolicy, from_distribution
from shoal.algorithms.blocks.ppo_learner import PPOConfig, PPOLearner, adam_opening, adam_step, grad_norm
from shoal.envs.core import Policy, PyTree


@dataclass(frozen=True)
class IPPOConfig(PPOConfig):
    """Hyperparameters; those of every PPO."""


class IPPO(PPOLearner):
    """The learner: one network for policy and value, one optimiser."""

    Config: ClassVar[type[Any]] = IPPOConfig
    needs_state = False

    def __init__(self, config: IPPOConfig, network: NetworkConfig, setting: Setting) -> None:
        """Fixes everything static."""
        super().__init__(config, network, setting)
        self.network = ActorCritic(network, head_size(self.space), entity_actions_of(network, setting.env))

    def draw_params(self, key: Array, view: PyTree, state: PyTree) -> PyTree:
        """Returns fresh parameters of every set."""
        agents = (len(self.setting.group.indices),)
        carry, reset = initial_carry(self.network_config, agents), jnp.zeros((1, *agents), bool)
        return self.sharing.init(lambda k: self.network.init(k, carry, view, reset), key)

    def open_optimiser(self, params: PyTree, max_grad_norm: Array) -> PyTree:
        """Returns Adam's opening state."""
        return adam_opening(params, max_grad_norm, self.sharing)

    def descend(
        self,
        params: PyTree,
        opt_state: PyTree,
        grads: PyTree,
        hyper: dict[str, Array],
        rates: dict[str, Array],
    ) -> tuple[PyTree, PyTree, Metrics]:
        """Takes one step of Adam."""
        rate, limit = rates["learning_rate"], hyper["max_grad_norm"]
        params, opt_state = adam_step(params, opt_state, grads, limit, rate, self.sharing)
        return params, opt_state, {"grad_norm": grad_norm(grads)}

    def initial_carry(self, batch: tuple[int, ...]) -> PyTree:
        """Returns fresh memory of leading shape ``batch`` (environments, agents)."""
        return initial_carry(self.network_config, batch)

    def forward(self, params: PyTree, carry: PyTree, moment: Moment) -> tuple[PyTree, Array, Array]:
        """Runs the network over a sequence of moments; every agent has a value of its own."""
        view, reset = moment.observation.view, self.agents_reset(moment)
        carry, (head, value) = self.sharing.apply(self._network, params, carry, view, reset)
        return carry, head, value

    def acting(self, params: PyTree) -> PyTree:
        """Returns all parameters: actor and critic may share them."""
        return params

    def policy(self, params: PyTree) -> Policy:
        """Returns the actor as a policy."""

        def act(params: PyTree, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, PyTree]:
            return cast(Any, self.network.apply(params, carry, view, reset, method="act"))

        def actor(params: PyTree, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, Array]:
            return self.sharing.apply(act, params, carry, view, reset)

        choose = from_distribution(self.space, self.config.squash)
        return NetworkPolicy(params, actor, self.initial_carry, choose, len(self.setting.group.indices))

    def _network(self, params: PyTree, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, PyTree]:
        return cast(Any, self.network.apply(params, carry, view, reset))
