"""The scripted enemy, read off the state instead of a rendered observation (the numbers are the same).

Batches lie in trailing axes, as in `dynamics`. Opponents are taken in slot order: the last ally first.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Int

from shoal.envs.combat.smax.dynamics import index_like
from shoal.envs.combat.smax.types import FIRST_ATTACK, Draws, EnemyMemory, SmaxOptions, State
from shoal.envs.core.spaces import choose


def heading(dx: Array, dy: Array) -> Int[Array, "..."]:
    """Returns the move whose direction has the largest dot product; ties go up, right, down, left."""
    best = jnp.maximum(jnp.abs(dx), jnp.abs(dy))
    sideways = jnp.where(dx == best, 1, jnp.where(-dy == best, 2, 3))
    return jnp.where(dy == best, 0, sideways).astype(jnp.int32)


def _pick(slot: Array, values: Array) -> Array:
    """Returns ``values`` [units, slots] at each unit's slot; 0 for a slot out of range."""
    hit = slot[:, None] == index_like(values.shape[1], values, 1)
    return jnp.sum(jnp.where(hit, values, jnp.zeros((), values.dtype)), axis=1, dtype=values.dtype)


def act(options: SmaxOptions, state: State, draws: Draws) -> tuple[Int[Array, "enemies *batch"], EnemyMemory]:
    """Chooses the enemies' actions and renews their memory."""
    assert state.enemy is not None and draws.goal_choice is not None
    n_a, memory, alive = options.num_allies, state.enemy, state.alive
    own_alive = alive[n_a:]
    # The dead see zeros: they believe that they stand at the origin, and with ghosts walk accordingly.
    own_x = jnp.where(own_alive, state.x[n_a:], 0.0)
    own_y = jnp.where(own_alive, state.y[n_a:], 0.0)
    dx = state.x[:n_a][::-1][None] - own_x[:, None]
    dy = state.y[:n_a][::-1][None] - own_y[:, None]
    square = dx * dx + dy * dy
    sight, reach = state.sight[n_a:, None], state.range[n_a:, None]
    visible = own_alive[:, None] & alive[:n_a][::-1][None] & (square < sight * sight)
    shootable = visible & (square < reach * reach)

    if options.attack_mode == "closest":
        new_target = jnp.argmin(jnp.where(shootable, square, jnp.inf), axis=1).astype(jnp.int32)
    else:
        assert draws.target_choice is not None
        new_target = choose(draws.target_choice, shootable, axis=1)
    keeps = _pick(memory.target, shootable.astype(jnp.int32)) > 0
    can_shoot = jnp.any(shootable, axis=1)
    target = jnp.where(keeps, memory.target, jnp.where(can_shoot, new_target, -1))

    is_first = (memory.goal_x == 0.0) & (memory.goal_y == 0.0) & (memory.target == -1)
    goal_x = jnp.where(is_first, state.map_width[None] - own_x, memory.goal_x)
    goal_y = jnp.where(is_first, state.map_height[None] - own_y, memory.goal_y)

    follow = choose(draws.goal_choice, visible, axis=1)
    can_see = jnp.any(visible, axis=1)
    move = heading(
        jnp.where(can_see, _pick(follow, dx), goal_x - own_x),
        jnp.where(can_see, _pick(follow, dy), goal_y - own_y),
    )
    action = jnp.where(can_shoot, target + FIRST_ATTACK, move) if options.enemy_shoots else move
    return action, EnemyMemory(goal_x=goal_x, goal_y=goal_y, target=target)
