"""Action distributions: masks, log-probabilities and entropies for each kind of space."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from shoal.algorithms.blocks.distributions import ActionDistribution, head_size
from shoal.envs.core import Box, Discrete, MultiDiscrete

KEY = jax.random.key(0)


def test_discrete_never_picks_what_is_masked():
    space = Discrete(4)
    head = jnp.asarray([5.0, 0.0, 1.0, 9.0])
    mask = jnp.asarray([True, True, False, False])
    many = ActionDistribution.from_head(space, jnp.tile(head, (4000, 1)), jnp.tile(mask, (4000, 1)))
    action, log_prob = many.sample_and_log_prob(KEY)
    assert set(np.unique(action)) == {0, 1}
    share = float(jnp.mean(action == 0))
    expected = np.exp(5) / (np.exp(5) + 1)
    assert share == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 4000))
    np.testing.assert_allclose(np.exp(log_prob[action == 0]), expected, rtol=1e-5)
    one = ActionDistribution.from_head(space, head, mask)
    assert int(one.mode()) == 0
    assert float(one.entropy()) == pytest.approx(stats.entropy([expected, 1 - expected]), rel=1e-4)


def test_a_single_legal_action_has_no_gradient():
    mask = jnp.asarray([False, True, False])

    def terms(head):
        d = ActionDistribution.from_head(Discrete(3), head, mask)
        return d.log_prob(jnp.asarray(1)) + d.entropy()

    value, grad = jax.value_and_grad(terms)(jnp.asarray([1.0, 2.0, 3.0]))
    assert float(value) == 0.0
    np.testing.assert_array_equal(grad, 0.0)


def test_multi_discrete_is_a_product():
    space = MultiDiscrete((2, 3))
    assert head_size(space) == 5
    head = jnp.asarray([0.0, 1.0, 2.0, 0.0, -1.0])
    mask = (jnp.asarray([True, True]), jnp.asarray([True, True, False]))
    d = ActionDistribution.from_head(space, head, mask)
    p = np.exp([0.0, 1.0]) / np.exp([0.0, 1.0]).sum()
    q = np.exp([2.0, 0.0]) / np.exp([2.0, 0.0]).sum()
    assert float(d.log_prob(jnp.asarray([1, 0]))) == pytest.approx(np.log(p[1] * q[0]), rel=1e-5)
    assert float(d.entropy()) == pytest.approx(stats.entropy(p) + stats.entropy(q), rel=1e-4)
    np.testing.assert_array_equal(d.mode(), [1, 0])
    action, log_prob = d.sample_and_log_prob(KEY)
    assert action.shape == (2,) and float(log_prob) == pytest.approx(float(d.log_prob(action)))


@pytest.mark.parametrize("squash", [False, True])
def test_gaussian(squash):
    space = Box(-2.0, 4.0, (3,))
    head = jnp.tile(jnp.asarray([0.1, -0.2, 0.3, -1.0, -0.5, 0.0]), (5000, 1))
    d = ActionDistribution.from_head(space, head, None, squash)
    action, log_prob = d.sample_and_log_prob(KEY)
    assert action.shape == (5000, 3) and log_prob.shape == (5000,)
    mean, std = np.asarray([0.1, -0.2, 0.3]), np.exp([-1.0, -0.5, 0.0])
    if squash:
        assert bool(jnp.all(space.contains(action)))
        raw = np.arctanh(np.clip((np.asarray(action, np.float64) - 1.0) / 3.0, -1 + 1e-7, 1 - 1e-7))
        density = stats.norm.logpdf(raw, mean, std) - np.log(3.0 * (1.0 - np.tanh(raw) ** 2))
        inner = np.abs(raw).max(axis=1) < 3  # float32 tanh loses the tail
        np.testing.assert_allclose(log_prob[inner], density.sum(axis=1)[inner], rtol=1e-2, atol=1e-2)
        np.testing.assert_allclose(d.mode()[0], 1.0 + 3.0 * np.tanh(mean), rtol=1e-5)
    else:
        np.testing.assert_allclose(np.mean(action, 0), mean, atol=4 * std.max() / 70)
        np.testing.assert_allclose(
            log_prob, stats.norm.logpdf(action, mean, std).sum(axis=1), rtol=1e-3, atol=1e-4
        )
    assert float(d.entropy()[0]) == pytest.approx(stats.norm.entropy(mean, std).sum(), rel=1e-4)
