"""Steps and resets recorded from the published non-cooperative navigation: every public row.

The original computes in float64 and we in float32, from states that float32 holds. Tolerance: 1e-6, and one
float32 rounding more per unit of magnitude.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from shoal_traces import public_folder

from shoal.envs.core import make

pytestmark = [pytest.mark.parity, pytest.mark.traces]

# Rows; colliding pairs, and rows that end an episode, as the recorders counted them.
COUNTS = {"easy": (1720, 534, 91), "hard": (1720, 541, 105)}
UNSURE = {"easy": 1, "hard": 1}  # rows that are decided within 1e-5 of a threshold
AGENTS, RESETS = 3, 4000
Rows = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def folder(traces_dir: Path) -> Path:
    return public_folder(traces_dir, "highway")


@pytest.fixture(scope="module", params=COUNTS)
def played(request: pytest.FixtureRequest, folder: Path) -> Any:
    """Name, environment, recorded rows, and our states, outcomes, views and global states after each step."""
    name = request.param
    with np.load(folder / f"ncnav_{name}.npz") as file:
        rows = dict(file)
    env = make(f"particle/ncnav-{name}")
    count, mark = len(rows["t"]), rows["landmark_pos"]
    blank = jax.tree.map(
        lambda x: jnp.broadcast_to(jnp.asarray(x), (count, *x.shape)), env.reset(jax.random.key(0))[0]
    )
    x, y = np.moveaxis(np.concatenate([rows["agent_pos"], mark], axis=1), -1, 0)
    vx, vy = np.moveaxis(np.concatenate([rows["agent_vel"], np.zeros_like(mark)], axis=1), -1, 0)
    particles = blank.particles.replace(x=x, y=y, vx=vx, vy=vy)
    before = blank.replace(particles=particles, t=rows["t"].astype(np.int32))
    action = rows["action"].astype(np.int32)
    after, outcome = jax.jit(jax.vmap(env.dynamics))(before, action[:, :AGENTS], action[:, AGENTS:])
    seen = jax.jit(jax.vmap(env.observe))(after)
    whole = jax.jit(jax.vmap(env.global_state))(after)
    return name, env, rows, *jax.device_get((after, outcome, seen.view, whole))


def close(ours: Any, theirs: Any, **more: Any) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6, **more)


def unsure(env: Any, rows: Rows) -> np.ndarray:
    """[S] bool, whether two bodies lie within 1e-5 of touching, or one within 1e-5 of being at a landmark."""
    where, marks = rows["next_agent_pos"].astype(np.float64), rows["landmark_pos"].astype(np.float64)
    size = np.asarray(env.options.bodies.size)[: env.options.moving]

    def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.linalg.norm(a[:, :, None] - b[:, None], axis=-1)

    touch = np.abs(between(where, where) - (size[:, None] + size))
    reach = np.abs(between(where, marks).min(axis=-1) - 0.1)
    return (touch < 1e-5).any(axis=(1, 2)) | (reach < 1e-5).any(axis=1)


def test_all_rows_are_there(played: Any) -> None:
    name, _, rows, *_ = played
    assert (len(rows["t"]), rows["colliding_pairs"].sum(), rows["done"].all(axis=1).sum()) == COUNTS[name]


def test_motion(played: Any) -> None:
    _, env, rows, after, *_ = played
    p, moving = after.particles, env.options.moving
    close(np.stack([p.x, p.y], axis=-1)[:, :moving], rows["next_agent_pos"])
    close(np.stack([p.vx, p.vy], axis=-1)[:, :moving], rows["next_agent_vel"])
    np.testing.assert_array_equal(np.stack([p.x, p.y], axis=-1)[:, moving:], rows["landmark_pos"])
    np.testing.assert_array_equal(after.t, rows["next_t"])


def test_views(played: Any) -> None:
    """Every agent's rows but their ids; the global state is the first agent's, seen from the middle."""
    _, env, rows, _, _, view, whole = played
    slots = env.metadata.extras["slots"]
    seen = rows["obs"][:, :AGENTS, :, 1:]
    close(view.reshape(-1, AGENTS, *slots), seen)
    absolute = seen[:, 0] + 0.0
    absolute[:, 1:, :2] += absolute[:, :1, :2]
    close(whole.reshape(-1, *slots), absolute)


def test_rewards_collisions_and_ends(played: Any) -> None:
    name, env, rows, after, outcome, *_ = played
    close_calls = unsure(env, rows)
    assert close_calls.sum() == UNSURE[name], np.flatnonzero(close_calls).tolist()
    for sure in (~close_calls, close_calls):  # those too agree
        close(outcome.reward[sure], rows["reward"][sure, :AGENTS])
        np.testing.assert_array_equal(after.collisions[sure], rows["colliding_pairs"][sure])
    np.testing.assert_array_equal(outcome.terminated, rows["done"].all(axis=1))
    np.testing.assert_array_equal(outcome.terminated, rows["done"].any(axis=1))
    assert not outcome.truncated.any()
    close(outcome.metrics["return_fifth"], outcome.reward.sum(axis=1) / 5)
    assert (outcome.reward > 100).any() and (outcome.reward < -10).any(), "bonuses and collisions happen"


@pytest.mark.parametrize("name", COUNTS)
def test_resets(folder: Path, name: str) -> None:
    """Bodies lie as the recorded ones by Kolmogorov and Smirnov, landmarks on the same points as often."""
    with np.load(folder / "resets.npz") as file:
        bodies, marks = file[f"ncnav_{name}_agent_pos"], file[f"ncnav_{name}_landmark_pos"]
    assert len(bodies) == len(marks) == 1000
    env = make(f"particle/ncnav-{name}")
    keys = jax.random.split(jax.random.key(7), RESETS)
    level = jax.device_get(jax.jit(jax.vmap(env.sample_level, (0, None)))(keys, env.params))
    ours = np.stack([level.x, level.y], axis=-1)
    moving = env.options.moving
    assert bodies.shape[1] == moving
    for i in range(moving):
        for axis in range(2):
            assert stats.ks_2samp(ours[:, i, axis], bodies[:, i, axis]).pvalue > 1e-3
    points = [np.round(part * 5.0).astype(int) + 4 for part in (ours[:, moving:], marks)]
    close(ours[:, moving:], (points[0] - 4) / 5.0)
    close(marks, (points[1] - 4) / 5.0)
    for i in range(3):
        for axis in range(2):
            table = [np.bincount(part[:, i, axis], minlength=9) for part in points]
            assert len(table[0]) == len(table[1]) == 9
            assert stats.chi2_contingency(table).pvalue > 1e-3
