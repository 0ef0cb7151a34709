"""Frames, steps and resets recorded from iPLAN's own highway: every public one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from shoal_traces import reader

from shoal.envs.common.batching import batch_last
from shoal.envs.core import make
from shoal.envs.traffic.highway import drivers, dynamics, levels, neighbours, observation, reward
from shoal.envs.traffic.highway.types import IDLE, LEARNER, State, Tally, Vehicles

pytestmark = [pytest.mark.parity, pytest.mark.traces]

STEPS = {"mild": 225, "chaotic": 276}
FRAME = 0.2
Rows = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def recorded(traces_dir: Path) -> Callable[[str], Rows]:
    return reader(traces_dir, "highway")


@pytest.fixture(scope="module", params=STEPS)
def rows(request: pytest.FixtureRequest, recorded: Callable[[str], Rows]) -> tuple[str, Rows]:
    return request.param, recorded(f"highway_{request.param}")


@pytest.fixture(scope="module")
def env(rows: tuple[str, Rows]) -> Any:
    return make(f"traffic/highway-{rows[0]}", wrecks="steer")


def vehicles(rows: Rows, k: int) -> Vehicles:
    """The vehicles at frame boundary ``k`` of every step, [S, N]."""
    frames = np.floor(rows["timer"][:, k] / FRAME + 1e-9)
    waited = rows["timer"][:, k] - FRAME * frames
    waited = np.where(np.abs(waited) < 1e-9, 0.0, waited)  # what is left of adding 0.2 in double precision
    push = rows["impact"][:, k]
    f32 = {
        "x": rows["pos"][:, k, :, 0],
        "y": rows["pos"][:, k, :, 1],
        "heading": rows["heading"][:, k],
        "speed": rows["speed"][:, k],
        "target_speed": rows["target_speed"][:, k],
        "push_x": push[..., 0],
        "push_y": push[..., 1],
        "waited": waited,
        "exponent": rows["delta"],
    }
    i32 = {
        "lane": rows["lane"][:, k],
        "target_lane": rows["target_lane"][:, k],
        "ticks": frames,
        "kind": rows["kind"],
    }
    return Vehicles(
        **{name: jnp.asarray(x, jnp.float32) for name, x in f32.items()},
        **{name: jnp.asarray(x, jnp.int32) for name, x in i32.items()},
        crashed=jnp.asarray(rows["crashed"][:, k]),
        pushed=jnp.asarray(rows["has_impact"][:, k]),
    )


@pytest.fixture(scope="module")
def params(env: Any, rows: tuple[str, Rows]) -> Any:
    """The environment's numbers, one row per step."""
    count = STEPS[rows[0]]
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *jnp.shape(x))), env.params)


@pytest.fixture(scope="module")
def played(env: Any, params: Any, rows: tuple[str, Rows]) -> list[tuple[Any, ...]]:
    """For each of the five frames: who decided, steering, acceleration, the vehicles after it."""
    _, r = rows
    options = env.options

    def frame(params: Any, v: Vehicles, action: Any) -> Any:
        v = dynamics.aim(options, v, action)
        order = neighbours.ranking(v.x)
        _, wheel, acceleration = drivers.decide(options, params, v, order)
        after, _ = dynamics.frame(options, params, v, order)
        return ~v.crashed | (v.kind == LEARNER), wheel, acceleration, after

    play = jax.jit(jax.vmap(batch_last(frame)))
    idle = np.full_like(r["action"], IDLE)
    actions = [r["action"], *[idle] * (options.frames - 1)]
    return [jax.device_get(play(params, vehicles(r, k), a)) for k, a in enumerate(actions)]


def close(got: np.ndarray, want: np.ndarray, tolerance: float = 1e-6) -> np.ndarray:
    """Where values agree, relative to those above one."""
    return np.abs(got - want) <= tolerance * np.maximum(1.0, np.abs(want))


def test_every_frame(played: list[tuple[Any, ...]], rows: tuple[str, Rows]) -> None:
    """Places, headings and speeds to single precision; lanes, decisions and crashes exactly."""
    name, r = rows
    assert len(r["action"]) == STEPS[name]
    for k, (*_, after) in enumerate(played):
        want = jax.device_get(vehicles(r, k + 1))
        for field in ("lane", "target_lane", "crashed"):
            np.testing.assert_array_equal(
                getattr(after, field), getattr(want, field), f"{field} after frame {k}"
            )
        for field in ("x", "y", "heading", "speed", "target_speed"):
            assert close(getattr(after, field), getattr(want, field)).all(), f"{field} after frame {k}"


def test_pushes(played: list[tuple[Any, ...]], rows: tuple[str, Rows]) -> None:
    """Who is pushed, and how far; apart are grazes (no push at all) and ties between two sides, both counted.

    Positions of a thousand metres are known to 0.1 mm in single precision.
    """
    name, r = rows
    grazes = ties = 0
    for k, (*_, after) in enumerate(played):
        want = jax.device_get(vehicles(r, k + 1))
        got = np.stack([after.push_x, after.push_y], -1), np.stack([want.push_x, want.push_y], -1)
        length = [np.hypot(*np.moveaxis(push, -1, 0)) for push in got]
        wrong = (np.abs(got[0] - got[1]) > 2e-4).any(-1) | (after.pushed != want.pushed)
        graze = wrong & (np.minimum(*length) < 2e-4)
        tie = wrong & ~graze & (np.abs(length[0] - length[1]) < 2e-4)
        assert not np.any(wrong & ~graze & ~tie), np.argwhere(wrong & ~graze & ~tie)
        grazes, ties = grazes + graze.sum(), ties + tie.sum()
    assert (grazes, ties) == {"mild": (11, 0), "chaotic": (16, 1)}[name]


