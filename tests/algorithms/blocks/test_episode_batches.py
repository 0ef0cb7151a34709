"""Batches of an episode's own steps, beside plain lists."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.algorithms.blocks.episode_batches import FILLED, WHOLE, blank, episode_batch
from shoal.algorithms.blocks.learner import Moment, Trajectory

STEPS = 4


def rollout(clock: Any, over: Any, valid: Any) -> tuple[Any, Any]:
    """A rollout whose numbers all say when it was: views t, memory 100 + t, rewards 1000 + t; [T, E, 1]."""
    t = jnp.asarray(clock, jnp.float32)[:, None, None] + jnp.zeros((*over.shape, 1))
    never = jnp.zeros(t.shape, bool)
    moments: Any = Moment(t, never, never, ())  # type: ignore[arg-type]
    last: Any = Moment(t[-1] + 1, never[-1], never[-1], ())  # type: ignore[arg-type]
    return Trajectory(
        moments, t, {"value": t}, 1000 + t, jnp.asarray(over), never[..., 0], never, jnp.asarray(valid), last,
        100 + t[0], 101 + t[-1],
    ), 100 + t  # fmt: skip


def by_hand(over: Any, valid: Any, kind: int) -> dict[int, tuple[int, int]]:
    """Of one environment's whole life: last step of each batch -> its first, and how many are beyond it."""
    batches: dict[int, tuple[int, int]] = {}
    begun: list[int] = []
    stretch = 0
    for t, (ends, counts) in enumerate(zip(over, valid, strict=True)):
        if counts or begun:
            begun.append(t)
        stretch += counts
        if not counts or not (ends or stretch == STEPS):
            continue
        stretch = 0
        if len(begun) >= STEPS:
            batches[t] = begun[0], len(begun) - STEPS
        if len(begun) >= STEPS or kind == WHOLE:
            begun = []
    return batches


@pytest.mark.parametrize("kind", [WHOLE, FILLED])
@pytest.mark.parametrize("reset_steps", [False, True])
def test_every_batch_is_cut_out_once(reset_steps: bool, kind: int) -> None:
    rollouts, envs = 40, 5
    rng = np.random.default_rng(0)
    # The first never ends, the last at once.
    over = rng.random((rollouts * STEPS, envs)) < np.array([0.0, 0.05, 0.15, 0.3, 1.0])
    valid = np.ones_like(over)
    if reset_steps:  # what follows an end is no step
        for t in range(1, len(over)):
            valid[t] = ~(over[t - 1] & valid[t - 1])
            over[t] &= valid[t]
    wanted = [by_hand(over[:, e], valid[:, e], kind) for e in range(envs)]
    cut = jax.jit(episode_batch, static_argnums=3)
    tape = blank(*rollout(np.arange(STEPS), over[:STEPS], valid[:STEPS]), kind)
    found: list[dict[int, tuple[int, int]]] = [{} for _ in range(envs)]
    for k in range(rollouts):
        now = slice(k * STEPS, (k + 1) * STEPS)
        played, memory = rollout(np.arange(len(over))[now], over[now], valid[now])
        batch, beyond, whole, tape = cut(tape, played, memory, kind)
        for e in np.flatnonzero(~whole):
            assert not batch.valid[:, e].any()
        for e in np.flatnonzero(whole):
            steps = np.asarray(batch.moment.observation[:, e, 0]).astype(int)
            np.testing.assert_array_equal(np.diff(steps), 1)
            for named in (batch.action, batch.extras["value"], batch.reward - 1000):
                np.testing.assert_array_equal(named[:, e, 0], steps)
            np.testing.assert_array_equal(batch.terminated[:, e], over[steps, e])
            np.testing.assert_array_equal(batch.valid[:, e], valid[steps, e])
            more = int(beyond.steps[e])
            last = steps[-1] + more
            after = [1000 + t for t in range(steps[-1] + 1, last + 1)] + [0] * (STEPS - more)
            np.testing.assert_array_equal(beyond.reward[:, e, 0], after)
            assert bool(beyond.terminated[e]) == (more > 0 and bool(over[last, e])) == bool(beyond.over[e])
            assert batch.last.observation[e, 0] == last + 1
            assert batch.carry[e, 0] == 100 + steps[0] and batch.last_carry[e, 0] == 101 + last
            found[e][int(last)] = int(steps[0]), more
    assert found == wanted
    assert len(wanted[0]) == rollouts and min(map(len, wanted[:3])) > 4
    if kind == WHOLE:
        assert not wanted[-1] and not any(more for each in wanted for _, more in each.values())
    else:
        assert max(more for each in wanted for _, more in each.values()) == STEPS - 1 + reset_steps
