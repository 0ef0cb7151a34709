"""Adaptive coverage by hand: density, cost, estimate, contributions, weights of samples, views, picture."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.envs.core import Recording, UserError, make
from shoal.envs.swarm.coverage import dynamics
from shoal.envs.swarm.coverage.types import Level, Options
from shoal.envs.swarm.planar import frame as planar

ID = "swarm/coverage-v1"
KEY = jax.random.key(0)
SIDE, BASIS = np.arange(1, 16) / 16, np.arange(1, 8) / 8
POINTS = np.stack(np.meshgrid(SIDE, SIDE, indexing="ij"), axis=-1).reshape(-1, 2)
CENTRES = np.stack(np.meshgrid(BASIS, BASIS, indexing="ij"), axis=-1).reshape(-1, 2)
TRUE = np.full(49, 0.1)
TRUE[[0, 15]] = 100.0


def basis(where: Any) -> np.ndarray:
    """The 49 basis functions at places [P, 2], in float64."""
    away = np.sum((np.asarray(where, np.float64)[:, None] - CENTRES[None]) ** 2, axis=-1)
    return np.exp(-away / (2 * 0.02)) / (2 * np.pi * 0.02)


def cost(where: Any, weights: np.ndarray) -> float:
    """J as it is written down."""
    far = np.linalg.norm(POINTS[None] - np.asarray(where, np.float64)[:, None], axis=-1)
    return float(0.5 * np.sum(far.min(axis=0) * (basis(POINTS) @ np.ravel(weights))))


def places(state: Any) -> np.ndarray:
    return np.stack([np.asarray(state.team.x), np.asarray(state.team.y)], axis=1)


def rounds(env: Any, count: int, seed: int = 0) -> list[tuple[Any, Any]]:
    """States and timesteps of random play."""
    step, played = jax.jit(env.step), [jax.jit(env.reset)(KEY)]
    for t in range(count):
        action = jax.random.uniform(jax.random.key(seed + t), (env.num_agents, 2), minval=-1.0)
        played.append(step(KEY, played[-1][0], action))
    return played


@pytest.fixture(scope="module")
def env() -> Any:
    return make(ID)


def test_density(env: Any) -> None:
    options = env.options
    alone = jnp.zeros((7, 7)).at[3, 3].set(1.0)
    x, y = jnp.asarray([0.5, 1 / 8, 3 / 8]), jnp.asarray([0.5, 1 / 8, 2 / 8])
    assert float(dynamics.density_at(options, env.params, alone, x, y)[0]) == pytest.approx(7.95775, rel=1e-5)
    weights = env.reset(KEY)[0].weights
    np.testing.assert_array_equal(np.ravel(weights), TRUE.astype(np.float32))
    here = dynamics.density_at(options, env.params, weights, x, y)
    np.testing.assert_allclose(here[1:], [910.658, 913.521], rtol=1e-5)
    whole = dynamics.density_on_lattice(options, env.params, weights)
    np.testing.assert_allclose(whole, basis(POINTS) @ TRUE, rtol=1e-4)


@pytest.mark.parametrize(("robots", "expected"), [(5, 143.1385), (10, 107.9346)])
def test_cost_of_the_published_starts(robots: int, expected: float) -> None:
    state, timestep = jax.jit(make(ID, num_agents=robots).reset)(KEY)
    assert float(state.team.cost) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(timestep.observation.view[:, 2], 1.0, rtol=1e-6)
    assert float(state.true_cost) == pytest.approx(cost(places(state), TRUE), rel=1e-5)


@pytest.mark.parametrize("robots", [15, 20])
def test_every_published_team_has_its_places(robots: int) -> None:
    where = places(jax.jit(make(ID, num_agents=robots).reset)(KEY)[0])
    assert where.shape == (robots, 2) and len(np.unique(where)) == 2 * robots


def test_ten_robots_start_on_the_right(env: Any) -> None:
    assert (places(env.reset(KEY)[0])[:, 0] > 0.5).all()


def test_estimate_follows_the_published_update() -> None:
    """With lambda kept, as published, in float64; fast enough that weights meet the floor."""
    env = make(ID, gain=1.0, time_step=0.02)
    evidence, target, guess = np.zeros((49, 49)), np.zeros(49), np.full(49, 0.1)
    halted = 0
    played = rounds(env, 60)
    for state, _ in played:
        assert float(state.team.cost) == pytest.approx(cost(places(state), guess), rel=2e-4)
        np.testing.assert_allclose(np.ravel(state.judged), guess, rtol=2e-4)
        here = basis(places(state))
        evidence += 0.02 * here.T @ here
        target += 0.02 * here.T @ (here @ TRUE)
        step = -1.0 * 0.02 * (evidence @ guess - target)
        halted += int(np.sum(guess + step < 0.1))
        guess = np.where(guess + step < 0.1, guess, guess + step)
        np.testing.assert_allclose(np.ravel(state.estimate), guess, rtol=2e-4)
    assert halted and guess.max() > 1.0
    error = np.mean(np.abs(np.ravel(state.judged) - TRUE))
    assert float(played[-1][1].metrics["estimate_error"]) == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("judge", ["measured", "updated"])
def test_contributions_are_those_of_robots_put_back(judge: str) -> None:
    env = make(ID, counterfactual=judge, credit="difference", speed=20.0, gain=1.0)
    played = rounds(env, 12)
    gaps = 0.0
    for (state, _), (after, timestep) in itertools.pairwise(played):
        old, new = places(state), places(after)
        estimate = after.judged if judge == "measured" else after.estimate
        gaps += abs(cost(new, after.estimate) - cost(new, after.judged))
        for i in range(10):
            back = new.copy()
            back[i] = old[i]
            wanted = cost(new, after.judged) - cost(back, estimate)
            assert -float(timestep.reward[i]) == pytest.approx(wanted, rel=1e-3, abs=2e-3)
    assert gaps > 1.0, "the estimate must move, or the two ways to judge are one"


def test_shared_pay_adds_up_to_the_fall_of_the_cost(env: Any) -> None:
    played = rounds(env, 40)
    paid = sum(np.asarray(timestep.reward, np.float64) for _, timestep in played)
    fall = float(played[0][0].team.cost) - float(played[-1][0].team.cost)
    np.testing.assert_allclose(paid, fall, rtol=1e-4)


def test_robots_that_stay_are_charged_for_what_they_learn(env: Any) -> None:
    """The estimated density grows where they see it; the true cost does not move."""
    step, stay = jax.jit(env.step), jnp.zeros((10, 2))
    state, _ = env.reset(KEY)
    costs, truths = [], []
    for _ in range(30):
        state, timestep = step(KEY, state, stay)
        costs.append(float(timestep.metrics["cost"]))
        truths.append(float(timestep.metrics["true_cost"]))
    assert np.all(np.diff(costs) > 0.0)
    np.testing.assert_allclose(truths, truths[0], rtol=1e-6)
    assert float(timestep.metrics["true_cost_ratio"]) == pytest.approx(1.0, rel=1e-5)


def test_known_density_is_the_true_one() -> None:
    env = make(ID, density="known")
    for state, _ in rounds(env, 5):
        assert float(state.team.cost) == pytest.approx(cost(places(state), TRUE), rel=1e-4)
        assert float(state.team.cost) == float(state.true_cost)
    assert float(state.team.subcost[0]) != float(state.team.subcost[1])


def neighbours_in_common(owner: np.ndarray, robots: int) -> list[float]:
    """Walks over the points: who touches whom, then whom both a robot and its predecessor touch."""
    touches = [{i} for i in range(robots)]
    side = len(owner)
    for i in range(side):
        for j in range(side):
            for di, dj in ((0, 1), (1, -1), (1, 0), (1, 1)):
                if i + di < side and 0 <= j + dj < side:
                    one, other = int(owner[i, j]), int(owner[i + di, j + dj])
                    touches[one].add(other)
                    touches[other].add(one)
    return [1.0, *(float(len(touches[i] & touches[i - 1])) for i in range(1, robots))]


def test_weights_of_samples_by_common_neighbours() -> None:
    env = make(ID, num_agents=20, weight="common-neighbours", starts="uniform")
    options = env.options
    seen = set()
    for seed in range(5):
        x, y = jax.random.uniform(jax.random.key(seed), (2, 20))
        near = planar.nearest(planar.distances(x, y, *map(jnp.asarray, options.points)))
        got = np.asarray(dynamics.common_neighbours(options, near)).tolist()
        assert got == neighbours_in_common(np.asarray(near.owner).reshape(15, 15), 20)
        seen |= set(got)
    assert {0.0, 1.0, 2.0, 3.0} <= seen


def test_weights_of_samples_count_in_the_estimate() -> None:
    x, y = jnp.asarray([0.2, 0.5, 0.8]), jnp.asarray([0.5, 0.5, 0.5])
    estimate = {}
    for weight in ("one", "common-neighbours"):
        env = make(ID, num_agents=3, starts="uniform", weight=weight, gain=1.0)
        level = env.sample_level(KEY, env.params)
        estimate[weight] = env.reset(KEY, level=level.replace(x=x, y=y))[0].estimate
    here = basis(np.stack([x, y], axis=1))
    # Three columns: the middle cell touches both others, so robots 1 and 2 count 2 each: 0, 1 and 1, 2.
    for weight, counts in (("one", [1, 1, 1]), ("common-neighbours", [1, 2, 2])):
        wanted = 0.1 + 0.01 * 0.01 * here.T @ np.diag(counts) @ here @ (TRUE - 0.1)
        np.testing.assert_allclose(np.ravel(estimate[weight]), wanted, rtol=1e-4)
        assert wanted.max() > 0.15


def test_views(env: Any) -> None:
    (_, _), (state, timestep) = rounds(env, 1)
    view = np.asarray(timestep.observation.view)
    assert view.shape == (10, 20)
    np.testing.assert_allclose(view[:, :2], places(state), rtol=1e-6)
    sample = basis(places(state)) @ TRUE / (100.0 / (2 * np.pi * 0.02))
    np.testing.assert_allclose(view[:, 18], sample, rtol=1e-4)
    np.testing.assert_allclose(view[:, 19], 1 / 800, rtol=1e-6)
    assert env.global_state(state).shape == env.state_space.shape


def test_levels_may_hold_another_density(env: Any) -> None:
    level = env.sample_level(KEY, env.params)
    weights = jnp.zeros((7, 7)).at[6, 6].set(50.0)
    state, _ = env.reset(KEY, level=level.replace(weights=weights))
    assert float(state.true_cost) == pytest.approx(cost(places(state), np.asarray(weights)), rel=1e-4)
    assert isinstance(level, Level)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"num_agents": 7}, r"no published starts \(known: 5, 10, 15, 20\)"),
        ({"basis": 2}, "basis=2"),
        ({"weight": "two"}, "weight='two'"),
        ({"variance": 0.0}, "variance"),
    ],
)
def test_wrong_settings_are_refused(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make(ID, **overrides)


def test_descent_follows_the_estimate() -> None:
    """Where the density is known, descent never rises, and it ends near the two peaks."""
    env = make(ID, density="known")
    policy = env.scripted_policies()["bcd"]()

    @jax.jit
    def run() -> Any:
        def one(carry: Any, key: Any) -> Any:
            state, observation = carry
            state, timestep = env.step(KEY, state, policy.act(key, (), observation, state=state)[1])
            return (state, timestep.observation), timestep.metrics["cost"]

        state, timestep = env.reset(KEY)
        return jax.lax.scan(one, (state, timestep.observation), jax.random.split(KEY, 150))

    (state, _), costs = run()
    assert float(jnp.max(jnp.diff(costs))) < 0.1
    assert float(costs[-1]) < 0.25 * 7246.2
    peaks = np.asarray([(1 / 8, 1 / 8), (3 / 8, 2 / 8)])
    assert np.linalg.norm(places(state)[:, None] - peaks[None], axis=-1).min(axis=0).max() < 0.15


def test_picture(env: Any) -> None:
    played, timesteps = zip(*jax.device_get(rounds(env, 1)), strict=True)
    clip = env.scene(Recording(played, (np.zeros((10, 2), np.float32),), (KEY,), timesteps))
    assert len(clip.frames) == 2
    assert clip.frames[0].subtitle == "round 0   cost 107.9   true cost 7246.2"
    kinds = [type(item).__name__ for item in clip.frames[1].items]
    assert kinds.count("Rectangle") == 226 and kinds.count("Circle") == 12
    assert Options().side ** 2 == 225
