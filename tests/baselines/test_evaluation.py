"""Whole episodes, counted without bias."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_toys import RIGHT, Chain, chain

from shoal.algorithms.blocks.learner import Group
from shoal.baselines.evaluation import Evaluator, JointPolicy
from shoal.baselines.policies import resolve_policy
from shoal.envs.core import RandomPolicy, UserError, VectorEnv, make
from shoal.envs.core.policy import Scripted


class Walk(Scripted):
    """Goes right with a fixed action, or with one per member."""

    def __init__(self, action=RIGHT):
        self.action = action

    def choose(self, key, observation, state):
        return jnp.full(observation.alive.shape, self.action, jnp.int32)


class Counter:
    """Waits for as many steps as it remembers: goes right from its third call of an episode on."""

    needs_state = False

    def initial_carry(self, batch=()):
        return jnp.zeros((*batch, 1), jnp.int32)

    def act(self, key, carry, observation, state=None, greedy=True, first=None):
        carry = jnp.where(first, 0, carry)
        return carry + 1, jnp.where(carry >= 2, RIGHT, 0).astype(jnp.int32)


def one_walker(**overrides) -> Chain:
    return chain(num_agents=1, length=40, max_steps=100, **overrides)


def keys(members: int = 1):
    return jax.random.split(jax.random.key(3), members)


def played_by_hand(env, key, num_envs, each):
    """Every copy's first episodes, collected in Python from VectorEnv alone."""
    venv = VectorEnv(env, num_envs, "same_step")
    state, _ = venv.reset(jax.random.split(key)[0])
    step = jax.jit(venv.step)
    found = [[] for _ in range(num_envs)]
    while min(map(len, found)) < each:
        state, _, episode = step(state, jnp.full((num_envs, 1), RIGHT, jnp.int32))
        for i in np.flatnonzero(episode.done):
            found[i].append((float(episode.length[i]), float(episode.returns[i, 0])))
    return np.asarray([row[:each] for row in found]).reshape(-1, 2)


def test_plays_each_copys_first_whole_episodes():
    # Slips on a path of 40 fields: lengths differ, and the first N to finish would be the short ones.
    env = one_walker(slip=0.3)
    evaluator = Evaluator(env, lambda _: Walk(), episodes=21, num_envs=8)
    assert (evaluator.episodes_each, evaluator.episodes) == (3, 24)
    records = evaluator((), keys())
    expected = played_by_hand(env, keys()[0], 8, 3)
    assert len(np.unique(expected[:, 0])) > 5
    np.testing.assert_array_equal(records["episode_length"][0], expected[:, 0])
    np.testing.assert_allclose(records["episode_return"][0], expected[:, 1], rtol=1e-6)


def test_short_episodes_are_not_counted_more_often():
    env = chain(num_agents=1, length=3, max_steps=40)

    class Bold(Scripted):
        """Walks on from field 1 only: 1 step from there, the whole 40 from field 0."""

        def choose(self, key, observation, state):
            at_one = observation.view[..., 0] > 0.4
            return jnp.where(at_one, RIGHT, 0).astype(jnp.int32)

    records = Evaluator(env, lambda _: Bold(), episodes=400, num_envs=100)((), keys())
    lengths = np.asarray(records["episode_length"][0])
    assert set(np.unique(lengths)) == {1.0, 40.0}
    # A fair coin over 400 episodes: five standard deviations. The first N to finish would be 0.97 short ones.
    assert abs(np.mean(lengths == 1.0) - 0.5) < 0.125


