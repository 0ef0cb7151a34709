"""Behavioural incentive of iPLAN: what kind of agent sits in a slot, from its recent past.

Source: iPLAN (Wu et al., CoRL 2023, arXiv 2306.06236) and its code. ``n`` slots, ``F`` features of each,
``W`` steps of history, newest last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Bool, Float

from shoal.algorithms.blocks.recurrent import GRU
from shoal.envs.core import PyTree

FORMS = ("soft", "hard", "fc", "none")
ENCODER_WIDTH, DECODER_WIDTH = 32, 64
EPS = 1e-8


@struct.dataclass
class History:
    """What is remembered of each slot."""

    window: Array  # [*B, W, n, F] f32, zero before the beginning
    encoder: Array  # [*B, n, 32] f32, left over from the encoder's last call
    incentive: Array  # [*B, n, D] f32, sums to at most one
    age: Array  # [*B] i32, steps since the beginning


def pushed(window: Float[Array, "*batch steps slots features"], seen: Array) -> Array:
    """Returns the window one step on: the oldest step leaves, ``seen`` [*B, n, F] joins."""
    return jnp.concatenate([window[..., 1:, :, :], seen[..., None, :, :]], axis=-3)


def forgotten(memory: PyTree, reset: Bool[Array, "*batch"]) -> PyTree:
    """Returns the memory, zero where ``reset``."""

    def forget(leaf: Array) -> Array:
        here = reset.reshape(reset.shape + (1,) * (leaf.ndim - reset.ndim))
        return jnp.where(here, jnp.zeros_like(leaf), leaf)

    return jax.tree.map(forget, memory)


class Encoder(nn.Module):
    """A softmax over ``size`` kinds for every slot; recurrent over the window, or dense (``fc``)."""

    size: int
    dense: bool

    @nn.compact
    def __call__(self, memory: Array, window: Array) -> tuple[Array, Array]:
        """Maps memory [*B, n, 32] and window [*B, W, n, F] to memory and kinds [*B, n, size]."""
        steps = jnp.moveaxis(window, -3, 0)  # [W, *B, n, F]
        if self.dense:
            x = jnp.moveaxis(steps, 0, -2)
            x = x.reshape(*x.shape[:-2], -1)
            for _ in range(2):
                x = jnp.tanh(nn.Dense(ENCODER_WIDTH)(x))
            return memory, nn.softmax(nn.Dense(self.size)(x))
        x = nn.relu(nn.Dense(ENCODER_WIDTH)(steps))
        memory, _ = GRU(ENCODER_WIDTH)(memory, x, jnp.zeros(x.shape[:-1], bool))
        return memory, nn.softmax(nn.Dense(self.size)(memory))


class Decoder(nn.Module):
    """Foretells a window from the one before and the incentive; only for learning."""

    dense: bool

    @nn.compact
    def __call__(self, memory: Array, window: Array, incentive: Array, keep: Array) -> tuple[Array, Array]:
        """Maps memory [*B, n, 64], window, incentive and dropout's factors to memory and a window."""
        steps, features = jnp.moveaxis(window, -3, 0), window.shape[-1]
        if self.dense:
            x = jnp.moveaxis(steps, 0, -2)
            x = jnp.concatenate([x.reshape(*x.shape[:-2], -1), incentive], axis=-1)
            for _ in range(2):
                x = jnp.tanh(nn.Dense(DECODER_WIDTH)(x))
            x = nn.Dense(steps.shape[0] * features)(x)
            return memory, jnp.moveaxis(x.reshape(*x.shape[:-1], -1, features), -2, -3)
        kinds = jnp.broadcast_to(incentive, (*steps.shape[:-1], incentive.shape[-1]))
        x = nn.relu(nn.Dense(DECODER_WIDTH)(jnp.concatenate([steps, kinds], axis=-1)))
        memory, x = GRU(DECODER_WIDTH)(memory, x, jnp.zeros(x.shape[:-1], bool))
        return memory, jnp.moveaxis(nn.Dense(features)(jnp.tanh(x) * keep), 0, -3)


