"""How views become features: grids by convolution, sets of entities by attention, others as flat vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.algorithms.blocks.initialisers import orthogonal
from shoal.envs.core import EntityView, PyTree, UserError

Activation = Callable[[Array], Array]


def dense(features: int, gain: float, name: str | None = None) -> nn.Dense:
    """Returns a dense layer with an orthogonal kernel of this gain and zero bias."""
    return nn.Dense(features, kernel_init=orthogonal(gain), name=name)


def flatten_view(view: PyTree, lead: int | None = None) -> Array:
    """Returns a view's flat vector [..., F]; an EntityView lays its slots first, own features last.

    Args:
        view: one array, or an EntityView.
        lead: how many leading axes are no features; by default all but the last.
    """
    if isinstance(view, EntityView):
        slots = view.entities.reshape(*view.entities.shape[:-2], -1)
        return jnp.concatenate([slots, view.own], axis=-1)
    if lead is None or view.ndim == lead + 1:
        return view
    return view.reshape(*view.shape[:lead], -1).astype(jnp.float32)


def flatten_state(state: PyTree, lead: int) -> Array:
    """Returns a global state [*lead, S] f32 of one array or several."""
    leaves = [leaf.reshape(*leaf.shape[:lead], -1).astype(jnp.float32) for leaf in jax.tree.leaves(state)]
    return leaves[0] if len(leaves) == 1 else jnp.concatenate(leaves, axis=-1)


class GridEncoder(nn.Module):
    """Convolutions over a grid of any size, then one dense layer."""

    channels: Sequence[int]  # of each 3x3 convolution, which keeps the grid's size
    hidden_size: int
    activation: Activation

    @nn.compact
    def __call__(self, view: PyTree, lead: int) -> Array:
        """Maps views [*lead, height, width, layers] to features [*lead, H].

        Raises:
            UserError: when the views are no grids.
        """
        if isinstance(view, EntityView) or view.ndim != lead + 3:
            raise UserError("network=cnn needs views that are grids (height, width, layers); try network=mlp")
        x = view.astype(jnp.float32)
        for channels in self.channels:
            x = self.activation(nn.Conv(channels, (3, 3), kernel_init=_conv_orthogonal(math.sqrt(2)))(x))
        return self.activation(dense(self.hidden_size, math.sqrt(2))(x.reshape(*x.shape[:lead], -1)))


class SetEncoder(nn.Module):
    """Attends from the observer to what it sees; the order and the number of entities do not matter.

    Every entity is embedded alike; the observer joins the set, so that it always has something to look at
    and how much it looks at itself tells how few others there are. ``self_attention`` layers let
    entities look at each other first (Vaswani et al. 2017, without its feed-forward part; for sets Lee et
    al. 2019, arXiv 1810.00825).
    """

    hidden_size: int
    num_layers: int  # dense layers of each embedding
    heads: int
    self_attention: int
    activation: Activation
    is_target: tuple[bool, ...] | None = None  # slot -> whether an action is aimed at it: tells sides apart

    @nn.compact
    def __call__(self, view: PyTree) -> Array:
        """Maps an EntityView with leading axes *B to features [*B, H].

        Raises:
            UserError: when the views are no sets of entities.
        """
        if not isinstance(view, EntityView):
            raise UserError(
                "network=set needs entity views; where an environment has them they are an option, "
                "as env.view=entities in combat/smax"
            )
        own = self._embed(view.own)[..., None, :]
        entities = view.entities
        if self.is_target is not None:
            flags = np.asarray(self.is_target, np.float32)[:, None]
            entities = jnp.concatenate(
                [entities, jnp.broadcast_to(flags, (*entities.shape[:-1], 1))], axis=-1
            )
        tokens = jnp.concatenate([own, self._embed(entities)], axis=-2)  # [*B, 1 + K, H]
        seen = jnp.concatenate([jnp.ones((*view.entity_mask.shape[:-1], 1), bool), view.entity_mask], axis=-1)
        mask = seen[..., None, None, :]  # [*B, heads, asking, asked]
        for _ in range(self.self_attention):
            tokens = nn.LayerNorm()(tokens + self._attend()(tokens, tokens, mask=mask))
        asking = tokens[..., :1, :]
        found = self._attend()(asking, tokens, mask=mask)
        joined = jnp.concatenate([asking[..., 0, :], found[..., 0, :]], axis=-1)
        return self.activation(dense(self.hidden_size, math.sqrt(2))(joined))

    def _embed(self, x: Array) -> Array:
        for _ in range(self.num_layers):
            x = self.activation(dense(self.hidden_size, math.sqrt(2))(x))
        return x

    def _attend(self) -> nn.MultiHeadDotProductAttention:
        return nn.MultiHeadDotProductAttention(self.heads, kernel_init=orthogonal(), deterministic=True)


def _conv_orthogonal(gain: float) -> Callable[..., Array]:
    """Returns an initialiser of convolution kernels, orthogonal as matrices onto the output channels."""

    def draw(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return orthogonal(gain)(key, (math.prod(shape[:-1]), shape[-1]), dtype).reshape(shape)

    return draw
