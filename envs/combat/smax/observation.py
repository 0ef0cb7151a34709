"""What units see: the unit list, the action masks, and the whole state for critics and mixers.

Batches lie in trailing axes, as in `dynamics`: features are built as planes and laid out once at the end.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Bool, Float

from shoal.envs.combat.smax.types import (
    FIRST_ATTACK,
    NUM_TYPES,
    OWN_FEATURES,
    UNIT_FEATURES,
    SmaxOptions,
    State,
)
from shoal.envs.core.types import EntityView, Observation


@struct.dataclass
class _Order:
    """All units in the order in which one team sees them: itself first, then opponents by attack slot."""

    x: Array  # [N]
    y: Array
    alive: Array
    features: Array  # [N, 13], with offsets still missing
    own: Array  # [N, 10]
    sight: Array
    range: Array


@struct.dataclass
class _Sight:
    """What one team sees."""

    rows: Array  # [A, 13 (N - 1) + 10], the published vectors
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
            rows=jnp.concatenate([sight.rows, theirs.rows[::-1]]),
            seen=jnp.concatenate([sight.seen, theirs.seen[::-1]]),
            mask=jnp.concatenate([_pad(sight.mask, width), _pad(theirs.mask[::-1], width)]),
        )
        alive = state.alive
    if options.view == "flat":
        return Observation(view=sight.rows, action_mask=sight.mask, alive=alive)
    slots, own = sight.rows[:, :-OWN_FEATURES], sight.rows[:, -OWN_FEATURES:]
    entities = slots.reshape(*sight.seen.shape[:2], UNIT_FEATURES, *slots.shape[2:])
    view = EntityView(own=own, entities=entities, entity_mask=sight.seen)
    return Observation(view=view, action_mask=sight.mask, alive=alive)


def global_state(options: SmaxOptions, state: State) -> Float[Array, "features *batch"]:
    """Returns [12 N]: ten features per unit (zero when dead), then the teams, then the types."""
    n = options.num_units
    x, y, cooldown = state.x, state.y, state.cooldown
    if options.global_view == "normalised":
        x, y = x / state.map_width[None], y / state.map_height[None]
        cooldown = _waiting(state)
    planes = jnp.stack([state.health / state.max_health, x, y, cooldown], axis=1)
    units = jnp.concatenate([planes, _one_hot_types(state)], axis=1)
    units = jnp.where(state.alive[:, None], units, 0.0)
    is_enemy = jnp.broadcast_to(_like(np.arange(n) >= options.num_allies, x), x.shape)
    types = state.unit_type.astype(jnp.float32)
    return jnp.concatenate(
        [units.reshape(n * OWN_FEATURES, *x.shape[1:]), is_enemy.astype(jnp.float32), types]
    )


def _like(constant: np.ndarray, units: Array) -> np.ndarray:
    """Gives a [N] constant the trailing axes of a unit array."""
    return constant.reshape(-1, *([1] * (units.ndim - 1)))


def _one_hot_types(state: State) -> Array:
    kinds = _like(np.arange(NUM_TYPES, dtype=np.uint8), state.unit_type)[None]
    return (state.unit_type[:, None] == kinds).astype(jnp.float32)  # [N, 6]


def _waiting(state: State) -> Array:
    return jnp.clip(state.cooldown / state.reload, 0.0, 1.0)


def _ascending(options: SmaxOptions, state: State) -> _Order:
    """Computes every unit's own features once, in global order: the order of the allies."""
    n_a, n_e = options.num_allies, options.num_enemies
    last_action = [FIRST_ATTACK + n_e - 1] * n_a + [FIRST_ATTACK + n_a - 1] * n_e
    attack = state.attack.astype(jnp.float32) / _like(np.asarray(last_action, np.float32), state.attack)
    health, waiting, types = state.health / state.max_health, _waiting(state), _one_hot_types(state)
    missing = jnp.zeros_like(health)
    place = [state.x / state.map_width[None], state.y / state.map_height[None]]
    features = jnp.stack([health, missing, missing, state.move_x, state.move_y, attack, waiting], axis=1)
    return _Order(
        x=state.x,
        y=state.y,
        alive=state.alive,
        features=jnp.concatenate([features, types], axis=1),
        own=jnp.concatenate([jnp.stack([health, *place, waiting], axis=1), types], axis=1),
        sight=state.sight,
        range=state.range,
    )


def _look(options: SmaxOptions, order: _Order, size: int) -> _Sight:
    """Renders what the first ``size`` units of an order see."""
    n, batch = options.num_units, order.x.shape[1:]
    alive, sight = order.alive[:size, None], order.sight[:size, None]
    dx, dy = order.x[None] - order.x[:size, None], order.y[None] - order.y[:size, None]
    square = dx * dx + dy * dy
    seen = alive & order.alive[None] & (square < sight * sight)

    features = order.features
    if not options.see_enemy_actions:
        is_action = (np.arange(UNIT_FEATURES) >= 3) & (np.arange(UNIT_FEATURES) < 6)
        hidden = _like(np.arange(n) >= size, order.x)[:, None] & _like(is_action, order.x)[None]
        features = jnp.where(hidden, 0.0, features)
    is_x, is_y = (_like(np.arange(UNIT_FEATURES) == k, order.x)[None, None] for k in (1, 2))
    offsets = jnp.where(is_x, (dx / sight)[:, :, None], (dy / sight)[:, :, None])
    slots = jnp.where(is_x | is_y, offsets, features[None])  # [size, N, 13]
    slots = jnp.where(seen[:, :, None], slots, 0.0)
    team = _without_self(slots[:, :size]).reshape(size, -1, *batch)
    opponents = slots[:, size:].reshape(size, -1, *batch)
    own = jnp.where(alive, order.own[:size], 0.0)

    return _Sight(
        rows=jnp.concatenate([team, opponents, own], axis=1),
        seen=jnp.concatenate([_without_self(seen[:, :size]), seen[:, size:]], axis=1),
        mask=_mask(order, size),
    )


def _mask(order: _Order, size: int) -> Bool[Array, "agents actions *batch"]:
    """Returns what the first ``size`` units of an order may do.

    Distances are computed anew: sharing them with the view would keep XLA from fusing either well.
    """
    alive, reach = order.alive[:size, None], order.range[:size, None]
    dx, dy = order.x[None, size:] - order.x[:size, None], order.y[None, size:] - order.y[:size, None]
    attacks = alive & order.alive[None, size:] & (dx * dx + dy * dy < reach * reach)
    moves = jnp.broadcast_to(alive, (size, FIRST_ATTACK - 1, *order.x.shape[1:]))
    stop = jnp.ones((size, 1, *order.x.shape[1:]), bool)
    return jnp.concatenate([moves, stop, attacks], axis=1)


def _without_self(square: Array) -> Array:
    """Drops the diagonal of [n, n, ...], leaving [n, n - 1, ...], by slices alone."""
    n, rest = square.shape[0], square.shape[2:]
    # From the entry after the first diagonal one, every further diagonal entry is n + 1 places on.
    tail = square.reshape(n * n, *rest)[1:].reshape(n - 1, n + 1, *rest)
    return tail[:, :-1].reshape(n, n - 1, *rest)


def _pad(mask: Bool[Array, "agents actions *batch"], width: int) -> Bool[Array, "agents padded *batch"]:
    """Appends illegal actions up to ``width``."""
    room = jnp.zeros((mask.shape[0], width - mask.shape[1], *mask.shape[2:]), bool)
    return jnp.concatenate([mask, room], axis=1)
