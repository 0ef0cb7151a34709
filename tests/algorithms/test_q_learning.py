"""What IQL, VDN and QMIX share: exploring, what is stored, targets at every kind of end, when they learn."""

import operator
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from shoal_recall import Recall
from shoal_toys import chain

from shoal.algorithms.blocks.learner import Group, Setting
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.q_agents import epsilon_greedy
from shoal.algorithms.blocks.q_networks import with_agent_id
from shoal.algorithms.blocks.rollout import open_play, rollout
from shoal.algorithms.blocks.schedules import linear
from shoal.algorithms.iql import IQL, IQLConfig
from shoal.algorithms.qmix import QMIX
from shoal.algorithms.training import Program
from shoal.algorithms.vdn import VDN, VDNConfig
from shoal.envs.core import EntityView, UserError

SMALL = {
    "rollout_length": 6,
    "buffer_size": 16,
    "batch_size": 4,
    "gradient_steps": 2,
    "learning_starts": 0,
    "target_interval": 2,
}
ENVS = 4


def make(kind=VDN, env=None, network=None, sharing="all", **config):
    env = Recall.from_overrides("recall", {"delay": 1}) if env is None else env
    group = Group("all", tuple(range(env.num_agents)))
    network = NetworkConfig(hidden_size=8) if network is None else network
    setting = Setting(env, group, ENVS, 10, not env.time_limit_is_termination, 1, sharing)
    learner = kind(kind.Config(**SMALL | config), network, setting)
    return Program(env, {"all": (group, learner)}, ENVS, learner.config.rollout_length)


def learner_of(program):
    return program.learners["all"][1]


def played(program, seed=1, length=6):
    """One rollout and the state that it was played with."""
    state = jax.jit(learner_of(program).init)(jax.random.key(0))
    play = open_play(program.venv, program.learners, jax.random.key(seed))
    key = jax.random.key(seed + 1)
    return rollout(program.venv, program.learners, {"all": state}, play, key, length)[1]["all"], state


def keys(*seeds):
    return jnp.stack([jax.random.key(seed) for seed in seeds])


def time_first(rows):
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), rows)


# Exploring -------------------------------------------------------------------------------------------


def test_epsilon_falls_linearly_and_stays():
    values = [float(linear(*map(jnp.float32, (1.0, 0.2)), jnp.int32(u), jnp.float32(4.0))) for u in range(7)]
    np.testing.assert_allclose(values, [1.0, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2], rtol=1e-6)
    at_once = linear(jnp.float32(1.0), jnp.float32(0.2), jnp.int32(0), jnp.float32(0.0))
    assert float(at_once) == pytest.approx(0.2)


def test_exploring_is_uniform_over_legal_actions():
    q = jnp.broadcast_to(jnp.asarray([0.0, 9.0, 1.0, 2.0]), (40_000, 4))
    mask = jnp.broadcast_to(jnp.asarray([True, False, True, True]), q.shape)
    actions = epsilon_greedy(jax.random.key(0), q, mask, jnp.float32(0.3))
    shares = np.bincount(actions, minlength=4) / len(actions)
    np.testing.assert_allclose(shares, [0.1, 0.0, 0.1, 0.8], atol=0.01)
    assert (epsilon_greedy(jax.random.key(0), q, mask, jnp.float32(0.0)) == 3).all()


def test_agents_are_told_who_they_are():
    flat = with_agent_id(jnp.zeros((5, 2, 3)), 2, lead=2)
    np.testing.assert_array_equal(flat[4], [[0, 0, 0, 1, 0], [0, 0, 0, 0, 1]])
    grid = with_agent_id(jnp.zeros((5, 2, 4, 4, 3)), 2, lead=2)
    assert (
        grid.shape == (5, 2, 4, 4, 5)
        and (grid[:, 1, :, :, 4] == 1).all()
        and (grid[:, 1, :, :, 3] == 0).all()
    )
    entities = EntityView(
        own=jnp.zeros((2, 3)), entities=jnp.zeros((2, 4, 1)), entity_mask=jnp.ones((2, 4), bool)
    )
    np.testing.assert_array_equal(with_agent_id(entities, 2, lead=1).own[:, 3:], np.eye(2))


