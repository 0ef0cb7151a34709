"""Replay keeps what was played, forgets the oldest first, and says how much memory it takes."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.algorithms.blocks.learner import nbytes
from shoal.algorithms.blocks.replay import Replay, Sequence

T, G = 3, 2


def sequences(*numbers):
    """Sequences that carry their number in every leaf, leading axis E."""
    n = jnp.asarray(numbers, jnp.float32)

    def filled(*shape, dtype=jnp.float32):
        return jnp.broadcast_to(n.reshape(-1, *(1,) * len(shape)), (len(numbers), *shape)).astype(dtype)

    return Sequence(
        view=filled(T + 1, G, 5),
        action_mask=filled(T + 1, G, 4, dtype=bool),
        reset=filled(T + 1, G, dtype=bool),
        state=filled(T + 1, 7),
        action=filled(T, G, dtype=jnp.int32),
        reward=filled(T, G),
        ended=filled(T, G, dtype=bool),
        cut=filled(T, G, dtype=bool),
        valid=filled(T, dtype=bool),
    )


def example():
    return jax.tree.map(lambda x: x[0], sequences(0))


def numbers(replay, held, draws=20):
    """Which sequences turn up in many draws."""
    drawn = jax.vmap(lambda k: replay.sample(held, k))(jax.random.split(jax.random.key(0), draws))
    assert drawn.view.shape == (draws, T + 1, replay.batch_size, G, 5)
    # All leaves of a drawn sequence are of the same one.
    assert (drawn.view == drawn.state[:, :, :, None, :1]).all()
    np.testing.assert_array_equal(drawn.action[..., 0], drawn.reward[..., 0].astype(jnp.int32))
    return set(np.unique(drawn.action).tolist())


def test_the_oldest_go_first():
    replay = Replay(num_envs=2, slots=2, batch_size=8)
    held = replay.init(example())
    assert float(replay.fill(held)) == 0.0
    expected = [{1, 2}, {1, 2, 3, 4}, {3, 4, 5, 6}, {5, 6, 7, 8}]
    for i, (present, fill) in enumerate(zip(expected, [0.5, 1.0, 1.0, 1.0], strict=True)):
        held = replay.add(held, sequences(2 * i + 1, 2 * i + 2))
        assert numbers(replay, held) == present
        assert float(replay.fill(held)) == fill


def test_half_precision_keeps_rewards_whole_and_stays_finite():
    full, half = (Replay(1, 4, 2, half_precision=h) for h in (False, True))
    big = replace(sequences(1), view=jnp.full((1, T + 1, G, 5), 1e6), reward=jnp.full((1, T, G), 1e6 + 1))
    drawn = half.sample(half.add(half.init(example()), big), jax.random.key(0))
    assert drawn.view.dtype == jnp.float32 and drawn.state.dtype == jnp.float32
    np.testing.assert_array_equal(drawn.view, 65504.0)
    np.testing.assert_array_equal(drawn.reward, 1e6 + 1)
    stored = [nbytes(jax.eval_shape(r.init, example())) for r in (full, half)]
    assert stored[0] - stored[1] == 4 * 2 * ((T + 1) * (G * 5 + 7))  # 4 sequences, 2 bytes a number


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int32])
def test_half_precision_leaves_whole_numbers_alone(dtype):
    whole = replace(sequences(200), view=jnp.full((1, T + 1, G, 5), 200, dtype))
    replay = Replay(1, 1, 1, half_precision=True)
    held = replay.add(replay.init(jax.tree.map(lambda x: x[0], whole)), whole)
    drawn = replay.sample(held, jax.random.key(0))
    assert drawn.view.dtype == dtype and (drawn.view == 200).all()
