"""Simple speaker-listener by hand: layout, messages, motion, reward, end, bots and picture."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.envs.core import RandomPolicy, Recording, VectorEnv, is_legal, make
from shoal.envs.particle.speaker_listener.types import Level

KEY = jax.random.key(0)
STAY, LEFT, RIGHT, DOWN, UP = 3, 4, 5, 6, 7


@pytest.fixture(scope="module")
def env() -> Any:
    return make("particle/simple-speaker-listener-v1")


@pytest.fixture(scope="module")
def step(env: Any) -> Any:
    jitted = jax.jit(env.step)
    return lambda state, say, move: jitted(KEY, state, jnp.asarray([say, move], jnp.int32))


@pytest.fixture(scope="module")
def opening(env: Any) -> Any:
    """Speaker at (0.5, 0.5), listener at the origin, landmarks right of, above (the goal) and left of it."""
    x = jnp.asarray([0.5, 0.0, 0.3, 0.0, -0.5])
    y = jnp.asarray([0.5, 0.0, 0.0, 0.4, 0.0])
    return env.reset(KEY, level=Level(x=x, y=y, goal=jnp.int32(1), params=env.params))


def test_views_at_the_start(env: Any, opening: Any) -> None:
    state, timestep = opening
    seen = [0.15, 0.65, 0.15, 0, 0, 0.3, 0, 0, 0.4, -0.5, 0, 0, 0, 0]
    speaker, listener = np.array(seen), np.array(seen)
    speaker[3:], listener[:3] = 0, 0
    np.testing.assert_allclose(timestep.observation.view, [speaker, listener], atol=1e-7)
    np.testing.assert_allclose(env.global_state(state), seen, atol=1e-7)
    assert timestep.observation.action_mask.astype(int).tolist() == [[1] * 3 + [0] * 5, [0] * 3 + [1] * 5]


def test_metadata_says_where_the_true_spaces_are(env: Any) -> None:
    m = env.metadata
    assert [space.shape for space in m.observation_spaces] == [(3,), (11,)]
    assert [space.n for space in m.action_spaces] == [3, 5]
    assert [len(c) for c in m.observation_columns] == [3, 11]
    assert m.action_columns == ((0, 1, 2), (3, 4, 5, 6, 7))
    assert m.groups == {"speaker": (0,), "listener": (1,)} and m.agent_types == (0, 1)


@pytest.mark.parametrize("say", [0, 1, 2])
def test_a_message_is_heard_after_the_step(opening: Any, step: Any, say: int) -> None:
    _, timestep = step(opening[0], say, STAY)
    assert timestep.observation.view[1, 11:].tolist() == np.eye(3)[say].tolist()
    assert not timestep.observation.view[0, 3:].any()


@pytest.mark.parametrize(("move", "x", "y"), [(LEFT, -1, 0), (RIGHT, 1, 0), (DOWN, 0, -1), (UP, 0, 1)])
def test_a_push_changes_velocity_now_and_position_next(
    opening: Any, step: Any, move: int, x: int, y: int
) -> None:
    state, timestep = step(opening[0], 0, move)
    np.testing.assert_allclose(timestep.observation.view[1, 3:5], [0.5 * x, 0.5 * y], atol=1e-7)
    assert float(state.particles.x[1]) == 0.0 and float(state.particles.y[1]) == 0.0
    state, timestep = step(state, 0, STAY)
    np.testing.assert_allclose(timestep.observation.view[1, 3:5], [0.375 * x, 0.375 * y], atol=1e-7)
    np.testing.assert_allclose((state.particles.x[1], state.particles.y[1]), [0.05 * x, 0.05 * y], atol=1e-7)
    np.testing.assert_allclose(state.particles.x[2:], opening[0].particles.x[2:])
    assert float(state.particles.x[0]) == 0.5


def test_both_are_paid_for_the_squared_distance_after_the_step(opening: Any, step: Any) -> None:
    _, timestep = step(opening[0], 0, STAY)
    np.testing.assert_allclose(timestep.reward, [-0.16, -0.16], atol=1e-7)
    assert float(timestep.metrics["goal_distance"]) == pytest.approx(0.4, abs=1e-6)
    assert float(timestep.metrics["at_goal"]) == 0.0


def test_at_goal_means_touching(opening: Any, step: Any) -> None:
    state = opening[0]
    for gap, expected in ((0.1149, 1.0), (0.1151, 0.0)):
        y = state.particles.y.at[1].set(0.4 - gap)
        _, timestep = step(state.replace(particles=state.particles.replace(y=y)), 0, STAY)
        assert float(timestep.metrics["at_goal"]) == expected


@pytest.mark.parametrize("odd", [8, -1, np.iinfo(np.int32).max, np.iinfo(np.int32).min])
def test_what_is_no_action_says_zero_and_stays(opening: Any, step: Any, odd: int) -> None:
    expected = step(opening[0], 0, STAY)
    jax.tree.map(np.testing.assert_array_equal, step(opening[0], odd, odd), expected)
    # What is legal for the other agent is not for this one.
    jax.tree.map(np.testing.assert_array_equal, step(opening[0], RIGHT, 2), expected)


def test_the_time_limit_truncates_after_25_steps(env: Any, opening: Any, step: Any) -> None:
    state = opening[0]
    for t in range(1, 26):
        state, timestep = step(state, 0, STAY)
        assert (bool(timestep.truncated), bool(timestep.terminated)) == (t == 25, False)
        assert not timestep.agent_done.any()
    assert env.max_steps == 25 and not env.time_limit_is_termination


def test_resets_fill_the_square(env: Any) -> None:
    keys = jax.random.split(jax.random.key(3), 4096)
    level = jax.jit(jax.vmap(env.sample_level, (0, None)))(keys, env.params)
    for places in (np.asarray(level.x), np.asarray(level.y)):
        assert places.shape == (4096, 5) and np.abs(places).max() <= 1.0
        # Five standard errors of the mean and of the mean square of a uniform draw.
        assert np.abs(places.mean(axis=0)).max() < 5 * np.sqrt(1 / 3 / 4096)
        assert np.abs((places**2).mean(axis=0) - 1 / 3).max() < 5 * np.sqrt(4 / 45 / 4096)
    both = np.concatenate([level.x, level.y], axis=1)
    off_diagonal = np.corrcoef(both, rowvar=False) - np.eye(10)
    assert np.abs(off_diagonal).max() < 5 / np.sqrt(4096)
    shares = np.bincount(np.asarray(level.goal), minlength=3) / 4096
    assert shares.shape == (3,) and np.abs(shares - 1 / 3).max() < 5 * np.sqrt(2 / 9 / 4096)


def test_the_scripted_pair_solves_it(env: Any) -> None:
    vector = VectorEnv(env, 256)

    def returns(policy: Any) -> Any:
        def one(carry: Any, key: jax.Array) -> Any:
            state, timestep = carry
            _, action = policy.act(key, (), timestep.observation)
            legal = is_legal(env.action_space, action, timestep.observation.action_mask)
            state, timestep, episode = vector.step(state, action)
            return (state, timestep), (episode, legal.all())

        keys = jax.random.split(jax.random.key(1), 25)
        _, (episodes, legal) = jax.lax.scan(one, vector.reset(KEY), keys)
        return jax.tree.map(lambda x: x[-1], episodes), legal.all()

    episode, legal = jax.jit(lambda: returns(env.scripted_policies()["scripted"]()))()
    assert legal and episode.done.all()
    assert float(episode.metrics["at_goal"].mean()) > 0.99
    assert float(episode.returns.mean()) > -9.0
    random, legal = jax.jit(lambda: returns(RandomPolicy(env)))()
    assert legal and float(random.returns.mean()) < -25.0


def test_the_scripted_pair_acts_for_one_group_too(env: Any, opening: Any) -> None:
    policy = env.scripted_policies()["scripted"]()
    both = policy.act(KEY, (), opening[1].observation)[1]
    for row in (0, 1):
        alone = jax.tree.map(lambda x, row=row: x[row : row + 1], opening[1].observation)
        assert policy.act(KEY, (), alone)[1].tolist() == [int(both[row])]
    assert int(both[0]) == 1  # names the goal
    assert int(both[1]) == UP  # nothing said yet: to the middle of the landmarks, (-0.067, 0.133)


def test_strict(env: Any, strict_numerics: None) -> None:
    state, timestep = jax.jit(env.reset)(KEY)
    _, action = env.scripted_policies()["scripted"]().act(KEY, (), timestep.observation)
    state, _ = jax.jit(env.step)(KEY, state, action)
    env.global_state(state)


def test_picture(env: Any, opening: Any, step: Any) -> None:
    played = jax.device_get([opening, step(opening[0], 2, UP)])
    states, timesteps = zip(*played, strict=True)
    clip = env.scene(Recording(states, (np.asarray([2, UP]),), (KEY,), timesteps))
    texts = [[item.text for item in frame.items if hasattr(item, "text")] for frame in clip.frames]
    assert texts == [["L", "S"], ["L", "S", "says 2"]]
    assert "goal green (1)" in clip.frames[0].subtitle
