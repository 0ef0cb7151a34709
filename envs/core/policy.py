"""Who plays: learned, frozen and scripted policies alike."""

from __future__ import annotations

import abc
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from shoal.envs.core.environment import Environment
from shoal.envs.core.spaces import Box, sample_actions
from shoal.envs.core.types import Key, Observation, PyTree


@runtime_checkable
class Policy(Protocol):
    """Acts for one group of agents, on one observation or on a batch of any leading shape ``B``.

    Everything that evaluates, plays, crosses or exports policies uses this and nothing else.
    """

    @property
    def needs_state(self) -> bool:
        """Whether `act` must be given the environment's whole state."""
        ...

    def initial_carry(self, batch: tuple[int, ...] = ()) -> PyTree:
        """Returns the memory with which an episode opens, leading shape ``batch``."""
        ...

    def act(
        self,
        key: Key,
        carry: PyTree,
        observation: Observation,
        state: PyTree = None,
        greedy: bool = True,
        first: Array | None = None,
    ) -> tuple[PyTree, Array]:
        """Chooses the group's actions.

        Args:
            key: one key for the whole batch; unused by deterministic policies.
            carry: from `initial_carry` or the call before.
            observation: the group's rows, leading shape [*B, G].
            state: the environment's whole state, leading shape ``B``, where `needs_state`.
            greedy: the most probable action instead of a drawn one.
            first: [*B, G] bool, occupants whose memory starts afresh; not needed by callers that open
                every episode with `initial_carry`.

        Returns:
            The carry for the next call and actions [*B, G] (or [*B, G, D]).
        """
        ...


class Scripted(abc.ABC):
    """A policy without memory: a subclass writes `choose`; one that reads the state sets ``needs_state``."""

    needs_state = False

    @abc.abstractmethod
    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Returns the group's actions [*B, G] (or [*B, G, D]); ``state`` is None unless `needs_state`."""

    def initial_carry(self, batch: tuple[int, ...] = ()) -> PyTree:
        """Returns nothing: there is no memory."""
        return ()

    def act(
        self,
        key: Key,
        carry: PyTree,
        observation: Observation,
        state: PyTree = None,
        greedy: bool = True,
        first: Array | None = None,
    ) -> tuple[PyTree, Array]:
        """Chooses actions; ``greedy`` and ``first`` change nothing."""
        return carry, self.choose(key, observation, state)


class RandomPolicy(Scripted):
    """Uniform over the legal actions; over the whole range where they are real numbers."""

    def __init__(self, env: Environment[Any, Any]) -> None:
        """Reads the (padded) action space of ``env``."""
        self.space = env.action_space

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Draws from uniforms in one call."""
        u = jax.random.uniform(key, (*observation.alive.shape, *self.space.shape))
        return sample_actions(self.space, u, observation.action_mask)


class IdlePolicy(Scripted):
    """Does nothing: ``metadata.extras["idle_action"]`` (0 unless named), the middle of the range for Box.

    Where idling is illegal it takes the first legal action.
    """

    def __init__(self, env: Environment[Any, Any]) -> None:
        """Reads the action space and the idle action of ``env``."""
        self.space = env.action_space
        self.idle = env.metadata.extras.get("idle_action", 0)

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Idles; deterministic."""
        batch = observation.alive.shape
        if isinstance(self.space, Box):
            middle = sum(self.space.drawn) / 2
            return jnp.full((*batch, *self.space.shape), middle, self.space.dtype)
        idle = jnp.broadcast_to(jnp.asarray(self.idle, jnp.int32), (*batch, *self.space.shape))
        masks = observation.action_mask
        if not isinstance(masks, tuple):
            return _legal_or_first(idle, masks)
        parts = [_legal_or_first(idle[..., i], mask) for i, mask in enumerate(masks)]
        return jnp.stack(parts, axis=-1)


def _legal_or_first(action: Array, mask: Array) -> Array:
    legal = jnp.take_along_axis(mask, action[..., None], axis=-1)[..., 0]
    return jnp.where(legal, action, jnp.argmax(mask, axis=-1).astype(jnp.int32))
