"""Networks for actors and critics, composed of an encoder, a core (recurrent or none) and heads."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.algorithms.blocks.encoders import GridEncoder, SetEncoder, dense, flatten_view
from shoal.algorithms.blocks.initialisers import orthogonal
from shoal.algorithms.blocks.recurrent import GRU
from shoal.envs.core import Discrete, Environment, PyTree, UserError

_ACTIVATIONS = {"relu": nn.relu, "tanh": nn.tanh}
ENCODERS = ("mlp", "cnn", "set")
CORES = ("gru", "none")


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of an algorithm's networks (config group ``network``)."""

    name: str = "mlp"  # how a view is encoded: mlp, cnn (grids) or set (entities)
    hidden_size: int = 128  # width of every layer and of the memory
    num_layers: int = 1  # encoder layers before the core
    activation: str = "relu"  # relu or tanh
    core: str = "gru"  # gru: recurrent; none: feed-forward
    shared_trunk: bool = True  # actor and critic share encoder and core
    head_gain: float = 2.0  # orthogonal gain of the heads' hidden layer
    encoder_gain: float | None = None  # mlp: of the layers before the core; None: sqrt 2, 1 for action values
    channels: tuple[int, ...] = (16, 32)  # cnn: of each convolution
    attention_heads: int = 4  # set
    self_attention: int = 0  # set: layers in which entities look at each other

    def __post_init__(self) -> None:
        """Refuses what is not built."""
        for value, known, name in (
            (self.name, ENCODERS, "network.name"),
            (self.activation, tuple(_ACTIVATIONS), "network.activation"),
            (self.core, CORES, "network.core"),
        ):
            if value not in known:
                raise UserError(f"{name}={value!r} is not one of {', '.join(known)}")
        if self.hidden_size < 1 or self.num_layers < 1:
            raise UserError("network.hidden_size and network.num_layers must be at least 1")
        if self.name == "cnn" and (not self.channels or min(self.channels) < 1):
            raise UserError(f"network.channels={list(self.channels)} must be numbers from 1 on")
        if self.self_attention < 0:
            raise UserError(f"network.self_attention={self.self_attention} must be at least 0")
        if self.name == "set" and (self.attention_heads < 1 or self.hidden_size % self.attention_heads):
            raise UserError(
                f"network.hidden_size={self.hidden_size} must be a multiple of network.attention_heads="
                f"{self.attention_heads}"
            )


def entity_actions_of(config: NetworkConfig, env: Environment[Any, Any]) -> tuple[int, ...] | None:
    """Returns which action is aimed at which entity slot (-1: none), where the network is to know it."""
    if config.name != "set" or not isinstance(env.action_space, Discrete):
        return None
    return env.metadata.entity_actions


class Trunk(nn.Module):
    """Encoder and core: views and memory in, features out."""

    config: NetworkConfig
    entity_actions: tuple[int, ...] | None = None  # of `entity_actions_of`; only sets look at it
    norm: Callable[[], nn.Module] | None = None  # before every activation of mlp, after any other encoder

    @nn.compact
    def __call__(self, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, Array]:
        """Runs a sequence.

        Args:
            carry: memory [*B, H]; unused when the core is ``none``.
            view: [T, *B, F], a grid [T, *B, height, width, layers], or an EntityView of that leading shape.
            reset: [T, *B] bool, memory is zeroed before these steps.

        Returns:
            The memory after the last step, and features [T, *B, H].

        Raises:
            UserError: when the views are not of the kind that the encoder reads.
        """
        x = self._encode(view, reset.ndim)
        if self.config.core == "none":
            return carry, x
        return GRU(self.config.hidden_size)(carry, x, reset)

    def _encode(self, view: PyTree, lead: int) -> Array:
        """Maps views to [T, *B, H], each step on its own."""
        c, activate = self.config, _ACTIVATIONS[self.config.activation]
        if c.name == "cnn":
            return self._normalised(GridEncoder(c.channels, c.hidden_size, activate)(view, lead))
        if c.name == "set":
            slots = None if self.entity_actions is None else tuple(a >= 0 for a in self.entity_actions)
            encoder = SetEncoder(
                c.hidden_size, c.num_layers, c.attention_heads, c.self_attention, activate, slots
            )
            return self._normalised(encoder(view))
        x = flatten_view(view, lead)
        gain = math.sqrt(2) if c.encoder_gain is None else c.encoder_gain
        for _ in range(c.num_layers):
            x = activate(self._normalised(dense(c.hidden_size, gain)(x)))
        return x

    def _normalised(self, x: Array) -> Array:
        return x if self.norm is None else self.norm()(x)


class Head(nn.Module):
    """One hidden layer and a linear output."""

    config: NetworkConfig
    outputs: int
    gain: float  # of the output layer

    @nn.compact
    def __call__(self, features: Array, view: PyTree = None) -> Array:
        """Maps features [..., H] to [..., outputs]; ``view`` is for heads that read it."""
        activate = _ACTIVATIONS[self.config.activation]
        hidden = activate(dense(self.config.hidden_size, self.config.head_gain)(features))
        return dense(self.outputs, self.gain)(hidden)


