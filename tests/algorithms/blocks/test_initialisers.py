"""Orthogonal initialisation: exact, uniform in direction, and free of the QR that hangs on two devices."""

import jax
import numpy as np
import pytest

from shoal.algorithms.blocks.initialisers import orthogonal


@pytest.mark.parametrize("shape", [(64, 64), (127, 32), (16, 80), (5, 1)])
def test_orthonormal_times_gain(shape):
    many = jax.vmap(lambda k: orthogonal(2.0)(k, shape))(jax.random.split(jax.random.key(3), 16))
    for w in np.asarray(many, np.float64):
        small = w.T @ w if shape[0] >= shape[1] else w @ w.T
        np.testing.assert_allclose(small, 4.0 * np.eye(min(shape)), atol=2e-4)


def test_uniform_in_direction():
    first = jax.vmap(lambda k: orthogonal()(k, (3, 3))[0])(jax.random.split(jax.random.key(0), 4000))
    # A coordinate of a uniform direction in three dimensions is uniform on [-1, 1].
    np.testing.assert_allclose(np.mean(first, 0), 0.0, atol=4 * np.sqrt(1 / 3 / 4000))
    np.testing.assert_allclose(np.mean(np.square(first), 0), 1 / 3, atol=0.03)
    np.testing.assert_allclose(np.mean(np.asarray(first) ** 4, 0), 1 / 5, atol=0.03)


def test_no_lapack_call():
    text = jax.jit(lambda k: orthogonal()(k, (64, 64))).lower(jax.random.key(0)).as_text()
    assert "lapack" not in text and "qr" not in text.lower().replace("sqrt", "")
