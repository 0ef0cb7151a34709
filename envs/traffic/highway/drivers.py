"""Scripted drivers: car following by IDM, lane changes by MOBIL, in three styles.

Sources: Treiber et al., Phys. Rev. E 62, 2000 (IDM); Kesting et al., TRR 1999, 2007 (MOBIL); constants and
the order of decisions are those of iPLAN's highway (arXiv 2306.06236 and its code). Batches lie in trailing
axes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Bool, Float, Int

from shoal.envs.traffic.highway import motion, neighbours
from shoal.envs.traffic.highway.motion import centre, not_zero
from shoal.envs.traffic.highway.neighbours import Ranking
from shoal.envs.traffic.highway.types import (
    AGGRESSIVE,
    LANE_WIDTH,
    LEARNER,
    LENGTH,
    NORMAL,
    ROAD,
    STYLES,
    Options,
    Params,
    Vehicles,
)

MARGIN = 1.0  # m, by which a vehicle beyond the edge of a lane still counts as in it
Numbers = Float[Array, "*batch"]
Flags = Bool[Array, "*batch"]


@struct.dataclass
class Style:
    """Constants of each vehicle's driver, [N, *B] f32 each."""

    acceleration: Array
    braking: Array
    limit: Array
    gap: Array
    headway: Array
    politeness: Array
    least_gain: Array
    safe_braking: Array
    delay: Array
    least_speed: Array
    abort: Array
    exponent: Array


@struct.dataclass
class Car:
    """A vehicle as others reckon with it."""

    there: Any  # [N, *B] bool; () where only vehicles that exist are meant
    x: Array
    cos: Array
    sin: Array
    speed: Array
    target_speed: Array


def style_of(params: Params, v: Vehicles) -> Style:
    """Returns the constants of every vehicle's driver; those of learners mean nothing."""

    def pick(values: Array) -> Array:
        parts = [values[s][None] for s in range(STYLES)]
        return jnp.where(v.kind == NORMAL, parts[0], jnp.where(v.kind == AGGRESSIVE, parts[1], parts[2]))

    names = (name for name in Style.__dataclass_fields__ if name != "exponent")
    return Style(exponent=v.exponent, **{name: pick(getattr(params, name)) for name in names})


# Car following ---------------------------------------------------------------------------------------------


def wanted_gap(style: Style, car: Car, other: Car) -> Numbers:
    """Returns the distance, m, centre to centre, that ``car`` wants to ``other`` ahead."""
    closing = (car.speed * car.cos - other.speed * other.cos) * car.cos
    closing = closing + (car.speed * car.sin - other.speed * other.sin) * car.sin
    brake = 2.0 * jnp.sqrt(style.acceleration * style.braking)
    return style.gap + car.speed * style.headway + car.speed * closing / brake


def free_road(style: Style, car: Car) -> Numbers:
    """Returns the acceleration, m/s2, of a car without a leader."""
    share = jnp.maximum(car.speed, 0.0) / jnp.abs(not_zero(car.target_speed))
    return style.acceleration * (1.0 - share**style.exponent)


def follow(style: Style, car: Car, free: Numbers, other: Car) -> Numbers:
    """Returns the acceleration, m/s2, of ``car``, whose `free_road` is ``free``, behind ``other``."""
    share = wanted_gap(style, car, other) / not_zero(other.x - car.x)
    braking = jnp.where(other.there, style.acceleration * share * share, 0.0)
    return jnp.where(car.there, free - braking, 0.0)


# Neighbours ------------------------------------------------------------------------------------------------


def lane_sets(v: Vehicles, order: Ranking, lanes: int) -> neighbours.Words:
    """Returns who is in each lane, [W, lanes, *B]; near an edge one is in two."""
    lane = jnp.arange(lanes, dtype=jnp.int32).reshape(1, -1, *(1,) * (v.y.ndim - 1))
    aside = jnp.abs(v.y[:, None] - centre(lane))
    on_road = (v.x >= -LENGTH) & (v.x < ROAD + LENGTH)
    member = (aside <= 0.5 * LANE_WIDTH + MARGIN) & on_road[:, None]
    return neighbours.pack(member, _for_lanes(order.rank, member))


def _for_lanes(rank: Array, member: Array) -> Int[Array, "vehicles lanes *batch"]:
    return jnp.broadcast_to(rank[:, None], member.shape)