class PointerHead(nn.Module):
    """As `Head`, but an action aimed at an entity is scored from that entity's own features.

    All such actions share their parameters, so that their number may change (in the manner of Vinyals et
    al. 2015, arXiv 1506.03134).
    """

    config: NetworkConfig
    outputs: int
    gain: float  # of the output layers
    entity_actions: tuple[int, ...]  # slot -> action, -1 where none is aimed at it

    @nn.compact
    def __call__(self, features: Array, view: PyTree = None) -> Array:
        """Maps features [..., H] and the EntityView that they were made of to [..., outputs]."""
        c, activate = self.config, _ACTIVATIONS[self.config.activation]
        slots = [slot for slot, action in enumerate(self.entity_actions) if action >= 0]
        aimed = [self.entity_actions[slot] for slot in slots]
        others = [action for action in range(self.outputs) if action not in aimed]
        targets = _pick(view.entities, slots, axis=-2)
        wish = dense(c.hidden_size, c.head_gain, "wish")(features)[..., None, :]
        target = nn.Dense(c.hidden_size, use_bias=False, kernel_init=orthogonal(c.head_gain), name="target")
        hidden = activate(wish + target(targets))  # one hidden layer on (features, entity)
        scores = dense(1, self.gain, "score")(hidden)[..., 0]
        plain = Head(c, len(others), self.gain, name="others")(features)
        return _pick(jnp.concatenate([plain, scores], axis=-1), np.argsort([*others, *aimed]), axis=-1)


def _pick(x: Array, indices: Any, axis: int) -> Array:
    """Takes entries along an axis; a slice where they follow each other."""
    start, count = int(indices[0]), len(indices)
    if list(indices) == list(range(start, start + count)):
        return jax.lax.slice_in_dim(x, start, start + count, axis=axis)
    return jnp.take(x, np.asarray(indices), axis=axis)


def action_head(
    config: NetworkConfig, outputs: int, gain: float, entity_actions: tuple[int, ...] | None = None
) -> Head | PointerHead:
    """Returns what scores actions: call it with features and the view that they were made of."""
    if entity_actions is None or max(entity_actions) < 0:
        return Head(config, outputs, gain)
    return PointerHead(config, outputs, gain, entity_actions)


class Actor(nn.Module):
    """A policy of its own."""

    config: NetworkConfig
    action_outputs: int
    entity_actions: tuple[int, ...] | None = None

    @nn.compact
    def __call__(self, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, Array]:
        """Runs a sequence; returns memory and policy head [T, *B, outputs]."""
        carry, features = Trunk(self.config, self.entity_actions)(carry, view, reset)
        head = action_head(self.config, self.action_outputs, 0.01, self.entity_actions)
        return carry, head(features, view)


class Critic(nn.Module):
    """A value of its own."""

    config: NetworkConfig

    @nn.compact
    def __call__(self, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, Array]:
        """Runs a sequence; returns memory and values [T, *B]."""
        carry, features = Trunk(self.config)(carry, view, reset)
        return carry, Head(self.config, 1, gain=1.0)(features)[..., 0]


class ActorCritic(nn.Module):
    """Policy and value of the same observation, on one trunk or on two."""

    config: NetworkConfig
    action_outputs: int
    entity_actions: tuple[int, ...] | None = None

    def setup(self) -> None:
        """Builds the parts."""
        self.trunk = Trunk(self.config, self.entity_actions)
        if not self.config.shared_trunk:
            self.critic_trunk = Trunk(self.config, self.entity_actions)
        self.actor_head = action_head(self.config, self.action_outputs, 0.01, self.entity_actions)
        self.critic_head = Head(self.config, 1, gain=1.0)

    def __call__(self, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, tuple[Array, Array]]:
        """Runs a sequence; returns memory, policy head [T, *B, outputs] and values [T, *B]."""
        if self.config.shared_trunk:
            carry, features = self.trunk(carry, view, reset)
            return carry, (self.actor_head(features, view), self.critic_head(features)[..., 0])
        actor_carry, actor_features = self.trunk(carry[0], view, reset)
        critic_carry, critic_features = self.critic_trunk(carry[1], view, reset)
        value = self.critic_head(critic_features)[..., 0]
        return (actor_carry, critic_carry), (self.actor_head(actor_features, view), value)

    def act(self, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, Array]:
        """As a call, without the critic: what playing needs."""
        if self.config.shared_trunk:
            carry, features = self.trunk(carry, view, reset)
            return carry, self.actor_head(features, view)
        actor_carry, features = self.trunk(carry[0], view, reset)
        return (actor_carry, carry[1]), self.actor_head(features, view)


def memory(config: NetworkConfig, batch: tuple[int, ...]) -> PyTree:
    """Returns zero memory of leading shape ``batch`` for one trunk."""
    return jnp.zeros((*batch, config.hidden_size)) if config.core == "gru" else ()


def initial_carry(config: NetworkConfig, batch: tuple[int, ...]) -> PyTree:
    """Returns zero memory of leading shape ``batch`` for an `ActorCritic`."""
    return memory(config, batch) if config.shared_trunk else (memory(config, batch), memory(config, batch))
