"""Non-cooperative navigation by hand: layout, motion, contacts, reward, end, draws, bots and picture."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pettingzoo.test import parallel_api_test
from shoal_scripts import played_by_script

from shoal.envs.adapters import to_pettingzoo
from shoal.envs.core import RandomPolicy, Recording, UserError, VectorEnv, conformance, make
from shoal.envs.core.conformance_harness import Harness
from shoal.envs.particle.common import Level

KEY = jax.random.key(0)
STAY, RIGHT, LEFT, UP, DOWN = range(5)
FAR = [(5.0, 5.0), (-5.0, 5.0), (5.0, -5.0), (-5.0, -5.0)]


@pytest.fixture(scope="module")
def easy() -> Any:
    return make("particle/ncnav-easy-v1")


@pytest.fixture(scope="module")
def hard() -> Any:
    return make("particle/ncnav-hard-v1")


@pytest.fixture(scope="module")
def step() -> Any:
    """Plays a step in which random bodies do as told: moves of the agents, then of the random bodies."""
    compiled: dict[str, Any] = {}

    def play(env: Any, state: Any, *moves: int) -> Any:
        function = compiled.setdefault(env.id, jax.jit(env.dynamics))
        return function(state, jnp.asarray(moves[:3], jnp.int32), jnp.asarray(moves[3:], jnp.int32))

    return play


def opened(env: Any, *places: tuple[float, float]) -> Any:
    """Opens with bodies and landmarks at ``places``."""
    x, y = (jnp.asarray(part, jnp.float32) for part in zip(*places, strict=True))
    return env.reset(KEY, level=Level(x=x, y=y, params=env.params))


def near_landmarks(*far: float) -> list[tuple[float, float]]:
    """Three bodies at these distances from landmarks of their own, then the landmarks."""
    marks = [(-0.8, 0.0), (0.0, 0.8), (0.8, -0.8)]
    return [(x, y + d) for (x, y), d in zip(marks, far, strict=True)] + marks


# Layout ----------------------------------------------------------------------------------------------------


def test_metadata(easy: Any, hard: Any) -> None:
    for env, slots in ((easy, 6), (hard, 7)):
        m = env.metadata
        assert (m.max_steps, m.time_limit_is_termination, m.team_reward) == (50, True, "sum")
        assert m.agents == ("agent_0", "agent_1", "agent_2") and m.groups == {"agents": (0, 1, 2)}
        assert m.agent_types == (0, 1, 2) and m.extras["slots"] == (slots, 4)
        assert env.observation_space.shape == env.state_space.shape == (4 * slots,)
        assert m.metric_specs[0].name == "return_fifth"
    assert (easy.options.random_agents, hard.options.random_agents) == (0, 1)


def test_views(hard: Any) -> None:
    state, _ = opened(hard, (0, 0), (1, 0), (0, 1), (-1, -1), (0.2, 0.4), (0, 0), (-0.8, 0.8))
    speed = jnp.asarray([0.1, 0.2, 0.3, 0.4, 0, 0, 0])
    state = state.replace(particles=state.particles.replace(vx=speed, vy=-speed))
    view = hard.observe(state).view.reshape(3, *hard.metadata.extras["slots"])
    marks = np.asarray([[0.2, 0.4, 0, 0], [0, 0, 0, 0], [-0.8, 0.8, 0, 0]])
    absolute = [[0, 0, 0.1, -0.1], [1, 0, 0.2, -0.2], [0, 1, 0.3, -0.3], [-1, -1, 0.4, -0.4], *marks]
    np.testing.assert_allclose(view[0], absolute, atol=1e-6)
    np.testing.assert_allclose(hard.global_state(state), np.ravel(absolute), atol=1e-6)
    third = [[0, 1, 0.3, -0.3], [0, -1, 0.1, -0.1], [1, -1, 0.2, -0.2], [-1, -2, 0.4, -0.4]]
    np.testing.assert_allclose(view[2], [*third, *(marks - [0, 1, 0, 0])], atol=1e-6)


@pytest.mark.parametrize("name", ["easy", "hard"])
def test_landmarks_lie_on_a_grid(name: str) -> None:
    env = make(f"particle/ncnav-{name}")
    keys = jax.random.split(jax.random.key(3), 4096)
    level = jax.jit(jax.vmap(env.sample_level, (0, None)))(keys, env.params)
    moving = env.options.moving
    places = np.stack([level.x, level.y], axis=-1)
    bodies, marks = places[:, :moving], places[:, moving:]
    assert np.abs(bodies).max() < 1.0 and (np.abs(bodies).max(axis=(0, 2)) > 0.99).all()
    np.testing.assert_allclose(marks, np.round(marks * 5.0) / 5.0, atol=1e-6)
    found, count = np.unique(np.round(marks * 5.0), return_counts=True)
    assert found.tolist() == list(range(-4, 5)), "-0.8 to 0.8"
    np.testing.assert_allclose(count / count.sum(), 1 / 9, atol=0.01)


# Motion ----------------------------------------------------------------------------------------------------


def test_a_push_moves_at_once_and_each_agent_differently(easy: Any, step: Any) -> None:
    state, _ = opened(easy, (0, 0), (1, 0), (0, 1), *FAR[:3])
    for move, x, y in ((RIGHT, 1, 0), (LEFT, -1, 0), (UP, 0, 1), (DOWN, 0, -1), (STAY, 0, 0), (9, 0, 0)):
        after = step(easy, state, move, move, move)[0].particles
        speed = np.asarray([0.5, 0.45, 0.55])
        np.testing.assert_allclose(after.vx[:3], x * speed, atol=1e-6)
        np.testing.assert_allclose(after.vy[:3], y * speed, atol=1e-6)
        np.testing.assert_allclose(after.x[:3], [0, 1, 0] + 0.1 * x * speed, atol=1e-6)
        np.testing.assert_allclose(after.y[:3], [0, 0, 1] + 0.1 * y * speed, atol=1e-6)
        np.testing.assert_array_equal(after.x[3:], state.particles.x[3:])


def test_top_speed(easy: Any, step: Any) -> None:
    state, _ = opened(easy, (0, 0), (0, 2), (0, -2), *FAR[:3])
    for _ in range(49):
        state, _ = step(easy, state, RIGHT, RIGHT, RIGHT)
    np.testing.assert_allclose(state.particles.vx[:3], [2.0, 1.8, 2.2], atol=1e-4)


def test_overlap_pushes_apart(hard: Any, step: Any) -> None:
    """The first agent and the random body, both of radius 0.08, are 0.10 apart: 6 each way."""
    state, _ = opened(hard, (0, 0), (3, 0), (0, 3), (0.1, 0), *FAR[:3])
    after, _ = step(hard, state, STAY, STAY, STAY, STAY)
    np.testing.assert_allclose(after.particles.vx[:4], [-0.6, 0, 0, 0.6], atol=1e-5)
    np.testing.assert_allclose(after.particles.x[:4], [-0.06, 3, 0, 0.16], atol=1e-6)


def test_landmarks_push_nobody(easy: Any, step: Any) -> None:
    state, _ = opened(easy, *near_landmarks(0.01, 0.01, 0.01))
    after, _ = step(easy, state, STAY, STAY, STAY)
    np.testing.assert_array_equal(after.particles.y, state.particles.y)


# Reward ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("far", "paid"),
    [
        ((0.05, 0.3, 0.6), (9.95, -0.3, -0.6)),
        ((0.05, 0.05, 0.05), (109.95, 109.95, 109.95)),
        ((0.05, 0.0999, 0.1001), (9.95, 9.9001, -0.1001)),
    ],
)
def test_rewards_without_collisions(easy: Any, step: Any, far: Any, paid: Any) -> None:
    _, outcome = step(easy, opened(easy, *near_landmarks(*far))[0], STAY, STAY, STAY)
    np.testing.assert_allclose(outcome.reward, paid, atol=1e-4)
    assert float(outcome.metrics["return_fifth"]) == pytest.approx(sum(paid) / 5, abs=1e-4)
    assert float(outcome.metrics["reached"]) == pytest.approx(sum(d < 0.1 for d in far) / 3)


@pytest.mark.parametrize(
    ("second", "third", "pairs"), [(2.0, 2.17, 0), (2.0, 2.15, 1), (2.0, 2.161, 0), (0.15, 0.12, 3)]
)
def test_collisions_cost_everybody_and_block_bonuses(second: float, third: float, pairs: int) -> None:
    """Radii 0.08, 0.1 and 0.06, one landmark, nobody pushed apart."""
    env = make("particle/ncnav-easy", contact_force=0.0)
    state, _ = opened(env, (0.05, 0), (second, 0), (third, 0), (0, 0), *FAR[:2])
    for t in (1, 2):
        state, timestep = jax.jit(env.step)(KEY, state, jnp.zeros(3, jnp.int32))
        bonus = np.asarray([0.0 if pairs else 10.0, 0.0, 0.0])
        paid = bonus - [0.05, second, third] - 10.0 * pairs
        np.testing.assert_allclose(timestep.reward, paid, atol=1e-5)
        assert float(timestep.metrics["collisions"]) == t * pairs, "summed over the steps"


def test_landmarks_need_not_be_distinct(easy: Any, step: Any) -> None:
    """Two agents on either side of one landmark, 0.19 apart, do not touch."""
    state, _ = opened(easy, (-0.095, 0), (0.095, 0), (0.8, 0.05), (0, 0), (-0.8, 0.8), (0.8, 0))
    _, outcome = step(easy, state, STAY, STAY, STAY)
    np.testing.assert_allclose(outcome.reward, [109.905, 109.905, 109.95], atol=1e-3)


@pytest.mark.parametrize(("far", "bonus"), [(0.08, 110.0), (0.12, 10.0)])
def test_the_random_body_counts_among_all(hard: Any, step: Any, far: float, bonus: float) -> None:
    """It stands below the landmark of the third agent, who stands above it."""
    places = near_landmarks(0.05, 0.05, 0.08)
    state, _ = opened(hard, *places[:3], (0.8, -0.8 - far), *places[3:])
    _, outcome = step(hard, state, STAY, STAY, STAY, STAY)
    np.testing.assert_allclose(outcome.reward, bonus - np.asarray([0.05, 0.05, 0.08]), atol=1e-4)
    assert float(outcome.metrics["collisions"]) == 0.0


def test_collisions_with_the_random_body_count(hard: Any, step: Any) -> None:
    """It is run over while it stands on the first agent's landmark."""
    state, _ = opened(hard, (0.29, 0), (0, 1), (0, -1), (0, 0), (0, 0), *FAR[:2])
    for _ in range(2):
        state, outcome = step(hard, state, LEFT, STAY, STAY, STAY)
    near = np.hypot(state.particles.x, state.particles.y)[:3]
    np.testing.assert_allclose(outcome.reward, -10.0 - near, atol=1e-4)
    assert float(outcome.metrics["collisions"]) == 1.0


