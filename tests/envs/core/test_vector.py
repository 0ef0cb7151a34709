"""Both modes of VectorEnv, by values worked out by hand on the chain."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shoal_toys as toys

from shoal.envs.core import UserError, VectorEnv

KEY = jax.random.key(3)
RIGHT = jnp.full((2, 2), toys.RIGHT, jnp.int32)
STAY = jnp.zeros((2, 2), jnp.int32)


def level(*starts: list[float], **params: Any) -> toys.ChainLevel:
    env = toys.chain(**params)
    numbers = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (len(starts),)), env.params)
    return toys.ChainLevel(jnp.array(starts), numbers)


@pytest.fixture(scope="module")
def env() -> toys.Chain:
    return toys.chain(random_start=False)  # fields 0 to 3, at most 8 steps, everyone starts on 0


@pytest.fixture(scope="module")
def programs(env: toys.Chain) -> dict[str, Any]:
    made = {}
    for mode in ("same_step", "next_step"):
        vector = VectorEnv(env, 2, mode)
        made[mode] = (jax.jit(vector.reset), jax.jit(vector.step))
    return made


def test_next_step_by_hand(programs: dict[str, Any]) -> None:
    reset, step = programs["next_step"]
    # Copy 0: walkers one and two fields from the goal; copy 1: both start afresh, three fields away.
    state, timestep = reset(KEY, levels=level([2.0, 1.0], [0.0, 0.0]))
    assert timestep.first.all()
    assert timestep.valid.all()
    np.testing.assert_allclose(timestep.observation.view[0, :, 0], [2 / 3, 1 / 3])

    state, timestep, episode = step(state, RIGHT)
    np.testing.assert_allclose(timestep.reward, [[0.875, -0.125], [-0.125, -0.125]])
    assert timestep.agent_done.tolist() == [[True, False], [False, False]]
    assert not timestep.first.any()
    assert not episode.done.any()

    state, timestep, episode = step(state, RIGHT)
    np.testing.assert_allclose(timestep.reward, [[0.0, 0.875], [-0.125, -0.125]])
    assert timestep.terminated.tolist() == [True, False]
    assert not timestep.truncated.any()
    assert episode.done.tolist() == [True, False]
    np.testing.assert_allclose(episode.returns[0], [0.875, 0.75])
    assert episode.length.tolist() == [2, 2]
    assert float(episode.metrics["arrivals"][0]) == 2.0
    assert not timestep.observation.alive[0].any(), "the final observation, not the next one"

    state, timestep, episode = step(state, RIGHT)  # ignored in copy 0, which resets
    assert timestep.valid.tolist() == [False, True]
    np.testing.assert_allclose(timestep.reward, [[0.0, 0.0], [0.875, 0.875]])
    assert timestep.first.tolist() == [[True, True], [False, False]]
    np.testing.assert_allclose(timestep.observation.view[0], [[0, 0, 1], [0, 0, 1]])
    assert episode.done.tolist() == [False, True]
    assert not (timestep.terminated | timestep.truncated)[0]

    state, timestep, episode = step(state, RIGHT)
    assert timestep.valid.tolist() == [True, False]
    assert int(state.length[0]) == 1
    np.testing.assert_allclose(timestep.observation.view[0, :, 0], [1 / 3, 1 / 3])


def test_same_step_by_hand(programs: dict[str, Any]) -> None:
    reset, step = programs["same_step"]
    state, _ = reset(KEY, levels=level([2.0, 2.0], [0.0, 0.0]))
    state, timestep, episode = step(state, RIGHT)
    np.testing.assert_allclose(timestep.reward, [[0.875, 0.875], [-0.125, -0.125]])
    assert timestep.terminated.tolist() == [True, False]
    assert timestep.valid.all()
    assert timestep.first.tolist() == [[True, True], [False, False]]
    np.testing.assert_allclose(timestep.observation.view[0], [[0, 0, 1], [0, 0, 1]])
    assert timestep.agent_done[0].all(), "about the step that was played, not about the newcomers"
    assert episode.done.tolist() == [True, False]
    np.testing.assert_allclose(episode.returns[0], [0.875, 0.875])

    state, timestep, episode = step(state, RIGHT)
    np.testing.assert_allclose(timestep.reward[0], [-0.125, -0.125])
    assert int(episode.length[0]) == 1
    np.testing.assert_allclose(timestep.observation.view[0, :, 0], [1 / 3, 1 / 3])


@pytest.mark.parametrize(("mode", "period"), [("same_step", 8), ("next_step", 9)])
def test_time_limit_truncates_exactly_at_max_steps(programs: dict[str, Any], mode: str, period: int) -> None:
    reset, step = programs[mode]
    state, _ = reset(KEY)
    ends = []
    for t in range(1, 2 * period + 1):
        state, timestep, episode = step(state, STAY)
        assert not timestep.terminated.any()
        assert timestep.truncated.tolist() == episode.done.tolist()
        if episode.done.any():
            ends.append(t)
            assert episode.length.tolist() == [8, 8]
            np.testing.assert_allclose(episode.returns, -1.0)
    assert ends == [8, period + 8]


def test_closed_form_value() -> None:
    env = toys.chain(num_agents=1, length=6, random_start=False)
    state, timestep = env.reset(KEY)
    total, discount = 0.0, 1.0
    while not timestep.terminated:
        state, timestep = env.step(KEY, state, jnp.array([toys.RIGHT], jnp.int32))
        total, discount = total + discount * float(timestep.reward[0]), discount * 0.9
    assert total == pytest.approx(toys.value(5, 1.0, 0.125, 0.9))
    assert total == pytest.approx(0.9**4 - 0.125 * (1 - 0.9**5) / 0.1)


def test_default_mode_follows_the_time_limit() -> None:
    assert VectorEnv(toys.chain(), 1).mode == "next_step"
    assert VectorEnv(toys.chain(limit_terminates=True), 1).mode == "same_step"
    assert VectorEnv(toys.chain(), 1, "same_step").mode == "same_step"


def test_user_errors() -> None:
    with pytest.raises(UserError, match="num_envs=0 must be at least 1"):
        VectorEnv(toys.chain(), 0)
    with pytest.raises(UserError, match="mode='both' is not one of same_step, next_step"):
        VectorEnv(toys.chain(), 1, "both")


def roll(num_envs: int, first_index: int = 0) -> Any:
    vector = VectorEnv(toys.chain(slip=0.5), num_envs)

    def body(state: Any, _: Any) -> Any:
        state, timestep, _ = vector.step(state, jnp.full((num_envs, 2), toys.RIGHT, jnp.int32))
        return state, (state.env.position, timestep.reward, timestep.first)

    def program(key: Any) -> Any:
        state, _ = vector.reset(key, first_index=first_index)
        return jax.lax.scan(body, state, length=40)[1]

    return jax.jit(program)(KEY)


def test_a_copy_draws_the_same_in_any_batch() -> None:
    whole = roll(5)
    for part, copies in ((roll(2), slice(0, 2)), (roll(3, first_index=2), slice(2, 5))):
        for one, other in zip(whole, part, strict=True):
            np.testing.assert_array_equal(one[:, copies], other)
    assert len(np.unique(np.asarray(whole[0]), axis=1)[0]) > 2, "copies differ from each other"


def test_newcomers_are_marked_first() -> None:
    env = toys.chain(refill=True, random_start=False, length=2)
    state, _ = env.reset(KEY)
    state, timestep = env.step(KEY, state, jnp.array([toys.RIGHT, toys.STAY], jnp.int32))
    assert timestep.agent_done.tolist() == [True, False]
    assert timestep.observation.alive.tolist() == [False, True]
    assert not timestep.first.any()
    state, timestep = env.step(KEY, state, jnp.array([toys.RIGHT, toys.STAY], jnp.int32))
    assert timestep.first.tolist() == [True, False]
    assert timestep.observation.alive.all()
    np.testing.assert_allclose(timestep.reward, [0.0, -0.125])


def test_params_of_the_moment_reach_new_episodes_only(programs: dict[str, Any], env: toys.Chain) -> None:
    reset, step = programs["same_step"]
    rich = env.params.replace(goal_reward=np.float32(10.0))
    state, _ = reset(KEY, levels=level([2.0, 2.0], [0.0, 0.0]))
    state, timestep, _ = step(state, RIGHT, rich)
    assert float(timestep.reward[0, 0]) == 0.875, "this episode keeps the numbers it began with"
    assert state.env.params.goal_reward.tolist() == [10.0, 1.0]


def test_global_state_is_batched(env: toys.Chain) -> None:
    vector = VectorEnv(env, 3)
    state, _ = vector.reset(KEY)
    assert vector.global_state(state).shape == (3, 5)
