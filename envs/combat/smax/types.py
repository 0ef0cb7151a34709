"""What SMAX is made of: unit types, options, numbers, levels and states."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flax import struct
from jax import Array

from shoal.envs.combat.smax.eras import ERAS, Era
from shoal.envs.core.errors import UserError, nearest
from shoal.envs.core.options import option, param

UNIT_NAMES = ("marine", "marauder", "stalker", "zealot", "zergling", "hydralisk")
UNIT_LETTERS = ("m", "M", "s", "Z", "z", "h")
NUM_TYPES = len(UNIT_NAMES)
STOP = 4  # 0 up, 1 right, 2 down, 3 left, 4 stop, 5 + k attack opponent slot k
FIRST_ATTACK = 5
UNIT_FEATURES = 13  # one slot of the unit list
OWN_FEATURES = 10

Units = str | tuple[str, ...]


@lru_cache(maxsize=256)
def parse_units(units: Units) -> tuple[int, ...]:
    """Returns the unit types of a list like ``"2s3Z"`` or ``("stalker", "zealot")``, in index order.

    A string holds letters, each with an optional count before it: m marine, M marauder, s stalker, Z zealot,
    z zergling, h hydralisk. Map names such as 2s3z write zealots with a small z; unit lists do not.

    Raises:
        UserError: when the list is empty, malformed or names an unknown unit.
    """
    letters = ", ".join(f"{letter} {name}" for letter, name in zip(UNIT_LETTERS, UNIT_NAMES, strict=True))
    if isinstance(units, str):
        if not re.fullmatch(r"(\d*[mMsZzh])+", units):
            raise UserError(f"unit list {units!r} must look like '2s3Z', with letters {letters}")
        parts = re.findall(r"(\d*)([mMsZzh])", units)
        types = [UNIT_LETTERS.index(letter) for count, letter in parts for _ in range(int(count or 1))]
    else:
        types = []
        for name in units:
            if name in UNIT_LETTERS:
                types.append(UNIT_LETTERS.index(name))
            elif name in UNIT_NAMES:
                types.append(UNIT_NAMES.index(name))
            else:
                raise UserError(
                    f"there is no unit {name!r}{nearest(str(name), UNIT_NAMES)} (letters: {letters})"
                )
    if not types:
        raise UserError(f"unit list {units!r} is empty; each side needs at least one unit")
    return tuple(types)


@dataclass(frozen=True)
class SmaxOptions:
    """What shapes arrays or picks code."""

    allies: Units = option("3m", "the allies: letters with counts such as '2s3Z', or a tuple of unit names")
    enemies: Units = option("3m", "the enemies, likewise")
    unit_types: str = option(
        "fixed",
        "fixed: as listed; random: any of the six, enemies mirror allies",
        choices=("fixed", "random"),
    )
    starts: str = option(
        "facing",
        "facing: two squares left and right; smacv2: surround or reflect",
        choices=("facing", "smacv2"),
    )
    clamp_spawns: bool = option(False, "keep smacv2 starts off the walls (D7)")
    control: str = option(
        "allies",
        "who learns: the allies against the scripted enemy, or both teams",
        choices=("allies", "both"),
    )
    use_self_play_reward: bool = option(False, "zero-sum reward without shaping")
    attack_mode: str = option(
        "closest", "how the scripted enemy picks a new target", choices=("closest", "random")
    )
    enemy_shoots: bool = option(True, "whether the scripted enemy attacks at all")
    see_enemy_actions: bool = option(True, "whether opponents' last actions are observed")
    walls_cause_death: bool = option(True, "whether touching the border kills")
    max_steps: int = option(100, "the limit; it fires on the step after, as published", low=1, high=1_000_000)
    world_steps: int = option(8, "world steps per environment step", low=1, high=1000)
    view: str = option(
        "flat", "flat: the published vector; entities: slots apart", choices=("flat", "entities")
    )
    global_view: str = option(
        "published", "global state as published (raw) or normalised (D6)", choices=("published", "normalised")
    )
    legacy: str = option(
        "none",
        "rules of older versions: B of June 2024 to June 2025, B-pre of April 2024",
        choices=tuple(ERAS),
    )

    def __post_init__(self) -> None:
        """Turns lists (as YAML has them) into tuples, so that options stay hashable."""
        for name in ("allies", "enemies"):
            value = getattr(self, name)
            if not isinstance(value, str):
                object.__setattr__(self, name, tuple(value))

    @property
    def era(self) -> Era:
        """What the rules do differently from today's."""
        return ERAS[self.legacy]

    @property
    def ally_types(self) -> tuple[int, ...]:
        """The listed types of the allies."""
        return parse_units(self.allies)

    @property
    def enemy_types(self) -> tuple[int, ...]:
        """The listed types of the enemies."""
        return parse_units(self.enemies)

    @property
    def num_allies(self) -> int:
        """How many allies there are: global indices ``0 .. num_allies-1``."""
        return len(self.ally_types)

    @property
    def num_enemies(self) -> int:
        """How many enemies there are, after the allies."""
        return len(self.enemy_types)

    @property
    def num_units(self) -> int:
        """Both teams together: ``N``."""
        return self.num_allies + self.num_enemies