def test_the_policy_is_the_exploring_agent_without_chance():
    program = make(epsilon_start=0.0, epsilon_finish=0.0)
    trajectory, state = played(program)
    learner = learner_of(program)
    policy = learner.policy(learner.acting(state.params))
    carry = policy.initial_carry((ENVS,))
    for t in range(6):
        moment = jax.tree.map(operator.itemgetter(t), trajectory.moment)
        carry, action = policy.act(jax.random.key(0), carry, moment.observation, first=moment.first)
        np.testing.assert_array_equal(action, trajectory.action[t])


# What is stored ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [IQL, QMIX])
def test_the_replay_holds_what_was_played(kind):
    program = make(kind, chain(max_steps=4))  # walkers arrive, the clock truncates, resets take a step
    learner = learner_of(program)
    trajectory, _ = played(program)
    rows = time_first(learner.sequences(trajectory))
    np.testing.assert_array_equal(rows.view[:-1], trajectory.moment.observation.view)
    np.testing.assert_array_equal(rows.view[-1], trajectory.last.observation.view)
    np.testing.assert_array_equal(rows.action_mask[:-1], trajectory.moment.observation.action_mask)
    np.testing.assert_array_equal(rows.action, trajectory.action)
    np.testing.assert_array_equal(rows.valid, trajectory.valid)
    alive = trajectory.moment.observation.alive
    np.testing.assert_array_equal(rows.reset[:-1], trajectory.moment.first | ~alive)
    assert not rows.valid.all() and trajectory.truncated.any() and not alive.all()
    if kind is IQL:
        np.testing.assert_array_equal(rows.reward, trajectory.reward)
        np.testing.assert_array_equal(rows.ended, trajectory.agent_done | trajectory.terminated[..., None])
        assert rows.state.size == 0
    else:
        np.testing.assert_allclose(rows.reward, trajectory.reward.sum(-1), rtol=1e-6)  # the chain's team sums
        np.testing.assert_array_equal(rows.ended, trajectory.terminated)
        np.testing.assert_array_equal(rows.cut, trajectory.terminated | trajectory.truncated)
        np.testing.assert_array_equal(rows.state[:-1], trajectory.moment.state)
    held = learner.replay.add(
        jax.jit(learner.init)(jax.random.key(0)).extra["replay"], learner.sequences(trajectory)
    )
    drawn = learner.replay.sample(held, jax.random.key(3))
    same = (drawn.view[:, :, None] == rows.view[:, None]).all(axis=(0, 3, 4))  # [drawn, environment]
    assert same.any(axis=1).all()


def test_memory_in_replay_is_the_memory_that_played():
    """Without exploration the replayed values choose what was played, over ends of episodes too."""
    program = make(epsilon_start=0.0, epsilon_finish=0.0)
    learner = learner_of(program)
    trajectory, state = played(program)
    rows = time_first(learner.sequences(trajectory))
    carry = learner.initial_carry((ENVS, 2))

    def replayed(reset):
        return learner.q_values(state.params["agent"], carry, rows.view, reset)[1]

    q = replayed(rows.reset)
    best = jnp.argmax(jnp.where(rows.action_mask, q, -jnp.inf), axis=-1)
    np.testing.assert_array_equal(best[:-1], trajectory.action)
    assert trajectory.moment.first[2].all()
    assert not np.allclose(q[2:], replayed(jnp.zeros_like(rows.reset))[2:], atol=1e-3)


def test_an_agents_own_end_counts_where_its_reward_is_its_own():
    for team_reward, flags, cuts in (("sum", (), True), ("shared", (), False), ("shared", ("D4",), True)):
        program = make(IQL, chain(max_steps=4, team_reward=team_reward), compat=flags)
        trajectory, _ = played(program)
        ended, _ = learner_of(program).ends(trajectory)
        early = trajectory.agent_done & ~trajectory.terminated[..., None]
        assert early.any() and (ended[early] == cuts).all(), (team_reward, flags)


