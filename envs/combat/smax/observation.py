"""What units see: the unit list, the action masks, and the whole state for critics and mixers.

A row is long (13 numbers for every other unit), so its columns are the axis that the compiler vectorises:
what a column shows (which unit, which feature) is laid out once per world, and a row takes a few operations
on whole columns. Written for one world; batches come from `jax.vmap`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Bool, Float

from shoal.envs.combat.smax.types import (
    FIRST_ATTACK,
    NUM_TYPES,
    UNIT_FEATURES,
    SmaxOptions,
    State,
)
from shoal.envs.core.types import EntityView, Observation

_IS_ACTION = np.isin(np.arange(UNIT_FEATURES), (3, 4, 5))
_AWAY = 1e9  # map units; where the dead are put, out of everybody's sight


@struct.dataclass
class _Order:
    """All units in the order in which one team sees them: itself first, then opponents by attack slot."""

    x: Array  # [N]
    y: Array
    alive: Array
    features: Array  # [N, 13], with positions where a view has offsets
    own: Array  # [N, 10]
    sight: Array
    range: Array


@struct.dataclass
class _Eyes:
    """The observers among an order's units; leaves [A]."""

    x: Array
    y: Array
    near: Array  # squared sight range, negative for the dead
    scale: Array  # of offsets


@struct.dataclass
class _Sight:
    """What one team sees."""

    slots: Array  # [A, 13 (N - 1)]
    own: Array  # [A, 10]
    seen: Array  # [A, N - 1] bool
    mask: Array  # [A, 5 + opponents] bool


def observe(options: SmaxOptions, state: State) -> Observation:
    """Returns what the agents see; slots as in the docs page."""
    n_a, n_e = options.num_allies, options.num_enemies
    order = _ascending(options, state)
    sight = _look(options, order, n_a)
    alive = state.alive[:n_a]
    if options.control == "both":
        descending = _Order(**{name: value[::-1] for name, value in vars(order).items()})
        theirs = _look(options, descending, n_e)
        width = FIRST_ATTACK + max(n_a, n_e)
        sight = _Sight(
            slots=jnp.concatenate([sight.slots, theirs.slots[::-1]]),
            own=jnp.concatenate([sight.own, theirs.own[::-1]]),
            seen=jnp.concatenate([sight.seen, theirs.seen[::-1]]),
            mask=jnp.concatenate([_pad(sight.mask, width), _pad(theirs.mask[::-1], width)]),
        )
        alive = state.alive
    if options.view == "flat":
        view = jnp.concatenate([sight.slots, sight.own], axis=1)
        return Observation(view=view, action_mask=sight.mask, alive=alive)
    entities = sight.slots.reshape(*sight.seen.shape, UNIT_FEATURES)
    return Observation(
        view=EntityView(own=sight.own, entities=entities, entity_mask=sight.seen),
        action_mask=sight.mask,
        alive=alive,
    )


def global_state(options: SmaxOptions, state: State) -> Float[Array, " features"]:
    """Returns [12 N]: ten features per unit (zero when dead), then the teams, then the types."""
    x, y, cooldown = state.x, state.y, state.cooldown
    if options.global_view == "normalised":
        x, y = x / state.map_width, y / state.map_height
        cooldown = _waiting(state)
    units = jnp.stack([state.health / state.max_health, x, y, cooldown], axis=1)
    units = jnp.concatenate([units, _one_hot_types(state)], axis=1)
    units = jnp.where(state.alive[:, None], units, 0.0)
    is_enemy = np.arange(options.num_units) >= options.num_allies
    types = state.unit_type.astype(jnp.float32)
    return jnp.concatenate([units.reshape(-1), is_enemy.astype(np.float32), types])


def _one_hot_types(state: State) -> Float[Array, "units types"]:
    return (state.unit_type[:, None] == np.arange(NUM_TYPES, dtype=np.uint8)[None]).astype(jnp.float32)


def _waiting(state: State) -> Float[Array, " units"]:
    return jnp.clip(state.cooldown / state.reload, 0.0, 1.0)


def _cooldown(options: SmaxOptions, state: State) -> Float[Array, " units"]:
    return state.cooldown if options.era.raw_features else _waiting(state)


def _last_attack(options: SmaxOptions, state: State) -> Float[Array, " units"]:
    n_a, n_e = options.num_allies, options.num_enemies
    attack = state.attack.astype(jnp.float32)
    if options.era.raw_features:
        return attack
    return attack / np.asarray([FIRST_ATTACK + n_e - 1] * n_a + [FIRST_ATTACK + n_a - 1] * n_e, np.float32)