# Ends, draws, options --------------------------------------------------------------------------------------


def test_the_time_limit_ends_after_50_steps(easy: Any, step: Any) -> None:
    state, _ = opened(easy, (0, 0), (1, 0), (0, 1), *FAR[:3])
    for t in range(1, 51):
        state, outcome = step(easy, state, STAY, STAY, STAY)
        assert (bool(outcome.terminated), bool(outcome.truncated)) == (t == 50, False)


def test_the_random_body_acts_uniformly(easy: Any, hard: Any) -> None:
    keys = jax.random.split(jax.random.key(1), 10_000)
    drawn = jax.vmap(hard.draws, (0, None))(keys, hard.reset(KEY)[0])
    assert drawn.shape == (10_000, 1) and drawn.dtype == jnp.int32
    np.testing.assert_allclose(np.bincount(np.ravel(drawn), minlength=5) / 10_000, 0.2, atol=0.02)
    assert easy.draws(KEY, easy.reset(KEY)[0]).shape == (0,)


def test_a_step_is_its_draws_and_the_rules(hard: Any, step: Any) -> None:
    state, _ = hard.reset(KEY)
    key = jax.random.key(5)
    drawn = int(hard.draws(key, state)[0])
    expected, _ = step(hard, state, RIGHT, UP, LEFT, drawn)
    found, _ = jax.jit(hard.step)(key, state, jnp.asarray([RIGHT, UP, LEFT], jnp.int32))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, expected)


