"""What passes between an environment and whoever plays it. All arrays carry the agent axis first.

Shape letters: ``A`` agents, ``N`` actions, ``K`` entity slots, ``F`` and ``G`` features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

PyTree: TypeAlias = Any
"""Any nest of arrays."""
Key: TypeAlias = Array
"""A typed PRNG key, as made by ``jax.random.key``."""


@struct.dataclass
class EntityView:
    """What each agent sees, entity by entity, for permutation-invariant networks; also holds their spaces."""

    own: Any  # [A, F] f32, the observer's own features
    entities: Any  # [A, K, G] f32, zero where not seen
    entity_mask: Any  # [A, K] bool, whether the slot is seen


@struct.dataclass
class Observation:
    """What the agents see before they act."""

    view: PyTree  # leading axis A: one array [A, F], or an EntityView
    action_mask: PyTree  # [A, N] bool; a tuple of them for MultiDiscrete; [A, D] all true for Box
    alive: Array  # [A] bool; may return to true, since slots can be filled again


@struct.dataclass
class Outcome:
    """What one step of the rules brought about."""

    reward: Array  # [A] f32
    terminated: Array  # [] bool, over by the rules
    truncated: Array  # [] bool, over by the time limit only
    agent_done: Array  # [A] bool, this occupant acts no more
    joined: Array  # [A] bool, a new occupant holds the slot from the returned state on
    metrics: dict[str, Array]  # name -> [] f32, the episode's running values


@struct.dataclass
class TimeStep:
    """What a user gets from ``reset`` and ``step``."""

    observation: Observation
    reward: Array  # [A] f32
    terminated: Array  # [] bool
    truncated: Array  # [] bool
    agent_done: Array  # [A] bool
    first: Array  # [A] bool, this observation is its occupant's first: memory starts afresh
    valid: Array  # [] bool, false where no transition happened (the reset step of next_step mode)
    metrics: dict[str, Array]  # name -> [] f32


@dataclass(frozen=True)
class Recording:
    """One played episode, enough to draw it and to play it again: states are NumPy pytrees, in order."""

    states: tuple[PyTree, ...]  # one more than the actions
    actions: tuple[PyTree, ...]  # [A] or [A, D] each, what was played in the state of the same index
    keys: tuple[Key, ...]  # what `step` was given, so that parts of a step can be simulated again
    timesteps: tuple[TimeStep, ...]  # as many as the states


def first_timestep(observation: Observation, metrics: dict[str, Array]) -> TimeStep:
    """Returns the timestep that opens an episode: nothing paid, nothing over, everybody new."""
    agents = observation.alive.shape
    nobody = jnp.zeros(agents, bool)
    return TimeStep(
        observation=observation,
        reward=jnp.zeros(agents, jnp.float32),
        terminated=jnp.zeros((), bool),
        truncated=jnp.zeros((), bool),
        agent_done=nobody,
        first=~nobody,
        valid=jnp.ones((), bool),
        metrics=metrics,
    )


def select(condition: Array, when_true: PyTree, when_false: PyTree) -> PyTree:
    """Leaf-wise choice by a scalar condition, keys included."""
    return jax.tree.map(lambda a, b: jax.lax.select_n(condition, b, a), when_true, when_false)