def _ascending(options: SmaxOptions, state: State) -> _Order:
    """Computes every unit's own features once, in global order: the order of the allies."""
    attack, health = _last_attack(options, state), state.health / state.max_health
    cooldown, types = _cooldown(options, state), _one_hot_types(state)
    place = [state.x / state.map_width, state.y / state.map_height]
    features = jnp.stack([health, state.x, state.y, state.move_x, state.move_y, attack, cooldown], axis=1)
    return _Order(
        x=state.x,
        y=state.y,
        alive=state.alive,
        features=jnp.concatenate([features, types], axis=1),
        own=jnp.concatenate([jnp.stack([health, *place, cooldown], axis=1), types], axis=1),
        sight=state.sight,
        range=state.range,
    )


def _look(options: SmaxOptions, order: _Order, size: int) -> _Sight:
    """Renders what the first ``size`` units of an order see."""
    features = order.features
    if not options.see_enemy_actions:
        hidden = (np.arange(options.num_units) >= size)[:, None] & _IS_ACTION
        features = jnp.where(hidden, 0.0, features)
    alive, sight = order.alive[:size], order.sight[:size]
    eyes = _Eyes(
        x=order.x[:size],
        y=order.y[:size],
        near=jnp.where(alive, sight * sight, -1.0),  # the dead see nothing
        scale=1.0 / sight,
    )
    x, y = (jnp.where(order.alive, where, _AWAY) for where in (order.x, order.y))
    dx, dy = x[None] - eyes.x[:, None], y[None] - eyes.y[:, None]
    seen = dx * dx + dy * dy < eyes.near[:, None]
    return _Sight(
        slots=_rows(features, x, y, eyes),
        own=jnp.where(alive[:, None], order.own[:size], 0.0),
        seen=jnp.concatenate([_without_self(seen[:, :size]), seen[:, size:]], axis=1),
        mask=_mask(order, size),
    )


def _rows(
    features: Float[Array, "units features"],
    x: Float[Array, " units"],
    y: Float[Array, " units"],
    eyes: _Eyes,
) -> Float[Array, "agents columns"]:
    """Returns the slots of every observer, as [A, 13 (N - 1)].

    Slot k shows unit k, or from the observer's own place on unit k + 1. So two layouts of the columns serve
    everybody: each observer takes the front of one and the back of the other.
    """
    n, size = len(x), len(eyes.x)
    planes = (features, *(jnp.broadcast_to(place[:, None], features.shape) for place in (x, y)))
    own_first = [plane[1:].reshape(-1) for plane in planes]
    own_last = [jnp.concatenate([plane[: size - 1], plane[size:]]).reshape(-1) for plane in planes]
    column = np.arange(UNIT_FEATURES * (n - 1), dtype=np.int32)
    is_x, is_y = (jnp.asarray(column % UNIT_FEATURES == k) for k in (1, 2))

    def row(place: Array, eye: _Eyes) -> Array:
        ahead = column < UNIT_FEATURES * place
        value, x, y = (jnp.where(ahead, a, b) for a, b in zip(own_last, own_first, strict=True))
        dx, dy = x - eye.x, y - eye.y
        value = jnp.where(is_x | is_y, jnp.where(is_x, dx, dy) * eye.scale, value)
        return jnp.where(dx * dx + dy * dy < eye.near, value, 0.0)

    def one_by_one(places: Array, eyes: _Eyes) -> Array:
        # The loop keeps the columns in memory: fused into the rows, XLA would lay them out for each anew.
        return jax.lax.scan(lambda _, each: ((), row(*each)), (), (places, eyes))[1]

    places = jnp.arange(size, dtype=jnp.int32)
    return jax.lax.platform_dependent(places, eyes, cpu=one_by_one, default=jax.vmap(row))


def _without_self(square: Bool[Array, "agents agents"]) -> Bool[Array, "agents others"]:
    """Drops the diagonal, by slices alone."""
    n = len(square)
    # From the entry after the first diagonal one, every further diagonal entry is n + 1 places on.
    return square.reshape(n * n)[1:].reshape(n - 1, n + 1)[:, :-1].reshape(n, n - 1)


def _mask(order: _Order, size: int) -> Bool[Array, "agents actions"]:
    """Returns what the first ``size`` units of an order may do."""
    alive, reach = order.alive[:size, None], order.range[:size, None]
    dx, dy = order.x[None, size:] - order.x[:size, None], order.y[None, size:] - order.y[:size, None]
    attacks = alive & order.alive[None, size:] & (dx * dx + dy * dy < reach * reach)
    moves = jnp.broadcast_to(alive, (size, FIRST_ATTACK - 1))
    return jnp.concatenate([moves, jnp.ones((size, 1), bool), attacks], axis=1)


def _pad(mask: Bool[Array, "agents actions"], width: int) -> Bool[Array, "agents padded"]:
    """Appends illegal actions up to ``width``."""
    return jnp.concatenate([mask, jnp.zeros((len(mask), width - mask.shape[1]), bool)], axis=1)
