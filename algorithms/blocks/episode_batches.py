"""Batches that begin where an episode begins, cut out of rollouts that follow each other.

`WHOLE` batches are an episode's steps 0 to T-1, T to 2T-1 and so on; what its end leaves over is in none.
`FILLED` ones go on in the next episode: T steps at a time, or what is left to an episode's end, are put
together until there are T; the first T are the batch, what is over counts in their returns and is dropped. A
rollout of T steps holds the end of at most one batch, whose first steps may lie in the rollouts before.
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

WHOLE, FILLED = 1, 2
"""The kinds of batches; how many rollouts before their last one they can reach into."""


@struct.dataclass
class Tape:
    """What the next rollout needs of those before."""

    rows: dict[str, Any]  # the rollouts', leaves [K * T, E, ...]
    memory: PyTree  # before every step, leaves [K * T, E, ...]
    age: Array  # [E] i32, steps of the batch that is under way when the next rollout opens
    stretch: Array  # [E] i32, those since an end or since there were T


@struct.dataclass
class Beyond:
    """What follows a batch's last step and counts in its returns."""

    reward: Array  # [T, E, G], zero from ``steps`` on
    steps: Array  # [E] i32
    terminated: Array  # [E] its last step
    over: Array  # [E] likewise, truncated as well


def blank(alike: Trajectory, memory: PyTree, kind: int) -> Tape:
    """Returns the tape before anything was played, given a rollout and its memories of the right shapes."""
    rows = {name: getattr(alike, name) for name in ROWS}
    rows, memory = jax.tree.map(
        lambda x: jnp.zeros((kind * x.shape[0], *x.shape[1:]), x.dtype), (rows, memory)
    )
    none = jnp.zeros(rows["valid"].shape[1], jnp.int32)
    return Tape(rows, memory, none, none)


def episode_batch(
    tape: Tape, trajectory: Trajectory, memory: PyTree, kind: int
) -> tuple[Trajectory, Beyond, Array, Tape]:
    """Cuts out the batch that ends in this rollout.

    Args:
        tape: of the rollouts before.
        trajectory: the rollout, leaves [T, E, ...].
        memory: before each of its steps, leaves [T, E, ...].
        kind: `WHOLE` or `FILLED`.

    Returns:
        The batch (nothing of it is ``valid`` in environments where none ends; its ``last`` follows what is
        beyond it), what is beyond it, in which environments one ends [E], and the tape for the next rollout.
    """
    steps, before = trajectory.valid.shape[0], tape.rows["valid"].shape[0]
    (age, stretch), closing = _ages(tape, trajectory, kind)
    whole, end = jnp.any(closing > 0, axis=0), jnp.argmax(closing, axis=0)
    length = jnp.maximum(jnp.max(closing, axis=0), steps)
    start, after = before + end + 1 - length, before + end + 1

    def joined(old: PyTree, new: PyTree) -> PyTree:
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), old, new)

    def cut(tree: PyTree) -> PyTree:
        def one(leaf: Array, start: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(leaf, start, steps)

        return jax.tree.map(lambda leaf: jax.vmap(one, (1, 0), 1)(leaf, start), tree)

    def pick(tree: PyTree, index: Array) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[index, jnp.arange(len(end))], tree)

    def with_last(tree: PyTree, last: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf, end: jnp.concatenate([leaf, end[None]]), tree, last)

    both = joined(tape.rows, {name: getattr(trajectory, name) for name in ROWS})
    memories = joined(tape.memory, memory)
    more, later = length - steps, jnp.arange(steps)[:, None]
    reward = pick(both["reward"], jnp.minimum(start + steps + later, before + steps - 1))
    terminated, truncated = ((more > 0) & pick(both[name], after - 1) for name in ("terminated", "truncated"))
    beyond = Beyond(
        reward=jnp.where((later < more)[..., None], reward, 0.0),
        steps=more,
        terminated=terminated,
        over=terminated | truncated,
    )
    batch = cut(both)
    batch["valid"] &= whole
    batch = dataclasses.replace(
        trajectory,
        **batch,
        last=pick(with_last(both["moment"], trajectory.last), after),
        carry=pick(memories, start),
        last_carry=pick(with_last(memories, trajectory.last_carry), after),
    )
    rows, memory = jax.tree.map(lambda leaf: leaf[steps:], (both, memories))
    return batch, beyond, whole, Tape(rows, memory, age, stretch)


def _ages(tape: Tape, trajectory: Trajectory, kind: int) -> tuple[tuple[Array, Array], Array]:
    """Returns the ages after the rollout, and the length of what ends at each step [T, E], else zero."""
    steps = trajectory.valid.shape[0]

    def older(ages: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        (age, stretch), (over, valid) = ages, now
        # A reset step in between takes a place, though nothing is learned from it.
        age, stretch = age + (valid | (age > 0)).astype(jnp.int32), stretch + valid.astype(jnp.int32)
        pause = valid & (over | (stretch == steps))
        closes = pause & (age >= steps)
        drop = pause if kind == WHOLE else closes
        return (jnp.where(drop, 0, age), jnp.where(pause, 0, stretch)), jnp.where(closes, age, 0)

    over = trajectory.terminated | trajectory.truncated
    return jax.lax.scan(older, (tape.age, tape.stretch), (over, trajectory.valid))
