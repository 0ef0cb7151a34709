"""Other suites' environments under Shoal's contract: what the bridges share."""

from __future__ import annotations

import abc
import importlib
import importlib.util
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from shoal.envs.core.environment import Environment
from shoal.envs.core.errors import UserError
from shoal.envs.core.policy import IdlePolicy
from shoal.envs.core.spaces import Box, is_legal
from shoal.envs.core.types import Key, Observation, Outcome, PyTree


@struct.dataclass
class NoParams:
    """Another suite's numbers are fixed when its environment is made."""


@struct.dataclass
class Seen:
    """What the peer shows in one state, stacked over agents."""

    view: Array  # [A, ...], padded with zeros to one shape
    action_mask: Array  # [A, N] bool for Discrete; [A, D] all true for Box
    world: Array | None = None  # the whole state where the peer has one, else the views serve


@struct.dataclass
class Played:
    """What one step of the peer brought about."""

    peer: PyTree  # its next state
    seen: Seen
    reward: Array  # [A] f32
    terminated: Array  # [] bool
    truncated: Array  # [] bool
    gone: Array  # [A] bool, acts no more in this episode
    metrics: dict[str, Array]  # name -> [] f32, the episode's running values


@struct.dataclass
class Level:
    """An opening of the peer, as its own reset drew it."""

    params: PyTree
    peer: PyTree
    seen: Seen


@struct.dataclass
class State:
    """The peer's state, with what it showed: a peer observes while it steps."""

    params: PyTree  # the numbers that this episode is played with
    peer: PyTree
    seen: Seen
    alive: Array  # [A] bool
    metrics: dict[str, Array]  # name -> [] f32


class Bridge(Environment[State, Level]):
    """One environment of another suite, stepped by that suite's own functions without its auto-reset.

    Illegal actions idle before the peer sees them, so that its answer to them does not matter. Peers promote
    dtypes and ranks silently; they are traced with both allowed, whatever holds around them.
    """

    Params: ClassVar[type[Any]] = NoParams

    @abc.abstractmethod
    def open_peer(self, key: Key) -> tuple[PyTree, Seen]:
        """Resets the peer."""

    @abc.abstractmethod
    def step_peer(self, key: Key, state: State, action: Array) -> Played:
        """Steps the peer once with legal actions [A] or [A, D]."""

    def sample_level(self, key: Key, params: PyTree) -> Level:
        """Resets the peer with this key."""
        with _lenient():
            peer, seen = self.open_peer(key)
        return Level(params=jax.tree.map(jnp.asarray, params), peer=_settled(peer), seen=seen)

    def initial_state(self, level: Level) -> State:
        """Returns the opening, everybody alive."""
        return State(
            params=level.params,
            peer=level.peer,
            seen=level.seen,
            alive=jnp.ones(self.num_agents, bool),
            metrics=self.no_metrics(),
        )

    def draws(self, key: Key, state: State) -> Key:
        """Returns the key itself, which the peer draws from."""
        return key

    def dynamics(self, state: State, action: Array, draws: Key) -> tuple[State, Outcome]:
        """Steps the peer; illegal actions idle."""
        with _lenient():
            action = self._legal(state, action)
            played = self.step_peer(draws, state, action)
        over = played.terminated | played.truncated
        left = state.alive & played.gone & ~over
        after = State(
            params=state.params,
            peer=_settled(played.peer, like=state.peer),
            seen=played.seen,
            alive=state.alive & ~left,
            metrics=played.metrics,
        )
        outcome = Outcome(
            reward=played.reward,
            terminated=played.terminated,
            truncated=played.truncated,
            agent_done=left,
            joined=jnp.zeros(self.num_agents, bool),
            metrics=played.metrics,
        )
        return after, outcome

    def observe(self, state: State) -> Observation:
        """Returns what the peer showed; agents that are gone see zeros and can only idle."""
        view = state.seen.view
        here = state.alive.reshape((-1,) + (1,) * (view.ndim - 1))
        view = jnp.where(here, view, jnp.zeros_like(view))
        return Observation(view=view, action_mask=self._mask(state), alive=state.alive)

    def global_state(self, state: State) -> Array:
        """Returns the peer's own whole state where it has one, else the views of all agents [A, ...]."""
        return state.seen.view if state.seen.world is None else state.seen.world

    def _legal(self, state: State, action: Array) -> Array:
        """Returns actions that the peer allows: idle for illegal ones, the nearest bound for real numbers."""
        space = self.action_space
        if isinstance(space, Box):
            low, high = space.drawn
            return jnp.clip(jnp.nan_to_num(action, nan=0.0), low, high)
        mask = self._mask(state)
        seen = Observation(view=state.seen.view, action_mask=mask, alive=state.alive)
        idle = IdlePolicy(self).choose(jax.random.key(0), seen, None)
        return jnp.where(is_legal(space, action, mask), action, idle)

    def _mask(self, state: State) -> Array:
        """Returns what the peer allows; agents that are gone can only idle."""
        mask = state.seen.action_mask
        if isinstance(self.action_space, Box):
            return mask
        idle = np.arange(mask.shape[-1]) == self.metadata.extras["idle_action"]
        return jnp.where(state.alive[:, None], mask, jnp.asarray(idle)[None])


@contextmanager
def _lenient() -> Iterator[None]:
    """Allows silent promotion while a peer's functions are traced."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def _settled(tree: PyTree, like: PyTree = None) -> PyTree:
    """Returns the leaves as arrays of fixed types (those of ``like``): peers' Python numbers are weak."""

    def leaf(x: Any, wanted: Any) -> Array:
        if jax.dtypes.issubdtype(jnp.asarray(wanted).dtype, jax.dtypes.prng_key):
            return x
        return jnp.asarray(x, jnp.asarray(wanted).dtype)

    return jax.tree.map(leaf, tree, tree if like is None else like)


def flat_or_grid(view: Array) -> Array:
    """Returns flat views as float32; grids keep the peer's dtype, which saves memory in rollouts."""
    return view.astype(jnp.float32) if view.ndim == 1 else view


def imported(package: str, what: str) -> Any:
    """Imports a suite, without what it prints meanwhile: standard output is for our own results.

    Raises:
        UserError: says how to install it.
    """
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{what} needs {package}, which is not installed: pip install {package}")
    with _unheard():
        return importlib.import_module(package)


@contextmanager
def _unheard() -> Iterator[None]:
    """Swallows what is printed; JaxMARL puts ``sys.__stdout__`` in place while it is imported."""
    names = ("stdout", "stderr", "__stdout__", "__stderr__")
    kept = {name: getattr(sys, name) for name in names}
    try:
        for name in ("stdout", "__stdout__"):
            setattr(sys, name, io.StringIO())
        yield
    finally:
        for name, stream in kept.items():
            setattr(sys, name, stream)
