"""Targets of action values against values worked out by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from shoal.algorithms.blocks.returns import n_step, td_lambda

F = jnp.float32
REWARD, NEXT = [1, 2, 3, 4], [10, 20, 30, 40]


def of(function, terminated, cut, last, gamma=0.5):
    arrays = [jnp.asarray(x, F)[:, None] for x in (REWARD, NEXT)]
    flags = [jnp.asarray(x, bool)[:, None] for x in (terminated, cut)]
    return np.asarray(function(*arrays, *flags, F(gamma), last))[:, 0]


@pytest.mark.usefixtures("strict_numerics")
@pytest.mark.parametrize(
    ("terminated", "cut", "expected"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0], [6, 12, 18, 24]),  # r + V/2
        ([0, 1, 0, 0], [0, 1, 0, 0], [6, 2, 18, 24]),  # over by the rules: nothing follows
        ([0, 0, 0, 0], [0, 1, 0, 0], [6, 12, 18, 24]),  # stopped by the clock: the final observation's value
    ],
)
def test_one_step_is_q_learning(terminated, cut, expected):
    np.testing.assert_allclose(of(n_step, terminated, cut, 1), expected)
    np.testing.assert_allclose(of(td_lambda, terminated, cut, F(0.0)), expected)


@pytest.mark.usefixtures("strict_numerics")
def test_two_steps_stop_at_ends_of_any_kind():
    # r_t + r_{t+1}/2 + V(o_{t+2})/4; the last has no second step.
    np.testing.assert_allclose(of(n_step, [0] * 4, [0] * 4, 2), [1 + 6, 2 + 9, 3 + 12, 24])
    np.testing.assert_allclose(of(n_step, [0, 1, 0, 0], [0, 1, 0, 0], 2), [1 + 1, 2, 3 + 12, 24])
    # By the clock: step 1 bootstraps from its final observation, step 0 goes through step 1 up to there.
    np.testing.assert_allclose(of(n_step, [0] * 4, [0, 1, 0, 0], 2), [1 + 6, 12, 3 + 12, 24])


@pytest.mark.usefixtures("strict_numerics")
def test_many_steps_sum_to_the_end_of_the_sequence():
    expected = 1 + 2 / 2 + 3 / 4 + 4 / 8 + 40 / 16
    np.testing.assert_allclose(of(n_step, [0] * 4, [0] * 4, 9)[0], expected)
    np.testing.assert_allclose(of(td_lambda, [0] * 4, [0] * 4, F(1.0))[0], expected)


@pytest.mark.usefixtures("strict_numerics")
def test_the_trace_mixes_and_stops_at_ends():
    # G_3 = 4 + 20; G_2 = 3 + (24/2 + 30/2)/2 = 16.5; G_1 = 2 + (16.5/2 + 20/2)/2; G_0 = 1 + (G_1/2 + 10/2)/2.
    np.testing.assert_allclose(of(td_lambda, [0] * 4, [0] * 4, F(0.5)), [6.28125, 11.125, 16.5, 24])
    np.testing.assert_allclose(of(td_lambda, [0, 1, 0, 0], [0, 1, 0, 0], F(0.5)), [4, 2, 16.5, 24])
    np.testing.assert_allclose(of(td_lambda, [0] * 4, [0, 1, 0, 0], F(0.5)), [6.5, 12, 16.5, 24])
