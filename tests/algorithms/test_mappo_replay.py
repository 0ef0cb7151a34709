"""MAPPO from stored rollouts: what is kept, drawn and bootstrapped from, and when it learns."""

from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from shoal_recall import Recall

from shoal.algorithms import mappo_replay
from shoal.algorithms.blocks.learner import Group, Setting
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.mappo_replay import ReplayMAPPO, ReplayMAPPOConfig
from shoal.algorithms.training import Program
from shoal.envs.core import UserError

ENVS, STEPS, AGENTS, STORED, DRAWN = 2, 6, 3, 6, 5
FIRST = 3  # updates until five rollouts are stored


@pytest.fixture(scope="module")
def recall():
    return Recall.from_overrides("recall", {"delay": 1, "num_agents": AGENTS})


def learner_on(env, **config):
    group = Group("all", tuple(range(env.num_agents)))
    setting = Setting(env, group, ENVS, 10, not env.time_limit_is_termination)
    base = {"rollout_length": STEPS, "epochs": 2, "target_interval": 2}
    base |= {"buffer_size": STORED, "batch_size": DRAWN}
    return ReplayMAPPO(ReplayMAPPOConfig(**(base | config)), NetworkConfig(hidden_size=8), setting)


@pytest.fixture(scope="module", params=[True, False], ids=["agents", "team"])
def played(request, recall):
    """A learner, its state before every update and after the last, and what was played in each."""
    learner = learner_on(recall, agent_id=request.param)
    program = Program(recall, {"all": (learner.setting.group, learner)}, ENVS, STEPS)

    @jax.jit
    def update(state):
        trajectory = program.play(state)[2]["all"]
        state, _, metrics = program.update(state)
        return state, trajectory, metrics["all"]

    state = jax.tree.map(lambda x: x[0], program.init(jax.random.split(jax.random.key(0), 1)))
    states, trajectories, metrics = [state.learners["all"]], [], []
    for _ in range(FIRST + 4):
        state, trajectory, watched = update(state)
        states.append(state.learners["all"])
        trajectories.append(trajectory)
        metrics.append(watched)
    return learner, states, trajectories, metrics


def test_the_latest_rollouts_are_stored_in_turn(played):
    _, states, trajectories, metrics = played
    for count in (1, 2, 3, 5):
        stored = states[count].extra["stored"]
        for turn in range(STORED // ENVS):
            written = [t for t in range(count) if t % (STORED // ENVS) == turn]
            place = slice(turn * ENVS, (turn + 1) * ENVS)
            if not written:
                assert not np.asarray(stored.valid)[:, place].any()
                continue
            wanted = trajectories[written[-1]]
            np.testing.assert_array_equal(stored.action[:, place], wanted.action)
            np.testing.assert_array_equal(stored.reward[:, place], wanted.reward)
            np.testing.assert_array_equal(stored.moment.state[:, place], wanted.moment.state)
            np.testing.assert_array_equal(stored.last.observation.view[place], wanted.last.observation.view)
    np.testing.assert_allclose([m["replay_fill"] for m in metrics[:4]], [1 / 3, 2 / 3, 1, 1])


def test_nothing_is_learned_before_enough_is_stored_and_the_target_follows(played):
    _, states, _, metrics = played
    assert [float(m["gradient_steps"]) for m in metrics] == [0.0] * (FIRST - 1) + [2.0] * 5

    def same(a, b):
        return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool(np.all(x == y)), a, b)))

    for before, after in pairwise(states[:FIRST]):
        assert same(before.params, after.params) and same(before.opt_state, after.opt_state)
    for before, after in pairwise(states[FIRST - 1 :]):
        moved = jax.tree.map(lambda x, y: bool(np.any(x != y)), before.params, after.params)
        assert all(jax.tree.leaves(moved))
    copied = [
        same(a.extra["target"], a.params["critic"]) and not same(a.extra["target"], b.extra["target"])
        for b, a in pairwise(states)
    ]
    learned = [number - FIRST + 1 for number in range(1, len(copied) + 1)]
    assert copied == [count > 0 and count % 2 == 0 for count in learned]


def test_a_first_epoch_starts_on_the_policy_at_hand(played):
    learner, states, _, _ = played
    state = states[-1]

    @jax.jit
    def noted(state):
        drawn = mappo_replay._pick(state.extra["stored"], jnp.arange(DRAWN))
        batch = learner._noted(state, drawn)
        samples, carry = learner._samples(state, batch)
        (_, watch), _ = jax.value_and_grad(learner._loss, has_aux=True)(
            state.params, carry, learner.one_batch(samples), state.hyper
        )
        return batch, watch

    batch, watch = noted(state)
    assert batch.extras["log_prob"].shape == (STEPS, DRAWN, AGENTS)
    assert abs(float(watch["approx_kl"])) < 1e-6 and float(watch["clip_fraction"]) == 0.0


