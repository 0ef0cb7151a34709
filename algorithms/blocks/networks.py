"""Networks for actors and critics, composed of an encoder, a core (recurrent or none) and heads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from shoal.algorithms.blocks.initialisers import orthogonal
from shoal.algorithms.blocks.recurrent import GRU
from shoal.envs.core import EntityView, PyTree, UserError

_ACTIVATIONS = {"relu": nn.relu, "tanh": nn.tanh}
CORES = ("gru", "none")


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of an algorithm's networks (config group ``network``)."""

    name: str = "mlp"  # how a view is encoded
    hidden_size: int = 128  # width of every layer and of the memory
    num_layers: int = 1  # encoder layers before the core
    activation: str = "relu"  # relu or tanh
    core: str = "gru"  # gru: recurrent; none: feed-forward
    shared_trunk: bool = True  # actor and critic share encoder and core
    head_gain: float = 2.0  # orthogonal gain of the heads' hidden layer

    def __post_init__(self) -> None:
        """Refuses what is not built."""
        for value, known, name in (
            (self.name, ("mlp",), "network.name"),
            (self.activation, tuple(_ACTIVATIONS), "network.activation"),
            (self.core, CORES, "network.core"),
        ):
            if value not in known:
                raise UserError(f"{name}={value!r} is not one of {', '.join(known)}")
        if self.hidden_size < 1 or self.num_layers < 1:
            raise UserError("network.hidden_size and network.num_layers must be at least 1")


def dense(features: int, gain: float, name: str | None = None) -> nn.Dense:
    """Returns a dense layer with an orthogonal kernel of this gain and zero bias."""
    return nn.Dense(features, kernel_init=orthogonal(gain), name=name)


class Trunk(nn.Module):
    """Encoder and core: views and memory in, features out."""

    config: NetworkConfig

    @nn.compact
    def __call__(self, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, Array]:
        """Runs a sequence.

        Args:
            carry: memory [*B, H]; unused when the core is ``none``.
            view: [T, *B, F], or an EntityView of that leading shape.
            reset: [T, *B] bool, memory is zeroed before these steps.

        Returns:
            The memory after the last step, and features [T, *B, H].
        """
        activate = _ACTIVATIONS[self.config.activation]
        x = flatten_view(view)
        for _ in range(self.config.num_layers):
            x = activate(dense(self.config.hidden_size, math.sqrt(2))(x))
        if self.config.core == "none":
            return carry, x
        return GRU(self.config.hidden_size)(carry, x, reset)


class Head(nn.Module):
    """One hidden layer and a linear output."""

    config: NetworkConfig
    outputs: int
    gain: float  # of the output layer

    @nn.compact
    def __call__(self, features: Array) -> Array:
        """Maps features [..., H] to [..., outputs]."""
        activate = _ACTIVATIONS[self.config.activation]
        hidden = activate(dense(self.config.hidden_size, self.config.head_gain)(features))
        return dense(self.outputs, self.gain)(hidden)


class ActorCritic(nn.Module):
    """Policy and value of the same observation, on one trunk or on two."""

    config: NetworkConfig
    action_outputs: int

    def setup(self) -> None:
        """Builds the parts."""
        self.trunk = Trunk(self.config)
        if not self.config.shared_trunk:
            self.critic_trunk = Trunk(self.config)
        self.actor_head = Head(self.config, self.action_outputs, gain=0.01)
        self.critic_head = Head(self.config, 1, gain=1.0)

    def __call__(self, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, Array, Array]:
        """Runs a sequence; returns memory, policy head [T, *B, outputs] and values [T, *B]."""
        if self.config.shared_trunk:
            carry, features = self.trunk(carry, view, reset)
            return carry, self.actor_head(features), self.critic_head(features)[..., 0]
        actor_carry, actor_features = self.trunk(carry[0], view, reset)
        critic_carry, critic_features = self.critic_trunk(carry[1], view, reset)
        value = self.critic_head(critic_features)[..., 0]
        return (actor_carry, critic_carry), self.actor_head(actor_features), value

    def act(self, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, Array]:
        """As a call, without the critic: what playing needs."""
        if self.config.shared_trunk:
            carry, features = self.trunk(carry, view, reset)
            return carry, self.actor_head(features)
        actor_carry, features = self.trunk(carry[0], view, reset)
        return (actor_carry, carry[1]), self.actor_head(features)


def initial_carry(config: NetworkConfig, batch: tuple[int, ...]) -> PyTree:
    """Returns zero memory of leading shape ``batch`` for an `ActorCritic`."""

    def one() -> Any:
        return jnp.zeros((*batch, config.hidden_size)) if config.core == "gru" else ()

    return one() if config.shared_trunk else (one(), one())


def flatten_view(view: PyTree) -> Array:
    """Returns a view's flat vector [..., F]; an EntityView lays its slots first, own features last."""
    if isinstance(view, EntityView):
        slots = view.entities.reshape(*view.entities.shape[:-2], -1)
        return jnp.concatenate([slots, view.own], axis=-1)
    return view
