"""Batches of SMAX states constructed so that something is about to happen, as NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxmarl.environments.smax.heuristic_enemy import HeuristicPolicyState
from jaxmarl.environments.smax.heuristic_enemy_smax_env import State as WrappedState
from jaxmarl.environments.smax.smax_env import State as PeerState

MOVES = np.array([[0, 1], [1, 0], [0, -1], [-1, 0], [0, 0]], np.float32)
SIDE = 32.0


@dataclass
class Battle:
    """B states of N units, the first ``n_allies`` of them allies."""

    position: np.ndarray  # [B, N, 2] f32
    health: np.ndarray  # [B, N] f32; nothing left means dead
    types: np.ndarray  # [B, N] u8
    cooldown: np.ndarray  # [B, N] f32, s
    last_move: np.ndarray  # [B, N, 2] f32
    last_attack: np.ndarray  # [B, N] i32
    step: np.ndarray  # [B] i32
    goal: np.ndarray  # [B, n_e, 2] f32, where an enemy is headed; (0, 0) with no target: its first step
    target: np.ndarray  # [B, n_e] i32, whom it shot at last, -1 for nobody
    n_allies: int

    def to_peer(self) -> WrappedState:
        """The same states as the peer holds them."""
        batch, n = self.health.shape
        inner = PeerState(
            done=jnp.zeros(batch, bool),
            step=jnp.asarray(self.step),
            unit_positions=jnp.asarray(self.position),
            unit_alive=jnp.asarray(self.health > 0),
            unit_teams=jnp.broadcast_to((jnp.arange(n) >= self.n_allies).astype(jnp.float32), (batch, n)),
            unit_health=jnp.asarray(self.health),
            unit_types=jnp.asarray(self.types),
            unit_weapon_cooldowns=jnp.asarray(self.cooldown),
            prev_movement_actions=jnp.asarray(self.last_move),
            prev_attack_actions=jnp.asarray(self.last_attack),
        )
        memory = HeuristicPolicyState(jnp.asarray(self.goal), jnp.asarray(self.target))
        return WrappedState(state=inner, enemy_policy_state=memory)


def battles(rng: np.random.Generator, inner: object, batch: int) -> Battle:
    """Draws states of the peer's environment ``inner`` of every awkward kind, mixed within one battle.

    Crowds of several densities anywhere on the map, units beside and beyond walls, the wounded and the dead,
    weapons that come ready within the step or exactly at its world steps, the last steps before the time
    limit, enemies with every kind of memory.
    """
    n_allies, n_enemies = inner.num_allies, inner.num_enemies
    n = n_allies + n_enemies
    dt = np.float32(inner.time_per_step)
    if inner.smacv2_unit_type_generation:
        types = rng.integers(0, 6, (batch, n))
        types[:, n_allies:] = np.where(
            rng.random((batch, 1)) < 0.5, types[:, :n_enemies], types[:, n_allies:]
        )
    else:
        types = np.broadcast_to(inner.scenario, (batch, n))
    # A crowd about a random centre, 1 to 24 across; some units are dropped anywhere, some beside a wall.
    spread = rng.choice([1.0, 2.5, 4.0, 8.0, 24.0], (batch, 1, 1))
    centre = rng.uniform(2, SIDE - 2, (batch, 1, 2))
    position = np.clip(centre + rng.uniform(-0.5, 0.5, (batch, n, 2)) * spread, 0.1, SIDE - 0.1)
    position = np.where(rng.random((batch, n, 1)) < 0.1, rng.uniform(0, SIDE, (batch, n, 2)), position)
    # Not exactly on a wall, where nobody lives: the peer's moves have a stray component that would decide.
    near = rng.choice([-0.2, 1e-3, 0.05, 0.2, 1.0], (batch, n))  # a push can leave a unit outside
    wall = np.where(rng.random((batch, n)) < 0.5, near, SIDE - near)
    axis = rng.integers(0, 2, (batch, n))
    at_wall = rng.random((batch, n)) < 0.12
    for k in range(2):
        position[..., k] = np.where(at_wall & (axis == k), wall, position[..., k])
    full = np.asarray(inner.unit_type_health, np.float32)[types]
    share = rng.choice([1.0, 0.5, 0.2, 0.05], (batch, n)) * rng.uniform(0.3, 1.0, (batch, n))
    health = np.where(rng.random((batch, n)) < 0.4, full, np.ceil(full * share))
    # Some battles are down to one unit a side, on the point of killing each other.
    duel = rng.random(batch) < 0.2
    alone = np.zeros((batch, n), bool)
    alone[np.arange(batch), rng.integers(0, n_allies, batch)] = True
    alone[np.arange(batch), n_allies + rng.integers(0, n_enemies, batch)] = True
    dead = np.where(duel[:, None], ~alone, rng.random((batch, n)) < 0.12)
    health = np.where(dead, 0.0, np.where(duel[:, None], rng.uniform(1, 5, (batch, n)), health))
    ready = rng.choice([0.0, -4 * dt, dt, 2 * dt, 5 * dt, 0.03, 0.3, 1.1], (batch, n))
    attacks = rng.integers(5, 5 + np.where(np.arange(n) < n_allies, n_enemies, n_allies), (batch, n))
    moves = rng.integers(0, 5, (batch, n))
    attacked = rng.random((batch, n)) < 0.4
    remembers = rng.random((batch, n_enemies)) < 0.6
    fresh = rng.random((batch, 1)) < 0.2
    return Battle(
        position=position.astype(np.float32),
        health=health.astype(np.float32),
        types=types.astype(np.uint8),
        cooldown=np.where(duel[:, None], 0.0, ready).astype(np.float32),
        last_move=np.where(attacked[..., None], 0.0, MOVES[moves]).astype(np.float32),
        last_attack=np.where(attacked, attacks, 0).astype(np.int32),
        step=rng.choice([0, 1, 40, 98, 99, 100, 101], batch).astype(np.int32),
        goal=np.where(fresh[..., None], 0.0, rng.uniform(0, SIDE, (batch, n_enemies, 2))).astype(np.float32),
        target=np.where(fresh | ~remembers, -1, rng.integers(0, n_allies, (batch, n_enemies))).astype(
            np.int32
        ),
        n_allies=n_allies,
    )


def mixed_actions(rng: np.random.Generator, mask: np.ndarray, clock: int) -> np.ndarray:
    """Actions for teams with the given masks [B, n, M], row by row in one of five manners.

    Random legal; shoot when anything is in range, else advance; the same but all at the first target; walk
    into the wall on a zig-zag; anything whatever, legal or not.
    """
    batch, n, m = mask.shape
    manner = (np.arange(batch) % 5)[:, None]
    legal = np.argmax(mask * rng.random(mask.shape), axis=-1)
    anything = rng.integers(0, m, (batch, n))
    advance = rng.choice([1, 1, 1, 0, 2], (batch, n))
    shots = mask[..., 5:]
    can = shots.any(-1)
    some = 5 + np.argmax(shots * rng.random(shots.shape), axis=-1)
    first = 5 + np.argmax(shots, axis=-1)
    wander = np.where((clock // 6) % 2, 3, rng.choice([0, 2, 4], (batch, n)))
    picked = np.choose(
        manner, [legal, np.where(can, some, advance), np.where(can, first, advance), wander, anything]
    )
    return picked.astype(np.int32)
