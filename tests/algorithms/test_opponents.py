"""Opponents: their rows, their memory, their blocks; the pool; teams that change places."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_duel import duel

from shoal.algorithms.blocks.learner import Group
from shoal.algorithms.blocks.opponents import (
    PRESENT,
    Opponent,
    PoolConfig,
    ScriptedTeam,
    SwappingVectorEnv,
    draw,
    keep,
    met,
    open_pool,
)
from shoal.envs.core import UserError, VectorEnv
from shoal.envs.core.policy import Scripted

ENVS = 4


@dataclass(frozen=True)
class Plays:
    """Plays the action that is its parameter; remembers how often since its memory was opened."""

    params: jax.Array
    size: int
    needs_state: bool = False

    def initial_carry(self, batch=()):
        return jnp.zeros((*batch, self.size), jnp.int32)

    def act(self, key, carry, observation, state=None, greedy=True, first=None):
        assert not greedy and (state is not None) == self.needs_state
        action = jnp.broadcast_to(self.params["action"], observation.alive.shape)
        if self.needs_state:
            action = jnp.broadcast_to(state.round[..., None], observation.alive.shape)
        return carry + 1, action


def playing(size, needs_state=False):
    return lambda params: Plays(params, size, needs_state)


def held(*actions):
    return {"action": jnp.asarray(actions if len(actions) > 1 else actions[0], jnp.int32)}


@pytest.fixture(scope="module")
def opened():
    """A batch of three against two, agents of the teams in turns."""
    env = duel(first=3, second=2, interleaved=True)
    return env, *VectorEnv(env, ENVS).reset(jax.random.key(0))


def test_it_acts_for_its_own_rows(opened):
    _, _, timestep = opened
    opponent = Opponent(Group("second", (1, 3)), playing(2))
    carry = opponent.initial_carry(held(2), ENVS)
    carry, action = opponent.act(held(2), jax.random.key(1), carry, timestep, None)
    assert action.shape == carry.shape == (ENVS, 2) and int(action.min()) == 2 and int(carry.max()) == 1


def test_blocks_of_environments_meet_policies_of_their_own(opened):
    _, vector, timestep = opened
    opponent = Opponent(Group("second", (1, 3)), playing(2), "ippo", 2)
    params = held(0, 1)
    carry = opponent.initial_carry(params, ENVS) + jnp.arange(ENVS, dtype=jnp.int32)[:, None]
    after, action = opponent.act(params, jax.random.key(1), carry, timestep, None)
    np.testing.assert_array_equal(action, [[0, 0], [1, 1], [0, 0], [1, 1]])
    np.testing.assert_array_equal(after, carry + 1)  # everybody's memory stays his own
    again = opponent.reopened(params, after, jnp.asarray([True, False]), ENVS)
    np.testing.assert_array_equal(again[:, 0], [0, 2, 0, 4])
    # The state arrives in blocks as well.
    planner = Opponent(Group("second", (1, 3)), playing(2, True), "ippo", 2)
    assert planner.needs_state(params) and not opponent.needs_state(params)
    state = replace(vector.env, round=jnp.arange(ENVS, dtype=jnp.int32))
    _, action = planner.act(params, jax.random.key(1), carry, timestep, state)
    np.testing.assert_array_equal(action[:, 0], np.arange(ENVS))


def test_blocks_draw_for_themselves(opened):
    """Two blocks with the same parameters do not play in step."""
    _, _, timestep = opened

    class Chance(Scripted):
        def choose(self, key, observation, state):
            return jax.random.randint(key, observation.alive.shape, 0, 1000, jnp.int32)

    opponent = Opponent(Group("second", (1, 3)), lambda _: Chance(), "ippo", 2)
    _, action = opponent.act(held(0, 0), jax.random.key(1), (), timestep, None)
    assert len(np.unique(action)) == action.size


def test_a_script_for_all_plays_one_team(opened):
    env, _, timestep = opened

    class Seen(Scripted):
        """Answers with its place among all, and 10 where it looks dead."""

        def choose(self, key, observation, state):
            place = jnp.arange(env.num_agents, dtype=jnp.int32)
            return jnp.where(observation.alive, place, 10) + jnp.zeros(observation.alive.shape, jnp.int32)

    seen = []

    class Spy(Seen):
        def choose(self, key, observation, state):
            seen.append(observation)
            return super().choose(key, observation, state)

    group = Group("second", (3, 1))
    policy = ScriptedTeam(Spy(), group, env.num_agents)
    rows = group.rows(timestep.observation, env.num_agents)
    _, action = policy.act(jax.random.key(0), policy.initial_carry((ENVS,)), rows)
    np.testing.assert_array_equal(action, [[3, 1]] * ENVS)
    np.testing.assert_array_equal(seen[0].alive[0], [False, True, False, True, False])
    np.testing.assert_array_equal(seen[0].view[:, 3], timestep.observation.view[:, 3])
    assert float(jnp.abs(seen[0].view[:, 0]).max()) == 0.0
    one = jax.tree.map(lambda leaf: leaf[0], rows)
    assert policy.act(jax.random.key(0), (), one)[1].tolist() == [3, 1]


# The pool ----------------------------------------------------------------------------------------------


def test_the_pool_keeps_the_newest_of_every_so_many_updates():
    config = PoolConfig(size=3, every=2, blocks=1)
    pool = open_pool(config, held(100))
    np.testing.assert_array_equal(pool.snapshots["action"], [100] * 3)
    seen = []
    for update in range(1, 9):
        pool = keep(config, pool, held(update), jnp.asarray(update, jnp.int32))
        seen.append((int(pool.taken), pool.snapshots["action"].tolist()))
    assert seen == [
        (1, [100, 100, 100]),
        (2, [100, 2, 100]),
        (2, [100, 2, 100]),
        (3, [100, 2, 4]),
        (3, [100, 2, 4]),
        (4, [6, 2, 4]),
        (4, [6, 2, 4]),
        (5, [6, 8, 4]),
    ]


def test_blocks_meet_the_present_and_the_past_as_often_as_said():
    config = PoolConfig(size=4, every=1, present=0.25, blocks=4000)
    pool = open_pool(config, held(0))
    pool = keep(config, pool, held(1), jnp.asarray(1, jnp.int32))
    pool = keep(config, pool, held(2), jnp.asarray(2, jnp.int32))
    pool = draw(config, pool, jax.random.key(0))
    found, counts = np.unique(pool.drawn, return_counts=True)
    assert found.tolist() == [PRESENT, 0, 1, 2]  # the fourth place is not taken yet
    np.testing.assert_allclose(counts / 4000, 0.25, atol=0.035)  # five standard deviations
    params = met(pool, held(9))["action"]
    np.testing.assert_array_equal(params, np.where(pool.drawn == PRESENT, 9, pool.drawn))


@pytest.mark.parametrize(("present", "drawn"), [(1.0, {PRESENT}), (0.0, {0})])
def test_only_the_present_or_only_the_past(present, drawn):
    config = PoolConfig(present=present, blocks=64)
    pool = draw(config, open_pool(config, held(0)), jax.random.key(0))
    assert set(pool.drawn.tolist()) == drawn


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 0}, "opponent_pool.size=0 must be at least 1"),
        ({"every": 0}, "opponent_pool.every=0 must be at least 1"),
        ({"present": 1.5}, "opponent_pool.present=1.5 must be between 0 and 1"),
    ],
)
def test_bad_numbers_are_one_line(change, words):
    with pytest.raises(UserError, match=words):
        PoolConfig(**change)


# Changing places -----------------------------------------------------------------------------------------


def test_teams_change_places_in_every_second_environment():
    """Three rounds with fixed actions, compared with the same game played from the other side by hand."""
    env = duel(interleaved=True, rounds=3)
    plain, swapping = VectorEnv(env, 2), SwappingVectorEnv(env, 2)
    state, timestep = swapping.reset(jax.random.key(0))
    side = timestep.observation.view[..., 0]  # 1 on the first team
    np.testing.assert_array_equal(side, [[1, 0, 1, 0], [0, 1, 0, 1]])
    by_hand, _ = plain.reset(jax.random.key(0))
    action = jnp.asarray([[0, 1, 2, 1], [0, 1, 2, 1]], jnp.int32)
    across = jnp.asarray([[0, 1, 2, 1], [1, 0, 1, 2]], jnp.int32)
    for _ in range(3):
        state, timestep, episode = swapping.step(state, action)
        by_hand, expected, finished = plain.step(by_hand, across)
        assert not np.array_equal(expected.reward[1], expected.reward[1, jnp.asarray([1, 0, 3, 2])])
        np.testing.assert_array_equal(timestep.reward[0], expected.reward[0])
        np.testing.assert_array_equal(timestep.reward[1], expected.reward[1, jnp.asarray([1, 0, 3, 2])])
    np.testing.assert_array_equal(episode.returns[1], finished.returns[1, jnp.asarray([1, 0, 3, 2])])
    np.testing.assert_array_equal(episode.done, [True, True])
    np.testing.assert_array_equal(timestep.first, np.ones((2, 4), bool))


def test_unequal_teams_cannot_change_places():
    with pytest.raises(UserError, match="two teams of one size"):
        SwappingVectorEnv(duel(first=1), 2)
