"""The highway by hand: reward, controllers, wrecks, drivers, collisions, resets."""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_highway import COUNT, SECOND, SMALL, in_lanes, road

from shoal.envs.core import make
from shoal.envs.traffic.highway import drivers, dynamics, levels, motion, neighbours, reward
from shoal.envs.traffic.highway.types import (
    AGGRESSIVE,
    DEFENSIVE,
    FASTER,
    IDLE,
    LEARNER,
    LEFT,
    NORMAL,
    RIGHT,
    SLOWER,
    Options,
    Traffic,
    Vehicles,
)


@pytest.fixture(scope="module")
def options() -> Options:
    options: Options = make("traffic/highway-mild", **SMALL).options
    return options


@pytest.fixture(scope="module")
def params() -> Any:
    return jax.tree.map(jnp.asarray, make("traffic/highway-mild").params)


@pytest.fixture(scope="module")
def frame(options: Options, params: Any) -> Any:
    """One frame of eight vehicles."""

    @jax.jit
    def play(v: Vehicles) -> Vehicles:
        return dynamics.frame(options, params, v, neighbours.ranking(v.x))[0]

    return play


@pytest.fixture(scope="module")
def decide(params: Any) -> Any:
    """One decision of everybody, by options and vehicles."""

    @partial(jax.jit, static_argnums=0)
    def play(options: Options, v: Vehicles) -> Any:
        return drivers.decide(options, params, v, neighbours.ranking(v.x))

    return play


# Reward ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speed", "lane", "crashed", "paid"),
    [
        (25.0, 0, False, 0.8),
        (20.0, 0, False, 2 / 3),
        (30.0, 7, False, 1.0),
        (22.5, 3, False, 0.76190476),
        (30.0, 7, True, 1 / 3),
        (9.8304, 3, True, 0.02857143),
    ],
)
def test_rewards(params: Any, speed: float, lane: int, crashed: bool, paid: float) -> None:
    v = in_lanes({0: lane}, speed={0: speed}, crashed={0: crashed})
    assert float(reward.rewards(params, v, 8)[0]) == pytest.approx(paid, abs=1e-6)


def test_rewards_stay_finite(params: Any) -> None:
    nothing = params.replace(collision_reward=0.0 * params.slow, right_lane_reward=0.0 * params.slow)
    for changed in (nothing.replace(speed_reward=0.0 * params.slow), params.replace(slow=params.fast)):
        assert np.isfinite(reward.rewards(changed, road(speed={1: 30.0}), 8)).all()


def test_nothing_is_paid_off_the_road(params: Any) -> None:
    v = road(speed={0: 25.0, 1: 25.0, 2: 25.0}, y={0: -2.01, 1: -1.99}, x={2: -5.1})
    np.testing.assert_allclose(reward.rewards(params, v, 8)[:3], [0, 0.8, 0], atol=1e-6)


# Controllers -----------------------------------------------------------------------------------------------


def test_faster(options: Options, frame: Any) -> None:
    v = road(x={0: 100.0}, speed={0: 25.0}, target_speed={0: 25.0})
    v = dynamics.aim(options, v, jnp.asarray([FASTER, IDLE], jnp.int32))
    for acceleration in (8.3333, 5.5556, 3.7037, 2.4691, 1.6461):
        assert float(motion.cruising(v)[0]) == pytest.approx(acceleration, abs=1e-4)
        v = frame(v)
    assert float(v.speed[0]) == pytest.approx(29.34156, abs=1e-4)
    assert float(v.x[0]) == pytest.approx(127.39506, abs=1e-4)


def test_lane_right(options: Options, frame: Any) -> None:
    v = in_lanes({0: 3}, x={0: 100.0}, speed={0: 25.0}, target_speed={0: 25.0})
    v = dynamics.aim(options, v, jnp.asarray([RIGHT, IDLE], jnp.int32))
    assert float(motion.steering(v)[0]) == pytest.approx(0.26597, abs=1e-5)
    for y, heading, lane in (
        (12.67483, 0.26993, 3),
        (13.89601, 0.22353, 3),
        (14.80159, 0.14073, 4),
        (15.35222, 0.07998, 4),
        (15.65997, 0.04320, 4),
    ):
        v = frame(v)
        assert (float(v.y[0]), float(v.heading[0])) == pytest.approx((y, heading), abs=1e-5)
        assert int(v.lane[0]) == lane
    assert (float(v.x[0]), float(v.speed[0])) == pytest.approx((124.68025, 25.0), abs=1e-4)
    for _ in range(5):
        v = frame(v)
    assert float(v.y[0]) == pytest.approx(15.98850, abs=1e-4)