def test_returns_metrics_and_learning_agents():
    env = chain(num_agents=3, length=4, max_steps=9, random_start=False)
    env.params = dataclasses.replace(env.params, goal_reward=np.array([1.0, 2.0, 6.0], np.float32))
    policy = JointPolicy(env, {"idle": (Group("idle", (1,)), Walk(0)), "go": (Group("go", (2, 0)), Walk())})
    everyone = Evaluator(env, lambda _: policy, episodes=2)((), keys())
    # Arrivals after 3 steps pay 1 - 3/8 and 6 - 3/8; the idler pays 9/8.
    assert everyone["episode_return_sum"].tolist() == [[7 - 6 / 8 - 9 / 8] * 2]
    np.testing.assert_allclose(everyone["episode_return"], everyone["episode_return_sum"] / 3, rtol=1e-6)
    assert everyone["arrivals"].tolist() == [[2.0, 2.0]]
    assert everyone["episode_length"].tolist() == [[9.0, 9.0]]
    two = Evaluator(env, lambda _: policy, episodes=2, learning=(0, 1))((), keys())
    assert two["episode_return"].tolist() == [[(1 - 3 / 8 - 9 / 8) / 2] * 2]


def test_memory_opens_afresh_with_each_episode():
    env = chain(num_agents=1, length=4, max_steps=9, random_start=False)
    records = Evaluator(env, lambda _: Counter(), episodes=12, num_envs=4)((), keys())
    assert np.unique(records["episode_length"]).tolist() == [5.0]  # two steps of waiting, three of walking


def test_members_are_played_side_by_side_as_alone():
    env = one_walker(slip=0.2, random_start=True)

    def policy_of(params):
        return Walk(params["action"])

    params = {"action": jnp.asarray([RIGHT, 0, RIGHT], jnp.int32)}
    both = Evaluator(env, policy_of, episodes=8, num_envs=4)
    together = both(params, keys(3))
    for member in range(3):
        alone = both(jax.tree.map(lambda x, m=member: x[m : m + 1], params), keys(3)[member : member + 1])
        for name, values in alone.items():
            np.testing.assert_array_equal(together[name][member], values[0])
    assert set(np.asarray(together["episode_length"][1]).tolist()) == {100.0}


def test_same_key_same_numbers_and_compiled_once():
    env = chain(num_agents=1, length=3, max_steps=40)
    evaluator = Evaluator(env, lambda _: RandomPolicy(env), episodes=6, greedy=False)
    first, again = evaluator((), keys()), evaluator((), keys())
    other = evaluator((), jax.random.split(jax.random.key(4), 1))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(first["episode_return"], other["episode_return"])
    assert evaluator._compiled._cache_size() == 1


def test_two_devices_give_the_same_numbers():
    env = one_walker(slip=0.3)
    one = Evaluator(env, lambda _: Walk(), 16, 8)((), keys())
    two = Evaluator(env, lambda _: Walk(), 16, 8, devices=jax.devices()[:2])((), keys())
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-6)


@pytest.mark.parametrize("numbers", [{"episodes": 0}, {"episodes": 4, "num_envs": -1}])
def test_numbers_below_one_are_refused(numbers):
    with pytest.raises(UserError, match="must be at least 1"):
        Evaluator(chain(), lambda _: Walk(), **numbers)


def test_joint_policy_needs_every_agent_once():
    with pytest.raises(UserError, match="own agents"):
        JointPolicy(chain(), {"one": (Group("one", (0,)), Walk())})


@pytest.mark.parametrize(
    ("env_id", "overrides"),
    [
        ("commons/water", {}),
        ("particle/simple-speaker-listener", {}),
        ("combat/smax-3m", {}),
        ("combat/smax-3m", {"control": "both"}),
    ],
)
def test_every_named_policy_can_be_played(env_id, overrides):
    # Traced, not compiled: memory that changes its shape or type from step to step fails here.
    env = make(env_id, **overrides)
    for name in ("random", "idle", *env.scripted_policies()):
        policy = resolve_policy(env, name)
        evaluator = Evaluator(env, lambda _, policy=policy: policy, 4)
        records = jax.eval_shape(evaluator.play, (), keys())
        assert {spec.name for spec in env.metric_specs} <= records.keys()
        assert records["episode_return"].shape == (1, 4)