def test_commands(played: list[tuple[Any, ...]], rows: tuple[str, Rows]) -> None:
    """Steering and acceleration of everybody who decides, car following and cruising alike."""
    _, r = rows
    for k, (decides, wheel, acceleration, _) in enumerate(played):
        want = r["cmd_decided"][:, k]
        assert close(wheel, want[..., 0], 1e-4)[decides].all()
        assert close(acceleration, want[..., 1], 1e-4)[decides].all()


def test_what_is_seen_and_paid(env: Any, params: Any, rows: tuple[str, Rows]) -> None:
    _, r = rows
    options = env.options

    @batch_last
    def look(params: Any, v: Vehicles) -> Any:
        seen = observation.in_view(options, v, neighbours.ranking(v.x))
        agents = jnp.zeros((options.num_agents, *v.x.shape[1:]))
        tally = Tally(steps=agents.astype(jnp.int32), metres=agents, reward=agents)
        state = State(
            vehicles=v,
            seen=seen,
            slot=seen[:, :0],
            t=agents[0],
            tally=tally,
            encore=(),
            over=(),
            params=params,
        )
        paid = reward.rewards(params, v, options.lanes)[options.learners]
        return seen, observation.rows(options, state), paid, v.crashed[options.learners]

    seen, shown, paid, crashed = jax.jit(jax.vmap(look))(params, vehicles(r, 5))
    present = r["obs"][..., 1] > 0
    np.testing.assert_array_equal(np.asarray(seen) >= 0, present)
    np.testing.assert_array_equal(np.asarray(seen)[present], r["obs"][..., 0][present].astype(int))
    np.testing.assert_allclose(shown, r["obs"][..., 1:], atol=2e-6)
    np.testing.assert_allclose(paid, r["reward"], atol=1e-6)
    late = r["next_time"][:, None] >= options.max_steps
    np.testing.assert_array_equal(np.asarray(crashed) | late, r["terminated"])
    np.testing.assert_array_equal(~np.asarray(crashed) & late, r["win"])


def test_whole_steps(env: Any, params: Any, rows: tuple[str, Rows]) -> None:
    """Five frames in a row drift from frames that start anew; nearly everybody stays within a centimetre."""
    _, r = rows
    drive = jax.jit(jax.vmap(batch_last(partial(dynamics.drive, env.options))))
    after = jax.device_get(drive(params, vehicles(r, 0), jnp.asarray(r["action"])))
    want = jax.device_get(vehicles(r, 5))
    near = (np.abs(after.x - want.x) < 0.01) & (np.abs(after.y - want.y) < 0.01)
    assert near.mean() > 0.995
    assert (after.target_lane == want.target_lane).mean() > 0.998


@pytest.mark.parametrize("name", STEPS)
def test_resets(recorded: Callable[[str], Rows], name: str) -> None:
    """A thousand resets beside the recorded ones: two-sample tests of every entry."""
    recorded_resets = recorded("resets")
    env = make(f"traffic/highway-{name}")
    keys = jax.random.split(jax.random.key(7), 1000)
    level = jax.device_get(jax.jit(jax.vmap(env.sample_level, in_axes=(0, None)))(keys, env.params))
    made, learners = level.traffic, env.options.learners
    theirs = {k: recorded_resets[f"highway_{name}_{k}"] for k in ("x", "lane", "speed", "kind", "delta")}
    assert theirs["x"].shape == made.x.shape
    scripted = np.setdiff1d(np.arange(env.options.vehicles), learners)
    np.testing.assert_array_equal(np.unique(made.kind[:, learners]), np.unique(theirs["kind"][:, learners]))
    for kind in (1, 2, 3):
        ours, known = (np.sum(k == kind, axis=1) for k in (made.kind, theirs["kind"]))
        assert stats.ks_2samp(ours, known).pvalue > 1e-3
        of = (made.exponent[made.kind == kind], theirs["delta"][theirs["kind"] == kind])
        assert stats.ks_2samp(*of).pvalue > 1e-3
    np.testing.assert_allclose(made.speed[:, learners], theirs["speed"][:, learners])
    for ours, known in (
        (made.speed[:, scripted], theirs["speed"][:, scripted]),
        (np.diff(made.x)[:, learners[1:] - 1], np.diff(theirs["x"])[:, learners[1:] - 1]),
        (np.diff(made.x)[:, scripted - 1], np.diff(theirs["x"])[:, scripted - 1]),
        (made.x[:, 0], theirs["x"][:, 0]),
        (made.x[:, -1] - made.x[:, 0], theirs["x"][:, -1] - theirs["x"][:, 0]),
        (made.lane, theirs["lane"]),
    ):
        assert stats.ks_2samp(ours.ravel(), known.ravel()).pvalue > 1e-3
    v = jax.vmap(levels.opening)(level.traffic, level.params)
    assert stats.ks_2samp(np.ravel(v.waited), recorded_resets[f"highway_{name}_timer"].ravel()).pvalue > 1e-3
