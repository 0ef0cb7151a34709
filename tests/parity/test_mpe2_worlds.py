"""Our simple spread, reference and tag beside those of mpe2, from the same states and actions.

mpe2 computes in float64 and we in float32, from states that float32 can hold. Tolerances: 1e-6 for what is of
order one and one float32 rounding more per unit of magnitude; 1e-5 for velocities, views and rewards, since
contact forces are 100 per unit of position.
"""

from typing import Any

import jax
import numpy as np
import pytest
import shoal_mpe2 as mpe2

from shoal.envs.core import make

pytestmark = pytest.mark.parity

STEPS = 1500
CASES = [
    ("spread", {}, {}),
    ("spread", {"continuous_actions": True}, {"continuous_actions": True}),
    ("spread", {"num_agents": 5, "local_ratio": 0.8}, {"N": 5, "local_ratio": 0.8}),
    ("spread", {"collision_penalty": 0.0}, {"curriculum": True}),
    ("reference", {}, {}),
    (
        "reference",
        {"continuous_actions": True, "local_ratio": 0.2},
        {"continuous_actions": True, "local_ratio": 0.2},
    ),
    ("tag", {}, {}),
    ("tag", {"continuous_actions": True}, {"continuous_actions": True}),
    (
        "tag",
        {"num_adversaries": 2, "num_good": 3, "num_obstacles": 1},
        {"num_adversaries": 2, "num_good": 3, "num_obstacles": 1},
    ),
    ("tag", {"good_max_speed": 0.65, "good_acceleration": 2.0}, {"curriculum": True}),
]


def close(ours: Any, theirs: Any, atol: float = 1e-6) -> None:
    np.testing.assert_allclose(np.asarray(ours, np.float64), theirs, rtol=1e-6, atol=atol)


