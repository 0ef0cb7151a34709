"""Batches that begin where an episode begins, cut out of rollouts that follow each other.

The batches of an episode are its steps 0 to T-1, T to 2T-1 and so on; what its end leaves over is in none. A
rollout of T steps holds the end of at most one of them, whose first steps may lie in the rollout before.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from shoal.algorithms.blocks.learner import Trajectory
from shoal.envs.core import PyTree

ROWS = ("moment", "action", "extras", "reward", "terminated", "truncated", "agent_done", "valid")
"""The fields of a trajectory that have a row for every step."""


@struct.dataclass
class Tape:
    """What the next rollout needs of the one before."""

    rows: dict[str, Any]  # the rollout's, leaves [T, E, ...]
    memory: PyTree  # before every step, leaves [T, E, ...]
    age: Array  # [E] i32, steps of the batch that is under way when the next rollout opens


def blank(alike: Trajectory, memory: PyTree) -> Tape:
    """Returns the tape before anything was played, given a rollout and its memories of the right shapes."""
    rows = {name: getattr(alike, name) for name in ROWS}
    rows, memory = jax.tree.map(jnp.zeros_like, (rows, memory))
    return Tape(rows, memory, jnp.zeros(rows["valid"].shape[1], jnp.int32))


def episode_batch(tape: Tape, trajectory: Trajectory, memory: PyTree) -> tuple[Trajectory, Array, Tape]:
    """Cuts out the batch that ends in this rollout.

    Args:
        tape: of the rollout before.
        trajectory: the rollout, leaves [T, E, ...].
        memory: before each of its steps, leaves [T, E, ...].

    Returns:
        The batch (nothing of it is ``valid`` in environments where none ends), in which environments one does
        [E], and the tape for the next rollout.
    """
    steps = trajectory.valid.shape[0]
    breaks = trajectory.terminated | trajectory.truncated | ~trajectory.valid

    def older(age: Array, broken: Array) -> tuple[Array, Array]:
        return jnp.where(broken, 0, (age + 1) % steps), age

    next_age, age = jax.lax.scan(older, tape.age, breaks)
    closes = (age == steps - 1) & trajectory.valid
    whole, end = jnp.any(closes, axis=0), jnp.argmax(closes, axis=0)

    def joined(before: PyTree, now: PyTree) -> PyTree:
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), before, now)

    def cut(tree: PyTree) -> PyTree:
        def one(leaf: Array, start: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(leaf, start, steps)

        return jax.tree.map(lambda leaf: jax.vmap(one, (1, 0), 1)(leaf, end + 1), tree)

    def pick(tree: PyTree, index: Array) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[index, jnp.arange(len(index))], tree)

    def with_last(tree: PyTree, last: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf, end: jnp.concatenate([leaf, end[None]]), tree, last)

    rows = {name: getattr(trajectory, name) for name in ROWS}
    both, memories = joined(tape.rows, rows), joined(tape.memory, memory)
    batch = cut(both)
    batch["valid"] &= whole
    after = end + steps + 1
    batch = dataclasses.replace(
        trajectory,
        **batch,
        last=pick(with_last(both["moment"], trajectory.last), after),
        carry=pick(memories, end + 1),
        last_carry=pick(with_last(memories, trajectory.last_carry), after),
    )
    return batch, whole, Tape(rows, memory, next_age)
