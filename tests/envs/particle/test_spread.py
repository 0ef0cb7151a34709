"""Simple spread by hand: layout, motion, contacts, reward, end, bots and picture."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_scripts import played_by_script

from shoal.envs.core import RandomPolicy, Recording, UserError, VectorEnv, make
from shoal.envs.particle.common import Level

KEY = jax.random.key(0)
STAY, LEFT, RIGHT, DOWN, UP = range(5)


@pytest.fixture(scope="module")
def env() -> Any:
    return make("particle/simple-spread-v1")


@pytest.fixture(scope="module")
def step(env: Any) -> Any:
    jitted = jax.jit(env.step)
    return lambda state, *moves: jitted(KEY, state, jnp.asarray(moves, jnp.int32))


@pytest.fixture(scope="module")
def opening(env: Any) -> Any:
    """Agents at (0, 0), (1, 0) and (0, 1); landmarks at (0.05, 0), (1, 0.5) and (0, 3)."""
    x = jnp.asarray([0.0, 1.0, 0.0, 0.05, 1.0, 0.0])
    y = jnp.asarray([0.0, 0.0, 1.0, 0.0, 0.5, 3.0])
    return env.reset(KEY, level=Level(x=x, y=y, params=env.params))


def test_views_at_the_start(env: Any, opening: Any) -> None:
    state, timestep = opening
    others = {0: [1, 0, 0, 1], 1: [-1, 0, -1, 1], 2: [0, -1, 1, -1]}
    marks = {0: [0.05, 0, 1, 0.5, 0, 3], 1: [-0.95, 0, 0, 0.5, -1, 3], 2: [0.05, -1, 1, -0.5, 0, 2]}
    place = {0: [0, 0], 1: [1, 0], 2: [0, 1]}
    expected = [[0, 0, *place[i], *marks[i], *others[i], 0, 0, 0, 0] for i in range(3)]
    np.testing.assert_allclose(timestep.observation.view, expected, atol=1e-6)
    np.testing.assert_allclose(env.global_state(state), np.ravel(expected), atol=1e-6)
    assert timestep.observation.action_mask.shape == (3, 5) and timestep.observation.action_mask.all()


def test_metadata(env: Any) -> None:
    m = env.metadata
    assert (m.max_steps, m.time_limit_is_termination, m.team_reward) == (26, True, "sum")
    assert m.agents == ("agent_0", "agent_1", "agent_2") and m.groups == {"agents": (0, 1, 2)}
    assert env.observation_space.shape == (18,) and env.state_space.shape == (54,)
    assert m.metric_specs[0].name == "covered"


def test_everybody_pays_for_distances_alike(opening: Any, step: Any) -> None:
    _, timestep = step(opening[0], STAY, STAY, STAY)
    np.testing.assert_allclose(timestep.reward, [-0.5 * (0.05 + 0.5 + 2.0)] * 3, rtol=1e-6)
    assert float(timestep.metrics["covered"]) == pytest.approx(1 / 3)
    assert float(timestep.metrics["landmark_distance"]) == pytest.approx(2.55 / 3, rel=1e-6)
    assert float(timestep.metrics["collisions"]) == 0.0


def test_each_pays_for_its_own_collisions(opening: Any, step: Any) -> None:
    """Agents 0 and 1 touch below a distance of 0.3, agent 2 is elsewhere."""
    state = opening[0]
    for gap, hit in ((0.299, 1.0), (0.301, 0.0)):
        x = state.particles.x.at[1].set(gap)
        _, timestep = step(state.replace(particles=state.particles.replace(x=x)), STAY, STAY, STAY)
        shared = float(timestep.reward[2])
        np.testing.assert_allclose(timestep.reward - shared, [-0.5 * hit, -0.5 * hit, 0.0], atol=1e-6)
        assert float(timestep.metrics["collisions"]) == hit


def test_collisions_are_summed_over_the_episode(opening: Any, step: Any) -> None:
    state = opening[0]
    x, y = state.particles.x.at[1].set(0.1).at[2].set(0.0), state.particles.y.at[2].set(0.1)
    state = state.replace(particles=state.particles.replace(x=x, y=y))
    state, timestep = step(state, STAY, STAY, STAY)
    assert float(timestep.metrics["collisions"]) == 3.0  # positions follow velocities one step later
    state, timestep = step(state, STAY, STAY, STAY)
    assert float(timestep.metrics["collisions"]) == 3.0  # pushed apart


def test_overlap_pushes_apart(opening: Any, step: Any) -> None:
    state = opening[0]
    x = state.particles.x.at[1].set(0.2)
    state, _ = step(state.replace(particles=state.particles.replace(x=x)), STAY, STAY, STAY)
    np.testing.assert_allclose(state.particles.vx[:3], [-1.0, 1.0, 0.0], atol=1e-4)  # 100 x 0.1 overlap x dt


def test_a_push_changes_velocity_now_and_position_next(opening: Any, step: Any) -> None:
    state, timestep = step(opening[0], RIGHT, UP, LEFT)
    np.testing.assert_allclose(timestep.observation.view[:, :2], [[0.5, 0], [0, 0.5], [-0.5, 0]], atol=1e-6)
    np.testing.assert_array_equal(state.particles.x, opening[0].particles.x)
    state, _ = step(state, STAY, STAY, DOWN)
    np.testing.assert_allclose(state.particles.x[:3], [0.05, 1.0, -0.05], atol=1e-6)
    np.testing.assert_allclose(state.particles.vx[:3], [0.375, 0.0, -0.375], atol=1e-6)
    np.testing.assert_allclose(state.particles.vy[:3], [0.0, 0.375, -0.5], atol=1e-6)
    np.testing.assert_array_equal(state.particles.x[3:], opening[0].particles.x[3:])


def test_the_time_limit_ends_after_26_steps(opening: Any, step: Any) -> None:
    state = opening[0]
    for t in range(1, 27):
        state, timestep = step(state, STAY, STAY, STAY)
        assert (bool(timestep.terminated), bool(timestep.truncated)) == (t == 26, False)


def test_options() -> None:
    env = make("particle/simple-spread", num_agents=4, max_steps=25, time_limit_is_termination=False)
    assert env.observation_space.shape == (4 + 8 + 6 + 6,) and env.options.landmarks == 4
    assert (env.max_steps, env.time_limit_is_termination) == (25, False)
    env = make("particle/simple-spread", num_agents=2, num_landmarks=5, continuous_actions=True)
    assert env.observation_space.shape == (4 + 10 + 2 + 2,) and env.action_space.shape == (5,)
    with pytest.raises(UserError, match=r"local_ratio=1\.5 is out of range"):
        make("particle/simple-spread", local_ratio=1.5)


def test_real_pushes_are_differences_and_clipped() -> None:
    env = make("particle/simple-spread", continuous_actions=True)
    state, _ = env.reset(KEY)
    far = state.particles.replace(x=jnp.arange(6.0), y=jnp.zeros(6))
    action = jnp.asarray([[9, 0.25, 1, 0, 0], [0, 0, 2, 0, -1], [0, 0, 0, jnp.nan, 0.5]], jnp.float32)
    state, _ = jax.jit(env.step)(KEY, state.replace(particles=far), action)
    np.testing.assert_allclose(state.particles.vx[:3], [0.375, 0.5, 0.0], atol=1e-6)
    np.testing.assert_allclose(state.particles.vy[:3], [0.0, 0.0, 0.25], atol=1e-6)


@pytest.mark.parametrize("overrides", [{}, {"continuous_actions": True}], ids=str)
def test_the_script_covers_the_landmarks(overrides: dict[str, Any]) -> None:
    env = make("particle/simple-spread", **overrides)
    episode = played_by_script(env)
    assert episode.done.all()
    assert episode.metrics["covered"].mean() > 0.88
    assert episode.returns.mean() > -10.0


def test_the_script_shares_out_the_same_for_every_row(env: Any) -> None:
    """Agent 0 is nearest to landmark 0 but agent 1 is nearer still, so agent 0 goes to landmark 1."""
    x = jnp.asarray([0.0, 0.5, -0.9, 0.6, -0.5, -1.1])
    _, timestep = env.reset(KEY, level=Level(x=x, y=jnp.zeros(6), params=env.params))
    policy = env.scripted_policies()["scripted"]()
    everyone = policy.act(KEY, (), timestep.observation)[1]
    assert everyone.tolist() == [LEFT, RIGHT, LEFT]
    for row in range(3):
        alone = jax.tree.map(lambda x, row=row: x[row : row + 1], timestep.observation)
        assert policy.act(KEY, (), alone)[1].tolist() == [int(everyone[row])]


def test_strict(env: Any, strict_numerics: None) -> None:
    state, timestep = jax.jit(env.reset)(KEY)
    _, action = env.scripted_policies()["scripted"]().act(KEY, (), timestep.observation)
    state, _ = jax.jit(env.step)(KEY, state, action)
    env.global_state(state)
    vector = VectorEnv(env, 3)
    opened, timestep = vector.reset(KEY)
    vector.step(opened, RandomPolicy(env).act(KEY, (), timestep.observation)[1])


def test_picture(env: Any, opening: Any, step: Any) -> None:
    played = jax.device_get([opening, step(opening[0], STAY, STAY, STAY)])
    states, timesteps = zip(*played, strict=True)
    clip = env.scene(Recording(states, (np.zeros(3, np.int32),), (KEY,), timesteps))
    assert clip.frames[1].subtitle == "step 1   covered 1 of 3   collisions 0"
    assert [item.text for item in clip.frames[0].items if hasattr(item, "text")] == ["0", "1", "2"]
