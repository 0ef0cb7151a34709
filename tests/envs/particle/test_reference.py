"""Simple reference by hand: layout, messages, reward, end, bots and picture."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_scripts import played_by_script

from shoal.envs.core import Recording, VectorEnv, make
from shoal.envs.particle.reference.types import Level

KEY = jax.random.key(0)
STAY, LEFT, RIGHT, DOWN, UP = range(5)


@pytest.fixture(scope="module")
def env() -> Any:
    return make("particle/simple-reference-v1")


@pytest.fixture(scope="module")
def step(env: Any) -> Any:
    jitted = jax.jit(env.step)
    return lambda state, *actions: jitted(KEY, state, jnp.asarray(actions, jnp.int32))


@pytest.fixture(scope="module")
def opening(env: Any) -> Any:
    """Agents at (0, 0) and (1, 0), landmarks at (0, 0.5), (0.25, 0), (2, 0); they should go to 2 and to 1."""
    x = jnp.asarray([0.0, 1.0, 0.0, 0.25, 2.0])
    y = jnp.asarray([0.0, 0.0, 0.5, 0.0, 0.0])
    goal = jnp.asarray([2, 1], jnp.int32)
    return env.reset(KEY, level=Level(x=x, y=y, params=env.params, goal=goal))


def test_views_at_the_start(env: Any, opening: Any) -> None:
    state, timestep = opening
    first = [0, 0, 0, 0.5, 0.25, 0, 2, 0, 0.25, 0.75, 0.25, *[0] * 10]
    second = [0, 0, -1, 0.5, -0.75, 0, 1, 0, 0.25, 0.25, 0.75, *[0] * 10]
    np.testing.assert_allclose(timestep.observation.view, [first, second], atol=1e-6)
    np.testing.assert_allclose(env.global_state(state), first + second, atol=1e-6)
    assert timestep.observation.action_mask.shape == (2, 50)


def test_an_action_is_a_move_and_a_symbol(opening: Any, step: Any) -> None:
    state, timestep = step(opening[0], RIGHT + 5 * 3, DOWN + 5 * 9)
    np.testing.assert_allclose(state.particles.vx[:2], [0.5, 0.0], atol=1e-6)
    np.testing.assert_allclose(state.particles.vy[:2], [0.0, -0.5], atol=1e-6)
    view = timestep.observation.view
    assert view[0, 11:].tolist() == np.eye(10)[9].tolist()  # what the other said
    assert view[1, 11:].tolist() == np.eye(10)[3].tolist()


@pytest.mark.parametrize("odd", [50, -1, np.iinfo(np.int32).max, np.iinfo(np.int32).min])
def test_what_is_no_action_stays_and_says_zero(opening: Any, step: Any, odd: int) -> None:
    jax.tree.map(np.testing.assert_array_equal, step(opening[0], odd, odd), step(opening[0], STAY, STAY))


def test_each_pays_half_for_the_other_and_half_for_both(opening: Any, step: Any) -> None:
    """Agent 0 is 2 from its goal, agent 1 is 0.75 from its own; agents pass through each other."""
    _, timestep = step(opening[0], STAY, STAY)
    both = 0.5 * (2 + 0.75) / 2
    np.testing.assert_allclose(timestep.reward, [-both - 0.5 * 0.75, -both - 0.5 * 2], rtol=1e-6)
    assert float(timestep.metrics["goal_distance"]) == pytest.approx(1.375)
    assert float(timestep.metrics["at_goal"]) == 0.0


def test_at_goal_means_touching(opening: Any, step: Any) -> None:
    state = opening[0]
    for gap, share in ((0.0999, 0.5), (0.1001, 0.0)):
        x = state.particles.x.at[0].set(2.0 - gap)
        _, timestep = step(state.replace(particles=state.particles.replace(x=x)), STAY, STAY)
        assert float(timestep.metrics["at_goal"]) == share


def test_real_actions_push_and_speak() -> None:
    env = make("particle/simple-reference", continuous_actions=True)
    assert env.action_space.shape == (15,)
    state, _ = env.reset(KEY)
    action = np.zeros((2, 15), np.float32)
    action[0, [2, 7]] = 0.5, 0.25
    action[1, [3, 14]] = 1.0, 7.0
    state, timestep = jax.jit(env.step)(KEY, state, jnp.asarray(action))
    np.testing.assert_allclose(state.particles.vx[:2], [0.25, 0.0], atol=1e-6)
    np.testing.assert_allclose(state.particles.vy[:2], [0.0, -0.5], atol=1e-6)
    np.testing.assert_allclose(timestep.observation.view[1, 11:], 0.25 * np.eye(10)[2], atol=1e-6)
    np.testing.assert_allclose(timestep.observation.view[0, 11:], np.eye(10)[9], atol=1e-6)


def test_goals_are_drawn_apart_and_alike(env: Any) -> None:
    keys = jax.random.split(jax.random.key(3), 4096)
    level = jax.jit(jax.vmap(env.sample_level, (0, None)))(keys, env.params)
    pair = np.bincount(np.asarray(level.goal) @ np.array([3, 1]), minlength=9) / 4096
    assert pair.shape == (9,) and np.abs(pair - 1 / 9).max() < 5 * np.sqrt(8 / 81 / 4096)


@pytest.mark.parametrize("overrides", [{}, {"continuous_actions": True}], ids=str)
def test_the_script_solves_it(overrides: dict[str, Any]) -> None:
    env = make("particle/simple-reference", **overrides)
    episode = played_by_script(env)
    assert episode.done.all()
    assert episode.metrics["at_goal"].mean() > 0.99
    assert episode.returns.mean() > -8.5


def test_the_script_says_the_goal_of_the_other(env: Any, opening: Any) -> None:
    action = env.scripted_policies()["scripted"]().act(KEY, (), opening[1].observation)[1]
    assert (action // 5).tolist() == [1, 2]
    assert (action % 5).tolist() == [RIGHT, LEFT]  # towards the middle of the landmarks, (0.75, 0.17)


def test_strict(env: Any, strict_numerics: None) -> None:
    state, timestep = jax.jit(env.reset)(KEY)
    _, action = env.scripted_policies()["scripted"]().act(KEY, (), timestep.observation)
    state, _ = jax.jit(env.step)(KEY, state, action)
    env.global_state(state)
    vector = VectorEnv(env, 3)
    vector.step(vector.reset(KEY)[0], jnp.zeros((3, 2), jnp.int32))


def test_picture(env: Any, opening: Any, step: Any) -> None:
    played = jax.device_get([opening, step(opening[0], 5 * 4, UP)])
    states, timesteps = zip(*played, strict=True)
    clip = env.scene(Recording(states, (np.asarray([20, UP]),), (KEY,), timesteps))
    assert clip.frames[0].subtitle == "step 0   goals blue and green   said nothing and nothing"
    assert clip.frames[1].subtitle == "step 1   goals blue and green   said 4 and 0"