def test_what_learners_aim_at(options: Options) -> None:
    """Lanes count from the lane aimed at, if within reach; speeds from the actual one, halves to even."""

    def aim(action: int, lane: int, y: float, speed: float) -> tuple[int, float]:
        v = road(target_lane={0: lane}, y={0: y}, speed={0: speed}, target_speed={0: 25.0})
        v = dynamics.aim(options, v, jnp.asarray([action, IDLE], jnp.int32))
        assert (int(v.target_lane[SECOND]), float(v.target_speed[SECOND])) == (0, 22.0)
        return int(v.target_lane[0]), float(v.target_speed[0])

    assert aim(RIGHT, 1, 0.0, 25.0) == (2, 25.0) and aim(RIGHT, 2, 2.0, 25.0) == (2, 25.0)
    assert aim(LEFT, 0, 0.0, 25.0) == (0, 25.0) and aim(RIGHT, 7, 28.0, 25.0) == (7, 25.0)
    for speed, faster, slower in (
        (22.5, 25, 20),
        (22.6, 30, 20),
        (27.4, 30, 20),
        (27.5, 30, 25),
        (3, 25, 20),
    ):
        assert aim(FASTER, 0, 0.0, speed) == (0, faster) and aim(SLOWER, 0, 0.0, speed) == (0, slower)
    assert aim(IDLE, 1, 0.0, 29.0) == aim(9, 1, 0.0, 29.0) == aim(-1, 1, 0.0, 29.0) == (1, 25.0)


def test_wrecks_roll_out(frame: Any) -> None:
    v = road(x={0: 0.0}, speed={0: 30.0}, target_speed={0: 30.0}, crashed={0: True}, target_lane={0: 1})
    for speed in (24.0, 19.2, 15.36, 12.288, 9.8304):
        v = frame(v)
        assert float(v.speed[0]) == pytest.approx(speed, abs=1e-4)
    assert (float(v.x[0]), float(v.y[0])) == pytest.approx((20.1696, 0.0), abs=1e-4)


# Drivers ---------------------------------------------------------------------------------------------------


def test_car_following(params: Any) -> None:
    """On a free road, and behind a leader 30 m ahead that is 2 m/s slower."""
    v = road(
        kind={1: NORMAL, 2: AGGRESSIVE, 3: DEFENSIVE}, exponent={3: 3.5}, target_speed={1: 24, 2: 24, 3: 24}
    )
    style = drivers.style_of(params, v)
    one, zero = jnp.ones(COUNT), jnp.zeros(COUNT)
    me = drivers.Car(one > 0, zero, one, zero, v.speed, v.target_speed)
    leader = replace(me, x=30.0 * one, speed=20.0 * one)
    free = drivers.free_road(style, me)
    np.testing.assert_allclose(free[1:4], [0.88180, 1.76360, 0.52507], atol=1e-5)
    wanted = drivers.wanted_gap(style, me, leader)
    np.testing.assert_allclose(wanted[1:4], [48.6804, 34.8938, 65.3782], atol=1e-4)
    behind = drivers.follow(style, me, free, leader)
    np.testing.assert_allclose(behind[1:4], [-7.01746, -6.35359, -8.97338], atol=1e-4)


@pytest.mark.parametrize("brakes", [False, True], ids=["published", "style_brake"])
def test_who_brakes(options: Options, decide: Any, brakes: bool) -> None:
    """Aggressive and defensive drivers hold their speed behind a slow leader, unless told otherwise."""
    kinds = {1: NORMAL, 2: AGGRESSIVE, 3: DEFENSIVE}
    v = in_lanes(
        {1: 1, 2: 3, 3: 5, 5: 1, 6: 3, 7: 5},
        x={1: 100, 2: 100, 3: 100, 5: 130, 6: 130, 7: 130},
        kind=kinds,
        exponent={3: 3.5},
        speed={5: 20, 6: 20, 7: 20},
        target_speed={1: 24, 2: 24, 3: 24},
    )
    _, _, acceleration = decide(replace(options, style_brake=brakes), v)
    expected = [-6.0, -6.35359, -5.0] if brakes else [-6.0, 2 / 0.6, 2 / 0.6]
    np.testing.assert_allclose(acceleration[1:4], expected, atol=1e-4)