def stacked(rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize(("name", "overrides", "options"), CASES, ids=str)
def test_single_steps_from_random_states(
    name: str, overrides: dict[str, Any], options: dict[str, Any]
) -> None:
    env = make(f"particle/simple-{name}", **mpe2.RULES, **overrides)
    rows, actions = mpe2.random_states(env, STEPS, seed=1), mpe2.random_actions(env, (STEPS,), seed=2)
    if name == "reference":
        rng = np.random.default_rng(3)
        rows["goal"] = rng.integers(0, 3, (STEPS, 2), np.int32)
        rows["message"] = np.eye(11, 10, dtype=np.float32)[rng.integers(0, 11, (STEPS, 2))]
    theirs = mpe2.Theirs(name, **options)
    before, after = [], []
    for i in range(STEPS):
        if i % 20 == 0:  # before the time limit
            theirs.parallel.reset(seed=i)
        theirs.set({key: value[i] for key, value in rows.items()})
        before.append(theirs.read())
        after.append(theirs.step(actions[i]))
    seen, state, timestep, world = mpe2.stepper(env)(rows, actions)

    expected = stacked(after)
    close(mpe2.true_views(env, seen.view), stacked(before)["views"])
    for part, atol in (("x", 1e-6), ("y", 1e-6), ("vx", 1e-5), ("vy", 1e-5)):
        close(getattr(state.particles, part), expected[part], atol)
    close(mpe2.true_views(env, timestep.observation.view), expected["views"], 1e-5)
    close(world, expected["views"], 1e-5)
    if name == "reference":
        close(state.message, expected["message"])
        close(timestep.reward, expected["reward"], 2e-6)
        return
    unsure = mpe2.decided_by_rounding(env, expected["x"], expected["y"])
    assert unsure.mean() < 0.01
    close(timestep.reward[~unsure], expected["reward"][~unsure], 1e-5)
    _expect_that_much_happened(name, rows, expected)


def _expect_that_much_happened(name: str, rows: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> None:
    """Contacts of all kinds, catches, fines and speed limits; else the comparison would show little."""
    change = np.abs(after["vx"] - 0.75 * rows["vx"])
    assert (change > 0.6).any(axis=1).mean() > 0.2, "contacts"
    if name == "tag":
        adversary, good = after["reward"][:, 0], after["reward"][:, -1]
        assert (adversary >= 10).mean() > 0.05, "catches"
        assert ((good < 0) & (good > -10)).mean() > 0.1, "fines"
        speed = np.hypot(after["vx"], after["vy"])
        assert (np.abs(speed[:, 0] - 1.0) < 1e-9).mean() > 0.05, "top speed"


@pytest.mark.parametrize("name", list(mpe2.MODULES))
def test_whole_episodes(name: str) -> None:
    """Twenty-five steps, every state taken over from mpe2; then out of time, not before."""
    env = make(f"particle/simple-{name}", **mpe2.RULES)
    assert (env.max_steps, env.time_limit_is_termination) == (25, False)
    theirs, episodes = mpe2.Theirs(name), 8
    actions = mpe2.random_actions(env, (episodes, 25), seed=4)
    actions[::2] = actions[::2, :1]  # half of the episodes keep pushing one way
    rows, ends = [], []
    for i in range(episodes):
        theirs.parallel.reset(seed=100 + i)
        for t in range(25):
            row = theirs.read() | ({"goal": theirs.goals()} if name == "reference" else {})
            rows.append({key: np.asarray(value) for key, value in row.items() if key != "views"})
            ends.append(theirs.step(actions[i, t]))
    before, expected = stacked(rows), stacked(ends)
    if name != "reference":
        assert not before.pop("message").any()
    before = {key: v.astype(np.float32) if v.dtype == np.float64 else v for key, v in before.items()}
    _, state, _, _ = mpe2.stepper(env)(before, actions.reshape(-1, *actions.shape[2:]))
    close(state.particles.x, expected["x"])
    close(state.particles.vy, expected["vy"], 2e-5)
    wanted = np.arange(episodes * 25) % 25 == 24
    np.testing.assert_array_equal(expected["truncated"], wanted)

    @jax.jit
    def play(key: jax.Array) -> Any:
        idle = jax.numpy.zeros(env.num_agents, np.int32)
        state, _ = env.reset(key)
        return jax.lax.scan(lambda s, _: env.step(key, s, idle), state, None, length=25)[1]

    played = play(jax.random.key(0))
    np.testing.assert_array_equal(played.truncated, wanted[:25])
    assert not played.terminated.any()


@pytest.mark.parametrize("name", list(mpe2.MODULES))
def test_resets_agree_in_distribution(name: str) -> None:
    count = 1500
    env = make(f"particle/simple-{name}", **({"obstacle_spread": 0.9} if name == "tag" else {}))
    theirs, places, goals = mpe2.Theirs(name), [], []
    for i in range(count):
        theirs.parallel.reset(seed=i)
        now = theirs.read()
        places.append(np.concatenate([now["x"], now["y"]]))
        goals.append(theirs.goals() if name == "reference" else np.zeros(0))
        assert not now["vx"].any() and not now["message"].any()
    state, _ = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(5), count))
    ours = np.concatenate([state.particles.x, state.particles.y], axis=1)
    # Kolmogorov-Smirnov distance of each coordinate; 0.1 is passed by chance less than once in 10^6 trials.
    grid = np.linspace(-1, 1, 201)
    for a, b in zip(ours.T, np.stack(places).T, strict=True):
        gap = (a[:, None] <= grid).mean(axis=0) - (b[:, None] <= grid).mean(axis=0)
        assert np.abs(gap).max() < 0.1
        assert abs(np.abs(a).max() - np.abs(b).max()) < 0.02
    if name == "reference":
        pair = [
            np.bincount(np.asarray(g) @ np.array([3, 1]), minlength=9) / count
            for g in (state.goal, np.stack(goals))
        ]
        assert np.abs(pair[0] - pair[1]).max() < 5 * np.sqrt(2 * 8 / 81 / count)
