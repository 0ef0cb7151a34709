"""Action distributions: the one place that imports distrax.

A policy head emits one vector per agent; `ActionDistribution` reads it for the action space at hand, with
illegal actions masked out of sampling, mode, log-probability and entropy alike.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.envs.core import Box, Discrete, MultiDiscrete, Space

with warnings.catch_warnings():  # its TFP dependency warns about JAX names of its own
    warnings.simplefilter("ignore")
    import distrax

# Far enough that exp underflows to exactly zero, near enough that differences stay finite in float32.
_MASKED = -1e9
_LOG_STD_RANGE = (-10.0, 2.0)


def head_size(space: Space) -> int:
    """Returns how many numbers a policy head must emit for ``space``."""
    if isinstance(space, Discrete):
        return space.n
    if isinstance(space, MultiDiscrete):
        return int(sum(space.nvec))
    return 2 * space.size


@dataclass(frozen=True)
class ActionDistribution:
    """A distribution over actions of ``space`` with leading batch shape ``B``.

    Discrete: masked categorical. MultiDiscrete: independent masked categoricals. Box: a diagonal Gaussian
    whose mean and log standard deviation the head emits; with ``squash`` (the tanh option) it is squeezed
    into the box, without it the sample may leave the box and the environment clips.
    """

    space: Space
    parts: tuple[Any, ...]  # distrax distributions

    @classmethod
    def from_head(cls, space: Space, head: Array, mask: Any, squash: bool = False) -> ActionDistribution:
        """Reads a head output [*B, head_size(space)] under an action mask (ignored for Box)."""
        if isinstance(space, Discrete):
            return cls(space, (_categorical(head, mask),))
        if isinstance(space, MultiDiscrete):
            cuts = list(np.cumsum(space.nvec)[:-1])
            logits = jnp.split(head, cuts, axis=-1)
            return cls(space, tuple(_categorical(x, m) for x, m in zip(logits, mask, strict=True)))
        mean, log_std = jnp.split(head.reshape(*head.shape[:-1], 2, space.size), 2, axis=-2)
        std = jnp.exp(jnp.clip(log_std[..., 0, :], *_LOG_STD_RANGE))
        # Not MultivariateNormalDiag: distrax 0.1.9 leaves the standard deviation out of its entropy.
        normal = distrax.Independent(distrax.Normal(mean[..., 0, :], std), 1)
        return cls(space, (_squashed(normal, space) if squash else normal,))

    def sample_and_log_prob(self, key: Array) -> tuple[Array, Array]:
        """Draws actions [*B, ...] and their log-probabilities [*B]."""
        if isinstance(self.space, Box):
            flat, log_prob = self.parts[0].sample_and_log_prob(seed=key)
            return flat.reshape(*flat.shape[:-1], *self.space.shape), log_prob
        # One Gumbel block for every part, drawn as a vector: each random call costs compile time, and more
        # where XLA unrolls a small axis.
        logits = [part.logits for part in self.parts]
        shape = (*logits[0].shape[:-1], sum(x.shape[-1] for x in logits))
        noise = jax.random.gumbel(key, (math.prod(shape),)).reshape(shape)
        noise_parts = jnp.split(noise, list(np.cumsum([x.shape[-1] for x in logits])[:-1]), axis=-1)
        chosen = [
            jnp.argmax(x + g, axis=-1).astype(jnp.int32) for x, g in zip(logits, noise_parts, strict=True)
        ]
        action = self._join(chosen)
        return action, self.log_prob(action)

    def mode(self) -> Array:
        """Returns the most probable actions [*B, ...]; of a squashed Gaussian, the squashed mean."""
        if isinstance(self.space, Box):
            normal = self._gaussian()
            squash = self.parts[0] is not normal
            flat = self.parts[0].bijector.forward(normal.mode()) if squash else normal.mode()
            return flat.reshape(*flat.shape[:-1], *self.space.shape)
        return self._join([jnp.argmax(part.logits, axis=-1).astype(jnp.int32) for part in self.parts])

    def log_prob(self, action: Array) -> Array:
        """Returns log-probabilities [*B] of actions [*B, ...]."""
        if isinstance(self.space, Discrete):
            return _pick(self.parts[0], action)
        if isinstance(self.space, MultiDiscrete):
            return sum(
                (_pick(part, action[..., i]) for i, part in enumerate(self.parts)), start=jnp.zeros(())
            )
        flat = action.reshape(*action.shape[: action.ndim - len(self.space.shape)], self.space.size)
        return self.parts[0].log_prob(flat)

    def entropy(self) -> Array:
        """Returns entropies [*B]; of the Gaussian before squashing, which has a closed form."""
        if isinstance(self.space, Box):
            return self._gaussian().entropy()
        return sum((part.entropy() for part in self.parts), start=jnp.zeros(()))

    def _gaussian(self) -> Any:
        part = self.parts[0]
        return part.distribution if isinstance(part, distrax.Transformed) else part

    def _join(self, chosen: list[Array]) -> Array:
        return chosen[0] if isinstance(self.space, Discrete) else jnp.stack(chosen, axis=-1)


def _categorical(logits: Array, mask: Array) -> distrax.Categorical:
    return distrax.Categorical(logits=jnp.where(mask, logits, _MASKED))


def _pick(part: distrax.Categorical, action: Array) -> Array:
    """Log-probability by comparison instead of a gather: faster on CPU, and its gradient needs no scatter."""
    hit = action[..., None] == jnp.arange(part.logits.shape[-1], dtype=action.dtype)
    return jnp.sum(jnp.where(hit, part.logits, 0.0), axis=-1)


def _squashed(normal: Any, space: Box) -> Any:
    """Squeezes a Gaussian through tanh into the box."""
    half = (space.high - space.low) / 2
    shift = distrax.ScalarAffine(shift=space.low + half, scale=half)
    return distrax.Transformed(normal, distrax.Block(distrax.Chain([shift, distrax.Tanh()]), 1))
