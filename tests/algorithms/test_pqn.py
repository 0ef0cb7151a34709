"""PQN-VDN's own choices: targets of the rollout itself, batch normalisation, stored memory."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from shoal_recall import Recall

from shoal.algorithms.blocks.learner import Group, Setting
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.rollout import open_play, rollout
from shoal.algorithms.pqn_vdn import PQNVDN, PQNVDNConfig
from shoal.algorithms.training import Program
from shoal.envs.core import UserError, make

ENVS = 4


def build(env=None, sharing="all", hidden=8, **config):
    env = Recall.from_overrides("recall", {"delay": 1}) if env is None else env
    group = Group("all", tuple(range(env.num_agents)))
    setting = Setting(env, group, ENVS, 10, not env.time_limit_is_termination, 1, sharing)
    config = PQNVDNConfig(**{"rollout_length": 6, "epochs": 2, "minibatches": 2} | config)
    learner = PQNVDN(config, NetworkConfig(hidden_size=hidden, num_layers=2), setting)
    return Program(env, {"all": (group, learner)}, ENVS, config.rollout_length)


def learner_of(program):
    return program.learners["all"][1]


def played(program, play=None):
    state = jax.jit(learner_of(program).init)(jax.random.key(0))
    play = open_play(program.venv, program.learners, jax.random.key(1)) if play is None else play
    play, trajectories, _ = rollout(
        program.venv, program.learners, {"all": state}, play, jax.random.key(2), 6
    )
    return trajectories["all"], state, play


def keys(*seeds):
    return jnp.stack([jax.random.key(seed) for seed in seeds])


def test_truncation_bootstraps_and_invalid_steps_do_not_count():
    """Reward 1 for ever, stopped by the clock: with Q = 1 / (1 - gamma) for the team the loss is zero."""
    program = build(Recall.from_overrides("recall", {"forever": True, "limit": 3}), gamma=0.9)
    learner = learner_of(program)
    trajectory, state, _ = played(program)
    head = state.params["params"]["Dense_0"]
    head["kernel"], head["bias"] = jnp.zeros_like(head["kernel"]), jnp.full_like(head["bias"], 5.0)

    def loss(trajectory):
        samples = learner.samples(trajectory)
        return float(learner.loss(state.params, trajectory.carry, samples, state.hyper)[0])

    assert trajectory.truncated.any() and not trajectory.valid.all()
    assert loss(trajectory) == pytest.approx(0.0, abs=1e-5)
    assert loss(replace(trajectory, terminated=trajectory.truncated)) > 1.0
    assert loss(replace(trajectory, valid=jnp.ones_like(trajectory.valid))) > 0.1


def test_targets_are_the_best_legal_actions_of_every_agent():
    program = build(gamma=0.5, td_lambda=0.0, reward_scale=2.0)
    learner = learner_of(program)
    trajectory, state, _ = played(program)
    head, q = state.params["params"]["Dense_0"], jnp.asarray([1.0, 3.0, 2.0, 9.0])  # the last is illegal
    head["kernel"], head["bias"] = jnp.zeros_like(head["kernel"]), q
    samples = learner.samples(trajectory)
    wanted = 2.0 * samples["reward"] + jnp.where(trajectory.terminated, 0.0, 0.5 * 2 * 3.0)
    expected = jnp.mean((q[trajectory.action].sum(-1) - wanted) ** 2)
    loss, _ = learner.loss(state.params, trajectory.carry, samples, state.hyper)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_a_rollout_goes_on_where_the_last_one_stopped():
    program = build(Recall.from_overrides("recall", {"delay": 4}), epsilon_start=0.0, epsilon_finish=0.0)
    learner = learner_of(program)
    _, _, play = played(program)
    trajectory, state, _ = played(program, play)
    assert not trajectory.moment.first[0].any() and (trajectory.carry != 0).any()
    samples = learner.samples(trajectory)
    _, q = learner.q_values(state.params, trajectory.carry, samples["view"], samples["reset"])
    best = jnp.argmax(jnp.where(samples["action_mask"], q, -jnp.inf), axis=-1)
    np.testing.assert_array_equal(best[:-1], trajectory.action)


@pytest.fixture(scope="module")
def batch_normed():
    return build(norm="batch", norm_input=True)


def test_batch_normalisation_learns_by_the_batch_and_plays_by_running_means(batch_normed):
    opening = batch_normed.init(keys(0, 1))
    before = jax.tree.map(np.asarray, opening.learners["all"].params)
    state, _, metrics = batch_normed.run(opening, 2)
    after = jax.tree.map(np.asarray, state.learners["all"].params)
    assert set(after) == {"params", "batch_stats"}
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), before, after)
    assert all(jax.tree.leaves(moved["batch_stats"])) and any(jax.tree.leaves(moved["params"]))
    assert len(jax.tree.leaves(after["batch_stats"])) == 6  # mean and variance of the input and two layers
    assert all(np.isfinite(value).all() for value in metrics["all"].values())
    # Playing does not depend on who else plays.
    learner = learner_of(batch_normed)
    trajectory, _, _ = played(batch_normed)
    params = jax.tree.map(lambda x: jnp.asarray(x[0]), after)
    view, reset = trajectory.moment.observation.view, trajectory.moment.first
    _, all_of_them = learner.q_values(params, trajectory.carry, view, reset)
    _, one = learner.q_values(params, trajectory.carry[:1], view[:, :1], reset[:, :1])
    np.testing.assert_allclose(one, all_of_them[:, :1], atol=1e-5)


def test_batch_normalisation_needs_shared_parameters():
    with pytest.raises(UserError, match="need sharing=all"):
        build(sharing="none", norm="batch")
    build(sharing="none", norm="layer")


@pytest.mark.parametrize("config", [{"norm": "batch", "norm_input": True}, {"sharing": "none"}])
def test_an_update_lowers_for_every_platform(config):
    program = build(**config)
    state = jax.eval_shape(lambda k: program.init(k), keys(0))
    member = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state)
    platforms = ("cpu", "cuda", "tpu")
    assert export.export(jax.jit(program.update), platforms=platforms)(member).platforms == platforms


def test_sizes_follow_the_published_network():
    env = make("combat/smax-2s3z")
    learner = learner_of(build(env, hidden=512, norm="batch", norm_input=True))
    params = jax.eval_shape(lambda k: learner.init(k).params, jax.random.key(0))["params"]
    inputs, h, actions = env.observation_space.shape[0] + 5, 512, 10
    dense = inputs * h + h + h * h + h
    norms = 2 * inputs + 2 * 2 * h
    gru = 3 * (h * h + h * h + h) + h
    assert sum(x.size for x in jax.tree.leaves(params)) == dense + norms + gru + h * actions + actions


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"norm": "bach"}, "algorithm.norm='bach' is not one of none, layer, batch; did you mean"),
        ({"minibatches": 0}, "algorithm.minibatches=0 must be at least 1"),
        ({"td_lambda": 2.0}, "algorithm.td_lambda=2.0 must be between 0 and 1"),
    ],
)
def test_bad_values_are_one_line(change, words):
    with pytest.raises(UserError, match=words):
        PQNVDNConfig(**change)
