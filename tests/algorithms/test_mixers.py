"""Mixers: sizes, monotonicity, and what they are made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.algorithms.blocks.learner import Group, Setting
from shoal.algorithms.blocks.mixers import MonotonicMixer, total
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.qmix import QMIX, QMIXConfig
from shoal.envs.core import make


def drawn(agents=3, states=4):
    mixer = MonotonicMixer(embedding_size=8, hypernet_size=16)
    return mixer, mixer.init(jax.random.key(0), jnp.zeros(agents), jnp.zeros(states))


def test_no_agent_lowers_the_team_by_doing_better():
    mixer, params = drawn()
    q, state = jax.random.normal(jax.random.key(1), (2, 500, 4)) * 3
    slopes = jax.vmap(jax.grad(lambda q, s: mixer.apply(params, q, s)))(q[:, :3], state)
    assert (slopes >= 0).all() and (slopes > 0).mean() > 0.9
    # It is no sum: what one agent adds depends on the others and on the state.
    assert slopes.std(axis=0).min() > 0.01


def test_it_computes_what_the_paper_says():
    mixer, params = drawn()
    q, state = jax.random.normal(jax.random.key(2), (2, 5, 4))
    q, p = q[:, :3], jax.tree.map(np.asarray, params["params"])

    def layer(name, x):
        return x @ name["kernel"] + name["bias"]

    def emitted(name):
        return layer(p[name]["Dense_1"], np.maximum(layer(p[name]["Dense_0"], state), 0.0))

    w1 = np.abs(emitted("w1")).reshape(5, 3, 8)
    hidden = np.einsum("bg,bgm->bm", q, w1) + layer(p["b1"], state)
    hidden = np.where(hidden > 0, hidden, np.expm1(hidden))
    expected = np.sum(hidden * np.abs(emitted("w2")), axis=-1) + emitted("b2")[:, 0]
    np.testing.assert_allclose(mixer.apply(params, q, state), expected, rtol=1e-4, atol=1e-5)


def test_a_sum_sums():
    np.testing.assert_array_equal(total(jnp.asarray([[1.0, 2.0], [3.0, 5.0]])), [3.0, 8.0])


@pytest.fixture(scope="module")
def published():
    """QMIX on 2s3z as published (spec 4.4)."""
    env = make("combat/smax-2s3z")
    config = QMIXConfig(mixer_size=64, hypernet_size=256, rollout_length=128, buffer_size=5000)
    group = Group("all", tuple(range(env.num_agents)))
    return QMIX(config, NetworkConfig(hidden_size=512), Setting(env, group, 16, 4882, False))


def test_parameter_counts_are_the_published_ones(published):
    params = jax.eval_shape(lambda k: published.init(k).params, jax.random.key(0))
    counts = {name: sum(x.size for x in jax.tree.leaves(part)) for name, part in params.items()}
    assert counts == {"agent": 1_648_138, "mixer": 176_193}


def test_the_mixers_gain_scales_its_kernels(published):
    hyper = {"mixer_gain": jnp.float32(0.5)}
    params = published.draw_mixer(jax.random.key(0), jnp.zeros(120), hyper)["params"]
    kernel = params["w2"]["Dense_0"]["kernel"]  # [120, 256], rows orthonormal but for the gain
    np.testing.assert_allclose(kernel @ kernel.T, 0.25 * np.eye(120), atol=1e-4)
