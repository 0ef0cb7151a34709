"""The highway played: whole episodes, views, wrecks, ends, options, bot and picture."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_highway import COUNT, KEY, SECOND, Small

from shoal.envs.core import Recording, UserError, VectorEnv, make
from shoal.envs.scene import png_bytes
from shoal.envs.traffic.highway import reward
from shoal.envs.traffic.highway.types import FASTER, IDLE, LEFT, RIGHT, SLOWER


@pytest.fixture(scope="module")
def default() -> Small:
    return Small()


@pytest.fixture(scope="module")
def other() -> Small:
    """Learners see two others each, in slots, and go on steering when they are wrecks."""
    return Small(view="history", observed=3, wrecks="steer")


def test_a_whole_idle_episode_returns_72(default: Small) -> None:
    far = np.asarray([100.0, *(4000.0 + 50.0 * np.arange(7))])
    far[SECOND] = 200.0
    state, timestep = default.placed(x=far, lane=np.zeros(COUNT), speed=np.where(far < 300.0, 25.0, 22.0))
    returns = np.zeros(2)
    for t in range(1, 91):
        state, timestep = default.step(state, IDLE, IDLE)
        returns += np.asarray(timestep.reward)
        assert (bool(timestep.terminated), bool(timestep.truncated)) == (t == 90, False)
    np.testing.assert_allclose(returns, 72.0, atol=1e-3)
    expected = {"success_rate": 100.0, "survival_time": 90.0, "average_speed": 25.0, "episodic_reward": 72.0}
    assert {name: float(value) for name, value in timestep.metrics.items()} == pytest.approx(
        expected, rel=1e-5
    )


# Views -----------------------------------------------------------------------------------------------------


def test_views(default: Small, other: Small) -> None:
    """The nearest two of three in sight; a vehicle more than 10 m behind is not."""
    state, timestep = other.opened()
    assert state.seen.tolist() == [[0, 1, 3], [SECOND, 3, -1]]
    view = np.asarray(timestep.observation.view).reshape(2, *other.env.metadata.extras["slots"])
    known = [[1, 1, 0.12, 1, 0], [1, -0.099, -0.12, -0.15, 0], [1, 0.105, -0.12, -0.15, 0]]
    np.testing.assert_allclose(view[0], known + [[0] * 5] * 5, atol=1e-5)
    np.testing.assert_allclose(view[1, :2], [[1, 1, 0.16, 1, 0], [1, -0.095, -0.16, 0, 0]], atol=1e-5)
    assert default.env.observation_space.shape == (75,), "rows for 15, of which 8 exist"
    rows = np.asarray(default.opened()[1].observation.view).reshape(2, 15, 5)
    np.testing.assert_allclose(rows[0, 3], [1, 0.2, 0.04, -0.15, 0], atol=1e-5)
    np.testing.assert_array_equal(rows[:, 4:], 0.0)
    whole = np.asarray(other.env.global_state(state)).reshape(COUNT, 5)
    np.testing.assert_allclose(whole[0], [1, 150, 12, 25, 0], atol=1e-5)


def test_slots_are_kept(other: Small) -> None:
    """Slots are given in the order of rows and never given again; who is out of sight is zero there."""
    state, timestep = other.reset(jax.random.key(4))
    slots: list[dict[int, int]] = [{}, {}]
    for t in range(40):
        view = np.asarray(timestep.observation.view).reshape(2, COUNT, 5)
        for agent, mine in enumerate(slots):
            shown = [int(k) for k in state.seen[agent] if k >= 0]
            for k in shown:
                mine.setdefault(k, len(mine))
            assert {k: int(s) for k, s in enumerate(state.slot[agent]) if s >= 0} == mine
            present = sorted(mine[k] for k in shown)
            assert np.flatnonzero(view[agent, :, 0]).tolist() == present
            np.testing.assert_array_equal(np.delete(view[agent], present, axis=0), 0.0)
        assert mine[SECOND] == 0
        state, timestep = other.step(state, [RIGHT, FASTER, IDLE, LEFT][t % 4], SLOWER)
    assert max(map(len, slots)) > 3, "some were out of sight"


# Wrecks and ends -------------------------------------------------------------------------------------------


def crashed(state: Any, *learners: int) -> Any:
    """Makes wrecks of some vehicles."""
    v = state.vehicles
    return state.replace(vehicles=replace(v, crashed=v.crashed.at[jnp.asarray(learners)].set(True)))


def test_wrecks_that_idle(default: Small) -> None:
    state = crashed(default.opened()[0], 0)
    seen = default.env.observe(state)
    assert seen.alive.tolist() == [False, True]
    assert not seen.view[0].any() and seen.view[1].any()
    assert seen.action_mask.tolist() == [[False, True, False, False, False], [True] * 5]
    state, timestep = default.step(state, RIGHT, RIGHT)
    assert state.vehicles.target_lane[jnp.asarray([0, SECOND])].tolist() == [3, 5]
    assert timestep.agent_done.tolist() == [True, False] and not timestep.terminated
    np.testing.assert_allclose(timestep.reward[0], 0.1 * 3 / 7 / 1.5, atol=1e-6)
    assert default.env.metadata.dead_agents_earn


def test_wrecks_that_steer(other: Small) -> None:
    state = crashed(other.opened()[0], 0)
    seen = other.env.observe(state)
    assert seen.alive.all() and seen.action_mask.all() and seen.view.any(axis=1).all()
    state, timestep = other.step(state, RIGHT, IDLE)
    assert int(state.vehicles.target_lane[0]) == 4 and not timestep.agent_done.any()
    np.testing.assert_allclose(timestep.reward[0], 0.1 * 4 / 7 / 1.5, atol=1e-6)
    np.testing.assert_allclose(timestep.metrics["survival_time"], 0.5)
    state, timestep = other.step(crashed(state, SECOND), IDLE, IDLE)
    assert timestep.terminated and not timestep.truncated and timestep.agent_done.all()


def test_published_metrics() -> None:
    """After the last crash the collector drives a new convoy to the left, which counts but is not learned."""
    small = Small(metrics="iplan", max_steps=7)
    state, _ = small.reset(jax.random.key(2))
    learners, encore = small.learners, state.encore
    params = jax.tree.map(jnp.asarray, small.env.params)
    raw, speeds = np.zeros(2), np.zeros((7, 2))
    for t in range(7):
        if t == 2:
            state = crashed(state, *learners)
        state, timestep = small.step(state, IDLE, IDLE)
        v = state.vehicles
        if t == 2:  # the convoy of the encore has taken the place of the wrecks
            np.testing.assert_array_equal(v.x, encore.x)
            assert not v.crashed.any()
            raw += np.asarray(timestep.reward)
        else:
            raw += np.asarray(reward.rewards(params, v, 8)[learners])
        speeds[t] = 0.0 if t in (2, 6) else np.asarray(v.speed)[learners]
        over = t >= 2
        assert bool(timestep.terminated) == (t == 6) and bool(state.over) == over
        assert timestep.agent_done.tolist() == [over] * 2
        assert timestep.observation.alive.tolist() == [not over] * 2
        assert bool(timestep.observation.view.any()) != over
        if t > 2:
            assert not timestep.reward.any()
            target = np.maximum(np.asarray(encore.lane)[learners] - (t - 2), 0)
            np.testing.assert_array_equal(np.asarray(v.target_lane)[learners], target)
    found = {name: float(value) for name, value in timestep.metrics.items()}
    assert found["survival_time"] == 6.0 and found["success_rate"] == 0.0
    assert found["average_speed"] == pytest.approx(speeds.sum(axis=0).mean() / 6, rel=1e-5)
    assert found["episodic_reward"] == pytest.approx(raw.mean(), rel=1e-5)


# Options, bot, picture -------------------------------------------------------------------------------------


def test_options() -> None:
    env = make("traffic/highway-mild", simulation_frequency=15, policy_frequency=3)
    lanes = make("traffic/highway-mild", start_lane=2)
    level = lanes.sample_level(KEY, lanes.params)
    assert (np.asarray(level.traffic.lane)[lanes.options.learners] == 2).all()
    assert env.options.frames == 5 and env.options.frame_seconds == pytest.approx(1 / 15)
    with pytest.raises(UserError, match="simulation_frequency=5 must be a multiple of policy_frequency=2"):
        make("traffic/highway-mild", policy_frequency=2)
    with pytest.raises(UserError, match="start_lane=8 must be below lanes=8"):
        make("traffic/highway-mild", start_lane=8)
    with pytest.raises(UserError, match="view"):
        make("traffic/highway-mild", view="slots")
    assert make("traffic/highway-chaotic").params.aggressive == pytest.approx(0.3)
    m = make("traffic/highway-mild").metadata
    assert (m.max_steps, m.time_limit_is_termination, m.team_reward) == (90, True, "sum")
    assert m.metric_specs[0].name == "success_rate" and m.groups == {"agents": (0, 1, 2, 3, 4)}


def test_the_script_looks_ahead(other: Small) -> None:
    """It passes a slow vehicle on the free side, brakes behind it between two others, else goes fast."""
    policy = other.env.scripted_policies()["scripted"]()
    act = jax.jit(lambda seen: policy.act(KEY, (), seen)[1])
    seen = other.opened()[1].observation

    def choice(*others: tuple[float, float, float]) -> int:
        """Of both learners, who see the same: distances along and across the road, relative speeds."""
        rows = np.zeros((2, *other.env.metadata.extras["slots"]), np.float32)
        rows[:, 0] = [1, 1, 0.12, 1, 0]
        for k, (dx, dy, dv) in enumerate(others, 1):
            rows[:, k] = [1, dx / 100, dy / 100, dv / 20, 0]
        first, second = act(seen.replace(view=jnp.asarray(rows.reshape(2, -1)))).tolist()
        assert first == second
        return int(first)

    slow, left, right = (18.0, 0.0, -6.0), (2.0, -4.0, -2.5), (2.0, 4.0, -2.5)
    assert choice() == FASTER and choice((60.0, 8.0, -2.5)) == FASTER
    assert choice(slow, left) == RIGHT and choice(slow, right) == LEFT
    assert choice(slow, left, right) == SLOWER
    blind = seen.replace(alive=jnp.zeros(2, bool))
    assert act(blind).tolist() == [IDLE, IDLE]


def test_the_script_survives() -> None:
    """On a narrow road full of traffic, where going straight on ends badly."""
    env = make("traffic/highway-chaotic", num_agents=2, drivers=18, lanes=3, max_steps=60, density=0.8)
    vector = VectorEnv(env, 32)
    policy = env.scripted_policies()["scripted"]()

    @jax.jit
    def play(scripted: jax.Array) -> Any:
        def one(carry: Any, _: None) -> Any:
            state, timestep = carry
            action = jnp.where(scripted, policy.act(KEY, (), timestep.observation)[1], IDLE)
            state, timestep, episode = vector.step(state, action)
            return (state, timestep), (episode.done, episode.metrics["survival_time"], episode.returns)

        done, survival, returns = jax.lax.scan(one, vector.reset(KEY), None, length=60)[1]
        first = jnp.argmax(done, axis=0)
        each = jnp.arange(32)
        return survival[first, each].mean(), returns[first, each].mean()

    (idle, idle_return), (driven, driven_return) = (play(jnp.asarray(who)) for who in (False, True))
    assert driven > 1.2 * idle and driven_return > 1.3 * idle_return


def test_strict(other: Small, strict_numerics: None) -> None:
    """Nothing is promoted, by the script and by the published collector in a batch; both only traced."""
    policy = other.env.scripted_policies()["scripted"]()
    env = make("traffic/highway-mild", metrics="iplan")
    vector = VectorEnv(env, 3)

    def play() -> Any:
        state, timestep = vector.reset(KEY)
        return vector.step(state, policy.act(KEY, (), timestep.observation)[1])

    _, timestep, _ = jax.eval_shape(play)
    assert timestep.reward.shape == (3, 5)


def test_picture(other: Small) -> None:
    played = [other.opened()]
    played.append(other.step(crashed(played[0][0], SECOND), RIGHT, IDLE))
    states, timesteps = zip(*jax.device_get(played), strict=True)
    clip = other.env.scene(Recording(states, (np.asarray([RIGHT, IDLE]),), (KEY,), timesteps))
    assert [frame.subtitle for frame in clip.frames] == [
        "step 0   driving 2 of 2   mean speed 23.5 m/s",
        "step 1   driving 1 of 2   mean speed 25.0 m/s",
    ]
    opening, after = clip.frames
    x0, y0, x1, y1 = opening.bounds
    assert (x0, x1) == (110.0, 260.0) and y1 - y0 == 8 * 4 + 4
    cars = [item for item in opening.items if hasattr(item, "angle")][1:]
    assert [car.x for car in cars] == pytest.approx([150.0, 140.1, 139.9, 160.5, 170.0], abs=1e-4)
    assert [car.y for car in cars] == [-12.0, 0.0, 0.0, 0.0, -16.0]
    assert all((car.width, car.height) == (5.0, 2.0) for car in cars)
    turned = [item for item in after.items if hasattr(item, "angle")][1:]
    assert turned[0].angle < 0 and turned[0].y < -14, "to the right is down"
    assert cars[0].fill == cars[4].fill == turned[0].fill and turned[-1].fill not in {c.fill for c in cars}
    assert [item.text for item in opening.items if hasattr(item, "text")] == ["0", "1"]
    assert png_bytes(after).startswith(b"\x89PNG")