def test_options() -> None:
    env = make("particle/ncnav-easy", random_agents=2, max_steps=20, time_limit_is_termination=False)
    assert env.metadata.extras["slots"] == (8, 4) and env.observation_space.shape == (32,)
    assert (env.max_steps, env.time_limit_is_termination, env.num_agents) == (20, False, 3)
    assert make("particle/ncnav-hard", step_sizes=(1, 1, 1)).params.step_sizes.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(UserError, match="random_agents=-1 is out of range"):
        make("particle/ncnav-hard", random_agents=-1)
    with pytest.raises(UserError, match=r"step_sizes=\(1, 2\) must be 3 numbers"):
        make("particle/ncnav-easy", step_sizes=(1, 2))
    with pytest.raises(UserError, match="no option 'num_agents'"):
        make("particle/ncnav-easy", num_agents=4)


def test_step_sizes_are_numbers_of_the_moment(easy: Any) -> None:
    """A batch of worlds, each with strengths of its own."""
    sizes = jnp.asarray([[1.0, 1.0, 1.0], [2.0, 0.0, 0.5]])
    states = jax.vmap(
        lambda s: easy.reset(
            KEY, level=Level(x=jnp.arange(6.0), y=jnp.zeros(6), params=easy.params.replace(step_sizes=s))
        )[0]
    )(sizes)
    states, _ = jax.jit(jax.vmap(easy.step, (None, 0, None)))(KEY, states, jnp.full(3, UP))
    np.testing.assert_allclose(states.particles.vy[:, :3], 0.5 * sizes, atol=1e-6)


