"""How close the deciding comparisons of one SMAX step come to their thresholds, worked out in float64.

Two float32 implementations may only differ where rounding can turn a comparison; this is how such rows are
told from real disagreement. A third, slow and independent implementation of the step's rules.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from smax_cases import Battle


def margin(
    inner: Any,
    battle: Battle,
    row: int,
    move: np.ndarray,
    attack: np.ndarray,
    draws: np.ndarray,
    ghosts: bool = False,
) -> float:
    """The smallest distance to a threshold in one step of row ``row``.

    Args:
        inner: the peer's environment, for its numbers.
        battle: the states before the step.
        row: which of them.
        move: [N, 2], the unit vectors played.
        attack: [N], the attack action indices played, 0 for none.
        draws: [T, N], cooldown deviations.
        ghosts: whether the dead walk and push, as they did in era B.
    """
    types = battle.types[row]
    speed, damage, reach, sight, radius, reload = (
        np.asarray(table, np.float64)[types]
        for table in (
            inner.unit_type_velocities,
            inner.unit_type_attacks,
            inner.unit_type_attack_ranges,
            inner.unit_type_sight_ranges,
            inner.unit_type_radiuses,
            inner.unit_type_weapon_cooldowns,
        )
    )
    side = np.array([inner.map_width, inner.map_height], np.float64)
    n, n_allies = len(types), battle.n_allies
    position = battle.position[row].astype(np.float64)
    health = battle.health[row].astype(np.float64)
    cooldown = battle.cooldown[row].astype(np.float64)
    alive = health > 0
    dt = float(inner.time_per_step)
    order = np.arange(n)
    target = np.where(order < n_allies, attack - 5 + n_allies, n_allies - 1 - (attack - 5))
    target = np.where(attack < 5, order, target)
    margins = [np.inf]

    def compare(values: np.ndarray, where: np.ndarray, limits: np.ndarray | float) -> np.ndarray:
        gap = np.broadcast_to(np.abs(values - limits), where.shape)
        margins.extend(gap[where & (gap > 0)])
        return values < limits

    def pairs() -> np.ndarray:
        return np.linalg.norm(position[:, None] - position[None], axis=-1)

    def look() -> None:
        living = alive[:, None] & alive[None] & ~np.eye(n, dtype=bool)
        compare(pairs(), living, sight[:, None])
        compare(pairs(), living & ((order < n_allies)[:, None] != (order < n_allies)[None]), reach[:, None])

    look()
    margins.append(_enemy_ties(battle, row, pairs(), sight, side))
    for t in range(len(draws)):
        aims = (attack >= 5) & alive & alive[target]
        distance = np.linalg.norm(position - position[target], axis=-1)
        in_range = compare(distance, aims, reach)
        ready = ~compare(-cooldown, aims & in_range, 0.0)
        fires = aims & in_range & ready
        loss = np.zeros(n)
        np.add.at(loss, target[fires], damage[fires])
        health = np.maximum(health - loss, 0)
        cooldown = np.where(fires, reload + draws[t], cooldown - dt)
        moved = position + move * speed[:, None] * dt
        for k in range(2):
            compare(moved[:, k], alive, 0.0)
            compare(moved[:, k], alive, side[k])
        position = np.where((alive | ghosts)[:, None], np.clip(moved, 0, side), position)
        if inner.walls_cause_death:
            health[np.any((position <= 0) | (position >= side), axis=-1)] = 0
        alive = health > 0
        delta = position[:, None] - position[None]
        overlap = np.maximum((radius[:, None] + radius[None]) / (pairs() + np.eye(n) + 1e-6) - 1, 0)
        overlap *= (alive[:, None] & alive[None]) | ghosts
        position = position + np.sum(delta * overlap[..., None], axis=1) / 2
    look()
    return float(min(margins))


def _enemy_ties(battle: Battle, row: int, distance: np.ndarray, sight: np.ndarray, side: np.ndarray) -> float:
    """How close the scripted enemies come to preferring another direction or another nearest opponent."""
    n_allies = battle.n_allies
    alive = battle.health[row] > 0
    ties = [np.inf]
    for k in range(len(alive) - n_allies):
        i = n_allies + k
        if not alive[i]:
            continue
        seen = np.flatnonzero(alive[:n_allies] & (distance[i, :n_allies] < sight[i]))
        near = np.sort(distance[i, seen])
        ties.extend(np.diff(near[:2]))
        here = battle.position[row, i].astype(np.float64)
        goal = battle.goal[row, k].astype(np.float64)
        first = not goal.any() and battle.target[row, k] == -1
        goals = (
            battle.position[row, seen].astype(np.float64) if len(seen) else [side - here if first else goal]
        )
        for to in goals:
            across, up = np.abs(to - here)
            ties.append(abs(across - up))
    return min(ties)