@dataclass(frozen=True)
class Behaviour:
    """The module: how histories turn into incentives, and what its networks learn by."""

    form: str  # soft, hard or fc; see docs/algorithms/iplan.md
    size: int  # numbers of an incentive
    window: int  # steps of a history

    @property
    def encoder(self) -> Encoder:
        """The network that acting needs."""
        return Encoder(self.size, self.form == "fc")

    @property
    def decoder(self) -> Decoder:
        """The network that learning needs beside it."""
        return Decoder(self.form == "fc")

    @property
    def decoder_width(self) -> int:
        """Numbers that dropout's factors multiply."""
        return DECODER_WIDTH

    @property
    def ahead(self) -> int:
        """How many steps later the foretold window lies."""
        return 1 if self.form == "fc" else self.window

    def terms(self, time: int) -> int:
        """Returns how many of ``time`` steps are foretold from, counted as published."""
        return time - self.ahead - 1

    def start(self, batch: tuple[int, ...], slots: int, features: int) -> History:
        """Returns the memory of nothing seen."""
        return History(
            window=jnp.zeros((*batch, self.window, slots, features)),
            encoder=jnp.zeros((*batch, slots, ENCODER_WIDTH)),
            incentive=jnp.zeros((*batch, slots, self.size)),
            age=jnp.zeros(batch, jnp.int32),
        )

    def init(self, key: Array, slots: int, features: int) -> PyTree:
        """Returns fresh parameters of both networks."""
        encoder_key, decoder_key = jax.random.split(key)
        h = self.start((1,), slots, features)
        memory = jnp.zeros((1, slots, DECODER_WIDTH))
        return {
            "encoder": self.encoder.init(encoder_key, h.encoder, h.window),
            "decoder": self.decoder.init(decoder_key, memory, h.window, h.incentive, jnp.ones(())),
        }

    def step(self, encoder: PyTree, history: History, seen: Array, rate: Array) -> History:
        """Returns the memory after a look [*B, n, F]; ``rate`` is that of the soft update."""
        window, age = pushed(history.window, seen), history.age + 1
        memory, kinds = cast(Any, self.encoder.apply(encoder, history.encoder, window))
        if self.form == "hard":  # whole segments that do not overlap
            whole = (age % self.window == 0)[..., None, None]
            incentive = jnp.where(whole, kinds, history.incentive)
            memory = jnp.where(whole, memory, history.encoder)
        else:
            incentive = (1.0 - rate) * history.incentive + rate * kinds
        return History(window=window, encoder=memory, incentive=incentive, age=age)

    def loss(
        self,
        params: PyTree,
        seen: Float[Array, "time envs slots features"],
        reset: Bool[Array, "time envs"],
        counts: Float[Array, "time envs"],
        rate: Float[Array, ""],
        keep: Float[Array, "time envs slots width"],
    ) -> Float[Array, ""]:
        """Returns how badly windows are foretold from those ``ahead`` steps before, per slot and feature.

        Args:
            params: of both networks.
            seen: from the first step of an episode on.
            reset: where another one begins.
            counts: which steps count; a window does where it is foretold from and where it ends.
            rate: of the soft update.
            keep: dropout's factors.
        """
        time, envs, slots, features = seen.shape
        episode = jnp.cumsum(reset, axis=0)
        terms = self.terms(time)

        def foretell(
            carry: tuple[History, Array], xs: tuple[Array, ...]
        ) -> tuple[PyTree, tuple[Array, Array]]:
            history, memory = forgotten(carry, xs[1])
            known = history.incentive
            history = self.step(params["encoder"], history, xs[0], rate)
            foretold = self.decoder.apply(params["decoder"], memory, history.window, known, xs[2])
            memory, told = cast(Any, foretold)
            return (history, memory), (history.window, told)

        opening = self.start((envs,), slots, features), jnp.zeros((envs, slots, DECODER_WIDTH))
        _, (windows, told) = jax.lax.scan(foretell, opening, (seen, reset, keep))
        same = episode[self.ahead :] == episode[: -self.ahead]
        weight = (counts[self.ahead :] * counts[: -self.ahead] * same)[:terms]
        if self.form == "hard":
            age = _ages(reset)[:terms]
            weight = weight * ((age + 1) % self.window == 0)
        error = jnp.mean(jnp.abs(windows[self.ahead :][:terms] - told[:terms]), axis=(2, 3, 4))
        each = jnp.sum(error * weight, axis=1) / (jnp.sum(weight, axis=1) + EPS)
        return jnp.mean(each) * slots * features


def _ages(reset: Bool[Array, "time envs"]) -> Array:
    """Returns how many steps each step is from the beginning of its episode."""
    step = jnp.arange(reset.shape[0], dtype=jnp.int32)[:, None]
    return step - jax.lax.cummax(jnp.where(reset, step, 0), axis=0)