def test_targets_are_those_of_a_plain_loop(played):
    learner, states, _, _ = played
    state = states[-1]
    drawn = mappo_replay._pick(state.extra["stored"], jnp.arange(DRAWN))
    key = jax.random.key(5)
    over = jnp.zeros((STEPS, DRAWN), bool)  # one episode ends by the rules, one by the clock
    drawn = replace(
        drawn,
        reward=jax.random.normal(key, (STEPS, DRAWN, AGENTS)),
        terminated=over.at[2, 1].set(True),
        truncated=over.at[3, 2].set(True),
    )

    @jax.jit
    def targets(state, drawn):
        batch = learner._noted(state, drawn)
        moments = learner.prepared(state.extra, drawn.moments())
        params = state.params | {"critic": state.extra["target"]}
        value = learner.forward(params, batch.carry, moments)[2]
        return learner._advantages(state, batch)[1], value

    target, value = (np.asarray(x) for x in targets(state, drawn))
    gamma, reward = 0.99, np.asarray(drawn.reward).mean(-1)  # a team is paid the mean here
    assert learner.setting.env.team_reward == "mean" and not learner.setting.final_observations
    ended = np.asarray(drawn.terminated | drawn.truncated)  # without final observations nothing follows
    for t in range(STEPS):
        for e in range(DRAWN):
            wanted, discount = 0.0, 1.0
            for k in range(t, STEPS):
                wanted, discount = wanted + discount * reward[k, e], discount * gamma
                if ended[k, e]:
                    break
                if k == t + learner.config.n_step - 1 or k == STEPS - 1:
                    wanted = wanted + discount * value[k + 1, e]
                    break
            np.testing.assert_allclose(target[t, e], wanted, rtol=1e-4, atol=1e-5)


def test_drawing_repeats_nothing_and_takes_what_is_there_first():
    for seed in range(20):
        order = np.asarray(mappo_replay._without_repeats(jax.random.key(seed), 8, jnp.asarray(5)))
        assert sorted(order) == list(range(8)) and set(order[:5]) == set(range(5))
    orders = {
        tuple(np.asarray(mappo_replay._without_repeats(jax.random.key(s), 8, jnp.asarray(8)))[:7])
        for s in range(20)
    }
    assert len(orders) == 20


def test_actors_are_told_who_they_are_when_they_play_too(recall):
    learner = learner_on(recall)
    params = jax.jit(learner.init)(jax.random.key(0)).params
    first = params["actor"]["params"]
    inputs = first["Trunk_0"]["Dense_0"]["kernel"].shape[0]
    _, timestep = jax.vmap(recall.reset)(jax.random.split(jax.random.key(1), 4))
    assert inputs == timestep.observation.view.shape[-1] + AGENTS
    policy = learner.policy(learner.acting(params))
    _, action = policy.act(jax.random.key(2), policy.initial_carry((4,)), timestep.observation)
    assert action.shape == (4, AGENTS)


def test_the_buffer_is_counted_before_it_is_made(recall):
    learner = learner_on(recall)
    stored = jax.eval_shape(learner.init, jax.random.key(0)).extra["stored"]
    assert learner.replay_bytes() == sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(stored)) > 0


def test_an_update_lowers_for_every_platform(recall):
    learner = learner_on(recall)
    program = Program(recall, {"all": (learner.setting.group, learner)}, ENVS, STEPS)
    state = jax.eval_shape(lambda k: program.init(k), jax.random.split(jax.random.key(0), 1))
    member = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state)
    platforms = ("cpu", "cuda", "tpu")
    assert export.export(jax.jit(program.update), platforms=platforms)(member).platforms == platforms


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 7}, "algorithm.buffer_size=6 must be at least batch_size=7"),
        ({"minibatches": 2}, "algorithm.minibatches=2 must be 1; batch_size says"),
        ({"n_step": 0}, "algorithm.n_step=0 must be at least 1"),
        ({"buffer_size": 7}, "buffer_size=7 does not divide by num_envs=2; choose 6"),
    ],
)
def test_bad_values_are_one_line(recall, change, words):
    with pytest.raises(UserError, match=words):
        learner_on(recall, **change)
