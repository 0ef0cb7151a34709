"""Learners of action values reach stated scores on small games, and their broken variants do not."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_games import Door, Opening, Stream, TwoStep
from shoal_recall import Recall

from shoal.algorithms.blocks.learner import Group, Setting
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.iql import IQL
from shoal.algorithms.pqn_vdn import PQNVDN
from shoal.algorithms.qmix import QMIX
from shoal.algorithms.training import Program
from shoal.algorithms.vdn import VDN
from shoal.envs.core import VectorEnv

pytestmark = [pytest.mark.learning, pytest.mark.slow]
SEEDS, ENVS = 3, 16
REPLAY = {
    "learning_rate": 5e-3,
    "gamma": 0.9,
    "buffer_size": 640,
    "batch_size": 32,
    "gradient_steps": 4,
    "learning_starts": 0,
    "target_interval": 5,
}
PQN = {"learning_rate": 3e-3, "gamma": 0.9, "minibatches": 2}


def trained(kind, env, length, updates, network, **config):
    """Returns the program and its state after ``updates``."""
    group = Group("all", tuple(range(env.num_agents)))
    config = kind.Config(rollout_length=length, **(PQN if issubclass(kind, PQNVDN) else REPLAY) | config)
    learner = kind(config, network, Setting(env, group, ENVS, updates, VectorEnv(env, 1).mode == "next_step"))
    program = Program(env, {"all": (group, learner)}, ENVS, length)
    state = program.init(jax.random.split(jax.random.key(0), SEEDS))
    return program, program.run(state, updates)[0]


def greedy_return(program, state, steps):
    """What one episode pays per agent to the greedy policy, per seed."""
    learner, venv = program.learners["all"][1], VectorEnv(program.env, 1)

    def play(params):
        policy = learner.policy(learner.acting(params))
        vector, timestep = venv.reset(jax.random.key(1))
        carry, total = policy.initial_carry((1,)), jnp.zeros(())
        for _ in range(steps):
            carry, action = policy.act(jax.random.key(2), carry, timestep.observation, first=timestep.first)
            vector, timestep, _ = venv.step(vector, action)
            total += timestep.reward[0, 0]
        return total

    return np.asarray(jax.jit(jax.vmap(play))(state.learners["all"].params))


# The two-step game -----------------------------------------------------------------------------------


class Blind(QMIX):
    """The mixer does not see the state."""

    def mix(self, params, q, state):
        return super().mix(params, q, jnp.ones_like(state))


class NeverCopied(QMIX):
    """The target network stays as it was drawn."""

    def next_target(self, target, params, train_state):
        return target


class Shifted(QMIX):
    """The observation at hand is taken for the next one."""

    def target_of(self, batch, next_value, hyper):
        return super().target_of(batch, jnp.roll(next_value, 1, axis=0), hyper)


def two_step(kind, **params):
    env = TwoStep.from_overrides("two-step", params)
    network = NetworkConfig(hidden_size=16, core="none", activation="tanh")
    # The published gain of 0.001 costs more steps than there are here.
    config = {"epsilon_finish": 1.0, "gamma": 0.99} | ({"mixer_gain": 1.0} if issubclass(kind, QMIX) else {})
    program, state = trained(kind, env, 2, 250, network, **config)
    return greedy_return(program, state, 2)


def test_qmix_finds_what_a_sum_cannot_represent():
    np.testing.assert_allclose(two_step(QMIX), 8.0)
    np.testing.assert_allclose(two_step(VDN), 7.0)


TEMPTING = {"bonus": 4.0, "safe": 1.0}  # 5 in all, 4 of it at once


def test_the_mixer_must_see_the_state():
    # Agents do not see which game they play.
    np.testing.assert_allclose(two_step(QMIX, seen=False, **TEMPTING), 8.0)
    np.testing.assert_allclose(two_step(Blind, seen=False, **TEMPTING), 5.0)


@pytest.mark.parametrize("kind", [NeverCopied, Shifted])
def test_without_true_bootstrap_what_is_paid_at_once_wins(kind):
    np.testing.assert_allclose(two_step(kind, **TEMPTING), 5.0)


# Masks, ends and memory -------------------------------------------------------------------------------------


class AllLegal(VDN):
    """The mask is ignored where the next action is chosen."""

    def loss(self, params, target_params, batch, hyper):
        batch = replace(batch, action_mask=jnp.ones_like(batch.action_mask))
        return super().loss(params, target_params, batch, hyper)


@pytest.mark.parametrize(("kind", "opens"), [(VDN, True), (AllLegal, False), (PQNVDN, True)])
def test_the_mask_holds_for_the_next_action(kind, opens):
    network = NetworkConfig(hidden_size=16, core="none")
    program, state = trained(kind, Door("door"), 4, 150, network, epsilon_finish=0.5)
    np.testing.assert_allclose(greedy_return(program, state, 1), 3.0 if opens else 1.0)


class ClockEnds(VDN):
    """Truncation is treated as termination."""

    def ends(self, trajectory):
        _, cut = super().ends(trajectory)
        return cut, cut


@pytest.mark.parametrize(("kind", "stays"), [(VDN, True), (ClockEnds, False), (PQNVDN, True)])
def test_the_clock_is_no_end(kind, stays):
    env = Stream.from_overrides("stream", {})
    network = NetworkConfig(hidden_size=16, core="none")
    program, state = trained(kind, env, 8, 150, network, epsilon_finish=0.5)
    np.testing.assert_allclose(greedy_return(program, state, 1), 1.0 if stays else 4.0)


class NeverForgets(VDN):
    """Memory runs through the ends of episodes."""

    def agents_reset(self, moment):
        return jnp.zeros_like(moment.first)


@pytest.mark.parametrize(("kind", "knows"), [(VDN, True), (NeverForgets, False)])
def test_memory_starts_afresh_in_replay(kind, knows):
    env = Opening.from_overrides("opening", {})
    program, state = trained(kind, env, 12, 120, NetworkConfig(hidden_size=16))
    _, totals, _ = program.run(state, 10)
    right = totals.episode_return / totals.episode_length
    assert (right > 0.85).all() if knows else (right < 0.75).all(), right


@pytest.mark.parametrize("kind", [IQL, VDN, PQNVDN])
def test_it_remembers_and_names_the_cue(kind):
    env = Recall.from_overrides("recall", {"delay": 2})
    network = NetworkConfig(hidden_size=24)
    program, state = trained(kind, env, 12, 90, network, epsilon_decay=0.4, epsilon_finish=0.0)
    _, totals, _ = program.run(state, 10)
    assert (totals.metrics["right"] / totals.episodes).min() >= 0.9


def test_without_memory_it_cannot():
    env = Recall.from_overrides("recall", {"delay": 2})
    network = NetworkConfig(hidden_size=24, core="none")
    program, state = trained(VDN, env, 12, 90, network, epsilon_decay=0.4, epsilon_finish=0.0)
    _, totals, _ = program.run(state, 10)
    # Guessing names one cue in three.
    assert (totals.metrics["right"] / totals.episodes).max() < 0.6
