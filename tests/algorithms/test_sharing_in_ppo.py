"""Who shares parameters: agents of other sets are other networks, and nothing of theirs leaks in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_trials import trials

from shoal.algorithms.blocks import ppo
from shoal.algorithms.blocks.learner import Group, Setting
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.rollout import open_play, rollout
from shoal.algorithms.blocks.sharing import Sharing
from shoal.algorithms.ippo import IPPO, IPPOConfig
from shoal.algorithms.mappo import MAPPO, MAPPOConfig
from shoal.envs.core import UserError, VectorEnv

ENVS, STEPS, TYPES = 4, 6, (0, 1, 0)
ALL = Group("all", (0, 1, 2))


@pytest.fixture(scope="module", params=[(IPPO, "by_type"), (IPPO, "none"), (MAPPO, "by_type")])
def played(request):
    """A learner, its state, and everything that a gradient step of a rollout takes."""
    kind, sharing = request.param
    env = trials(task="luck", types=TYPES)
    config = {IPPO: IPPOConfig, MAPPO: MAPPOConfig}[kind](rollout_length=STEPS, minibatches=1)
    learner = kind(config, NetworkConfig(hidden_size=8), Setting(env, ALL, ENVS, 10, False, sharing=sharing))
    venv, owned = VectorEnv(env, ENVS), {"all": (ALL, learner)}

    @jax.jit
    def play(key):
        state = jax.jit(learner.init)(key)
        _, trajectories, _ = rollout(venv, owned, {"all": state}, open_play(venv, owned, key), key, STEPS)
        return state, *learner._samples(state, trajectories["all"])

    return learner, *play(jax.random.key(0))


def test_every_set_draws_its_own_parameters(played):
    learner, state, _, _ = played
    actor = state.params["actor"] if isinstance(learner, MAPPO) else state.params
    kernels = [leaf for leaf in jax.tree.leaves(actor) if leaf.any()]  # biases are zero
    assert kernels and all(len(leaf) == learner.sharing.count for leaf in kernels)
    assert all(bool(jnp.any(leaf[0] != leaf[1])) for leaf in kernels)


def test_agents_of_another_set_do_not_reach_the_gradient(played):
    learner, state, samples, carry = played
    other = 1  # the only agent of type 1

    def actor_grads(samples):
        loss = jax.jit(jax.grad(lambda p: learner._loss(p, carry, samples, state.hyper)[0]))
        grads = learner.sharing.own_means(learner.acting(loss(state.params)))
        return [(leaf[0], leaf[1]) for leaf in jax.tree.leaves(grads)]

    changed = dict(samples)
    changed["log_prob"] = samples["log_prob"].at[:, :, other].add(0.3)
    changed["action"] = samples["action"].at[:, :, other].set(1 - samples["action"][:, :, other])
    if samples["advantage"].ndim == 3:
        changed["advantage"] = samples["advantage"].at[:, :, other].multiply(-7.0)
        changed["target"] = samples["target"].at[:, :, other].add(3.0)
    before, after = actor_grads(samples), actor_grads(changed)
    for (mine, _), (mine_after, _) in zip(before, after, strict=True):
        np.testing.assert_allclose(mine, mine_after, atol=1e-6)
    assert any(bool(jnp.any(theirs != later)) for (_, theirs), (_, later) in zip(before, after, strict=True))


def test_policies_play_each_agent_with_its_own_set(played):
    learner, state, _, _ = played
    params = learner.acting(state.params)
    view = jnp.ones((1, 3, 2))
    policy = learner.policy(params)
    _, head = policy.network(params, policy.initial_carry((1,)), view[None], jnp.zeros((1, 1, 3), bool))
    same = [bool(jnp.allclose(head[0, 0, 0], head[0, 0, i])) for i in (1, 2)]
    assert same == [False, learner.setting.sharing == "by_type"]


def test_each_sets_gradient_is_that_of_its_own_mean():
    sharing = Sharing((0, 1, 0))

    def loss(params):  # mean over three agents of their own parameter times 1, 2, 3
        return jnp.mean(params[jnp.asarray([0, 1, 0])] * jnp.asarray([1.0, 2.0, 3.0]))

    grads = sharing.own_means({"w": jax.grad(loss)(jnp.zeros(2))})
    np.testing.assert_allclose(grads["w"], [(1 + 3) / 2, 2.0], rtol=1e-6)


def test_advantages_are_normalised_within_each_set():
    x = jnp.asarray([[1.0, 100.0, 3.0], [2.0, 300.0, 4.0]])
    weight = jnp.ones_like(x)
    normal = np.asarray(Sharing((0, 1, 0)).normalised(ppo.normalise, x, weight))
    np.testing.assert_allclose(normal[:, 1], [-1.0, 1.0], rtol=1e-5)
    own = np.asarray([1.0, 3.0, 2.0, 4.0])
    np.testing.assert_allclose(normal[:, [0, 2]].ravel(), (own - own.mean()) / own.std(), rtol=1e-5)


def test_unknown_ways_of_sharing_are_one_line():
    with pytest.raises(UserError, match="sharing='some' is not one of all, by_type, none"):
        Sharing.of("some", trials(), Group("all", (0, 1)))
