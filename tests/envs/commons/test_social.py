"""Ways to pay and measures of groups, against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.envs.commons import social
from shoal.envs.commons.gridworld.types import Params
from shoal.envs.core import make

NOBODY = np.zeros(7, np.float32)
ONE = np.eye(7, dtype=np.float32)[2]


def mixed(mode: str, own: np.ndarray, **numbers: float) -> np.ndarray:
    return np.asarray(social.mix(mode, jnp.asarray(own), Params(**numbers)))


@pytest.mark.parametrize(
    ("mode", "paid"),
    [("common", 0.0), ("individual", 0.0), ("svo", -5.498), ("inequity", -30.3), ("transfer", 0.0)],
)
def test_nobody_eats(mode: str, paid: float) -> None:
    np.testing.assert_allclose(mixed(mode, NOBODY), np.full(7, paid), atol=5e-4)


@pytest.mark.parametrize(
    ("mode", "eater", "others"),
    [
        ("common", 1.0, 1.0),
        ("individual", 7.0, 0.0),
        # The eater's angle is 0, the others' 90 degrees: only the eater is away from the ideal.
        ("svo", 7.0 - 3.5 * np.pi / 2, 0.0),
        ("inequity", 7.0 - 0.05 * 7.0, -5.0 * 7.0 / 6.0),
        ("transfer", 1.75, 0.875),
    ],
)
def test_one_eats(mode: str, eater: float, others: float) -> None:
    expected = np.where(ONE > 0, eater, others)
    np.testing.assert_allclose(mixed(mode, ONE), expected, atol=1e-5)
    batch = np.stack([ONE, NOBODY], axis=1)
    np.testing.assert_allclose(mixed(mode, batch)[:, 0], expected, atol=1e-5)


def test_numbers_of_the_ways_to_pay() -> None:
    # An ideal of 0 degrees (oneself) leaves the eater alone and takes a quarter turn off the others.
    selfish = mixed("svo", ONE, svo_angle=0.0, svo_weight=1.0)
    np.testing.assert_allclose(selfish, np.where(ONE > 0, 7.0, -3.5 * np.pi), atol=1e-5)
    np.testing.assert_allclose(mixed("inequity", ONE, envy=0.0, guilt=0.0), 7.0 * ONE, atol=1e-6)
    np.testing.assert_allclose(mixed("transfer", ONE, transfer_ratio=0.0), 7.0 * ONE, atol=1e-6)
    assert float(mixed("transfer", ONE).sum()) == pytest.approx(7.0, abs=1e-5)


def test_inequity_compares_what_was_lately_earned() -> None:
    small: dict[str, Any] = {"map": "small", "num_agents": 3, "smoothing": 0.5, "guilt": 0.0}
    env = make("commons/harvest-open", reward="inequity", **small)

    def step(state: Any, key: Any) -> Any:
        after, timestep = env.step(key, state, jax.random.randint(jax.random.fold_in(key, 1), (3,), 0, 8))
        return after, (after.eaten - state.eaten, timestep.reward)

    def play(key: Any) -> Any:
        return jax.lax.scan(step, env.reset(key)[0], jax.random.split(key, 300))[1]

    earned, paid = map(np.asarray, jax.jit(play)(jax.random.key(0)))
    assert earned.sum() > 10  # otherwise nothing is compared
    trace = np.zeros(3, np.float32)
    for own, reward in zip(earned, paid, strict=True):
        trace = 0.5 * trace + own.astype(np.float32)
        envied = np.maximum(trace[None] - trace[:, None], 0.0).sum(axis=1)
        expected = 3.0 * (trace - 5.0 * envied / 2.0) if trace.any() else np.full(3, -5.0 * 2.0)
        np.testing.assert_allclose(reward, expected, atol=1e-4)


@pytest.mark.parametrize(("agents", "kept"), [(7, 0.25), (6, 0.2857), (5, 0.3333), (4, 0.4), (2, 0.6667)])
def test_published_shares_that_are_kept(agents: int, kept: float) -> None:
    own = np.eye(agents, dtype=np.float32)[0]
    assert float(mixed("transfer", own)[0]) == pytest.approx(agents * kept, abs=1e-3)


@pytest.mark.parametrize("mode", social.MODES)
def test_an_agent_alone(mode: str) -> None:
    for own in (0.0, 1.0):
        assert np.isfinite(mixed(mode, np.array([own], np.float32))).all()


def test_equality_and_mean_time() -> None:
    equal: Any = social.equality(jnp.asarray([[5.0, 4.0, 0.0], [5.0, 0.0, 0.0]]))
    np.testing.assert_allclose(equal, [1.0, 0.5, 1.0], atol=1e-6)
    times, counts = jnp.asarray([30.0, 10.0, 0.0]), jnp.asarray([3.0, 2.0, 0.0])
    assert float(social.mean_time(times, counts)) == pytest.approx(7.5)
    assert float(social.mean_time(jnp.zeros(2), jnp.zeros(2))) == 0.0
