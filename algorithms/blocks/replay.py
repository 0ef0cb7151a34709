"""Replay of whole sequences on flashbax's trajectory buffer.

One entry of the buffer is one sequence, so that drawing never mixes two rollouts; the oldest go first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import flashbax
import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from shoal.envs.core import PyTree

_LARGEST_HALF = 65504.0


@struct.dataclass
class Sequence:
    """``T`` steps of one environment and what was seen after the last; more leading axes where batched.

    The end of the step before (`reset`: memory) and of the step itself (`ended`, `cut`: targets) are both
    kept. Where a learner's rewards are the team's, the three below lack the agent axis.
    """

    view: PyTree  # [T+1, G, ...]
    action_mask: Array  # [T+1, G, N] bool
    reset: Array  # [T+1, G] bool, memory is zeroed before this step
    state: Array  # [T+1, S] f32; without entries where the learner does not look at it
    action: Array  # [T, G] i32
    reward: Array  # [T, G] f32
    ended: Array  # [T, G] bool, nothing can be earned after this step
    cut: Array  # [T, G] bool, the next step belongs to another episode
    valid: Array  # [T] bool, false: learn nothing from this step


@dataclass(frozen=True)
class Replay:
    """The pure functions of one buffer; its state is a pytree that the learner keeps."""

    num_envs: int  # sequences added at a time
    slots: int  # how often, until the oldest are overwritten
    batch_size: int  # sequences drawn at a time
    half_precision: bool = False  # views and states are kept as float16

    @cached_property
    def _buffer(self) -> Any:
        return flashbax.make_trajectory_buffer(
            add_batch_size=self.num_envs,
            sample_batch_size=self.batch_size,
            sample_sequence_length=1,
            period=1,
            min_length_time_axis=1,
            max_length_time_axis=self.slots,
        )

    def init(self, example: Sequence) -> PyTree:
        """Returns an empty buffer for sequences like this one."""
        empty = self._buffer.init(self._stored(example))
        # flashbax's counter is weakly typed at first and not later, which would compile a second time.
        return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), empty)

    def add(self, held: PyTree, sequences: Sequence) -> PyTree:
        """Puts in one sequence of every environment, leaves [E, ...]."""
        return self._buffer.add(held, jax.tree.map(lambda x: x[:, None], self._stored(sequences)))

    def sample(self, held: PyTree, key: Array) -> Sequence:
        """Draws sequences uniformly, with replacement; leaves [T or T+1, B, ...], time first."""
        drawn: Sequence = self._buffer.sample(held, key).experience
        drawn = jax.tree.map(lambda x: jnp.swapaxes(x[:, 0], 0, 1), drawn)
        return _what_was_seen(drawn, lambda x: x.astype(jnp.float32)) if self.half_precision else drawn

    def fill(self, held: PyTree) -> Array:
        """Returns which share of the buffer holds sequences."""
        slots = jnp.where(held.is_full, self.slots, held.current_index)
        return slots.astype(jnp.float32) / self.slots

    def _stored(self, sequence: Sequence) -> Sequence:
        return _what_was_seen(sequence, _half) if self.half_precision else sequence


def _half(x: Array) -> Array:
    return jnp.clip(x, -_LARGEST_HALF, _LARGEST_HALF).astype(jnp.float16)


def _what_was_seen(sequence: Sequence, change: Callable[[Array], Array]) -> Sequence:
    """Changes the real numbers of views and states; rewards keep their precision."""
    view, state = jax.tree.map(
        lambda x: change(x) if jnp.issubdtype(x.dtype, jnp.floating) else x, (sequence.view, sequence.state)
    )
    return replace(sequence, view=view, state=state)