@struct.dataclass
class Side:
    """What a vehicle finds in one lane."""

    ahead: Car
    behind: Car


def look(lane: Int[Array, "vehicles *batch"], sets: Array, order: Ranking, cars: Car) -> Side:
    """Returns each vehicle's neighbours in a lane of its choice.

    Args:
        lane: of choice.
        sets: from `lane_sets`.
        order: of the vehicles.
        cars: all of them, in that order.
    """
    words = neighbours.choose(sets, lane)
    count = lane.shape[0]

    def at(rank: Array) -> Car:
        there = (rank >= 0) & (rank < count)
        place = jnp.clip(rank, 0, count - 1)
        found: Car = jax.tree.map(
            lambda leaf: jnp.take_along_axis(leaf, place, axis=0), replace(cars, there=())
        )
        return replace(found, there=there)

    return Side(at(neighbours.leader(words, order)), at(neighbours.follower(words, order)))


# Lane changes ----------------------------------------------------------------------------------------------


def gain(style: Style, me: Car, free: Numbers, now: Side, then: Side) -> tuple[Numbers, Numbers]:
    """Returns what a lane change gains (MOBIL), m/s2, and the acceleration that it imposes on the follower.

    Args:
        style: of who decides; applied to the others as well, with their own target speeds.
        me: who decides.
        free: its `free_road`.
        now: its neighbours in its lane.
        then: its neighbours in the other lane.
    """
    old_free, new_free = free_road(style, now.behind), free_road(style, then.behind)
    imposed = follow(style, then.behind, new_free, me)
    mine = follow(style, me, free, then.ahead) - follow(style, me, free, now.ahead)
    new = imposed - follow(style, then.behind, new_free, then.ahead)
    old = follow(style, now.behind, old_free, now.ahead) - follow(style, now.behind, old_free, me)
    return mine + style.politeness * (new + old), imposed


def accepts(style: Style, v: Vehicles, lane: Array, gained: Numbers, imposed: Numbers) -> Flags:
    """Returns whether a change to ``lane`` is possible, safe and worth while."""
    reachable = (jnp.abs(v.y - centre(lane)) <= 2 * LANE_WIDTH) & (v.x >= 0) & (v.x < ROAD + LENGTH)
    fast = jnp.abs(v.speed) >= style.least_speed
    return reachable & fast & (imposed >= -style.safe_braking) & (gained >= style.least_gain)


def due(style: Style, v: Vehicles, options: Options) -> Flags:
    """Returns who decides on lanes in this frame: more time has passed than its delay.

    Counted in frames, of which five of 0.2 s are exactly, not more than, a second.
    """
    rate = float(options.simulation_frequency)
    return v.ticks.astype(jnp.float32) - style.delay * rate + v.waited * rate > 0


def rivals(
    options: Options, style: Style, v: Vehicles, me: Car, wanted: Array, changing: Flags, order: Ranking
) -> tuple[Array, Flags]:
    """Returns who stops each vehicle from going on with a lane change.

    A rival is ahead, nearer than wanted, elsewhere, and aims at the same lane. Each vehicle goes through
    those ahead of it that aim there, one after another.

    Args:
        options: how many lanes there are.
        style: of the drivers.
        v: before they decide.
        me: the vehicles as cars.
        wanted: [N, *B] i32, target lanes after those decisions that no rival can prevent.
        changing: [N, *B] who asks.
        order: of the vehicles.

    Returns:
        [W, N, *B] the ranks of rivals made earlier, whose ``wanted`` counts, and [N, *B] whether there is one
        made later, which has not decided yet.
    """
    # At most a vehicle's old and new target; its own lane is no lane that it aims at from elsewhere.
    old = jnp.where(v.target_lane != v.lane, v.target_lane, -1)
    new = jnp.where(wanted != v.lane, wanted, -1)
    lanes = jnp.arange(options.lanes, dtype=jnp.int32).reshape(1, -1, *(1,) * (v.y.ndim - 1))
    aimed = (old[:, None] == lanes) | (new[:, None] == lanes)
    aims = neighbours.choose(neighbours.pack(aimed, _for_lanes(order.rank, aimed)), v.target_lane)
    count, words = v.x.shape[0], aims.shape[0]
    index = neighbours.indices(v.x)
    by_rank = jax.tree.map(lambda leaf: jnp.take_along_axis(leaf, order.order, axis=0), (me, old, new))

    def look_on(carry: Any) -> Any:
        place, earlier, later = carry
        at = jnp.minimum(place, count - 1)
        other, its_old, its_new = jax.tree.map(lambda leaf: jnp.take_along_axis(leaf, at, axis=0), by_rank)
        made = jnp.take_along_axis(order.order, at, axis=0)
        distance = other.x - me.x
        near = (distance > 0) & (style.abort * distance < wanted_gap(style, me, other)) & (place < count)
        first = near & (made < index) & (its_new == v.target_lane)
        earlier = earlier | jnp.where(first[None], neighbours.bits(place, words), jnp.uint32(0))
        later = later | (near & (made > index) & (its_old == v.target_lane))
        return neighbours.first_from(aims, place + 1), earlier, later

    first = jnp.where(changing, neighbours.first_from(aims, order.rank + 1), count)
    opening = first, jnp.zeros_like(aims), jnp.zeros_like(v.crashed)
    _, earlier, later = jax.lax.while_loop(lambda carry: jnp.any(carry[0] < count), look_on, opening)
    return earlier, changing & later


