"""Instant incentive of iPLAN: what the agent in a slot is about to do, from who is around it.

Source: iPLAN (Wu et al., CoRL 2023, arXiv 2306.06236) and its code: a recurrent attention network over slots;
its hard attention is that of G2ANet (Liu et al., AAAI 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from shoal.algorithms.blocks.recurrent import GRU, PairGRU
from shoal.envs.core import PyTree

EPS = 1e-8


class Attention(nn.Module):
    """Slots look at each other: first which ones count at all, then how much; then each remembers."""

    size: int

    @nn.compact
    def __call__(self, memory: Array, seen: Array, noise: Array, temperature: Array) -> Array:
        """Maps memory [*B, n, D] and slots [*B, n, C] to memory; ``noise`` [*B, n, n - 1] is logistic."""
        h = nn.relu(nn.Dense(self.size)(seen))
        count = h.shape[-2]
        others = np.array([[j for j in range(count) if j != i] for i in range(count)], np.int32)
        walks = [PairGRU(self.size, backwards=backwards)(h) for backwards in (False, True)]
        scores = nn.Dense(2)(jnp.concatenate(walks, axis=-1))
        scores = jnp.moveaxis(scores, (0, 1), (-2, -3))  # [*B, n, n - 1, 2]
        # The second of two Gumbel-softmax components.
        hard = nn.sigmoid((scores[..., 1] - scores[..., 0] + noise) / temperature)
        query = nn.Dense(self.size, use_bias=False)(h)
        keys = nn.Dense(self.size, use_bias=False)(h)[..., others, :]
        values = nn.relu(nn.Dense(self.size)(h))[..., others, :]
        match = jnp.sum(query[..., :, None, :] * keys, axis=-1) / np.sqrt(self.size)
        soft = nn.softmax(match, axis=-1)
        x = jnp.sum((hard * soft)[..., None] * values, axis=-2)
        return GRU(self.size)(memory, x[None], jnp.zeros((1, *x.shape[:-1]), bool))[0]


class Predictor(nn.Module):
    """Foretells the next steps of each slot, one from the other; only for learning."""

    size: int

    @nn.compact
    def __call__(self, memory: Array, seen: Array, keep: Array) -> Array:
        """Maps memory [*B, n, D], slots [*B, n, F] and dropout's factors [H, *B, n, D] to [H, *B, n, F]."""
        features, told = seen.shape[-1], []
        embed, cell, out = nn.Dense(self.size), GRU(self.size), nn.Dense(features)
        for factors in keep:
            x = nn.relu(embed(seen))
            memory, _ = cell(memory, x[None], jnp.zeros((1, *x.shape[:-1]), bool))
            seen = out(jnp.tanh(memory) * factors)
            told.append(seen)
        return jnp.stack(told)


@dataclass(frozen=True)
class Instant:
    """The module: how slots turn into incentives, and what its networks learn by."""

    size: int  # numbers of an incentive
    horizon: int  # steps that are foretold

    @property
    def attention(self) -> Attention:
        """The network that acting needs."""
        return Attention(self.size)

    @property
    def predictor(self) -> Predictor:
        """The network that learning needs beside it."""
        return Predictor(self.size)

    def init(self, key: Array, slots: int, features: int, extra: int) -> PyTree:
        """Returns fresh parameters of both networks; ``extra`` features of a slot come from elsewhere."""
        attention_key, predictor_key = jax.random.split(key)
        memory, seen = jnp.zeros((1, slots, self.size)), jnp.zeros((1, slots, features + extra))
        keep, noise = jnp.ones((self.horizon, 1, 1, 1)), jnp.zeros((1, slots, slots - 1))
        return {
            "attention": self.attention.init(attention_key, memory, seen, noise, jnp.ones(())),
            "predictor": self.predictor.init(predictor_key, memory, seen[..., :features], keep),
        }

    def step(self, attention: PyTree, memory: Array, seen: Array, noise: Array, temperature: Array) -> Array:
        """Returns the incentives [*B, n, size] after a look [*B, n, C]; they are the memory."""
        incentive: Array = cast(Any, self.attention.apply(attention, memory, seen, noise, temperature))
        return incentive

    def loss(
        self,
        params: PyTree,
        memory: Float[Array, "pairs slots size"],
        seen: Float[Array, "pairs slots inputs"],
        future: Float[Array, "pairs horizon slots features"],
        counts: Float[Array, "pairs horizon"],
        noise: Float[Array, "pairs slots others"],
        keep: Float[Array, "horizon pairs slots size"],
        temperature: Float[Array, ""],
    ) -> Float[Array, ""]:
        """Returns how badly the next steps are foretold, per feature and step.

        Args:
            params: of both networks.
            memory: incentives of the step before.
            seen: slots and what else they come with.
            future: the slots afterwards.
            counts: which of those steps count.
            noise: logistic.
            keep: dropout's factors.
            temperature: of hard attention.
        """
        features = future.shape[-1]
        incentive = self.step(params["attention"], memory, seen, noise, temperature)
        told = cast(Any, self.predictor.apply(params["predictor"], incentive, seen[..., :features], keep))
        error = jnp.mean(jnp.abs(jnp.moveaxis(told, 0, 1) - future), axis=(2, 3))
        return jnp.sum(error * counts) / (jnp.sum(counts) + EPS) * features * self.horizon


def logistic(key: Array, shape: tuple[int, ...]) -> Array:
    """Draws the difference of two Gumbel variables."""
    return jax.random.logistic(key, shape)
