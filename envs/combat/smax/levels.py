"""What a reset draws, and the states that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Key, UInt8

from shoal.envs.combat.smax.dynamics import push
from shoal.envs.combat.smax.types import NUM_TYPES, TABLES, EnemyMemory, Level, SmaxOptions, SmaxParams, State

T = TypeVar("T", bound=Any)

_OLD_SIDE = 32.0  # map units; the only size of map that fixed starts were meant for
_SPREAD = 2.0  # units start within this distance of their centre, in x and in y


def sample_level(options: SmaxOptions, key: Key[Array, ""], params: SmaxParams) -> Level:
    """Draws positions and, where they are random, unit types, from one block of uniforms."""
    n = options.num_units
    u = jax.random.uniform(key, (3 * n + 6 + options.num_allies,))
    u_x, u_y, rest = u[:n], u[n : 2 * n], u[2 * n :]
    place = _smacv2_starts if options.starts == "smacv2" else _facing_starts
    x, y = place(options, params, u_x, u_y, rest[: n + 6])
    listed = np.asarray(options.ally_types + options.enemy_types, np.uint8)
    types = _random_types(options, rest[n + 6 :]) if options.unit_types == "random" else jnp.asarray(listed)
    return Level(x=x, y=y, unit_type=types, params=params)


def _facing_starts(
    options: SmaxOptions, params: SmaxParams, u_x: Array, u_y: Array, _: Array
) -> tuple[Array, Array]:
    """Two squares around the points at a quarter and at three quarters of the width, half way up."""
    width, height = (_OLD_SIDE,) * 2 if options.era.fixed_starts else (params.map_width, params.map_height)
    is_enemy = jnp.arange(options.num_units) >= options.num_allies
    centre = width * jnp.where(is_enemy, 0.75, 0.25)
    return centre + _noise(u_x), jnp.broadcast_to(height * 0.5, u_y.shape) + _noise(u_y)


def _noise(u: Array) -> Array:
    return (2.0 * u - 1.0) * _SPREAD


def _smacv2_starts(
    options: SmaxOptions, params: SmaxParams, u_x: Array, u_y: Array, rest: Array
) -> tuple[Array, Array]:
    """Surround or reflect with equal chances; only one of them happens, so they share their uniforms."""
    n = options.num_units
    group, mode, t = rest[:n], rest[n : n + 2], rest[n + 2 : n + 6]
    surround, allies_inside = mode[0] < 0.5, mode[1] < 0.5
    reflected = _reflect(options, params, u_x, u_y)
    surrounded = _surround(options, params, allies_inside, t, group)
    x = jnp.where(surround, surrounded[0] + _noise(u_x), reflected[0])
    y = jnp.where(surround, surrounded[1] + _noise(u_y), reflected[1])
    if options.clamp_spawns:
        margin = jnp.max(jnp.asarray(params.radius))
        x = jnp.clip(x, margin, params.map_width - margin)
        y = jnp.clip(y, margin, params.map_height - margin)
    return x, y


def _reflect(options: SmaxOptions, params: SmaxParams, u_x: Array, u_y: Array) -> tuple[Array, Array]:
    """Allies anywhere in the left half, enemies mirrored; surplus enemies anywhere in the right half."""
    n_a, n_e = options.num_allies, options.num_enemies
    left = 0.5 * params.map_width * u_x
    x = jnp.concatenate(
        [left[:n_a], params.map_width - left[: min(n_a, n_e)], params.map_width - left[2 * n_a :]]
    )
    y = params.map_height * jnp.concatenate([u_y[:n_a], u_y[: min(n_a, n_e)], u_y[2 * n_a :]])
    return x, y


def _surround(
    options: SmaxOptions, params: SmaxParams, allies_inside: Array, t: Float[Array, "4"], group: Array
) -> tuple[Array, Array]:
    """One team in the centre, the other in up to four groups, each on the way from the centre to a corner."""
    corner = (group * 4.0).astype(jnp.int32)  # 0 (0, 0), 1 (0, H), 2 (W, 0), 3 (W, H)
    way = sum(jnp.where(corner == k, t[k], 0.0) for k in range(4))
    is_ally = jnp.arange(options.num_units) < options.num_allies
    away = jnp.where(is_ally == allies_inside, 0.0, 1.0 - way)
    half_width, half_height = 0.5 * params.map_width, 0.5 * params.map_height
    x = half_width * (1.0 + away * jnp.where(corner >= 2, 1.0, -1.0))
    y = half_height * (1.0 + away * jnp.where(corner % 2 == 1, 1.0, -1.0))
    return x, y


def _random_types(options: SmaxOptions, u: Float[Array, " allies"]) -> UInt8[Array, " units"]:
    """Every ally any type, enemies the same; surplus enemies are marines, as in the original."""
    n_a, n_e = options.num_allies, options.num_enemies
    allies = jnp.minimum((u * NUM_TYPES).astype(jnp.uint8), NUM_TYPES - 1)
    surplus = jnp.zeros(max(n_e - n_a, 0), jnp.uint8)
    return jnp.concatenate([allies, allies[: min(n_a, n_e)], surplus])


def unit_statistics(params: SmaxParams, unit_type: Array) -> dict[str, Array]:
    """Returns every table's value for every unit; trailing axes of both are batches."""

    def of(table: Array) -> Array:
        return sum(
            (jnp.where(unit_type == k, table[k][None], 0.0) for k in range(1, NUM_TYPES)),
            start=jnp.where(unit_type == 0, table[0][None], 0.0),
        )

    return {name: of(jnp.asarray(getattr(params, name))) for name in TABLES}