def test_the_contract_with_real_pushes() -> None:
    """Two random bodies, pushes, a truncating limit; the registered ones are checked elsewhere."""
    rules = {"continuous_actions": True, "time_limit_is_termination": False, "random_agents": 2}
    harness = Harness(make("particle/ncnav-easy", **rules))
    for check in (*conformance.CHEAP_CHECKS, *conformance.PLAY_CHECKS):
        if check not in (conformance.check_jit, conformance.check_same_step, conformance.check_copies):
            check(harness)


def test_real_pushes_go_the_same_ways() -> None:
    env = make("particle/ncnav-hard", continuous_actions=True)
    state, _ = opened(env, (0, 0), (1, 0), (0, 1), (3, 3), *FAR[:3])
    pushes = jnp.asarray([[9, 1, 0.5, 0, 0], [0, 0, 0, 7, 0], [0, 0, 0, jnp.nan, 0.5]], jnp.float32)
    state, _ = jax.jit(env.dynamics)(state, pushes, jnp.asarray([[0, 0, 1, 0, 0]], jnp.float32))
    np.testing.assert_allclose(state.particles.vx[:4], [0.25, 0, 0, -0.5], atol=1e-6)
    np.testing.assert_allclose(state.particles.vy[:4], [0, 0.45, -0.275, 0], atol=1e-6)


def test_upstream_check() -> None:
    parallel_api_test(to_pettingzoo("particle/ncnav-hard", seed=1), num_cycles=60)


# Bots and picture ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "overrides", "least"),
    [("easy", {}, 2400.0), ("easy", {"continuous_actions": True}, 2400.0), ("hard", {}, 200.0)],
    ids=["easy", "pushes", "hard"],
)
def test_the_script_reaches_landmarks(name: str, overrides: dict[str, Any], least: float) -> None:
    env = make(f"particle/ncnav-{name}", **overrides)
    episode = played_by_script(env)
    assert episode.done.all()
    assert episode.metrics["reached"].mean() > 0.95
    assert episode.metrics["return_fifth"].mean() > least  # random play: about -25 and -29
    whole = episode.returns.sum(axis=1) / 5
    np.testing.assert_allclose(episode.metrics["return_fifth"], whole, rtol=1e-4, atol=1e-3)


def test_the_script_shares_out_the_same_for_every_row(hard: Any) -> None:
    """All are nearest to the first landmark; the one way that is longest for it goes to the first agent."""
    places = [(0.0, 0.0), (0.0, 0.6), (0.0, -0.6), (0.0, 0.0), (-0.8, 0.0), (0.0, 0.8), (0.0, -0.8)]
    _, timestep = opened(hard, *places)
    policy = hard.scripted_policies()["scripted"]()
    everyone = policy.act(KEY, (), timestep.observation)[1]
    assert everyone.tolist() == [LEFT, UP, DOWN]
    for row in range(3):
        alone = jax.tree.map(lambda x, row=row: x[row : row + 1], timestep.observation)
        assert policy.act(KEY, (), alone)[1].tolist() == [int(everyone[row])]


def test_the_script_takes_one_of_two_landmarks_at_one_place(easy: Any) -> None:
    _, timestep = opened(easy, (0, 0), (0.9, 0), (0, -0.9), (0, 0.8), (0, 0.8), (0.8, 0))
    action = easy.scripted_policies()["scripted"]().act(KEY, (), timestep.observation)[1]
    assert action.tolist() == [UP, LEFT, UP]


def test_strict(hard: Any, strict_numerics: None) -> None:
    state, timestep = jax.jit(hard.reset)(KEY)
    _, action = hard.scripted_policies()["scripted"]().act(KEY, (), timestep.observation)
    state, _ = jax.jit(hard.step)(KEY, state, action)
    hard.global_state(state)
    vector = VectorEnv(hard, 3)
    begun, timestep = vector.reset(KEY)
    vector.step(begun, RandomPolicy(hard).act(KEY, (), timestep.observation)[1])


def test_picture(hard: Any) -> None:
    places = near_landmarks(0.05, 0.05, 0.6)
    opening = opened(hard, *places[:3], (0.3, 0.3), *places[3:])
    played = jax.device_get([opening, jax.jit(hard.step)(KEY, opening[0], jnp.zeros(3, jnp.int32))])
    states, timesteps = zip(*played, strict=True)
    clip = hard.scene(Recording(states, (np.zeros(3, np.int32),), (KEY,), timesteps))
    assert clip.frames[1].subtitle == "step 1   reached 2 of 3   collisions 0"
    discs = [item for item in clip.frames[0].items if hasattr(item, "radius")]
    assert [item.radius for item in discs[:4]] == [0.08, 0.1, 0.06, 0.08]
    assert len({item.fill for item in discs[:4]}) == 4 and len(discs) == 7
    assert [item.text for item in clip.frames[0].items if hasattr(item, "text")] == ["0", "1", "2"]
