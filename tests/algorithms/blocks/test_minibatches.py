"""Minibatches hold every sequence exactly once per epoch and never cross a shuffle group."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.algorithms.blocks.minibatches import check_minibatches, shuffles, take_rows
from shoal.envs.core import UserError


@pytest.mark.usefixtures("strict_numerics")
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_partition_within_groups(groups):
    rows, minibatches = 24, 3
    index = shuffles(jax.random.key(1), 1, rows, minibatches, groups)
    assert index.shape == (minibatches, groups, rows // minibatches // groups)
    time_major = jnp.tile(jnp.arange(rows), (5, 1))
    seen = []
    for part in index:
        batch = take_rows({"x": time_major}, part)["x"]
        memory = take_rows(jnp.arange(rows)[:, None], part, axis=0)[:, 0]
        assert batch.shape == (5, rows // minibatches)
        np.testing.assert_array_equal(batch[0], memory)
        home = np.asarray(memory).reshape(groups, -1) // (rows // groups)
        np.testing.assert_array_equal(home, np.arange(groups)[:, None] * np.ones_like(home))
        seen.append(memory)
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(rows))


def test_shuffles_differ_by_key_and_epoch():
    draws = [shuffles(jax.random.key(k), 2, 12, 2, 1) for k in range(3)]
    assert not np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[1], draws[2])
    first, second = draws[0].reshape(2, 12)
    assert not np.array_equal(first, second) and sorted(first) == sorted(second) == list(range(12))


def test_uneven_numbers_are_refused_in_one_line():
    with pytest.raises(UserError, match=r"10 sequences.*minibatches=4") as caught:
        check_minibatches(10, 4, 1)
    assert "\n" not in str(caught.value)
