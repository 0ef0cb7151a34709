"""What learners and centralised critics see. Batches lie in trailing axes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from shoal.envs.core.types import Observation
from shoal.envs.traffic.highway import neighbours
from shoal.envs.traffic.highway.neighbours import Ranking
from shoal.envs.traffic.highway.types import ACTIONS, FEATURES, IDLE, Options, State, Vehicles

RANGE, BACK = 200.0, 10.0  # m, how far a learner sees, and how far back along the road
PLACE, SPEED = 100.0, 20.0  # m and m/s that are shown as one

Slots = Int[Array, "agents vehicles *batch"]
Ids = Int[Array, "agents rows *batch"]


def in_view(options: Options, v: Vehicles, order: Ranking) -> Ids:
    """Returns which vehicles each learner sees, nearest along the road first, itself in front; -1 for none.

    Of several equally near the one made first comes first.
    """
    learners, count = options.learners, options.vehicles
    x = v.x[learners]
    dx, dy = v.x[:, None] - x[None], v.y[:, None] - v.y[learners][None]  # [N, A, *B]
    index = neighbours.indices(dx)
    me = index == jnp.asarray(learners, jnp.int32).reshape(1, -1, *(1,) * (v.x.ndim - 1))
    seen = (dx * dx + dy * dy < RANGE * RANGE) & (dx > -BACK) & ~me
    rank = jnp.broadcast_to(order.rank[:, None], seen.shape)
    opens = order.opens[:, None]
    words = opens.shape[0]
    place = jnp.take_along_axis(v.x, order.order, axis=0)

    def nearer(carry: Any, _: None) -> tuple[Any, Array]:
        ahead, behind = carry
        one = neighbours.first_from(ahead, jnp.zeros_like(rank[0]))
        last = neighbours.last_before(behind, jnp.full_like(rank[0], count))
        other = neighbours.first_from(behind, jnp.maximum(neighbours.last_before(opens, last + 1), 0))
        far, made = [], []
        for at, there in ((one, one < count), (other, last >= 0)):
            at = jnp.clip(at, 0, count - 1)
            where = jnp.take_along_axis(place, at, axis=0)
            far.append(jnp.where(there, jnp.abs(where - x), jnp.inf))
            made.append(jnp.where(there, jnp.take_along_axis(order.order, at, axis=0), count))
        forward = (far[0] < far[1]) | ((far[0] == far[1]) & (made[0] < made[1]))
        found: Array = jnp.where(forward, made[0], made[1])
        taken = ~neighbours.bits(jnp.where(forward, one, other), words)
        return (ahead & taken, behind & taken), jnp.where(found < count, found, -1)

    sets = neighbours.pack(seen & (dx >= 0), rank), neighbours.pack(seen & (dx < 0), rank)
    _, found = jax.lax.scan(nearer, sets, None, length=options.rows - 1)
    own = jnp.asarray(learners, jnp.int32).reshape(1, -1, *(1,) * (v.x.ndim - 1))
    own = jnp.broadcast_to(own, (1, *rank.shape[1:]))
    return jnp.moveaxis(jnp.concatenate([own, found]), 0, 1)


def slots_after(
    slot: Int[Array, "agents vehicles *batch"], seen: Ids
) -> Int[Array, "agents vehicles *batch"]:
    """Returns the slots when who is seen for the first time, in the order of rows, got the next free ones."""
    vehicle = jnp.arange(slot.shape[1], dtype=jnp.int32).reshape(1, 1, -1, *(1,) * (slot.ndim - 2))
    shown = seen[:, :, None] == vehicle  # [A, rows, N, *B]
    new = jnp.any(shown & (slot < 0)[:, None], axis=2)  # [A, rows, *B]
    taken = jnp.max(slot, axis=1, keepdims=True) + 1
    turn = taken + jnp.cumsum(new, axis=1, dtype=jnp.int32)  # one too many for who is new
    given = jnp.max(jnp.where(shown & new[:, :, None], turn[:, :, None], 0), axis=1)
    return jnp.where(given > 0, given - 1, slot)


def rows(options: Options, state: State) -> Float[Array, "agents rows features *batch"]:
    """Returns presence, x, y, vx, vy of who is seen: oneself in absolute, the others in relative numbers."""
    v, seen = state.vehicles, state.seen
    there = seen >= 0
    place = jnp.maximum(seen, 0)
    vx, vy = v.speed * jnp.cos(v.heading), v.speed * jnp.sin(v.heading)
    shown = []
    for numbers, scale in ((v.x, PLACE), (v.y, PLACE), (vx, SPEED), (vy, SPEED)):
        each = jnp.take_along_axis(numbers[None], place, axis=1)
        each = jnp.concatenate([each[:, :1], each[:, 1:] - each[:, :1]], axis=1)
        shown.append(jnp.where(there, jnp.clip(each / scale, -1.0, 1.0), 0.0))
    return jnp.stack([there.astype(jnp.float32), *shown], axis=2)


def views(options: Options, state: State) -> Float[Array, "agents numbers *batch"]:
    """Returns the flat view: five numbers for every row, or for every slot of the history."""
    shown = rows(options, state)
    if options.view == "history":
        place = jnp.take_along_axis(state.slot, jnp.maximum(state.seen, 0), axis=1)  # [A, rows, *B]
        slot = jnp.arange(options.slots, dtype=jnp.int32).reshape(1, -1, 1, *(1,) * (place.ndim - 2))
        here = (slot == place[:, None]) & (state.seen >= 0)[:, None]  # [A, slots, rows, *B]
        shown = jnp.sum(jnp.where(here[:, :, :, None], shown[:, None], 0.0), axis=2)
    elif options.rows < options.observed:
        missing = jnp.zeros((shown.shape[0], options.observed - options.rows, *shown.shape[2:]), jnp.float32)
        shown = jnp.concatenate([shown, missing], axis=1)
    return shown.reshape(shown.shape[0], -1, *shown.shape[3:])


def alive(options: Options, state: State) -> Bool[Array, "agents *batch"]:
    """Returns who still acts."""
    on = ~state.vehicles.crashed[options.learners]
    if options.wrecks == "steer":
        on = jnp.ones_like(on)
    return on if options.metrics == "clean" else on & ~state.over[None]


def observe(options: Options, state: State) -> Observation:
    """Shows every learner the traffic around it; wrecks see nothing and can only idle."""
    on = alive(options, state)
    action = jnp.arange(ACTIONS, dtype=jnp.int32).reshape(1, -1, *(1,) * state.t.ndim)
    return Observation(
        view=jnp.where(on[:, None], views(options, state), 0.0),
        action_mask=on[:, None] | (action == IDLE),
        alive=on,
    )


def global_state(options: Options, state: State) -> Float[Array, "numbers *batch"]:
    """Returns presence, x, y, vx, vy of all vehicles, in m and m/s as published."""
    v = state.vehicles
    vx, vy = v.speed * jnp.cos(v.heading), v.speed * jnp.sin(v.heading)
    every = jnp.stack([jnp.ones_like(v.x), v.x, v.y, vx, vy], axis=1)
    return every.reshape(options.vehicles * FEATURES, *v.x.shape[1:])
