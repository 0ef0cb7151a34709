"""What excuses a difference between the peer and ours: a comparison within 1e-5 of its threshold."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from smax_cases import Battle
from smax_margins import margin
from smax_match import NEAR

UP, STAND = (0, 1), (0, 0)
MARINES = SimpleNamespace(
    unit_type_velocities=[3.15],
    unit_type_attacks=[9.0],
    unit_type_attack_ranges=[5.0],
    unit_type_sight_ranges=[9.0],
    unit_type_radiuses=[0.375],
    unit_type_health=[45.0],
    unit_type_weapon_cooldowns=[0.61],
    time_per_step=1 / 16,
    map_width=32,
    map_height=32,
    walls_cause_death=True,
)


def battle(
    ally: tuple[float, float], enemy: tuple[float, float], cooldown: float = 0.0, health: float = 45.0
) -> Battle:
    return Battle(
        position=np.array([[ally, enemy]], np.float64),
        health=np.array([[health, 45.0]]),
        types=np.zeros((1, 2), np.uint8),
        cooldown=np.array([[cooldown, 0.0]]),
        last_move=np.zeros((1, 2, 2)),
        last_attack=np.zeros((1, 2), np.int32),
        step=np.zeros(1, np.int32),
        goal=np.full((1, 1, 2), 3.0),
        target=np.full((1, 1), -1),
        n_allies=1,
    )


@pytest.mark.parametrize(
    ("state", "move", "attack", "near"),
    [
        (battle((10, 10), (15.000004, 10)), STAND, 5, True),  # at the edge of range
        (battle((10, 10), (14.9, 10)), STAND, 5, False),
        (battle((10, 10), (14.9, 10), cooldown=3 / 16 + 4e-6), STAND, 5, True),  # ready in world step 3 or 4
        (battle((10, 10), (14.9, 10), cooldown=3 / 16), STAND, 5, False),  # exact in any precision
        (battle((10, 32 - 3 * 3.15 / 16 + 4e-6), (20.5, 10)), UP, 0, True),  # touches the wall or not
        (battle((10, 31.9), (20.5, 10)), UP, 0, False),  # walks well into it
        (battle((10, 10), (19.000004, 10)), STAND, 0, True),  # at the edge of sight
        (battle((10, 10), (19.000004, 10), health=0.0), STAND, 0, False),  # but dead
        (battle((10, 10), (15.0, 15.000004)), STAND, 0, True),  # the enemy may come either way
    ],
)
def test_margin(state: Battle, move: tuple[int, int], attack: int, near: bool) -> None:
    found = margin(MARINES, state, 0, np.array([move, STAND]), np.array([attack, 0]), np.zeros((8, 2)))
    assert (found < NEAR) == near, found


@pytest.mark.parametrize("ghosts", [False, True])
def test_a_ghost_may_push_to_a_threshold(ghosts: bool) -> None:
    state = battle((0.675004, 10), (0.075004, 10), health=0.0)  # the push ends 4e-6 from the wall
    found = margin(MARINES, state, 0, np.array([STAND, STAND]), np.zeros(2, int), np.zeros((8, 2)), ghosts)
    assert (found < NEAR) == ghosts, found