def initial_state(options: SmaxOptions, level: Level) -> State:
    """Returns full health and one push; batches lie in trailing axes, as in `dynamics`."""
    state = bare_state(options, level.params, level.unit_type, level.x, level.y)
    x, y = push(state.x, state.y, state.radius, state.alive)
    return replace(state, x=x, y=y)


def bare_state(options: SmaxOptions, params: SmaxParams, unit_type: Array, x: Array, y: Array) -> State:
    """Returns a state in which nothing has happened yet, at exactly these positions."""
    n_a = options.num_allies
    stats = unit_statistics(params, unit_type)
    zero = jnp.zeros_like(x)
    memory = EnemyMemory(
        goal_x=zero[n_a:], goal_y=zero[n_a:], target=jnp.full(zero[n_a:].shape, -1, jnp.int32)
    )
    return State(
        x=x,
        y=y,
        health=stats["health"],
        cooldown=zero,
        move_x=zero,
        move_y=zero,
        attack=jnp.zeros(x.shape, jnp.int32),
        unit_type=unit_type.astype(jnp.uint8),
        step=jnp.zeros(x.shape[1:], jnp.int32),
        enemy=memory if options.control == "allies" else None,
        speed=stats["speed"],
        damage=stats["damage"],
        range=stats["range"],
        sight=stats["sight"],
        radius=stats["radius"],
        max_health=stats["health"],
        reload=stats["reload"],
        map_width=jnp.asarray(params.map_width),
        map_height=jnp.asarray(params.map_height),
        seconds_per_world_step=jnp.asarray(params.seconds_per_world_step),
        win_bonus=jnp.asarray(params.win_bonus),
    )


def state_from_arrays(
    params: SmaxParams,
    options: SmaxOptions,
    *,
    x: Any,
    y: Any,
    unit_types: Any = None,
    health: Any = None,
    alive: Any = None,
    cooldown: Any = None,
    move_x: Any = None,
    move_y: Any = None,
    attack: Any = None,
    step: Any = 0,
    enemy_goal_x: Any = None,
    enemy_goal_y: Any = None,
    enemy_target: Any = None,
) -> State:
    """Returns any state of a battle from plain arrays; what is not given is as at the start (without a push).

    Args:
        params: the unit tables and the map, usually ``env.params``.
        options: usually ``env.options``.
        x: [N] map units, allies first.
        y: [N] likewise.
        unit_types: [N] 0..5, as listed in the options by default.
        health: [N] health points.
        alive: [N] bool; the dead get health 0.
        cooldown: [N] seconds.
        move_x: [N] the last intended directions.
        move_y: [N] likewise.
        attack: [N] the last attack actions, 0 for none.
        step: steps taken.
        enemy_goal_x: [n_e] the scripted enemies' memory: where to go when nobody is visible.
        enemy_goal_y: [n_e] likewise.
        enemy_target: [n_e] the slot attacked last, or -1.
    """
    if unit_types is None:
        unit_types = np.asarray(options.ally_types + options.enemy_types)
    place = [jnp.asarray(value, jnp.float32) for value in (x, y)]
    params = jax.tree.map(jnp.asarray, params)
    state = bare_state(options, params, jnp.asarray(unit_types, jnp.uint8), *place)
    given = {"health": health, "cooldown": cooldown, "move_x": move_x, "move_y": move_y, "attack": attack}
    given |= {"step": step}
    memory = {"goal_x": enemy_goal_x, "goal_y": enemy_goal_y, "target": enemy_target}
    state = _with(state, given)
    if alive is not None:
        state = replace(state, health=jnp.where(jnp.asarray(alive, bool), state.health, 0.0))
    return state if state.enemy is None else replace(state, enemy=_with(state.enemy, memory))


def _with(holder: T, given: Mapping[str, Any]) -> T:
    """Replaces the fields that are given, keeping their dtypes."""
    new = {k: jnp.asarray(v, getattr(holder, k).dtype) for k, v in given.items() if v is not None}
    return replace(holder, **new)
