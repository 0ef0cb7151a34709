"""Spaces: what actions and observations look like. Hashable, so that they can be static under ``jit``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.envs.core.types import Key

_WIDEST = 1e6  # how far `Box.sample` reaches where a bound is infinite


@dataclass(frozen=True)
class Discrete:
    """The integers ``0 .. n-1`` as int32 scalars."""

    n: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one element."""
        return ()

    @property
    def dtype(self) -> Any:
        """The dtype of one element."""
        return np.dtype(np.int32)

    def sample(self, key: Key, mask: Array | None = None) -> Array:
        """Draws uniformly; with ``mask`` ([n] bool, at least one true) among the legal elements."""
        if mask is None:
            return jax.random.randint(key, (), 0, self.n, jnp.int32)
        return choose(jax.random.uniform(key), mask)

    def contains(self, x: Array) -> Array:
        """Whether ``x`` is an element, as a bool scalar; elementwise for batches."""
        x = jnp.asarray(x)
        if not jnp.issubdtype(x.dtype, jnp.integer):
            return jnp.zeros(x.shape, bool)
        return (x >= 0) & (x < self.n)


@dataclass(frozen=True)
class MultiDiscrete:
    """Tuples of integers, entry i in ``0 .. nvec[i]-1``, as int32 vectors."""

    nvec: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one element."""
        return (len(self.nvec),)

    @property
    def dtype(self) -> Any:
        """The dtype of one element."""
        return np.dtype(np.int32)

    def sample(self, key: Key, mask: tuple[Array, ...] | None = None) -> Array:
        """Draws uniformly; with ``mask`` (one [nvec[i]] bool array per entry) among the legal elements."""
        u = jax.random.uniform(key, self.shape)
        if mask is None:
            nvec = np.asarray(self.nvec, np.int32)
            return jnp.minimum((u * nvec.astype(np.float32)).astype(jnp.int32), nvec - 1)
        return jnp.stack([choose(u[i], m) for i, m in enumerate(mask)])

    def contains(self, x: Array) -> Array:
        """Whether ``x`` [..., len(nvec)] is an element, as bool [...]."""
        x = jnp.asarray(x)
        if x.shape[-1:] != self.shape or not jnp.issubdtype(x.dtype, jnp.integer):
            return jnp.zeros(x.shape[:-1], bool)
        return jnp.all((x >= 0) & (x < np.asarray(self.nvec, x.dtype)), axis=-1)


@dataclass(frozen=True)
class Box:
    """Real arrays of one shape between two bounds (the same for every entry), float32 by default."""

    low: float
    high: float
    shape: tuple[int, ...]
    dtype: Any = np.float32

    def __post_init__(self) -> None:
        """Gives the dtype its one canonical form, so that equal spaces compare and print alike."""
        object.__setattr__(self, "dtype", np.dtype(self.dtype))

    def sample(self, key: Key, mask: Array | None = None) -> Array:
        """Draws uniformly between the bounds (infinite ones cut at 1e6); ``mask`` is ignored."""
        return jax.random.uniform(key, self.shape, self.dtype, *self.drawn)

    def contains(self, x: Array) -> Array:
        """Whether ``x`` [..., *shape] is an element, as bool [...]; NaN is not."""
        x = jnp.asarray(x)
        lead = x.ndim - len(self.shape)
        if lead < 0 or x.shape[lead:] != self.shape:
            return jnp.zeros(x.shape[: max(lead, 0)], bool)
        inside = (x >= self.low) & (x <= self.high)
        return jnp.all(inside, axis=tuple(range(lead, x.ndim)))

    @property
    def drawn(self) -> tuple[float, float]:
        """The bounds between which values are drawn: infinite ones are cut at 1e6."""
        return max(self.low, -_WIDEST), min(self.high, _WIDEST)

    @property
    def size(self) -> int:
        """How many numbers one element holds."""
        return math.prod(self.shape)


Space: TypeAlias = Discrete | MultiDiscrete | Box


def choose(u: Array, mask: Array, axis: int = -1) -> Array:
    """Picks the true entry of ``mask`` at quantile ``u`` in [0, 1), uniform over them; 0 if there is none.

    Args:
        u: the mask's shape without ``axis``.
        mask: bool.
        axis: of the entries to choose from.
    """
    total = jnp.sum(mask, axis=axis, dtype=jnp.int32)
    rank = jnp.minimum((u * total.astype(jnp.float32)).astype(jnp.int32), total - 1)

    # The wanted index is the number of entries whose running count has not passed the rank. Counted entry by
    # entry, since XLA's cumulative sum is quadratic on CPU.
    def pass_one(carry: tuple[Array, Array], here: Array) -> tuple[tuple[Array, Array], None]:
        count, passed = carry
        count = count + here.astype(jnp.int32)
        return (count, passed + (count <= rank).astype(jnp.int32)), None

    zero = jnp.zeros_like(rank)
    (_, passed), _ = jax.lax.scan(pass_one, (zero, zero), jnp.moveaxis(mask, axis, 0))
    return passed


def sample_actions(space: Space, u: Array, mask: Any) -> Array:
    """Draws legal actions for many agents from uniforms in one call, cheaper than ``sample`` per agent.

    Args:
        space: the (padded) action space.
        u: uniforms in [0, 1): [..., A] for Discrete, [..., A, D] for MultiDiscrete and Box.
        mask: the observation's ``action_mask``.
    """
    if isinstance(space, Discrete):
        return choose(u, mask)
    if isinstance(space, MultiDiscrete):
        return jnp.stack([choose(u[..., i], m) for i, m in enumerate(mask)], axis=-1)
    low, high = space.drawn
    return low + u * (high - low)


def is_legal(space: Space, action: Array, mask: Any) -> Array:
    """Whether each action lies in the space and is allowed by its mask, as bool [..., A]."""
    inside = space.contains(action)
    if isinstance(space, Discrete):
        return inside & _allowed(action, mask)
    if isinstance(space, MultiDiscrete):
        each = [_allowed(action[..., i], m) for i, m in enumerate(mask)]
        return inside & jnp.all(jnp.stack(each, axis=-1), axis=-1)
    return inside


def _allowed(action: Array, mask: Array) -> Array:
    """Looks the action up in its mask without a gather, so that an index out of range reads false."""
    hit = jnp.expand_dims(action, -1) == jnp.arange(mask.shape[-1], dtype=action.dtype)
    return jnp.any(hit & mask, axis=-1)