def test_defects_can_be_restored():
    env = chain(limit_terminates=True, max_steps=4)
    plain = time_first(learner_of(make(VDN, env)).sequences(played(make(VDN, env))[0]))

    def restored(*flags):
        program = make(VDN, env, compat=flags)
        trajectory, _ = played(make(VDN, env))
        return time_first(learner_of(program).sequences(trajectory)), trajectory

    pre, _ = restored("D2-pre")
    np.testing.assert_array_equal(pre.ended[1:], plain.ended[:-1])
    assert not pre.ended[0].any() and plain.ended.any()
    post, _ = restored("D2-post")
    np.testing.assert_array_equal(post.reset[:-1], plain.reset[1:])
    np.testing.assert_array_equal(post.ended, plain.ended)
    d5, _ = restored("D5")
    assert plain.valid[-1].all() and not d5.valid[-1].any()
    d1, trajectory = restored("D1")
    np.testing.assert_array_equal(d1.reset[:-1], trajectory.moment.done_before)
    d3, trajectory = restored("D3")
    done = np.asarray(trajectory.moment.done_before)
    opens = done & np.asarray(trajectory.moment.first)
    assert opens.any() and (np.asarray(plain.view)[:-1][opens] != 0).any()
    assert (np.asarray(d3.view)[:-1][opens] == 0).all()
    np.testing.assert_array_equal(np.asarray(d3.view)[:-1][~done], np.asarray(plain.view)[:-1][~done])


# Targets -----------------------------------------------------------------------------------------------


def constant(learner, value):
    """Parameters with which every action is worth ``value``."""
    state = jax.jit(learner.init)(jax.random.key(0))
    head = state.params["agent"]["params"]["Dense_0"]
    head["kernel"], head["bias"] = jnp.zeros_like(head["kernel"]), jnp.full_like(head["bias"], value)
    return state


@pytest.mark.parametrize("kind", [IQL, VDN])
def test_truncation_bootstraps_and_invalid_steps_do_not_count(kind):
    """Reward 1 for ever, stopped by the clock: with Q = 1 / (1 - gamma) everywhere the loss is zero."""
    env = Recall.from_overrides("recall", {"forever": True, "limit": 3})  # its team's reward is the mean
    program = make(kind, env, gamma=0.9)
    learner = learner_of(program)
    trajectory, _ = played(program)
    state = constant(learner, 10.0 if kind is IQL else 5.0)

    def loss(trajectory):
        rows = time_first(learner.sequences(trajectory))
        return float(learner.loss(state.params, state.params, rows, state.hyper)[0])

    valid, truncated = np.asarray(trajectory.valid), np.asarray(trajectory.truncated)
    assert 0 < valid.sum() < valid.size and truncated.any()
    assert loss(trajectory) == pytest.approx(0.0, abs=1e-6)
    # As an end of the rules each last step misses gamma Q = 9; an invalid step pays nothing and misses 1.
    assert loss(replace(trajectory, terminated=trajectory.truncated)) == pytest.approx(
        81 * truncated.sum() / valid.sum(), rel=1e-5
    )
    everywhere = replace(trajectory, valid=jnp.ones_like(trajectory.valid))
    assert loss(everywhere) == pytest.approx((~valid).sum() / valid.size, rel=1e-5)


def test_the_online_network_chooses_among_legal_actions_and_the_target_network_values():
    program = make(gamma=0.5, reward_scale=2.0)
    learner = learner_of(program)
    trajectory, _ = played(program)
    rows = time_first(learner.sequences(trajectory))
    q = jnp.asarray([1.0, 3.0, 2.0, 9.0])  # the last is illegal
    online, target = (constant(learner, 0.0) for _ in range(2))
    online.params["agent"]["params"]["Dense_0"]["bias"] = q
    target.params["agent"]["params"]["Dense_0"]["bias"] = jnp.asarray([70.0, 5.0, 70.0, 70.0])
    # Two agents, each 5 later on, unless the episode is over.
    wanted = 2.0 * rows.reward + jnp.where(rows.ended, 0.0, 0.5 * 2 * 5.0)
    expected = jnp.mean((q[trajectory.action].sum(-1) - wanted) ** 2)
    loss, metrics = learner.loss(online.params, target.params, rows, online.hyper)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["target_mean"], wanted.mean(), rtol=1e-5)


# When they learn -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def qmix():
    return make(QMIX, learning_starts=30)  # 24 steps an update: the second one learns


@pytest.fixture(scope="module")
def after_one_two_three(qmix):
    """The state after each of three updates, of two members, and metrics."""
    state, seen = qmix.init(keys(0, 1)), []
    for _ in range(3):
        state, _, metrics = qmix.run(state, 1)
        seen.append(
            (
                jax.tree.map(np.asarray, (state.learners["all"].params, state.learners["all"].extra)),
                metrics["all"],
            )
        )
    return state, seen


def differ(a, b):
    return any(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x != y).any()), a, b)))


