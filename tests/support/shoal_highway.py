"""The highway once more in plain Python, one vehicle after another, and crowded roads to try it on.

Written from the published rules with loops over all pairs, in double precision, so that nothing but the names
of fields is shared with what is tested.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from shoal.envs.core import make
from shoal.envs.traffic.highway.types import Level, Traffic, Vehicles

KEY = jax.random.key(0)
LEARNER, NORMAL, AGGRESSIVE, DEFENSIVE = range(4)
LANES, FRAME, INFINITY = 8, 0.2, math.inf


@dataclass(frozen=True)
class Driver:
    """The constants of a style, in the order of the published table."""

    limit: float
    comfort: float
    brake: float
    gap: float
    headway: float
    politeness: float
    least_gain: float
    safe: float
    delay: float
    least_speed: float
    abort: float


DRIVERS = {
    NORMAL: Driver(6, 3, 5, 10, 1.5, 0.2, 0.2, 2, 1.0, 1, 1.0),
    AGGRESSIVE: Driver(9, 6, 9, 5.5, 1.2, 0.0, 0.1, 9, 0.5, 0, 0.5),
    DEFENSIVE: Driver(5, 2, 4, 18, 1.8, 0.5, 0.3, 2, 1.0, 0, 1.0),
}


def not_zero(x: float) -> float:
    if abs(x) > 0.01:
        return x
    return 0.01 if x >= 0 else -0.01


class Crowd:
    """Vehicles that decide one after another; ``close`` collects decisions that rounding could turn."""

    def __init__(self, v: Vehicles, lanes: int = LANES) -> None:
        self.v, self.lanes = v, lanes
        self.count = len(v.x)
        self.target = [int(lane) for lane in v.target_lane]
        self.close: list[tuple[int, str, float]] = []

    def above(self, who: int, what: str, value: float, threshold: float) -> bool:
        """Whether ``value`` exceeds ``threshold``; notes it when that is a near thing."""
        if abs(value - threshold) < 1e-4 * max(1.0, abs(value)):
            self.close.append((who, what, value - threshold))
        return value > threshold

    def neighbours(self, me: int, lane: int) -> tuple[int | None, int | None]:
        """Leader, the last of several at one place, and follower, the first of them."""
        v = self.v
        front = rear = None
        for other in range(self.count):
            if other == me or abs(v.y[other] - 4 * lane) > 3 or not -5 <= v.x[other] < 10_005:
                continue
            if v.x[me] <= v.x[other] and (front is None or v.x[other] <= v.x[front]):
                front = other
            if v.x[other] < v.x[me] and (rear is None or v.x[other] > v.x[rear]):
                rear = other
        return front, rear

    def wanted(self, mind: Driver, car: int, other: int) -> float:
        v = self.v
        cos, sin = math.cos(v.heading[car]), math.sin(v.heading[car])
        closing = (v.speed[car] * cos - v.speed[other] * math.cos(v.heading[other])) * cos
        closing += (v.speed[car] * sin - v.speed[other] * math.sin(v.heading[other])) * sin
        brake = 2 * math.sqrt(mind.comfort * mind.brake)
        return float(mind.gap + v.speed[car] * mind.headway + v.speed[car] * closing / brake)

    def idm(self, mind: Driver, delta: float, car: int | None, front: int | None) -> float:
        v = self.v
        if car is None:
            return 0.0
        share = max(v.speed[car], 0.0) / abs(not_zero(v.target_speed[car]))
        acceleration = mind.comfort * (1 - share**delta)
        if front is not None:
            gap = not_zero(v.x[front] - v.x[car])
            acceleration -= mind.comfort * (self.wanted(mind, car, front) / gap) ** 2
        return float(acceleration)

    def mobil(self, me: int, lane: int) -> bool:
        mind, delta = DRIVERS[int(self.v.kind[me])], float(self.v.exponent[me])

        def acc(car: int | None, front: int | None) -> float:
            return self.idm(mind, delta, car, front)

        new_front, new_rear = self.neighbours(me, lane)
        old_front, old_rear = self.neighbours(me, int(self.v.lane[me]))
        imposed = acc(new_rear, me)
        if not self.above(me, "safe", imposed, -mind.safe):
            return False
        others = imposed - acc(new_rear, new_front) + acc(old_rear, old_front) - acc(old_rear, me)
        gain = acc(me, new_front) - acc(me, old_front) + mind.politeness * others
        return self.above(me, "gain", gain, mind.least_gain)

    def change_lanes(self, me: int) -> None:
        v, mind = self.v, DRIVERS[int(self.v.kind[me])]
        lane = int(v.lane[me])
        if lane != self.target[me]:
            for other in range(self.count):
                if other == me or v.lane[other] == self.target[me] or self.target[other] != self.target[me]:
                    continue
                far = float(v.x[other] - v.x[me])
                if far > 0 and self.above(me, "abort", self.wanted(mind, me, other), mind.abort * far):
                    self.target[me] = lane
                    break
            return
        if round((v.waited[me] + FRAME * v.ticks[me] - mind.delay) * 1e4) <= 0:
            return
        for k in (lane - 1, lane + 1):
            if not 0 <= k < self.lanes or abs(v.y[me] - 4 * k) > 8 or abs(v.speed[me]) < mind.least_speed:
                continue
            if self.mobil(me, k):
                self.target[me] = k

    def command(self, me: int, brakes: bool) -> tuple[float, float]:
        """Steering and acceleration of ``me``."""
        v, kind = self.v, int(self.v.kind[me])
        speed = not_zero(v.speed[me])
        drift = -(v.y[me] - 4 * self.target[me]) / 0.6
        course = np.clip(math.asin(np.clip(drift / speed, -1, 1)), -math.pi / 4, math.pi / 4)
        turn = 5 * ((course - v.heading[me] + math.pi) % (2 * math.pi) - math.pi)
        slip = math.asin(np.clip(2.5 * turn / speed, -1, 1))
        wheel = float(np.clip(math.atan(2 * math.tan(slip)), -math.pi / 3, math.pi / 3))
        if kind == LEARNER or (kind != NORMAL and not brakes):
            return wheel, float((v.target_speed[me] - v.speed[me]) / 0.6)
        mind, delta, lane = DRIVERS[kind], float(v.exponent[me]), int(v.lane[me])
        acceleration = self.idm(mind, delta, me, self.neighbours(me, lane)[0])
        if self.target[me] != lane:
            there = self.idm(mind, delta, me, self.neighbours(me, self.target[me])[0])
            acceleration = min(acceleration, there)
        return wheel, float(np.clip(acceleration, -mind.limit, mind.limit))


def decide(v: Vehicles, brakes: bool) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str, float]]]:
    """Has everybody decide in turn.

    Returns:
        [N] target lanes, [N, 2] steering and acceleration (NaN for wrecks of scripted drivers), near things.
    """
    crowd = Crowd(v)
    commands = np.full((crowd.count, 2), np.nan)
    for me in range(crowd.count):
        if v.kind[me] != LEARNER:
            if v.crashed[me]:
                continue
            crowd.change_lanes(me)
        commands[me] = crowd.command(me, brakes)
    return np.asarray(crowd.target), commands, crowd.close


# Collisions ------------------------------------------------------------------------------------------------


@dataclass
class Meeting:
    """What two vehicles do to each other: distances below zero are overlaps."""

    now: float  # the largest distance along an axis, at present
    later: float  # the same with the first one moved on
    x: float  # what the first is moved by
    y: float


def corners(x: float, y: float, heading: float) -> np.ndarray:
    c, s = math.cos(heading), math.sin(heading)
    points = [(-2.5, -1), (-2.5, 1), (2.5, 1), (2.5, -1)]
    return np.array([(x + a * c - b * s, y + a * s + b * c) for a, b in points])


def between(a: tuple[float, float], b: tuple[float, float]) -> float:
    """The distance between two intervals, negative where they overlap."""
    return b[0] - a[1] if a[0] < b[0] else a[0] - b[1]


def meeting(v: Vehicles, i: int, j: int) -> Meeting:
    """Separating axes of two rectangles, edge by edge."""
    places = [corners(float(v.x[k]), float(v.y[k]), float(v.heading[k])) for k in (i, j)]
    way_i, way_j = (
        v.speed[k] * np.array([math.cos(v.heading[k]), math.sin(v.heading[k])]) * FRAME for k in (i, j)
    )
    apart = places[0].mean(axis=0) - places[1].mean(axis=0)
    now = later = -INFINITY
    least, best = INFINITY, np.zeros(2)
    for shape in places:
        for k in range(4):
            edge = shape[(k + 1) % 4] - shape[k]
            normal = np.array([-edge[1], edge[0]]) / np.hypot(*edge)
            spans = [(float((p @ normal).min()), float((p @ normal).max())) for p in places]
            now = max(now, between(*spans))
            drift = float(normal @ (way_i - way_j))
            spans[0] = (spans[0][0] + min(drift, 0.0), spans[0][1] + max(drift, 0.0))
            overlap = between(*spans)
            later = max(later, overlap)
            if abs(overlap) < least - 1e-9:
                least, best = abs(overlap), normal if apart @ normal > 1e-9 else -normal
    return Meeting(now, later, *(least * best / 2))


def collide(v: Vehicles) -> tuple[np.ndarray, np.ndarray, np.ndarray, set[int]]:
    """Looks at all pairs, in the order of making.

    Returns:
        [N] who is crashed, [N] who is pushed, [N, 2] how far, and who takes part in a near thing.
    """
    count = len(v.x)
    crashed, pushed = np.array(v.crashed), np.zeros(count, bool)
    push, close = np.zeros((count, 2)), set()
    for i in range(count):
        for j in range(i + 1, count):
            far = math.hypot(v.x[j] - v.x[i], v.y[j] - v.y[i]) - math.sqrt(29) - v.speed[i] * FRAME
            if far > 1e-4:
                continue
            met = meeting(v, i, j)
            if abs(far) < 1e-4 or abs(met.now) < 1e-4 or abs(met.later) < 1e-4:
                close |= {i, j}
            if far > 0:
                continue
            if met.later <= 0:
                pushed[[i, j]] = True
                push[i], push[j] = (met.x, met.y), (-met.x, -met.y)
            if met.now <= 0:
                crashed[[i, j]] = True
    return crashed, pushed, push, close


# Roads -----------------------------------------------------------------------------------------------------


def crowded(rng: np.random.Generator, count: int, length: float, learners: Any, grid: float = 0.0) -> Any:
    """Vehicles anywhere on ``length`` m of road, many of them between lanes; on a grid some are level."""
    lane = rng.integers(0, LANES, count)
    target = np.clip(lane + rng.integers(-1, 2, count), 0, LANES - 1)
    x = 100 + rng.uniform(0, length, count)
    kind = rng.integers(NORMAL, DEFENSIVE + 1, count)
    kind[learners] = LEARNER
    floats = {
        "x": np.round(x / grid) * grid if grid else x,
        "y": 4.0 * lane + np.where(target == lane, 0.0, rng.uniform(-1.9, 1.9, count)),
        "heading": np.where(target == lane, 0.0, rng.uniform(-0.3, 0.3, count)),
        "speed": rng.uniform(15, 32, count),
        "target_speed": np.where(
            kind == LEARNER, rng.choice([20.0, 25.0, 30.0], count), rng.uniform(21, 24, count)
        ),
        "push_x": np.zeros(count),
        "push_y": np.zeros(count),
        "waited": rng.uniform(0, 0.2, count),
        "exponent": np.where(kind == LEARNER, 0.0, rng.uniform(3, 4.5, count)),
    }
    return Vehicles(
        **{name: value.astype(np.float32) for name, value in floats.items()},
        lane=lane.astype(np.int32),
        target_lane=target.astype(np.int32),
        crashed=rng.uniform(size=count) < 0.1,
        pushed=np.zeros(count, bool),
        ticks=rng.integers(0, 8, count).astype(np.int32),
        kind=kind.astype(np.int32),
    )


# A small road ----------------------------------------------------------------------------------------------


SMALL = {"num_agents": 2, "drivers": 6}  # the learners are the first and the fifth of eight
COUNT, SECOND = 8, 4


def road(**changes: dict[int, float]) -> Vehicles:
    """Eight vehicles far apart in the first lane, two learners and normal drivers, with ``changes``."""
    rows: dict[str, Any] = {name: np.zeros(COUNT, np.float32) for name in Vehicles.__dataclass_fields__}
    rows |= {
        "x": 1000.0 + 500.0 * np.arange(COUNT),
        "speed": np.full(COUNT, 22.0),
        "target_speed": np.full(COUNT, 22.0),
        "kind": np.where(np.isin(np.arange(COUNT), [0, SECOND]), LEARNER, NORMAL),
        "exponent": np.full(COUNT, 4.0),
        "lane": np.zeros(COUNT),
    }
    for name, values in changes.items():
        for k, value in values.items():
            rows[name][k] = value
    whole = {"lane", "target_lane", "ticks", "kind"}
    for name, row in rows.items():
        dtype = jnp.int32 if name in whole else bool if name in ("crashed", "pushed") else jnp.float32
        rows[name] = jnp.asarray(row, dtype)
    return Vehicles(**rows)


def in_lanes(lanes: dict[int, int], **changes: dict[int, float]) -> Vehicles:
    """As `road`, some vehicles in the middle of other lanes."""
    lane: Any = dict(lanes)
    return road(lane=lane, target_lane=lane, y={k: 4.0 * lane[k] for k in lane}, **changes)


class Small:
    """A small highway, compiled once."""

    def __init__(self, **options: Any) -> None:
        self.env = make("traffic/highway-mild-v1", **SMALL, **options)
        self.learners = self.env.options.learners
        self.reset, self._step = jax.jit(self.env.reset), jax.jit(self.env.step)

    def step(self, state: Any, *actions: int) -> tuple[Any, Any]:
        return self._step(KEY, state, jnp.asarray(actions, jnp.int32))

    def placed(self, x: Any, lane: Any, speed: Any) -> tuple[Any, Any]:
        """Opens with two learners and six normal drivers in the middle of their lanes."""
        made = Traffic(
            x=jnp.asarray(x, jnp.float32),
            lane=jnp.asarray(lane, jnp.int32),
            speed=jnp.asarray(speed, jnp.float32),
            kind=road().kind,
            exponent=jnp.full(COUNT, 4.0),
        )
        level = Level(traffic=made, encore=(), params=self.env.params)
        opened: tuple[Any, Any] = self.reset(KEY, level=level)
        return opened

    def opened(self) -> tuple[Any, Any]:
        """A learner at (150, 12) with 25 m/s, the other one 20 m ahead and a lane to the right."""
        return self.placed(
            x=[150.0, 140.1, 139.9, 160.5, 170.0, 2000.0, 2500.0, 3000.0],
            lane=[3, 0, 0, 0, 4, 0, 0, 0],
            speed=[25.0, *[22.0] * 7],
        )
