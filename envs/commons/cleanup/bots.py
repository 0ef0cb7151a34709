"""Scripted agents of Clean Up: some clean, some harvest. They know that the river is dirty to the north."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Int

from shoal.envs.commons.cleanup.types import DIRT, SWEEP
from shoal.envs.commons.gridworld import bots
from shoal.envs.commons.gridworld.bots import AHEAD, TO_RIGHT, Local, Seen, Team, nearer, wander
from shoal.envs.commons.gridworld.types import LEFT, NORTH, RIGHT, SOUTH, WALL
from shoal.envs.core.types import Key

if TYPE_CHECKING:
    from shoal.envs.commons.cleanup.env import Cleanup

UP = 2
"""The heading that looks north, to the first row."""


class Cleaner(Local):
    """Cleans what it faces, goes or turns to the nearest dirt it sees, else looks for it in the north."""

    def decide(self, key: Key, seen: Seen) -> Int[Array, ""]:
        """Cleans, goes or looks."""
        tie, luck = jax.random.split(key)
        dirt, floor = seen.lies(DIRT), ~seen.lies(WALL)
        direction, found = nearer(tie, seen, dirt, floor)
        turn = jnp.where(direction == TO_RIGHT, RIGHT, LEFT)
        faces = (direction == AHEAD) | ~seen.beside(dirt, False)[direction]
        to_dirt = jnp.where(faces, seen.walk(direction), turn)
        north = jnp.where(seen.heading == UP, NORTH, jnp.where(seen.heading == UP + 1, RIGHT, LEFT))
        edge = (seen.heading == UP) & ~seen.beside(floor, False)[AHEAD]
        look = jnp.where(edge, wander(luck, seen, floor), north)
        return jnp.where(self.in_reach(seen, dirt), SWEEP, jnp.where(found, to_dirt, look))

    def in_reach(self, seen: Seen, dirt: Bool[Array, "height width"]) -> Bool[Array, ""]:
        """Returns whether a beam would meet dirt."""
        row, column = seen.row, seen.column
        wide = jnp.any(dirt[row - 1, column - 1 : column + 2])
        return wide | (dirt[row - 2, column] if row > 1 else jnp.zeros((), bool))


class Harvester(bots.Greedy):
    """Goes to the nearest apple; where it sees none, to the south, and looks around there."""

    def search(self, key: Key, seen: Seen, free: Bool[Array, "height width"]) -> Int[Array, ""]:
        """Goes to the south or wanders, by chance."""
        coin, luck = jax.random.split(key)
        return jnp.where(jax.random.uniform(coin) < 0.3, SOUTH, wander(luck, seen, free))


class Volunteer(bots.Greedy):
    """Harvests what it sees, and cleans as long as it sees nothing to harvest."""

    def __init__(self, env: Cleanup) -> None:
        """Takes a cleaner in."""
        super().__init__(env)
        self.cleaner = Cleaner(env)

    def search(self, key: Key, seen: Seen, free: Bool[Array, "height width"]) -> Int[Array, ""]:
        """Cleans."""
        return self.cleaner.decide(key, seen)


def policies(env: Cleanup) -> Mapping[str, Callable[[], Any]]:
    """Returns all kinds, teams ``cleaner-k`` with harvesters, and ``scripted``: a third of a team cleans."""
    cleaner, harvester, volunteer = Cleaner(env), Harvester(env), Volunteer(env)
    teams = {f"cleaner-{k}": Team(cleaner, harvester, k) for k in range(1, env.num_agents)}
    scripted = Team(cleaner, harvester, max(env.num_agents // 3, 1))
    named = {
        "scripted": scripted,
        "cleaner": cleaner,
        "harvester": harvester,
        "volunteer": volunteer,
        **teams,
    }
    return {name: partial(lambda policy: policy, policy) for name, policy in named.items()}
