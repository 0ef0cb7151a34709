"""The scripted unit as a policy: it reads its own observation, as any learner would."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Float, Int

from shoal.envs.combat.smax.enemy import heading
from shoal.envs.combat.smax.types import (
    FIRST_ATTACK,
    NUM_TYPES,
    OWN_FEATURES,
    STOP,
    UNIT_FEATURES,
    SmaxOptions,
    SmaxParams,
)
from shoal.envs.core.spaces import choose
from shoal.envs.core.types import EntityView, Key, Observation, PyTree


@struct.dataclass
class Memory:
    """What each unit remembers; (0, 0) and -1 mean that it has not acted yet."""

    goal_x: Array  # [*B, G] f32, where to go when nobody is visible
    goal_y: Array  # [*B, G] f32
    target: Array  # [*B, G] i32, the opponent slot attacked last, or -1


class HeuristicPolicy:
    """Attacks the opponent it attacked before, else the nearest in range, else walks towards one it sees.

    Plays for the allies, the enemies or (given all rows) both, as the number of rows says.
    """

    needs_state = False

    def __init__(self, options: SmaxOptions, params: SmaxParams) -> None:
        """Reads the team sizes, the unit tables and the map size."""
        self.options = options
        self.params = params

    def initial_carry(self, batch: tuple[int, ...] = (), rows: int | None = None) -> Memory:
        """Returns the memory of ``rows`` units (by default all agents) that have not acted yet."""
        o = self.options
        controlled = o.num_allies + (o.num_enemies if o.control == "both" else 0)
        shape = (*batch, controlled if rows is None else rows)
        zero = jnp.zeros(shape, jnp.float32)
        return Memory(goal_x=zero, goal_y=zero, target=jnp.full(shape, -1, jnp.int32))

    def act(
        self,
        key: Key,
        carry: PyTree,
        observation: Observation,
        state: PyTree = None,
        greedy: bool = True,
        first: Array | None = None,
    ) -> tuple[Memory, Array]:
        """Acts; the opponent to follow is drawn anew every step, ``greedy`` or not."""
        rows = observation.alive.shape[-1]
        batch = observation.alive.shape[:-1]
        fresh = self.initial_carry(batch, rows)
        if carry.target.shape != fresh.target.shape:
            carry = fresh  # opened for another group than it plays for
        if first is not None:
            carry = jax.tree.map(lambda new, old: jnp.where(first, new, old), fresh, carry)
        own, slots = self._split(observation.view)
        u = jax.random.uniform(key, (2, *batch, rows))
        n_a, n_e = self.options.num_allies, self.options.num_enemies
        if rows != n_a + n_e:
            return self._act(own, slots, carry, u, n_a if rows == n_a else n_e)
        parts = []
        for size, part in ((n_a, slice(None, n_a)), (n_e, slice(n_a, None))):
            memory = jax.tree.map(lambda leaf, part=part: leaf[..., part], carry)
            parts.append(self._act(own[..., part, :], slots[..., part, :, :], memory, u[..., part], size))
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=-1), *parts)

    def _split(self, view: Any) -> tuple[Array, Array]:
        """Returns own [*B, G, 10] and slots [*B, G, N-1, 13] of either kind of view."""
        if isinstance(view, EntityView):
            return view.own, view.entities
        own, slots = view[..., -OWN_FEATURES:], view[..., :-OWN_FEATURES]
        return own, slots.reshape(*slots.shape[:-1], -1, UNIT_FEATURES)

    def _act(
        self,
        own: Float[Array, "*batch rows 10"],
        slots: Float[Array, "*batch rows slots 13"],
        memory: Memory,
        u: Float[Array, "2 *batch rows"],
        team_size: int,
    ) -> tuple[Memory, Int[Array, "*batch rows"]]:
        params, opponents = self.params, slots[..., team_size - 1 :, :]
        kind = jnp.argmax(own[..., -NUM_TYPES:], axis=-1)
        sight, reach = jnp.asarray(params.sight)[kind], jnp.asarray(params.range)[kind]
        x, y = own[..., 1] * params.map_width, own[..., 2] * params.map_height
        dx, dy = opponents[..., 1] * sight[..., None], opponents[..., 2] * sight[..., None]
        visible = opponents[..., 0] > 0.0
        distance = jnp.sqrt(dx * dx + dy * dy)
        shootable = visible & (distance < reach[..., None])
        can_see, can_shoot = jnp.any(visible, axis=-1), jnp.any(shootable, axis=-1)

        if self.options.attack_mode == "closest":
            new = jnp.argmin(jnp.where(shootable, distance, jnp.inf), axis=-1).astype(jnp.int32)
        else:
            new = choose(u[1], shootable)
        slot = jnp.arange(opponents.shape[-2], dtype=jnp.int32)
        keeps = jnp.any(shootable & (slot == memory.target[..., None]), axis=-1)
        target = jnp.where(keeps, memory.target, jnp.where(can_shoot, new, -1))

        is_first = (memory.goal_x == 0.0) & (memory.goal_y == 0.0) & (memory.target == -1)
        goal_x = jnp.where(is_first, params.map_width - x, memory.goal_x)
        goal_y = jnp.where(is_first, params.map_height - y, memory.goal_y)
        follow = choose(u[0], visible)[..., None]

        def towards(offsets: Array, goal: Array) -> Array:
            followed = jnp.take_along_axis(offsets, follow, axis=-1)[..., 0]
            return jnp.where(can_see, followed, goal)

        action = heading(towards(dx, goal_x - x), towards(dy, goal_y - y))
        if self.options.enemy_shoots:
            action = jnp.where(can_shoot, target + FIRST_ATTACK, action)
        # The dead may only stop.
        action = jnp.where(own[..., 0] > 0.0, action, STOP)
        return Memory(goal_x=goal_x, goal_y=goal_y, target=target), action
