"""Hold the line by hand: the curve, its cost, contributions, pay, moves, views, descent and picture."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.envs.core import Recording, UserError, VectorEnv, make
from shoal.envs.swarm.hold_the_line.types import Level, Options

ID = "swarm/hold-the-line-v1"
KEY = jax.random.key(0)


def cost(places: Any) -> float:
    """J as it is written down, in float64."""
    y = np.arange(2000) / 2000
    x = 4 * y**4 - 12 * y**3 + 10 * y**2 - 2 * y + 0.55
    places = np.asarray(places, np.float64)
    far = np.hypot(x[None] - places[:, :1], y[None] - places[:, 1:])
    owner = np.argmin(far, axis=0)
    idle = [far[i].min() for i in range(len(places)) if not np.any(owner == i)]
    return float(far.min(axis=0).sum() + 80.0 * sum(idle))


def places(state: Any) -> np.ndarray:
    return np.stack([np.asarray(state.team.x), np.asarray(state.team.y)], axis=1)


def opened(env: Any, where: Any) -> Any:
    where = np.asarray(where, np.float32)
    level = Level(x=jnp.asarray(where[:, 0]), y=jnp.asarray(where[:, 1]), params=env.params)
    return env.reset(KEY, level=level)


@pytest.fixture(scope="module")
def env() -> Any:
    return make(ID)


@pytest.fixture(scope="module")
def step(env: Any) -> Any:
    jitted = jax.jit(env.step)
    return lambda state, action: jitted(KEY, state, jnp.asarray(action, jnp.float32))


def test_the_curve() -> None:
    x, y = Options().line
    assert (len(x), y[0], y[1000]) == (2000, 0.0, 0.5)
    np.testing.assert_allclose([x[0], x[1000]], [0.55, 0.80], atol=1e-6)


@pytest.mark.parametrize(("robots", "expected"), [(1, 1469.3676), (2, 1246.3297), (4, 1066.0595)])
def test_cost_of_the_published_starts(robots: int, expected: float) -> None:
    state, _ = make(ID, num_agents=robots).reset(KEY)
    assert float(state.team.cost) == pytest.approx(expected, rel=1e-6)


def test_cost_of_one_robot_in_the_middle() -> None:
    state, _ = opened(make(ID, num_agents=1), [(0.6, 0.5)])
    assert float(state.team.cost) == pytest.approx(648.0404, rel=1e-6)


def test_of_two_robots_at_one_place_the_second_is_idle() -> None:
    state, _ = opened(make(ID, num_agents=2), [(0.3, 0.5), (0.3, 0.5)])
    assert int(state.idle) == 1
    assert float(state.team.cost) == pytest.approx(cost(places(state)), rel=1e-6)
    weightless = make(ID, num_agents=2, idle_weight=0.0)
    alone, _ = opened(make(ID, num_agents=1), [(0.3, 0.5)])
    together, _ = opened(weightless, [(0.3, 0.5), (0.3, 0.5)])
    assert float(together.team.cost) == pytest.approx(float(alone.team.cost), rel=1e-6)


def test_before_the_first_move_every_subcost_is_the_cost(env: Any) -> None:
    state, timestep = env.reset(KEY)
    team = state.team
    assert (np.asarray(team.subcost) == float(team.cost)).all() and float(team.cost) == float(team.start_cost)
    np.testing.assert_array_equal(team.past_x, np.tile(np.asarray(team.x), (5, 1)))
    np.testing.assert_allclose(timestep.observation.view[:, 2], 1.0, rtol=1e-6)
    assert not timestep.reward.any()


def test_who_moves_alone_makes_the_whole_change(env: Any, step: Any) -> None:
    before, _ = env.reset(KEY)
    for robot in range(4):
        after, _ = step(before, np.eye(4)[robot][:, None] * [1.0, 0.5])
        made = np.asarray(after.team.subcost - before.team.subcost)
        assert made[robot] == pytest.approx(float(after.team.cost - before.team.cost), abs=1e-3)
        assert abs(made[robot]) > 0.1
        np.testing.assert_allclose(np.delete(made, robot), 0.0, atol=1e-3)


@pytest.mark.parametrize("robots", [1, 7])
def test_contributions_are_those_of_robots_put_back(robots: int) -> None:
    env = make(ID, num_agents=robots, starts="uniform", speed=10.0, credit="difference")
    step, idle, changed = jax.jit(env.step), 0, 0
    state, _ = jax.jit(env.reset)(jax.random.key(5))
    for t in range(25):
        action = jax.random.uniform(jax.random.key(t), (robots, 2), minval=-1.0)
        after, timestep = step(KEY, state, action)
        old, new = places(state), places(after)
        for i in range(robots):
            back = new.copy()
            back[i] = old[i]
            wanted = cost(new) - cost(back)
            assert -float(timestep.reward[i]) == pytest.approx(wanted, abs=2e-3), (t, i)
        assert float(after.team.cost) == pytest.approx(cost(new), rel=1e-6)
        changed += int(after.idle) != int(state.idle)
        idle += int(after.idle)
        state = after
    assert robots == 1 or (idle and changed), "robots without a point were never seen"


def test_shared_pay_adds_up_to_the_fall_of_the_cost(env: Any, step: Any) -> None:
    state, _ = env.reset(KEY)
    first, total = float(state.team.cost), np.zeros(4)
    for t in range(30):
        state, timestep = step(state, jax.random.uniform(jax.random.key(t), (4, 2), minval=-0.5))
        assert (np.asarray(timestep.reward) == float(timestep.reward[0])).all()
        total += np.asarray(timestep.reward)
    np.testing.assert_allclose(total, first - float(state.team.cost), rtol=1e-5)
    assert float(timestep.metrics["cost"]) == float(state.team.cost)
    assert float(timestep.metrics["cost_ratio"]) == pytest.approx(float(state.team.cost) / first, rel=1e-6)


def test_pay_is_divided_by_the_norm(env: Any, step: Any) -> None:
    move = jnp.ones((4, 2))
    scaled = make(ID, reward_norm=20.0)
    _, one = step(env.reset(KEY)[0], move)
    _, other = scaled.step(KEY, scaled.reset(KEY)[0], move)
    np.testing.assert_allclose(np.asarray(one.reward), 20.0 * np.asarray(other.reward), rtol=1e-5)


def test_team_reward_follows_the_credit() -> None:
    assert make(ID).team_reward == "shared"
    assert make(ID, credit="difference").team_reward == "sum"


def test_moves(env: Any, step: Any) -> None:
    start, _ = opened(env, [(0.5, 0.5), (0.005, 0.995), (0.2, 0.2), (0.3, 0.3)])
    action = [[1.0, -0.5], [-1.0, 1.0], [np.nan, 3.0], [np.inf, -np.inf]]
    after, _ = step(start, action)
    expected = [(0.512, 0.494), (0.0, 1.0), (0.2, 0.212), (0.3, 0.3)]
    np.testing.assert_allclose(places(after), expected, atol=1e-6)
    np.testing.assert_array_equal(after.team.past_x[0], start.team.x)


def test_views(env: Any, step: Any) -> None:
    start, _ = env.reset(KEY)
    one, _ = step(start, np.full((4, 2), 0.5))
    two, timestep = step(one, np.full((4, 2), -1.0))
    unit = float(start.team.cost)
    rounds = [two, one, start, start, start, start]
    rows = [np.stack([s.team.x, s.team.y, np.asarray(s.team.subcost) / unit], axis=1) for s in rounds]
    expected = np.concatenate([*rows, np.full((4, 1), 2 / 300)], axis=1)
    np.testing.assert_allclose(timestep.observation.view, expected, rtol=1e-5)
    planning = env.metadata.extras["planning"]
    assert (planning["place"], planning["subcost"]) == ((0, 1), 2)


def test_neighbours_are_seen_nearest_first() -> None:
    env = make(ID, neighbours=2)
    _, timestep = opened(env, [(0.5, 0.5), (0.6, 0.5), (0.5, 0.8), (0.1, 0.1)])
    seen = np.asarray(timestep.observation.view)[:, 18:22]
    np.testing.assert_allclose(seen[0], [0.1, 0.0, 0.0, 0.3], atol=1e-6)
    np.testing.assert_allclose(seen[3], [0.4, 0.4, 0.5, 0.4], atol=1e-6)
    assert make(ID).observation_space.shape == (19,) and env.observation_space.shape == (23,)


def test_time_is_a_truncation() -> None:
    env = make(ID, max_steps=2)
    state, _ = env.reset(KEY)
    for expected in (False, True):
        state, timestep = env.step(KEY, state, jnp.zeros((4, 2)))
        assert (bool(timestep.truncated), bool(timestep.terminated)) == (expected, False)
    assert VectorEnv(env, 1).mode == "next_step"


def test_published_starts_do_not_depend_on_the_key() -> None:
    def start(other: int, **options: Any) -> list[Any]:
        return places(make(ID, **options).reset(jax.random.key(other))[0]).tolist()

    assert start(0) == start(1)
    np.testing.assert_allclose(start(0), [(0.1, 0.1), (0.15, 0.3), (0.7, 0.01), (0.2, 0.18)], atol=1e-7)
    drawn = [start(k, num_agents=50, starts="uniform") for k in (0, 1)]
    assert drawn[0] != drawn[1] and 0.0 <= np.min(drawn) < 0.05 and 0.95 < np.max(drawn) <= 1.0


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"num_agents": 5}, "num_agents=5 has no published starts .* use starts=uniform"),
        ({"neighbours": 4}, "neighbours=4 must be less than num_agents=4"),
        ({"credit": "own"}, "credit='own'"),
        ({"idle_weight": -1.0}, "idle_weight"),
        ({"idel_weight": 1.0}, "did you mean 'idle_weight'"),
    ],
)
def test_wrong_settings_are_refused(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make(ID, **overrides)


def test_descent_on_the_cost_never_rises(env: Any, step: Any) -> None:
    policy = env.scripted_policies()["bcd"]()
    act = jax.jit(lambda key, state, seen: policy.act(key, (), seen, state=state)[1])
    state, timestep = env.reset(KEY)
    costs = [float(state.team.cost)]
    for t in range(60):
        action = act(jax.random.key(t), state, timestep.observation)
        assert float(jnp.max(jnp.abs(action))) <= 1.0 + 1e-5
        state, timestep = step(state, action)
        costs.append(float(state.team.cost))
    assert max(np.diff(costs)) < 1e-2
    assert costs[-1] < 0.2 * costs[0]


def test_descent_plays_batches_as_single_teams(env: Any) -> None:
    policy = env.scripted_policies()["scripted"]()
    states, timesteps = jax.vmap(env.reset)(jax.random.split(KEY, 3))
    action = policy.act(KEY, (), timesteps.observation, state=states)[1]
    assert action.shape == (3, 4, 2)
    assert len({np.asarray(row).tobytes() for row in action}) == 3, "every team draws its own candidates"


def test_picture() -> None:
    env = make(ID, num_agents=3)
    states = [env.reset(KEY)]
    action = jnp.zeros((3, 2))
    states.append(env.step(KEY, states[0][0], action))
    played, timesteps = zip(*jax.device_get(states), strict=True)
    clip = env.scene(Recording(played, (np.asarray(action),), (KEY,), timesteps))
    assert len(clip.frames) == 2
    assert clip.frames[1].subtitle.startswith(f"round 1   cost {float(played[1].team.cost):.1f}")
    kinds = [type(item).__name__ for item in clip.frames[0].items]
    owners = 3 - int(played[0].idle)
    assert kinds.count("Circle") == 3 and kinds.count("Line") >= 3 + owners
