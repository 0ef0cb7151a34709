"""IPPO's own choices: sizes, masks, ends of episodes, memory, annealing, and what it refuses."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_recall import Recall

from shoal.algorithms.blocks import ppo
from shoal.algorithms.blocks.learner import hyper_of
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.ippo import IPPOConfig
from shoal.envs.core import UserError, VectorEnv, make


def learner_of(program):
    return program.learners["all"][1]


def test_parameter_count_is_the_published_one(make_program):
    # Spec 4.2: 149,643 parameters on 2s3z at width 128.
    env = make("combat/smax-2s3z")
    program = make_program(env, num_envs=8, network=NetworkConfig(hidden_size=128))
    params = jax.eval_shape(lambda k: learner_of(program).init(k).params, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 149_643


def test_truncation_bootstraps_from_the_final_observation(make_program):
    """Reward 1 for ever, stopped by the clock: with V = 1 / (1 - gamma) everywhere, no step is a surprise."""
    env = Recall.from_overrides("recall", {"forever": True, "limit": 3})
    program = make_program(env, gamma=0.9)
    learner = learner_of(program)
    trajectory, train_state = fixed_value_trajectory(program, value=10.0)
    advantage, _ = learner._advantages(train_state, trajectory)
    valid = np.asarray(trajectory.valid)
    assert 0 < valid.sum() < valid.size and np.asarray(trajectory.truncated).any()
    np.testing.assert_allclose(np.asarray(advantage)[valid], 0.0, atol=1e-4)
    # Treating the clock as an end of the rules would see a loss of V at each last step.
    ended = replace(trajectory, terminated=trajectory.truncated)
    advantage, _ = learner._advantages(train_state, ended)
    last = np.asarray(trajectory.truncated)
    np.testing.assert_allclose(np.asarray(advantage)[last], -9.0, atol=1e-3)


def fixed_value_trajectory(program, value):
    """A rollout whose critic says ``value`` everywhere."""
    from shoal.algorithms.blocks.rollout import open_play, rollout

    learner = learner_of(program)
    state = jax.jit(learner.init)(jax.random.key(0))
    head = state.params["params"]["critic_head"]["Dense_1"]
    head["kernel"], head["bias"] = jnp.zeros_like(head["kernel"]), jnp.full_like(head["bias"], value)
    play = open_play(program.venv, program.learners, jax.random.key(1))
    _, trajectories, _ = rollout(program.venv, program.learners, {"all": state}, play, jax.random.key(2), 6)
    return trajectories["all"], state


@pytest.mark.parametrize("shared", [True, False])
def test_an_agent_that_is_done_is_cut_only_where_rewards_are_its_own(make_program, shared):
    env = Recall.from_overrides("recall", {"forever": True, "limit": 50})
    env.metadata = replace(env.metadata, team_reward="shared" if shared else "sum")
    program = make_program(env, gamma=0.9)
    trajectory, state = fixed_value_trajectory(program, value=10.0)
    done = np.zeros(trajectory.agent_done.shape, bool)
    done[2, :, 0] = True
    advantage, _ = learner_of(program)._advantages(state, replace(trajectory, agent_done=jnp.asarray(done)))
    np.testing.assert_allclose(np.asarray(advantage)[2, :, 0], 0.0 if shared else -9.0, atol=1e-3)
    np.testing.assert_allclose(np.asarray(advantage)[2, :, 1], 0.0, atol=1e-3)


@pytest.mark.parametrize(("compat", "leaks"), [((), False), (("paper",), True)])
def test_memory_ends_with_the_episode_unless_d1_is_asked_for(make_program, compat, leaks):
    program = make_program(compat=compat)
    learner = learner_of(program)
    state = jax.jit(learner.init)(jax.random.key(0))
    venv = VectorEnv(program.env, 8)
    _, timestep = venv.reset(jax.random.key(1))
    from shoal.algorithms.blocks.learner import Group, moment_of

    moment = moment_of(Group("all", (0, 1)), timestep, 2)
    dirty = jnp.ones((8, 2, 8))
    _, _, notes = learner.explore(state, jax.random.key(2), dirty, moment)
    _, _, clean = learner.explore(state, jax.random.key(2), jnp.zeros_like(dirty), moment)
    assert bool(jnp.any(notes["value"] != clean["value"])) is leaks


def test_the_learning_rate_falls_linearly_to_zero(program):
    state = program.init(jnp.stack([jax.random.key(0)]))
    rates = []
    for _ in range(3):
        state, _, metrics = program.run(state, 1)
        rates.append(float(metrics["all"]["learning_rate"][0]))
    np.testing.assert_allclose(rates, np.float32(2e-3) * (1 - np.arange(3) / 10), rtol=1e-6)


def test_the_entropy_bonus_falls_as_the_learning_rate_does(make_program):
    def metrics(entropy_coef, **config):
        program = make_program(**config)
        learner = learner_of(program)
        trajectory, state = fixed_value_trajectory(program, value=0.5)
        hyper = state.hyper | {"entropy_coef": jnp.asarray(entropy_coef)}
        half = jnp.asarray(learner.setting.total_updates // 2, state.updates.dtype)
        return jax.jit(learner.learn)(replace(state, hyper=hyper, updates=half), trajectory)[1]

    falling, half, whole = metrics(0.2, anneal_entropy=True), metrics(0.1), metrics(0.2)
    assert float(falling["loss"]) == pytest.approx(float(half["loss"]), abs=1e-6)
    assert float(half["loss"] - whole["loss"]) == pytest.approx(0.1 * float(half["entropy"]), rel=0.01)


def test_first_epoch_starts_on_policy(program):
    """Before the first gradient step the ratio is one: the loss recomputes what exploring noted."""
    learner = learner_of(program)
    trajectory, state = fixed_value_trajectory(program, value=0.5)
    _, distribution, value = learner._forward(state.params, trajectory.carry, trajectory.moment)
    np.testing.assert_allclose(
        distribution.log_prob(trajectory.action), trajectory.extras["log_prob"], atol=1e-5
    )
    np.testing.assert_allclose(value, trajectory.extras["value"], atol=1e-5)


def test_ppo_terms_by_hand():
    log_ratio = jnp.log(jnp.asarray([1.5, 0.5, 1.0, 9.0]))
    advantage = jnp.asarray([1.0, -1.0, 2.0, 5.0])
    weight = jnp.asarray([1.0, 1.0, 1.0, 0.0])
    loss, watch = ppo.policy_terms(log_ratio, jnp.zeros(4), advantage, weight, jnp.asarray(0.2))
    assert float(loss) == pytest.approx(-(1.2 - 0.8 + 2.0) / 3, rel=1e-6)
    assert float(watch["clip_fraction"]) == pytest.approx(2 / 3)
    value = ppo.value_loss(
        jnp.asarray([1.0, 0.0]),
        jnp.asarray([0.0, 0.0]),
        jnp.asarray([1.0, 2.0]),
        jnp.ones(2),
        jnp.asarray(0.2),
    )
    assert float(value) == pytest.approx(0.5 * (0.64 + 4.0) / 2, rel=1e-6)
    normal = ppo.normalise(jnp.asarray([1.0, 3.0, 99.0]), jnp.asarray([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(normal[:2], [-1.0, 1.0], rtol=1e-5)


def test_floats_are_swept_even_when_given_as_whole_numbers():
    hyper = hyper_of(IPPOConfig(learning_rate=1))
    assert float(hyper["learning_rate"]) == 1.0 and "epochs" not in hyper and "squash" not in hyper


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 0}, "algorithm.epochs=0 must be at least 1"),
        ({"gamma": 1.5}, "algorithm.gamma=1.5 must be between 0 and 1"),
        ({"clip": -0.1}, "algorithm.clip=-0.1 must be above 0"),
        ({"compat": ("D7",)}, "no flag 'D7'"),
    ],
)
def test_bad_values_are_one_line(change, words):
    with pytest.raises(UserError, match=words):
        IPPOConfig(**change)
