"""Our highway beside the registry's highway-env, the package that iPLAN's is a copy of, in a later version.

With its drivers given iPLAN's constants, and ours braking in every style and giving up lane changes alike,
whole frames agree. It computes in double precision and we in single, from states that single can hold.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shoal_highway
from highway_env import utils
from highway_env.road.road import Road, RoadNetwork
from highway_env.vehicle.behavior import AggressiveVehicle, DefensiveVehicle, IDMVehicle, LinearVehicle
from highway_env.vehicle.controller import MDPVehicle

from shoal.envs.common.batching import batch_last
from shoal.envs.core import make
from shoal.envs.traffic.highway import collisions, drivers, dynamics, neighbours
from shoal.envs.traffic.highway.types import AGGRESSIVE, DEFENSIVE, LEARNER, NORMAL, Options, Vehicles

pytestmark = pytest.mark.parity

COUNT, BOARDS, FRAME = 40, 24, 0.2
ACTIONS = ("LANE_LEFT", "IDLE", "LANE_RIGHT", "FASTER", "SLOWER")
EVERYWHERE = {"style_brake": True, "abort": (1.0, 1.0, 1.0), "least_speed": (1.0, 1.0, 1.0)}


class Normal(IDMVehicle):
    POLITENESS = 0.2


class Aggressive(IDMVehicle):
    ACC_MAX, COMFORT_ACC_MAX, COMFORT_ACC_MIN = 9.0, 6.0, -9.0
    DISTANCE_WANTED, TIME_WANTED, POLITENESS = 5.5, 1.2, 0.0
    LANE_CHANGE_MIN_ACC_GAIN, LANE_CHANGE_MAX_BRAKING_IMPOSED, LANE_CHANGE_DELAY = 0.1, 9.0, 0.5


class Defensive(IDMVehicle):
    ACC_MAX, COMFORT_ACC_MAX, COMFORT_ACC_MIN = 5.0, 2.0, -4.0
    DISTANCE_WANTED, TIME_WANTED, POLITENESS = 18.0, 1.8, 0.5
    LANE_CHANGE_MIN_ACC_GAIN, LANE_CHANGE_MAX_BRAKING_IMPOSED, LANE_CHANGE_DELAY = 0.3, 2.0, 1.0


KINDS = {LEARNER: MDPVehicle, NORMAL: Normal, AGGRESSIVE: Aggressive, DEFENSIVE: Defensive}


def theirs(v: Vehicles) -> Road:
    """The same vehicles on their road."""
    road = Road(RoadNetwork.straight_road_network(8, speed_limit=30), np_random=np.random.RandomState(0))
    for k in range(len(v.x)):
        place, kind = [float(v.x[k]), float(v.y[k])], KINDS[int(v.kind[k])]
        target = ("0", "1", int(v.target_lane[k]))
        made = kind(road, place, float(v.heading[k]), float(v.speed[k]), target, float(v.target_speed[k]))
        made.crashed = bool(v.crashed[k])
        if v.pushed[k]:
            made.impact = np.array([v.push_x[k], v.push_y[k]], np.float64)
        if kind is not MDPVehicle:
            made.DELTA = float(v.exponent[k])
            made.timer = float(v.waited[k]) + FRAME * int(v.ticks[k])
        road.vehicles.append(made)
    return road


def taken(road: Road, read: Callable[[Any], Any]) -> np.ndarray:
    return np.array([read(vehicle) for vehicle in road.vehicles])


@pytest.fixture(scope="module")
def env() -> Any:
    return make("traffic/highway-mild", num_agents=3, drivers=COUNT - 3, **EVERYWHERE)


@pytest.fixture(scope="module")
def crowds(env: Any) -> list[Vehicles]:
    """Full and less full roads; some vehicles level with each other, some about to be pushed."""
    rng = np.random.default_rng(11)
    found = []
    for k, length in enumerate(np.linspace(120, 700, BOARDS)):
        v = shoal_highway.crowded(rng, COUNT, length, env.options.learners, 2.0 if k % 3 == 2 else 0.0)
        pushed = rng.uniform(size=COUNT) < 0.05
        push = np.where(pushed, rng.uniform(-0.5, 0.5, (2, COUNT)), 0.0).astype(np.float32)
        found.append(v.replace(pushed=pushed, push_x=push[0], push_y=push[1]))
    return found


@pytest.fixture(scope="module")
def actions() -> np.ndarray:
    return np.random.default_rng(12).integers(0, 5, (BOARDS, 3), np.int32)


@pytest.fixture(scope="module")
def ours(env: Any, crowds: list[Vehicles], actions: np.ndarray) -> tuple[Any, ...]:
    """After what learners aim at: steering, acceleration, target lanes, and the vehicles a frame later."""
    options: Options = env.options

    def frame(params: Any, v: Vehicles, action: jax.Array) -> Any:
        v = dynamics.aim(options, v, action)
        order = neighbours.ranking(v.x)
        _, wheel, acceleration = drivers.decide(options, params, v, order)
        return wheel, acceleration, dynamics.frame(options, params, v, order)[0]

    params = jax.tree.map(lambda x: jnp.broadcast_to(x, (BOARDS, *jnp.shape(x))), env.params)
    boards = jax.tree.map(lambda *rows: jnp.asarray(np.stack(rows)), *crowds)
    play = jax.jit(jax.vmap(batch_last(frame)))
    found: tuple[Any, ...] = jax.device_get(play(params, boards, jnp.asarray(actions)))
    return found


def act(env: Any, road: Road, action: np.ndarray) -> None:
    """Learners are told what to do, then everybody decides in turn."""
    for place, what in zip(env.options.learners, action, strict=True):
        road.vehicles[place].act(ACTIONS[what])
    road.act()


def test_whole_frames(env: Any, crowds: list[Vehicles], actions: np.ndarray, ours: tuple[Any, ...]) -> None:
    """Lanes and crashes exactly, places and commands to single precision, pushes but for ties of sides."""
    wheel, acceleration, after = ours
    crashes = changes = ties = met = 0
    for k, v in enumerate(crowds):
        road = theirs(v)
        act(env, road, actions[k])
        decides = (v.kind == LEARNER) | ~v.crashed
        command = taken(road, lambda one: [one.action["steering"], one.action["acceleration"]])
        np.testing.assert_allclose(wheel[k][decides], command[decides, 0], rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(acceleration[k][decides], command[decides, 1], rtol=1e-4, atol=1e-4)
        road.step(FRAME)
        target = taken(road, lambda one: one.target_lane_index[2])
        np.testing.assert_array_equal(after.target_lane[k], target)
        np.testing.assert_array_equal(after.target_speed[k], taken(road, lambda one: one.target_speed))
        np.testing.assert_array_equal(after.lane[k], taken(road, lambda one: one.lane_index[2]))
        np.testing.assert_array_equal(after.crashed[k], taken(road, lambda one: one.crashed))
        places = taken(road, lambda one: [*one.position, one.heading, one.speed])
        got = np.stack([after.x[k], after.y[k], after.heading[k], after.speed[k]], -1)
        np.testing.assert_allclose(got, places, rtol=1e-6, atol=2e-5)
        impact = taken(road, lambda one: [np.nan] * 2 if one.impact is None else one.impact)
        pushed = ~np.isnan(impact[:, 0])
        np.testing.assert_array_equal(after.pushed[k], pushed)
        got, want = np.stack([after.push_x[k], after.push_y[k]], -1)[pushed], impact[pushed]
        tie = np.abs(got - want).max(axis=-1, initial=0.0) > 2e-4
        np.testing.assert_allclose(np.hypot(*got[tie].T), np.hypot(*want[tie].T), atol=2e-4)
        crashes, changes = crashes + np.sum(after.crashed[k] & ~v.crashed), changes + np.sum(target != v.lane)
        ties, met = ties + tie.sum(), met + len(want)
    assert crashes > 100 and changes > 100 and met > 100, "else little was tested"
    assert ties < 5


def test_single_vehicles_everywhere() -> None:
    """Bicycle and controllers alone, at any speed and heading, backwards and above the limit too."""
    env = make("traffic/highway-mild", num_agents=1, drivers=0)
    rng = np.random.default_rng(13)
    rows = 300
    blank = shoal_highway.crowded(rng, rows, 500.0, slice(None))
    lane = rng.integers(0, 8, rows).astype(np.int32)
    v = blank.replace(
        y=(4.0 * lane + rng.uniform(-1.9, 1.9, rows)).astype(np.float32),
        lane=lane,
        target_lane=rng.integers(0, 8, rows).astype(np.int32),
        heading=rng.uniform(-3, 3, rows).astype(np.float32),
        speed=np.where(rng.uniform(size=rows) < 0.1, 0.0, rng.uniform(-45, 45, rows)).astype(np.float32),
    )

    @jax.jit
    def alone(v: Vehicles) -> Any:
        """Every vehicle on a road of its own."""
        params = jax.tree.map(
            lambda x: jnp.broadcast_to(jnp.asarray(x)[..., None], (*x.shape, rows)), env.params
        )
        each = jax.tree.map(lambda x: x[None], v)
        return jax.tree.map(
            lambda x: x[0], dynamics.frame(env.options, params, each, neighbours.ranking(each.x))[0]
        )

    after = jax.device_get(alone(jax.tree.map(jnp.asarray, v)))
    road = theirs(v)
    road.act()
    for vehicle in road.vehicles:
        vehicle.step(FRAME)
    places = taken(road, lambda one: [*one.position, one.heading, one.speed])
    got = np.stack([after.x, after.y, after.heading, after.speed], -1)
    np.testing.assert_allclose(got, places, rtol=2e-6, atol=2e-5)


def test_rectangles() -> None:
    """Who overlaps, who will, and what parts them, for random pairs, apart from ties between sides."""
    rng = np.random.default_rng(14)
    rows = 4000
    v = shoal_highway.crowded(rng, 2 * rows, 1.0, [0])
    box = {
        "x": rng.uniform(-5, 5, 2 * rows),
        "y": rng.uniform(-4, 4, 2 * rows),
        "heading": np.where(rng.uniform(size=2 * rows) < 0.3, 0.0, rng.uniform(-3, 3, 2 * rows)),
        "speed": rng.uniform(-30, 40, 2 * rows),
    }
    v = v.replace(**{name: x.astype(np.float32) for name, x in box.items()})
    boxes = collisions.Box(
        *(jnp.asarray(x) for x in (v.x, v.y, np.cos(v.heading), np.sin(v.heading), v.speed)),
        index=jnp.arange(2 * rows, dtype=jnp.int32),
    )
    one, other = (
        jax.tree.map(lambda x, part=part: x[part], boxes) for part in (slice(rows), slice(rows, None))
    )
    now, later = collisions.contact(one, other, FRAME)
    move_x, move_y = collisions.push(one, other, FRAME)
    near = ties = pushed = 0
    for k in range(rows):
        i, j = (
            IDMVehicle(
                None, [v.x[n], v.y[n]], float(v.heading[n]), float(v.speed[n]), ("0", "1", 0), 20.0, timer=1
            )
            for n in (k, rows + k)
        )
        far = np.linalg.norm(j.position - i.position) - i.diagonal - i.speed * FRAME
        known = i._is_colliding(j, FRAME)
        met = shoal_highway.meeting(v, k, rows + k)
        if min(abs(far), abs(met.now), abs(met.later)) < 1e-5:
            near += 1
            continue
        assert (bool(now[k]), bool(later[k])) == known[:2]
        if known[1]:
            half, move = known[2] / 2, np.array([move_x[k], move_y[k]])
            pushed += 1
            if np.abs(half - move).max() > 2e-5:
                ties += 1
                assert np.linalg.norm(half) == pytest.approx(np.linalg.norm(move), abs=2e-5)
    assert near < 10 and ties < 0.01 * pushed and pushed > 1000


def test_what_differs() -> None:
    """Numbers that iPLAN's copy has and today's package has not; the docs page names them."""
    env = make("traffic/highway-mild")
    normal = {name: float(np.asarray(getattr(env.params, name)).ravel()[0]) for name in env.params.__dict__}
    same = {
        "acceleration": IDMVehicle.COMFORT_ACC_MAX,
        "braking": -IDMVehicle.COMFORT_ACC_MIN,
        "limit": IDMVehicle.ACC_MAX,
        "gap": IDMVehicle.DISTANCE_WANTED,
        "headway": IDMVehicle.TIME_WANTED,
        "least_gain": IDMVehicle.LANE_CHANGE_MIN_ACC_GAIN,
        "safe_braking": IDMVehicle.LANE_CHANGE_MAX_BRAKING_IMPOSED,
        "delay": IDMVehicle.LANE_CHANGE_DELAY,
        "exponent_low": IDMVehicle.DELTA_RANGE[0],
        "exponent_high": IDMVehicle.DELTA_RANGE[1],
    }
    for name, value in same.items():
        assert normal[name] == pytest.approx(value), name
    assert IDMVehicle.POLITENESS == 0.0 and normal["politeness"] == pytest.approx(0.2)
    for style in (AggressiveVehicle, DefensiveVehicle):
        assert issubclass(style, LinearVehicle), "other drivers than ours of these names"
    assert not utils.do_every(1.0, sum([FRAME] * 5)) and utils.do_every(1.0, sum([FRAME] * 6))
