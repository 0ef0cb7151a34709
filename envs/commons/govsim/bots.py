"""Scripted people."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

import jax.numpy as jnp
from jax import Array
from jaxtyping import Int

from shoal.envs.commons.govsim import pool, trash
from shoal.envs.commons.govsim.rules import heads
from shoal.envs.commons.govsim.types import SILENCE
from shoal.envs.core.policy import Scripted
from shoal.envs.core.types import Key, Observation, PyTree

if TYPE_CHECKING:
    from shoal.envs.commons.govsim.env import GovSim


class Person(Scripted):
    """Reads stock and month off its view, asks for what a subclass says, and keeps silent. Deterministic."""

    def __init__(self, env: GovSim) -> None:
        """Reads sizes, and the numbers that the environment was made with."""
        self.options, self.params = env.options, env.params

    @abc.abstractmethod
    def ask(self, stock: Int[Array, "*batch"], t: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """Returns the requests [*B, G] of people who see this stock in this month."""

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Asks; those who are not there ask for nothing."""

        def whole(column: int, scale: int) -> Array:
            return jnp.round(observation.view[..., column] * scale).astype(jnp.int32)

        o = self.options
        request = jnp.minimum(self.ask(whole(0, o.capacity), whole(1, o.months)), o.largest_request)
        request = jnp.where(observation.alive, request, 0)
        return jnp.stack([request, jnp.full_like(request, SILENCE)], axis=-1) if o.messages else request


class Restrained(Person):
    """Takes its fair share, which the pool grows back."""

    def ask(self, stock: Array, t: Array) -> Array:
        """Returns the share of the month."""
        return pool.share(self.options, self.params, stock, t)


class Greedy(Person):
    """Takes its part of the whole pool, so that several of the kind empty it."""

    def ask(self, stock: Array, t: Array) -> Array:
        """Divides the pool by heads."""
        return stock // heads(self.options, t)


class Endgame(Restrained):
    """Takes its fair share until the last month, which nobody can punish, and the whole then."""

    def ask(self, stock: Array, t: Array) -> Array:
        """Returns the share, in the last month that of the whole pool."""
        last = t == self.options.months - 1
        return jnp.where(last, stock // heads(self.options, t), super().ask(stock, t))


class OneSelfish(Restrained):
    """All take their fair shares but the last agent, who asks for as much as can be asked for."""

    def ask(self, stock: Array, t: Array) -> Array:
        """Returns the shares; the agent axis is the last one."""
        last = jnp.arange(stock.shape[-1], dtype=jnp.int32) == self.options.num_agents - 1
        return jnp.where(last, self.options.largest_request, super().ask(stock, t))


class Fair(Person):
    """Removes the announced share of the trash."""

    def ask(self, stock: Array, t: Array) -> Array:
        """Returns the share of the month."""
        return trash.share(self.options, self.params, stock, t)


class Sparing(Person):
    """Removes its part, rounded up, of what must go so that the house is not overfull."""

    def ask(self, stock: Array, t: Array) -> Array:
        """Divides what is too much by heads."""
        return -(-self.too_much(stock) // heads(self.options, t))

    def too_much(self, stock: Array) -> Array:
        """Returns the units that must go this month."""
        return jnp.maximum(stock - self.params.overfull_above, 0)


class OneVolunteer(Sparing):
    """The first agent removes all that must go, and the others nothing."""

    def ask(self, stock: Array, t: Array) -> Array:
        """Burdens the first; the agent axis is the last one."""
        first = jnp.arange(stock.shape[-1], dtype=jnp.int32) == 0
        return jnp.where(first, self.too_much(stock), 0)