TABLES = (
    "speed",
    "damage",
    "range",
    "sight",
    "radius",
    "health",
    "reload",
)  # SmaxParams fields of [6] numbers


@struct.dataclass
class SmaxParams:
    """Numbers; the tables hold one entry per unit type in the order of ``UNIT_NAMES``."""

    speed: Any = param((3.15, 2.25, 4.13, 3.15, 4.13, 3.15), "map units per second", low=0.0)
    damage: Any = param((9.0, 10.0, 13.0, 8.0, 5.0, 12.0), "health points per shot", low=0.0)
    range: Any = param((5.0, 6.0, 6.0, 2.0, 2.0, 5.0), "weapon range, centre to centre", low=0.0)
    sight: Any = param((9.0, 10.0, 10.0, 9.0, 8.0, 9.0), "sight range", low=0.01)
    radius: Any = param((0.375, 0.5625, 0.625, 0.5, 0.375, 0.625), "body radius", low=0.0)
    health: Any = param((45.0, 125.0, 160.0, 150.0, 35.0, 80.0), "full health", low=0.01)
    reload: Any = param((0.61, 1.07, 1.87, 0.86, 0.5, 0.59), "seconds between shots", low=0.01)
    map_width: Any = param(32.0, "map units", low=1.0)
    map_height: Any = param(32.0, "map units", low=1.0)
    seconds_per_world_step: Any = param(1.0 / 16.0, "dt", low=0.0001, high=10.0)
    win_bonus: Any = param(1.0, "reward of a won battle", low=0.0)


@struct.dataclass
class Level:
    """What a reset draws."""

    x: Array  # [N] f32, map units
    y: Array  # [N] f32
    unit_type: Array  # [N] u8, 0..5
    params: SmaxParams


@struct.dataclass
class EnemyMemory:
    """What each scripted enemy remembers; (0, 0) and -1 mean that it has not acted yet."""

    goal_x: Array  # [n_e] f32, where to go when nobody is visible
    goal_y: Array  # [n_e] f32
    target: Array  # [n_e] i32, the opponent slot attacked last, or -1


@struct.dataclass
class State:
    """One moment of a battle. Unit order: allies, then enemies. A unit lives while its health is above 0."""

    x: Array  # [N] f32, map units, to the right
    y: Array  # [N] f32, up
    health: Array  # [N] f32, health points, 0..max_health
    cooldown: Array  # [N] f32, seconds; ready when <= 0, keeps falling
    move_x: Array  # [N] f32, last intended direction
    move_y: Array  # [N] f32
    attack: Array  # [N] i32, last attack action in the unit's own numbering (>= 5), 0 if none
    unit_type: Array  # [N] u8
    step: Array  # [] i32, steps taken
    enemy: EnemyMemory | None  # None where both teams are agents
    speed: Array  # [N] f32, the statistics of each unit, gathered once at reset
    damage: Array  # [N] f32
    range: Array  # [N] f32
    sight: Array  # [N] f32
    radius: Array  # [N] f32
    max_health: Array  # [N] f32
    reload: Array  # [N] f32
    map_width: Array  # [] f32
    map_height: Array  # [] f32
    seconds_per_world_step: Array  # [] f32
    win_bonus: Array  # [] f32

    @property
    def alive(self) -> Array:
        """[N] bool."""
        return self.health > 0.0


@struct.dataclass
class Draws:
    """The random numbers of one step."""

    # [1, N] or [world_steps, N] f32, seconds added to the reload time of a shot, in [-dt, 2 dt). One row
    # serves all world steps: with the published statistics no unit fires twice in a step.
    reload_jitter: Array
    goal_choice: (
        Array | None
    )  # [n_e] f32 in [0, 1), quantile of the visible opponent to follow, in slot order
    target_choice: Array | None  # [n_e] f32, of the one to shoot (attack_mode "random" only)
