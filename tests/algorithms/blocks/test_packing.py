"""A packed tree comes back as it went in, and may be worked on in between."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.algorithms.blocks.packing import Packed, means


@pytest.fixture
def tree():
    return {
        "b": jnp.arange(6, dtype=jnp.float32).reshape(2, 3),
        "a": jnp.asarray(7, jnp.int32),
        "c": [jnp.asarray(2.5), jnp.zeros((0,)), jnp.arange(4, dtype=jnp.int32)],
    }


def equal(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(np.testing.assert_array_equal, left, right)
    assert [x.dtype for x in jax.tree.leaves(left)] == [x.dtype for x in jax.tree.leaves(right)]


def test_there_and_back(tree):
    packed = Packed.of(tree)
    assert {name: x.shape for name, x in packed.vectors.items()} == {"float32": (7,), "int32": (5,)}
    equal(packed.tree(), tree)


def test_sums_are_those_of_the_leaves(tree):
    packed = Packed.of(tree)
    equal(jax.tree.map(jnp.add, packed, packed).tree(), jax.tree.map(jnp.add, tree, tree))


def test_scan_and_vmap_add_leading_axes(tree):
    def step(carry, x):
        return carry, Packed.of(jax.tree.map(lambda leaf: leaf * x.astype(leaf.dtype), tree))

    def stacked(xs):
        return jax.lax.scan(step, (), xs)[1]

    xs = jnp.arange(1, 7, dtype=jnp.float32).reshape(2, 3)
    whole = jax.vmap(stacked)(xs).tree()
    assert whole["b"].shape == (2, 3, 2, 3) and whole["a"].shape == (2, 3)
    equal(jax.tree.map(lambda leaf: leaf[1, 2], whole), jax.tree.map(lambda leaf: leaf * 6, tree))


def test_means_over_a_leading_axis():
    seen = jax.vmap(lambda x: Packed.of({"loss": x, "norm": 2 * x}))(jnp.asarray([1.0, 2.0, 6.0]))
    assert {name: float(value) for name, value in means(seen).items()} == {"loss": 3.0, "norm": 6.0}
