"""Batches of an episode's own steps, beside plain lists."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.algorithms.blocks.episode_batches import blank, episode_batch
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


def by_hand(over: Any, valid: Any) -> dict[int, int]:
    """Of one environment's whole life: last step of each batch -> its first."""
    batches: dict[int, int] = {}
    begun: list[int] = []
    for t, (ends, counts) in enumerate(zip(over, valid, strict=True)):
        if not counts:
            begun = []
            continue
        begun.append(t)
        if len(begun) == STEPS:
            batches[t] = begun[0]
        if ends or len(begun) == STEPS:
            begun = []
    return batches


@pytest.mark.parametrize("reset_steps", [False, True])
def test_every_batch_of_every_episode_is_cut_out_once(reset_steps: bool) -> None:
    rollouts, envs = 40, 5
    rng = np.random.default_rng(0)
    # The first never ends, the last at once.
    over = rng.random((rollouts * STEPS, envs)) < np.array([0.0, 0.05, 0.15, 0.3, 1.0])
    valid = np.ones_like(over)
    if reset_steps:  # what follows an end is no step
        for t in range(1, len(over)):
            valid[t] = ~(over[t - 1] & valid[t - 1])
            over[t] &= valid[t]
    wanted = [by_hand(over[:, e], valid[:, e]) for e in range(envs)]
    cut = jax.jit(episode_batch)
    tape = blank(*rollout(np.arange(STEPS), over[:STEPS], valid[:STEPS]))
    found: list[dict[int, int]] = [{} for _ in range(envs)]
    for k in range(rollouts):
        now = slice(k * STEPS, (k + 1) * STEPS)
        played, memory = rollout(np.arange(len(over))[now], over[now], valid[now])
        batch, whole, tape = cut(tape, played, memory)
        np.testing.assert_array_equal(batch.valid, np.broadcast_to(whole, (STEPS, envs)))
        for e in np.flatnonzero(whole):
            steps = np.asarray(batch.moment.observation[:, e, 0]).astype(int)
            np.testing.assert_array_equal(np.diff(steps), 1)
            for named in (batch.action, batch.extras["value"], batch.reward - 1000):
                np.testing.assert_array_equal(named[:, e, 0], steps)
            np.testing.assert_array_equal(batch.terminated[:, e], over[steps, e])
            assert batch.last.observation[e, 0] == steps[-1] + 1
            assert batch.carry[e, 0] == 100 + steps[0] and batch.last_carry[e, 0] == 101 + steps[-1]
            found[e][int(steps[-1])] = int(steps[0])
    assert found == wanted
    assert len(wanted[0]) == rollouts and not wanted[-1] and min(map(len, wanted[:3])) > 4