def test_learning_starts_once_enough_was_played(qmix, after_one_two_three):
    _, seen = after_one_two_three
    opening = jax.tree.map(np.asarray, qmix.init(keys(0, 1)).learners["all"].params)
    assert not differ(seen[0][0][0], opening) and differ(seen[1][0][0], opening)
    np.testing.assert_array_equal([m["gradient_steps"] for _, m in seen], [[0, 0], [2, 2], [2, 2]])
    np.testing.assert_allclose([m["replay_fill"][0] for _, m in seen], [0.25, 0.5, 0.75])
    np.testing.assert_allclose([m["epsilon"][0] for _, m in seen], [1.0, 0.05, 0.05], rtol=1e-6)
    assert all(np.isfinite(value).all() for _, m in seen for value in m.values())
    assert float(seen[0][1]["loss"][0]) == 0.0 < float(seen[1][1]["loss"][0])


def test_the_target_network_is_copied_in_every_second_update(after_one_two_three):
    _, seen = after_one_two_three
    copied = [not differ(params, extra["target"]) for (params, extra), _ in seen]
    assert copied == [True, False, True]  # counted from 0, as published


def test_one_compilation_and_members_equal_runs_of_their_own(qmix, after_one_two_three):
    together, _ = after_one_two_three
    assert qmix._run._cache_size() == 1
    for member in (0, 1):
        alone = qmix.init(keys(member))
        for _ in range(3):
            alone, _, _ = qmix.run(alone, 1)
        ours = jax.tree.map(operator.itemgetter(slice(member, member + 1)), together.learners["all"])
        mine = alone.learners["all"]
        # A batch of members sums in another order.
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-5), mine.params, ours.params
        )
        np.testing.assert_array_equal(
            mine.extra["replay"].experience.action, ours.extra["replay"].experience.action
        )


def test_part_of_the_target_network_can_be_moved():
    learner = learner_of(make(tau=0.25))
    state = jax.jit(learner.init)(jax.random.key(0))
    ones, twos = {"x": jnp.ones(3)}, {"x": jnp.full(3, 2.0)}
    np.testing.assert_allclose(learner.next_target(ones, twos, state)["x"], 1.25)
    late = state.replace(updates=state.updates + 1)
    np.testing.assert_array_equal(learner.next_target(ones, twos, late)["x"], 1.0)


@pytest.mark.parametrize(("kind", "sharing"), [(IQL, "none"), (VDN, "by_type"), (QMIX, "none")])
def test_an_update_lowers_for_every_platform(kind, sharing):
    program = make(kind, chain(), sharing=sharing, targets="lambda", half_precision_replay=True)
    state = jax.eval_shape(lambda k: program.init(k), keys(0))
    member = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state)
    platforms = ("cpu", "cuda", "tpu")
    assert export.export(jax.jit(program.update), platforms=platforms)(member).platforms == platforms


def test_the_replay_is_counted_before_it_is_made():
    program = make(QMIX)
    learner = learner_of(program)
    held = jax.jit(learner.init)(jax.random.key(0)).extra["replay"]
    assert learner.replay_bytes() == sum(x.nbytes for x in jax.tree.leaves(held))


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        (VDNConfig, {"batch_size": 0}, "algorithm.batch_size=0 must be at least 1"),
        (VDNConfig, {"epsilon_finish": 1.5}, "algorithm.epsilon_finish=1.5 must be between 0 and 1"),
        (VDNConfig, {"buffer_size": 8}, "algorithm.buffer_size=8 must be at least batch_size=32"),
        (VDNConfig, {"targets": "lamda"}, "did you mean"),
        (VDNConfig, {"compat": ("D4",)}, "no flag 'D4'"),
        (IQLConfig, {"compat": ("D2-pre", "D2-post")}, "two forms of one defect"),
        (IQLConfig, {"reward_scale": 0.0}, "algorithm.reward_scale=0.0 must be above 0"),
    ],
)
def test_bad_values_are_one_line(kind, change, words):
    with pytest.raises(UserError, match=words):
        kind(**change)


def test_what_cannot_be_valued_is_refused():
    with pytest.raises(UserError, match="need Discrete ones"):
        make(VDN, chain(actions="box"))
    with pytest.raises(UserError, match="buffer_size=2 must be at least num_envs=4"):
        make(VDN, buffer_size=2, batch_size=1)


def test_paper_means_the_defects_of_the_published_tables():
    assert IQLConfig(compat=("paper",)).flags == {"D1", "D2-pre", "D3", "D4", "D5"}
    assert VDNConfig(compat=("paper",)).flags == {"D1", "D2-pre", "D3", "D5"}
