"""Convolutions find a light, attention finds the greatest of any number of entities."""

import jax
import jax.numpy as jnp
import pytest
from shoal_sights import sights

from shoal.algorithms.blocks.learner import Group, Setting
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.ippo import IPPO, IPPOConfig
from shoal.algorithms.training import Program

pytestmark = [pytest.mark.learning, pytest.mark.slow]
ENVS, STEPS, ALL = 32, 8, Group("all", (0,))
CONFIG = IPPOConfig(learning_rate=5e-3, rollout_length=STEPS, entropy_coef=0.0)
SET = NetworkConfig(name="set", hidden_size=16, core="none", attention_heads=2)
CNN = NetworkConfig(name="cnn", hidden_size=16, core="none", channels=(4, 8))


class Detached(IPPO):
    """No gradient reaches anything."""

    def forward(self, params, carry, moment):
        return super().forward(jax.lax.stop_gradient(params), carry, moment)


def learner_on(env, network, updates, kind=IPPO):
    return kind(CONFIG, network, Setting(env, ALL, ENVS, updates, False))


def train(env, network, updates, kind=IPPO):
    """Returns the parameters after training and the share of right actions over the last five updates."""
    program = Program(env, {"all": (ALL, learner_on(env, network, updates, kind))}, ENVS, STEPS)
    state = program.init(jax.random.split(jax.random.key(0), 1))
    state, _, _ = program.run(state, updates - 5)
    state, totals, _ = program.run(state, 5)
    params = jax.tree.map(lambda leaf: leaf[0], state.learners["all"].params)
    return params, float((totals.metrics["right"] / totals.episodes)[0])


def greedy_score(env, network, params, episodes=400):
    """Share of right greedy actions of a policy in ``env``, whose size may be another than in training."""
    policy = learner_on(env, network, 1).policy(params)

    @jax.jit
    def play(key):
        state, timestep = jax.vmap(env.reset)(jax.random.split(key, episodes))
        _, action = policy.act(key, policy.initial_carry((episodes,)), timestep.observation)
        return jnp.mean(jax.vmap(env.step)(jax.random.split(key, episodes), state, action)[1].reward)

    return float(play(jax.random.key(7)))


def test_attention_finds_the_greatest_and_keeps_doing_so_among_more_and_fewer():
    params, share = train(sights(view="entities", size=4), SET, 60)
    assert share >= 0.85
    assert greedy_score(sights(view="entities", size=3), SET, params) >= 0.85
    assert greedy_score(sights(view="entities", size=9), SET, params) >= 0.8


def test_convolutions_find_the_light():
    assert train(sights(view="grid", size=4), CNN, 40)[1] >= 0.9


@pytest.mark.parametrize(("view", "network"), [("entities", SET), ("grid", CNN)])
def test_without_gradients_they_do_not(view, network):
    # Chance is one in four in the grid, and about one in three of those seen.
    assert train(sights(view=view, size=4), network, 10, Detached)[1] < 0.6
