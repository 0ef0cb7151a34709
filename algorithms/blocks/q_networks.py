"""Networks that value actions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.algorithms.blocks.encoders import dense, flatten_view
from shoal.algorithms.blocks.networks import NetworkConfig, Trunk, action_head
from shoal.envs.core import EntityView, PyTree, UserError

NORMS = ("none", "layer", "batch")


class QNetwork(nn.Module):
    """Encoder and core, then one linear layer; with entity actions their pointer head instead.

    Batch normalisation keeps running means in the collection ``batch_stats``; with ``train`` it uses those of
    the batch at hand.
    """

    config: NetworkConfig
    outputs: int  # actions
    entity_actions: tuple[int, ...] | None = None
    norm: str = "none"  # in the encoder: none, layer or batch
    norm_input: bool = False  # batch-normalise the view

    @nn.compact
    def __call__(
        self, carry: PyTree, view: PyTree, reset: Array, train: bool = False
    ) -> tuple[PyTree, Array]:
        """Runs a sequence; returns memory and values [T, *B, outputs] of views [T, *B, ...].

        Raises:
            UserError: for ``norm_input`` with views that are not read as one vector.
        """
        seen = view
        if self.norm_input:
            if self.config.name != "mlp":
                raise UserError(f"algorithm.norm_input=true needs network=mlp, not {self.config.name}")
            seen = nn.BatchNorm(use_running_average=not train)(flatten_view(view, reset.ndim))
        gain = 1.0 if self.config.encoder_gain is None else self.config.encoder_gain
        config = dataclasses.replace(self.config, encoder_gain=gain)
        trunk = Trunk(config, self.entity_actions, _normaliser(self.norm, train))
        carry, features = trunk(carry, seen, reset)
        if self.entity_actions is None:
            return carry, dense(self.outputs, 1.0)(features)
        return carry, action_head(config, self.outputs, 1.0, self.entity_actions)(features, view)


def _normaliser(name: str, train: bool) -> Callable[[], nn.Module] | None:
    if name == "batch":
        return partial(nn.BatchNorm, use_running_average=not train)
    return nn.LayerNorm if name == "layer" else None


def with_agent_id(view: PyTree, agents: int, lead: int) -> PyTree:
    """Tells agents apart: adds to each view its agent's place in the group, one-hot.

    Args:
        view: leaves [*lead, ...] whose last leading axis is that of ``agents``. A flat view gets ``agents``
            more features, an EntityView's ``own`` too, a grid as many constant layers.
        agents: of the group.
        lead: how many leading axes there are.
    """
    if isinstance(view, EntityView):
        return dataclasses.replace(view, own=with_agent_id(view.own, agents, lead))
    identity = jnp.eye(agents).reshape(agents, *(1,) * (view.ndim - lead - 1), agents)
    identity = jnp.broadcast_to(identity, (*view.shape[:-1], agents))
    return jnp.concatenate([view.astype(jnp.float32), identity], axis=-1)


def value_of(q: Float[Array, "*batch actions"], action: Array) -> Float[Array, "*batch"]:
    """Returns the values of chosen actions [*B]; by comparison, whose gradient needs no scatter."""
    hit = action[..., None].astype(jnp.int32) == jnp.arange(q.shape[-1], dtype=jnp.int32)
    return jnp.sum(jnp.where(hit, q, 0.0), axis=-1)


def legal(q: Float[Array, "*batch actions"], mask: Array) -> Float[Array, "*batch actions"]:
    """Returns the values with those of illegal actions at minus infinity, for maxima only."""
    return jnp.where(mask, q, -jnp.inf)
