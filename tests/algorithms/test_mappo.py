"""MAPPO's own choices: sizes, whose value it is, the critic's memory, its state, and two optimisers."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from shoal_recall import Recall

from shoal.algorithms.blocks import normalisation
from shoal.algorithms.blocks.advantages import team_reward
from shoal.algorithms.blocks.learner import Group, Moment, Setting
from shoal.algorithms.blocks.minibatches import shuffles
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.rollout import open_play, rollout
from shoal.algorithms.mappo import MAPPO, MAPPOConfig
from shoal.algorithms.training import Program
from shoal.envs.core import Observation, UserError, VectorEnv, make

NETWORK, ENVS, STEPS = NetworkConfig(hidden_size=8), 8, 6
MODES = {"team": {}, "agent_id": {"agent_id": True}, "paper": {"compat": ("paper",)}}


def learner_on(env, num_envs=ENVS, network=NETWORK, sharing="all", shuffle_groups=2, **config):
    group = Group("all", tuple(range(env.num_agents)))
    setting = Setting(env, group, num_envs, 10, not env.time_limit_is_termination, shuffle_groups, sharing)
    return MAPPO(MAPPOConfig(rollout_length=STEPS, epochs=2, **config), network, setting)


@pytest.fixture(scope="module")
def recall():
    return Recall.from_overrides("recall", {"delay": 1, "num_agents": 3})


@pytest.fixture(scope="module", params=list(MODES))
def played(request, recall):
    """A learner, its state after a few states were seen, and a rollout that opens mid-episode."""
    learner = learner_on(recall, **MODES[request.param])
    venv, owned = VectorEnv(recall, ENVS), {"all": (learner.setting.group, learner)}

    @jax.jit
    def play(key):
        state = jax.jit(learner.init)(key)
        extra = learner.open_extra(jnp.zeros((1, 3)))
        if learner.normalises:
            extra = normalisation.seen(extra, jax.random.normal(key, (20, 3)) + 1.0)
        state = replace(state, extra=extra)
        opened, _, _ = rollout(venv, owned, {"all": state}, open_play(venv, owned, key), key, 3)
        _, trajectories, _ = rollout(venv, owned, {"all": state}, opened, key, STEPS)
        return state, trajectories["all"]

    return learner, *play(jax.random.key(0))


def sizes(params):
    return {name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in params.items()}


@pytest.mark.parametrize(("agent_id", "critic"), [(True, 131_585), (False, 130_945)])
def test_parameter_counts_are_the_published_ones(agent_id, critic):
    # Spec 4.2, whose critic is told the agent; without that it has 5 x 128 fewer.
    learner = learner_on(make("combat/smax-2s3z"), network=NetworkConfig(hidden_size=128), agent_id=agent_id)
    params = jax.eval_shape(lambda k: learner.init(k).params, jax.random.key(0))
    assert sizes(params) == {"actor": 133_002, "critic": critic}


def test_first_epoch_starts_on_policy(played):
    """The loss recomputes what exploring noted: same memory, same state, same resets."""
    learner, state, trajectory = played
    moment = learner.prepared(state.extra, trajectory.moment)
    _, distribution, value = learner._forward(state.params, trajectory.carry, moment)
    np.testing.assert_allclose(
        distribution.log_prob(trajectory.action), trajectory.extras["log_prob"], atol=1e-5
    )
    np.testing.assert_allclose(value, trajectory.extras["value"], atol=1e-5)
    assert value.shape == ((STEPS, ENVS) if learner.team_values else (STEPS, ENVS, 3))
    assert np.abs(np.asarray(trajectory.carry[1])).max() > 0  # the critic remembered something


def test_minibatches_hold_every_sequence_with_its_own_state(played):
    learner, state, trajectory = played
    samples, carry = learner._samples(state, trajectory)
    c, blocks = learner.config, learner.setting.shuffle_groups
    order = shuffles(jax.random.key(3), c.epochs, learner.rows, c.minibatches, blocks)
    assert order.shape == (4, 2, learner.rows // 4)

    @jax.jit
    def recalled(index):
        batch = learner.minibatch(samples, index)
        memory = jax.tree.map(lambda leaf: take(leaf, index), carry)
        _, _, value = learner._forward(state.params, memory, batch["moment"])
        return jnp.abs(value - batch["value"]).max(), batch["weight"].sum()

    losses, counts = zip(*(recalled(index) for index in order[:2]), strict=True)  # one epoch
    counted = float(sum(counts))
    assert max(losses) < 1e-5 and counted == STEPS * ENVS * 3


def test_one_minibatch_holds_what_the_shuffled_ones_do(played):
    learner, state, trajectory = played
    samples, carry = learner._samples(state, trajectory)
    batch = learner.one_batch(samples)
    _, _, value = jax.jit(learner.forward)(state.params, carry, batch["moment"])
    np.testing.assert_allclose(value, samples["value"], atol=1e-5)


def take(leaf, index):
    half = leaf.shape[0] // 2
    return jnp.concatenate([leaf[:half][index[0]], leaf[half:][index[1]]])


def test_the_critic_is_told_whom_it_judges(recall):
    learner = learner_on(recall, agent_id=True, normalise_state=False)
    row = learner._judged(jnp.asarray([[[5.0, 6.0, 7.0]]]), jnp.arange(3), (1, 1, 3))
    np.testing.assert_array_equal(row[0, 0, :, :3], [[5.0, 6.0, 7.0]] * 3)
    np.testing.assert_array_equal(row[0, 0, :, 3:], np.eye(3))


def moment_where(first, alive):
    first, alive = jnp.asarray([first]), jnp.asarray([alive])
    seen = Observation(jnp.ones((1, 3, 4)), jnp.ones((1, 3, 4), bool), alive)
    return Moment(seen, first, jnp.asarray([[True, False, False]]), jnp.ones((1, 3)))


@pytest.mark.parametrize(
    ("config", "first", "alive", "forgets"),
    [
        ({}, [True, True, True], [True, True, True], [True]),
        ({}, [True, False, False], [True, True, True], [False]),  # a newcomer: the team goes on
        ({}, [False, False, False], [True, False, True], [False]),
        ({"agent_id": True}, [True, False, False], [True, True, False], [True, False, True]),
        ({"compat": ("paper",)}, [True, True, True], [True, True, True], [True, False, False]),  # D1
    ],
)
def test_the_critic_forgets_where_what_it_judges_begins(recall, config, first, alive, forgets):
    learner = learner_on(recall, num_envs=1, shuffle_groups=1, **config)
    state = jax.jit(learner.init)(jax.random.key(0))
    clean = learner.initial_carry((1, 3))
    dirty = jax.tree.map(jnp.ones_like, clean)
    moment = moment_where(first, alive)
    explore = jax.jit(lambda carry: learner.explore(state, jax.random.key(1), carry, moment)[2]["value"][0])
    values = [explore(carry) for carry in (clean, dirty)]
    np.testing.assert_array_equal(np.atleast_1d(values[0] == values[1]), forgets)


def test_a_team_value_learns_the_team_reward(recall):
    rewards = jnp.asarray([[1.0, 2.0, 6.0]])
    assert [float(team_reward(how, rewards)[0]) for how in ("shared", "sum", "mean")] == [1.0, 9.0, 3.0]
    learner = learner_on(recall, gamma=0.9)
    state = jax.eval_shape(learner.init, jax.random.key(0))
    assert learner.team_values and learner.rows == ENVS and state.extra.mean.shape == (3,)


def test_policies_play_without_the_critic(recall):
    learner = learner_on(recall)
    params = jax.jit(learner.init)(jax.random.key(0)).params
    policy = learner.policy(learner.acting(params))
    assert "critic" not in learner.acting(params) and not policy.needs_state
    carry = policy.initial_carry((4,))
    assert carry.shape == (4, 3, 8)
    _, timestep = jax.vmap(recall.reset)(jax.random.split(jax.random.key(1), 4))
    carry, action = policy.act(jax.random.key(2), carry, timestep.observation, first=timestep.first)
    assert action.shape == (4, 3) and action.max() < 3


def test_state_moments_are_those_of_everything_seen():
    x = np.asarray(jax.random.normal(jax.random.key(0), (50, 3))) * [1.0, 5.0, 0.0] + [0.0, 9.0, 4.0]
    x = x.astype(np.float32)
    moments = normalisation.no_moments(3)
    np.testing.assert_array_equal(normalisation.normalised(moments, jnp.asarray(x)), x)
    for part in (x[:7].reshape(7, 1, 3), x[7:30], x[30:]):
        moments = normalisation.seen(moments, jnp.asarray(part))
    np.testing.assert_allclose(moments.mean, x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(moments.squares / moments.count, x.var(0), rtol=1e-4, atol=1e-6)
    normal = np.asarray(normalisation.normalised(moments, jnp.asarray(x)))
    np.testing.assert_allclose(normal[:, :2].std(0), 1.0, rtol=1e-3)
    np.testing.assert_allclose(normal[:, 2], 0.0, atol=1e-2)
    assert float(normalisation.normalised(moments, jnp.full(3, 1e9)).max()) == 10.0


@pytest.mark.parametrize("sharing", ["all", "by_type"])
def test_actor_and_critic_step_apart(recall, sharing):
    learner = learner_on(recall, sharing=sharing, max_grad_norm=1e-3, critic_learning_rate=0.5)
    state = jax.jit(learner.init)(jax.random.key(0))
    grads = jax.tree.map(jnp.ones_like, state.params)
    grads["actor"] = jax.tree.map(jnp.zeros_like, grads["actor"])
    rates = learner.learning_rates(state.hyper)
    assert {name: round(float(rate), 6) for name, rate in rates.items()} == {
        "learning_rate": 0.002,
        "critic_learning_rate": 0.5,
    }
    params, _, watch = jax.jit(learner.descend)(state.params, state.opt_state, grads, state.hyper, rates)
    jax.tree.map(np.testing.assert_array_equal, params["actor"], state.params["actor"])
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).min()), params["critic"], state.params["critic"])
    assert min(jax.tree.leaves(moved)) > 0.4  # Adam's first step is the rate, whatever the size
    assert float(watch["grad_norm"]) == 0.0 and float(watch["critic_grad_norm"]) > 1.0


@pytest.fixture(scope="module")
def program(recall):
    learner = learner_on(recall)
    return Program(recall, {"all": (learner.setting.group, learner)}, ENVS, STEPS)


def test_an_update_lowers_for_every_platform(program):
    state = jax.eval_shape(lambda k: program.init(k), jax.random.split(jax.random.key(0), 1))
    member = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state)
    platforms = ("cpu", "cuda", "tpu")
    assert export.export(jax.jit(program.update), platforms=platforms)(member).platforms == platforms


def test_an_update_changes_both_networks_and_the_moments(program):
    state = program.init(jax.random.split(jax.random.key(0), 2))
    before = jax.tree.map(np.asarray, state.learners["all"].params)
    state, _, metrics = program.run(state, 2)
    after = state.learners["all"]
    differ = jax.tree.map(lambda a, b: bool(np.any(a != b)), before, jax.tree.map(np.asarray, after.params))
    assert all(jax.tree.leaves(differ))
    np.testing.assert_array_equal(after.extra.count, 2 * STEPS * ENVS)
    assert all(np.isfinite(value).all() for value in metrics["all"].values())
    np.testing.assert_allclose(metrics["all"]["critic_learning_rate"], metrics["all"]["learning_rate"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"critic_learning_rate": -1.0}, "algorithm.critic_learning_rate=-1.0 must be at least 0"),
        ({"compat": ("D2",)}, "no flag 'D2'"),
        ({"epochs": 0}, "algorithm.epochs=0 must be at least 1"),
    ],
)
def test_bad_values_are_one_line(change, words):
    with pytest.raises(UserError, match=words):
        MAPPOConfig(**change)


def test_published_flags_undo_the_repairs(recall):
    learner = learner_on(recall, compat=("paper",))
    assert not learner.normalises and not learner.team_values and learner.config.batching(4, 3) == (12, 2)
    assert learner_on(recall).config.batching(4, 3) == (4, 2)
