"""Generalised advantages against values worked out by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from shoal.algorithms.blocks.advantages import gae

F = jnp.float32


def run(reward, value, last, terminated, cut, gamma=0.5, lam=0.5):
    arrays = [jnp.asarray(x, F)[:, None] for x in (reward, value)]
    flags = [jnp.asarray(x, bool)[:, None] for x in (terminated, cut)]
    advantage, target = gae(*arrays, jnp.asarray([last], F), *flags, F(gamma), F(lam))
    return np.asarray(advantage)[:, 0], np.asarray(target)[:, 0]


@pytest.mark.usefixtures("strict_numerics")
def test_without_ends_the_trace_runs_through():
    advantage, target = run([1, 1], [2, 4], 8, [0, 0], [0, 0])
    # delta = 1 + 0.5*4 - 2 = 1 and 1 + 0.5*8 - 4 = 1; A_0 = 1 + 0.25*1.
    np.testing.assert_allclose(advantage, [1.25, 1.0])
    np.testing.assert_allclose(target, [3.25, 5.0])


@pytest.mark.usefixtures("strict_numerics")
def test_termination_drops_the_bootstrap_and_the_trace():
    advantage, _ = run([1, 1], [2, 4], 8, [1, 0], [1, 0])
    np.testing.assert_allclose(advantage, [-1.0, 1.0])


@pytest.mark.usefixtures("strict_numerics")
def test_truncation_keeps_the_bootstrap_and_drops_the_trace():
    advantage, _ = run([1, 1], [2, 4], 8, [0, 0], [1, 0])
    np.testing.assert_allclose(advantage, [1.0, 1.0])


@pytest.mark.usefixtures("strict_numerics")
def test_lambda_one_gives_discounted_returns():
    _, target = run([1, 2, 3], [9, 9, 9], 4, [0, 0, 0], [0, 0, 0], lam=1.0)
    np.testing.assert_allclose(target, [1 + 0.5 * (2 + 0.5 * (3 + 0.5 * 4)), 2 + 0.5 * (3 + 0.5 * 4), 5.0])