def test_the_right_lane_wins_where_both_gain(options: Options, params: Any, decide: Any) -> None:
    v = in_lanes({1: 3, 2: 3}, x={1: 100.0, 2: 120.0}, ticks={1: 6})
    after, _, _ = decide(options, v)
    assert after.target_lane[1:3].tolist() == [4, 3]
    assert after.ticks[1:3].tolist() == [0, 0] and float(after.waited[1]) == 0.0
    style = drivers.style_of(params, v)
    me = drivers.Car(jnp.ones(COUNT) > 0, v.x, jnp.ones(COUNT), v.y * 0, v.speed, v.target_speed)
    leader = replace(me, x=v.x + 20.0)
    nobody = replace(me, there=jnp.zeros(COUNT) > 0)
    now, then = drivers.Side(leader, nobody), drivers.Side(nobody, nobody)
    gained, imposed = drivers.gain(style, me, drivers.free_road(style, me), now, then)
    assert (float(gained[1]), float(imposed[1])) == pytest.approx((13.8675, 0.0), abs=1e-4)


def test_when_lanes_are_decided_on(options: Options, params: Any) -> None:
    made = Traffic(
        x=jnp.asarray([100.0, *[150.0] * 7]),
        lane=jnp.full(COUNT, 3, jnp.int32),
        speed=jnp.full(COUNT, 22.0),
        kind=jnp.asarray([LEARNER, NORMAL, AGGRESSIVE, DEFENSIVE, *[LEARNER] * 4], jnp.int32),
        exponent=jnp.full(COUNT, 4.0),
    )
    v = levels.opening(made, params)
    phase = 162 * math.pi
    np.testing.assert_allclose(v.waited[:4], [0, phase % 1, phase % 0.5, phase % 1], atol=1e-4)
    style = drivers.style_of(params, v)

    def due(frames: int, waited: float | None = None) -> list[bool]:
        later = replace(v, ticks=v.ticks + frames)
        later = later if waited is None else replace(later, waited=jnp.full(COUNT, waited))
        found: list[bool] = drivers.due(style, later, options)[1:4].tolist()
        return found

    assert due(0) == [False, False, False] and due(1) == [True, True, True]
    assert due(5, 0.0) == [False, True, False], "five frames are not more than a second"
    assert due(6, 0.0) == [True, True, True] and due(3, 0.0) == [False, True, False]


# Collisions ------------------------------------------------------------------------------------------------


def test_collisions(frame: Any) -> None:
    """What is found at the end of a frame; who will meet crashes in the next one."""

    def after(gap: float) -> Vehicles:
        """A learner at 30 m/s and a driver at 20, ``gap`` m apart when the frame is over."""
        start = {0: 100.0, 1: 100.0 + gap + 2.0}
        found: Vehicles = frame(
            road(x=start, speed={0: 30.0, 1: 20.0}, target_speed={0: 30.0, 1: 20.0}, kind={1: AGGRESSIVE})
        )
        return found

    v = after(6.5)
    assert not v.crashed.any() and v.pushed[:3].tolist() == [True, True, False]
    np.testing.assert_allclose([v.push_x[:2], v.push_y[:2]], [[-0.25, 0.25], [0, 0]], atol=1e-4)
    following = frame(v)
    assert following.crashed.tolist() == [True, True, *[False] * 6]
    np.testing.assert_allclose(following.x[:2], [106 + 6 - 0.25, 112.5 + 4 + 0.25], atol=1e-4)
    assert not after(10.0).pushed.any()
    v = after(4.9)
    assert v.crashed[:3].tolist() == [True, True, False]
    np.testing.assert_allclose([v.push_x[:2], v.push_y[:2]], [[0, 0], [-1, 1]], atol=1e-4)


# Resets ----------------------------------------------------------------------------------------------------


def test_resets() -> None:
    env = make("traffic/highway-chaotic")
    options = env.options
    assert options.learners.tolist() == [0, 11, 22, 33, 44]
    keys = jax.random.split(jax.random.key(0), 1000)
    level = jax.device_get(jax.jit(jax.vmap(env.sample_level, (0, None)))(keys, env.params))
    made = level.traffic
    first, scripted = made.x[:, 0], ~options.is_learner
    assert first.min() >= 106.17 and first.max() <= 111.615 and np.ptp(first) > 5.3
    gaps, unit = np.diff(made.x), (12 + made.speed) * math.exp(-1)
    own = np.where(options.is_learner, 2.0, 1.0)[1:] * unit[:, 1:]
    assert np.all((gaps > 0.899 * own) & (gaps < 1.101 * own))
    assert unit[:, scripted].min() >= 12.14 and unit[:, scripted].max() <= 13.2437
    for kind, low, high, share in ((NORMAL, 3.5, 4.5, 0.4), (AGGRESSIVE, 4, 4, 0.3), (DEFENSIVE, 3, 4, 0.3)):
        of = made.exponent[made.kind == kind]
        assert low <= of.min() and of.max() <= high and np.ptp(of) >= 0.99 * (high - low)
        assert np.mean(made.kind[:, scripted] == kind) == pytest.approx(share, abs=0.02)
    assert np.unique(made.lane).tolist() == list(range(8)) and level.encore == ()