def aborting(changing: Flags, earlier: Array, later: Flags, order: Ranking) -> Flags:
    """Returns who gives up its lane change, [N, *B].

    Drivers decide one after another: a rival made earlier that has just given up its own change is none any
    more. That is a recursion from the first to the last; it is repeated for all at once until nothing
    changes.

    Args:
        changing: [N, *B] who may give up.
        earlier: from `rivals`.
        later: from `rivals`.
        order: of the vehicles.
    """

    def again(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        gave_up, _ = carry
        left = earlier & ~neighbours.pack(gave_up, order.rank)[:, None]
        new = later | (changing & jnp.any(left != 0, axis=0))
        return new, jnp.any(new != gave_up)

    gave_up: Array = jax.lax.while_loop(lambda carry: carry[1], again, (later, jnp.ones((), bool)))[0]
    return gave_up


# Both ------------------------------------------------------------------------------------------------------


def decide(
    options: Options, params: Params, v: Vehicles, order: Ranking
) -> tuple[Vehicles, Numbers, Numbers]:
    """Lets every driver decide, learners' lower controls included.

    Returns:
        The vehicles with new target lanes and clocks, steering [N, *B] in rad, acceleration [N, *B] in m/s2.
    """
    style, lane = style_of(params, v), v.lane
    me = Car((), v.x, jnp.cos(v.heading), jnp.sin(v.heading), v.speed, v.target_speed)
    cars: Car = jax.tree.map(lambda leaf: jnp.take_along_axis(leaf, order.order, axis=0), me)
    me = replace(me, there=jnp.ones_like(v.crashed))
    active = (v.kind != LEARNER) & ~v.crashed
    changing = active & (lane != v.target_lane)

    # Who is changing lanes looks at the lane it goes to; the others at those on both sides.
    left, right = jnp.where(changing, v.target_lane, lane - 1), lane + 1
    find = partial(look, sets=lane_sets(v, order, options.lanes), order=order, cars=cars)
    now, to_left, to_right = find(lane), find(left), find(right)

    free = free_road(style, me)
    deciding = active & ~changing & due(style, v, options)
    goes_left, goes_right = (
        deciding & (to >= 0) & (to < options.lanes) & accepts(style, v, to, *gain(style, me, free, now, side))
        for to, side in ((left, to_left), (right, to_right))
    )
    wanted = jnp.where(goes_right, right, jnp.where(goes_left, left, v.target_lane))
    found = rivals(options, style, v, replace(me, there=()), wanted, changing, order)
    gives_up = aborting(changing, *found, order)
    v = replace(
        v,
        target_lane=jnp.where(gives_up, lane, wanted),
        waited=jnp.where(deciding, 0.0, v.waited),
        ticks=jnp.where(deciding, 0, v.ticks),
    )

    follows = follow(style, me, free, now.ahead)
    there = jnp.where(
        goes_right, follow(style, me, free, to_right.ahead), follow(style, me, free, to_left.ahead)
    )
    follows = jnp.where(v.target_lane != lane, jnp.minimum(follows, there), follows)
    brakes = (v.kind != LEARNER) if options.style_brake else (v.kind == NORMAL)
    acceleration = jnp.where(brakes, jnp.clip(follows, -style.limit, style.limit), motion.cruising(v))
    return v, motion.steering(v), acceleration
