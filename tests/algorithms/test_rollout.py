"""The shared rollout: each group's actions reach its own agents, and each learner gets its own rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_duel import BAIT, SOUND, duel
from shoal_recall import Recall

from shoal.algorithms.blocks.learner import Group, TrainState
from shoal.algorithms.blocks.opponents import Opponent
from shoal.algorithms.blocks.rollout import open_play, rollout
from shoal.algorithms.ippo import IPPO
from shoal.envs.core import VectorEnv

ENVS, STEPS = 4, 6


class Always(IPPO):
    """Plays one action for ever and counts its steps in its memory."""

    config = setting = None

    def __init__(self, action, needs_state=False):
        self.action, self.needs_state = action, needs_state

    def initial_carry(self, batch):
        return jnp.zeros(batch, jnp.int32)

    def explore(self, train_state, key, carry, moment):
        action = jnp.full(carry.shape, self.action, jnp.int32)
        return carry + 1, action, {"before": carry}


def play(learners, **options):
    env = Recall.from_overrides("recall", {"num_agents": 3, "cues": 2, **options})
    venv = VectorEnv(env, ENVS)
    nothing = TrainState({}, {}, {}, jnp.zeros((), jnp.int32), jax.random.key(0))
    states = dict.fromkeys(learners, nothing)
    opened = open_play(venv, learners, jax.random.key(0))
    run = jax.jit(lambda opened, key: rollout(venv, learners, states, opened, key, STEPS))
    return opened, *run(opened, jax.random.key(1))


@pytest.fixture(scope="module")
def two_groups():
    # Owned out of order, so that a wrong permutation shows.
    return play(
        {"second": (Group("second", (2, 0)), Always(1)), "first": (Group("first", (1,)), Always(0, True))}
    )


def test_actions_reach_their_agents(two_groups):
    opened, _, trajectories, _ = two_groups
    cue = np.asarray(opened.vector.env.cue)  # [E, 3] of the first episode, which lasts one step
    paid = {"second": cue[:, [2, 0]] == 1, "first": cue[:, [1]] == 0}
    for name, expected in paid.items():
        np.testing.assert_array_equal(np.asarray(trajectories[name].reward)[0] > 0, expected)
        assert 0 < expected.mean() < 1  # a cue of each kind, or the test says nothing


def test_rows_and_memory_are_the_groups_own(two_groups):
    _, end, trajectories, _ = two_groups
    second, first = trajectories["second"], trajectories["first"]
    assert second.action.shape == (STEPS, ENVS, 2) and first.action.shape == (STEPS, ENVS, 1)
    np.testing.assert_array_equal(second.extras["before"][:, 0, 0], np.arange(STEPS))
    np.testing.assert_array_equal(end.carries["first"], STEPS)
    assert second.carry.max() == 0 and second.last_carry.min() == STEPS
    view = np.asarray(second.moment.observation.view)
    assert view.shape[2] == 2 and second.last.observation.view.shape[:2] == (ENVS, 2)


def test_only_those_who_ask_get_the_state(two_groups):
    _, _, trajectories, _ = two_groups
    assert trajectories["second"].moment.state == ()
    assert trajectories["first"].moment.state.shape == (STEPS, ENVS, 3)


def test_totals_count_what_happened():
    everyone = {"all": (Group("all", (0, 1, 2)), Always(0))}
    _, _, trajectories, totals = play(everyone, forever=True, limit=2)
    # Two steps, then one reset step that is no transition: 4 of 6 steps count, two episodes end.
    assert int(totals.env_steps) == 4 * ENVS and int(totals.episodes) == 2 * ENVS
    assert float(totals.episode_return) == 2 * 2 * ENVS and float(totals.episode_length) == 2 * 2 * ENVS
    np.testing.assert_array_equal(trajectories["all"].valid[:, 0], [True, True, False] * 2)


# Agents that nobody learns for --------------------------------------------------------------------------


class Waits(Always):
    """As a policy: plays its action from its third call of an episode on, before that SOUND."""

    def initial_carry(self, batch=()):
        return jnp.zeros((*batch, 2), jnp.int32)

    def act(self, key, carry, observation, state=None, greedy=True, first=None):
        carry = jnp.where(first, 0, carry)
        assert (state is not None) == self.needs_state
        return carry + 1, jnp.where(carry >= 2, self.action, SOUND).astype(jnp.int32)


@pytest.fixture(scope="module")
def against():
    """Three that learn against two that do not, in turns on the agent axis; episodes of three rounds."""
    env = duel(first=3, second=2, interleaved=True, rounds=3)
    venv = VectorEnv(env, ENVS)
    learners = {"ippo": (Group("reds", (0, 2, 4)), Always(0))}
    opponents = {"blues": Opponent(Group("blues", (1, 3)), lambda _: Waits(BAIT, needs_state=True))}
    nothing = TrainState({}, {}, {}, jnp.zeros((), jnp.int32), jax.random.key(0))
    given = {"opponents": opponents, "opponent_params": {"blues": ()}}
    opened = open_play(venv, learners, jax.random.key(0), **given)
    run = jax.jit(
        lambda opened: rollout(
            venv, learners, {"ippo": nothing}, opened, opened.vector.keys[0], STEPS, **given
        )
    )
    return run(opened)


def test_opponents_act_and_remember_but_are_not_learned_from(against):
    end, trajectories, _ = against
    assert trajectories.keys() == {"ippo"}
    # GREEDY meets SOUND twice, then BAIT, in each of two episodes.
    paid = np.asarray(trajectories["ippo"].reward)
    assert paid.shape == (STEPS, ENVS, 3)
    np.testing.assert_allclose(paid[:, 0, 0], [-1, -1, 3] * 2)
    assert end.carries["blues"].shape == (ENVS, 2) and int(end.carries["blues"].max()) == 3


def test_returns_are_those_of_learning_agents(against):
    totals = against[2]
    assert int(totals.episodes) == 2 * ENVS and totals.team_return == {}
    np.testing.assert_allclose(totals.episode_return, 1.0 * 2 * ENVS)
    np.testing.assert_allclose(totals.episode_return_sum, 3.0 * 2 * ENVS)


def test_each_team_that_learns_has_its_return(two_groups):
    _, _, trajectories, totals = two_groups
    for name, kept in trajectories.items():
        total = float(np.sum(np.mean(np.asarray(kept.reward), axis=2)))
        np.testing.assert_allclose(totals.team_return[name], total, rtol=1e-5)
