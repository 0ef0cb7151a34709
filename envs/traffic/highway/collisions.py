"""Collisions of oriented rectangles, found in the order along the road instead of among all pairs.

Source: spec A1.6 (separating axes, with the current places and with the places one frame on). Batches lie in
trailing axes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Bool, Float

from shoal.envs.traffic.highway.neighbours import Ranking, indices
from shoal.envs.traffic.highway.types import LENGTH, WIDTH, Vehicles

FAR = 1e9  # m, from everybody
DIAGONAL = math.hypot(LENGTH, WIDTH)
Numbers = Float[Array, "*batch"]
Flags = Bool[Array, "*batch"]


@struct.dataclass
class Box:
    """Rectangles and how they move."""

    x: Array
    y: Array
    cos: Array
    sin: Array
    speed: Array
    index: Array  # i32, in the order of making


@struct.dataclass
class Met:
    """What has been found of each vehicle so far, in the order along the road."""

    crashed: Array  # bool
    partner: Array  # i32, of those that it meets the one made last, -1 for none
    place: Array  # i32, where that one is in the order along the road


def collide(v: Vehicles, order: Ranking, seconds: float) -> Vehicles:
    """Finds who crashes now, and who is pushed in the next frame.

    A vehicle that meets several is pushed by the one of them that was made last. Pairs are looked at by how
    many vehicles lie between them along the road, until none can be near enough.
    """
    places = v.x, v.y, jnp.cos(v.heading), jnp.sin(v.heading), v.speed
    x, y, cos, sin, speed = (jnp.take_along_axis(leaf, order.order, axis=0) for leaf in places)
    boxes = Box(x, y, cos, sin, speed, order.order)
    met = _meetings(boxes, seconds)
    partner: Box = jax.tree.map(
        lambda leaf: jnp.take_along_axis(leaf, jnp.maximum(met.place, 0), axis=0), boxes
    )
    pushed = met.partner >= 0
    push_x, push_y = push(boxes, partner, seconds)
    crashed, pushed, push_x, push_y = jax.tree.map(
        lambda leaf: jnp.take_along_axis(leaf, order.rank, axis=0), (met.crashed, pushed, push_x, push_y)
    )
    return replace(
        v,
        crashed=v.crashed | crashed,
        push_x=jnp.where(pushed, push_x, v.push_x),
        push_y=jnp.where(pushed, push_y, v.push_y),
        pushed=v.pushed | pushed,
    )


def _meetings(boxes: Box, seconds: float) -> Met:
    """Returns who crashes and whom each vehicle meets; ``boxes`` in the order along the road."""
    count = boxes.x.shape[0]
    place = jnp.broadcast_to(indices(boxes.x), boxes.x.shape)
    nobody = replace(jax.tree.map(jnp.zeros_like, boxes), x=jnp.full_like(boxes.x, FAR))
    padded = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), boxes, nobody)

    def ahead(gap: Array) -> Any:
        return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, gap, count), padded)

    def near(carry: tuple[Array, Met]) -> Array:
        other = ahead(carry[0])
        reach = DIAGONAL + jnp.maximum(boxes.speed, other.speed) * seconds
        return (carry[0] < count) & jnp.any(other.x - boxes.x <= reach)

    def look(carry: tuple[Array, Met]) -> tuple[Array, Met]:
        gap, met = carry
        other = ahead(gap)
        # The barrier has the tests made once, not again for each of their uses.
        touching, meeting = jax.lax.optimization_barrier(contact(boxes, other, seconds))
        met = _met(met, touching, meeting, other.index, place + gap)
        # The same pairs as the ones ahead have them.
        touching, meeting, rear = (_later(leaf, gap) for leaf in (touching, meeting, boxes.index))
        return gap + 1, _met(met, touching, meeting, rear, place - gap)

    nothing = jnp.full_like(boxes.index, -1)
    opening = jnp.ones((), jnp.int32), Met(nothing > 0, nothing, nothing)
    met: Met = jax.lax.while_loop(near, look, opening)[1]
    return met


def _later(leaf: Array, gap: Array) -> Array:
    """Returns the leaf moved on by ``gap`` along the first axis, zero (false) before."""
    padded = jnp.concatenate([jnp.zeros_like(leaf), leaf])
    return jax.lax.dynamic_slice_in_dim(padded, leaf.shape[0] - gap, leaf.shape[0])


def _met(met: Met, touching: Flags, meeting: Flags, partner: Array, place: Array) -> Met:
    """Returns what is found when one more pair of each vehicle is known."""
    latest = meeting & (partner > met.partner)
    return Met(
        crashed=met.crashed | touching,
        partner=jnp.where(latest, partner, met.partner),
        place=jnp.where(latest, place, met.place),
    )


# Pairs -----------------------------------------------------------------------------------------------------


@struct.dataclass
class Shadow:
    """Projections of a pair, the one made first before the other, onto the normal of an edge; f32."""

    axis_x: Array
    axis_y: Array
    centre: Array  # of the first, as seen from the second
    low: Array  # end of the first, on its way of a frame relative to the second
    high: Array
    size: Array  # half the first one's
    other: Array  # half the second one's


def _made_first(one: Box, other: Box) -> tuple[Box, Box]:
    """Returns the pairs with the vehicle that was made first in front."""
    first = one.index < other.index
    return (
        jax.tree.map(lambda a, b: jnp.where(first, a, b), one, other),
        jax.tree.map(lambda a, b: jnp.where(first, b, a), one, other),
    )


def _shadows(first: Box, second: Box, seconds: float) -> tuple[Shadow, ...]:
    """Returns the projections along and across the first vehicle, then along and across the second."""
    dx, dy = first.x - second.x, first.y - second.y
    drift_x = (first.speed * first.cos - second.speed * second.cos) * seconds
    drift_y = (first.speed * first.sin - second.speed * second.sin) * seconds
    turn = jnp.abs(first.cos * second.cos + first.sin * second.sin)
    tilt = jnp.abs(first.cos * second.sin - first.sin * second.cos)
    half_length, half_width = 0.5 * LENGTH, 0.5 * WIDTH
    along, across = half_length * turn + half_width * tilt, half_length * tilt + half_width * turn
    shadows = []
    for box, is_first in ((first, True), (second, False)):
        for x, y, own, its in (
            (box.cos, box.sin, half_length, along),
            (-box.sin, box.cos, half_width, across),
        ):
            size, other = (jnp.full_like(its, own), its) if is_first else (its, jnp.full_like(its, own))
            centre, drift = dx * x + dy * y, drift_x * x + drift_y * y
            low, high = centre - size + jnp.minimum(drift, 0.0), centre + size + jnp.maximum(drift, 0.0)
            shadows.append(Shadow(x, y, centre, low, high, size, other))
    return tuple(shadows)


def contact(one: Box, other: Box, seconds: float) -> tuple[Flags, Flags]:
    """Returns which pairs overlap, and which will within a frame: no axis separates them.

    Pairs are not looked at unless they are as near as the one made first can get in a frame.
    """
    first, second = _made_first(one, other)
    reach = DIAGONAL + first.speed * seconds
    dx, dy = first.x - second.x, first.y - second.y
    near = (reach >= 0) & (dx * dx + dy * dy <= reach * reach)
    shadows = _shadows(first, second, seconds)
    now = (jnp.abs(s.centre) - s.size - s.other for s in shadows)
    later = (jnp.maximum(-s.other - s.high, s.low - s.other) for s in shadows)
    return tuple(near & (reduce(jnp.maximum, apart) <= 0) for apart in (now, later))  # type: ignore[return-value]


def push(one: Box, other: Box, seconds: float) -> tuple[Numbers, Numbers]:
    """Returns what a meeting moves ``one`` by: half of what parts the pair.

    That is the smallest overlap among the normals of all eight edges, the first found where several are
    equal. Opposite edges count apart, since of one projection within another the overlap depends on the side.
    """
    first, second = _made_first(one, other)
    least = jnp.full_like(one.x, jnp.inf)
    x = y = jnp.zeros_like(one.x)
    shadows = _shadows(first, second, seconds)
    for along, across in (shadows[:2], shadows[2:]):
        for s, side in ((along, -1.0), (across, 1.0), (along, 1.0), (across, -1.0)):
            below, above = -s.other - s.high, s.low - s.other
            takes_below = s.low < -s.other if side > 0 else s.high <= s.other
            overlap = jnp.abs(jnp.where(takes_below, below, above))
            towards = jnp.where(side * s.centre > 0, side, -side)
            best = overlap < least
            least = jnp.where(best, overlap, least)
            x, y = jnp.where(best, towards * s.axis_x, x), jnp.where(best, towards * s.axis_y, y)
    half = jnp.where(one.index < other.index, 0.5, -0.5) * least
    return half * x, half * y
