"""Spaces: membership, sampling, masks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.envs.core.spaces import Box, Discrete, MultiDiscrete, choose, is_legal, sample_actions

INT_MAX, INT_MIN = np.iinfo(np.int32).max, np.iinfo(np.int32).min


def test_discrete_membership() -> None:
    space = Discrete(3)
    values = jnp.array([-1, 0, 2, 3, INT_MAX, INT_MIN], jnp.int32)
    assert space.contains(values).tolist() == [False, True, True, False, False, False]
    assert not space.contains(jnp.array(1.0)), "a real number is no action index"


def test_multi_discrete_membership() -> None:
    space = MultiDiscrete((3, 2))
    assert space.shape == (2,)
    values = jnp.array([[2, 1], [2, 2], [3, 0], [-1, 0], [0, 0]], jnp.int32)
    assert space.contains(values).tolist() == [True, False, False, False, True]
    assert not space.contains(jnp.zeros(3, jnp.int32)), "another length is no element"


def test_box_membership() -> None:
    space = Box(-1.0, 2.0, (2,))
    values = jnp.array([[0.0, 2.0], [-1.0, 0.0], [0.0, 2.1], [jnp.nan, 0.0], [jnp.inf, 0.0]])
    assert space.contains(values).tolist() == [True, True, False, False, False]
    assert space.size == 2
    assert not space.contains(jnp.zeros(3))


def test_spaces_are_hashable_and_comparable() -> None:
    assert len({Discrete(3), Discrete(3), MultiDiscrete((3, 2)), Box(0, 1, (2,)), Box(0, 1, (2,))}) == 3


@pytest.mark.parametrize("space", [Discrete(3), MultiDiscrete((3, 2)), Box(-1.0, 2.0, (2,))])
def test_samples_are_elements_of_every_kind(space: Discrete | MultiDiscrete | Box) -> None:
    samples = jax.vmap(space.sample)(jax.random.split(jax.random.key(0), 256))
    assert samples.shape == (256, *space.shape)
    assert samples.dtype == space.dtype
    assert bool(jnp.all(space.contains(samples)))
    if not isinstance(space, Box):
        assert len(np.unique(np.asarray(samples), axis=0)) == (3 if isinstance(space, Discrete) else 6)


def test_masked_samples_are_legal_and_uniform() -> None:
    mask = jnp.array([False, True, False, True])
    keys = jax.random.split(jax.random.key(1), 4096)
    counts = np.bincount(np.asarray(jax.vmap(lambda k: Discrete(4).sample(k, mask))(keys)), minlength=4)
    assert counts[[0, 2]].tolist() == [0, 0]
    assert abs(counts[1] - 2048) < 4 * np.sqrt(1024)
    pairs = jax.vmap(lambda k: MultiDiscrete((4, 2)).sample(k, (mask, jnp.array([False, True]))))(keys)
    assert {tuple(p) for p in np.asarray(pairs).tolist()} == {(1, 1), (3, 1)}


def test_choose_by_hand() -> None:
    mask = jnp.array([False, True, True, False, True])
    u = jnp.array([0.0, 0.33, 0.34, 0.66, 0.67, 0.999999])
    chosen = choose(u, jnp.broadcast_to(mask, (6, 5)))
    assert chosen.tolist() == [1, 1, 2, 2, 4, 4]


def test_choose_along_any_axis_and_from_nothing() -> None:
    mask = jnp.array([[False, True], [True, True], [True, False]])
    u = jnp.array([0.6, 0.0])
    assert choose(u, mask, axis=0).tolist() == [2, 0]
    assert choose(u, mask.T).tolist() == [2, 0]
    assert choose(u, jnp.zeros((2, 3), bool)).tolist() == [0, 0]


def test_an_unbounded_box_is_drawn_from_within_a_million() -> None:
    space = Box(-np.inf, np.inf, (2,))
    actions = sample_actions(space, jnp.array([[0.0, 0.5]]), None)
    np.testing.assert_allclose(actions, [[-1e6, 0.0]])
    assert bool(jnp.all(jnp.isfinite(space.sample(jax.random.key(0)))))


def test_sample_actions_of_a_batch() -> None:
    u = jnp.array([[0.0, 0.99], [0.5, 0.5]])
    mask = jnp.array([[[True, False, True], [True, True, False]], [[False, False, True], [True, True, True]]])
    assert sample_actions(Discrete(3), u, mask).tolist() == [[0, 1], [2, 1]]
    both = (mask, jnp.ones((2, 2, 2), bool))
    assert sample_actions(MultiDiscrete((3, 2)), jnp.stack([u, u], -1), both).tolist() == [
        [[0, 0], [1, 1]],
        [[2, 1], [1, 1]],
    ]
    actions = sample_actions(Box(-1.0, 1.0, (1,)), u[..., None], None)
    np.testing.assert_allclose(actions[..., 0], [[-1.0, 0.98], [0.0, 0.0]], atol=1e-6)


def test_legality() -> None:
    mask = jnp.array([[True, False, True]] * 5)
    action = jnp.array([0, 1, 2, 3, INT_MAX], jnp.int32)
    assert is_legal(Discrete(3), action, mask).tolist() == [True, False, True, False, False]
    both = (mask[:2], jnp.array([[True, True], [False, True]]))
    pairs = jnp.array([[0, 1], [0, 0]], jnp.int32)
    assert is_legal(MultiDiscrete((3, 2)), pairs, both).tolist() == [True, False]
    assert is_legal(Box(0.0, 1.0, (1,)), jnp.array([[0.5], [jnp.nan]]), None).tolist() == [True, False]
