"""Scripted harvesters: some eat whatever they see, some leave apples that others grow from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from jax import Array
from jaxtyping import Bool

from shoal.envs.commons.gridworld import bots, fields
from shoal.envs.commons.gridworld.bots import Seen, Team
from shoal.envs.commons.gridworld.types import APPLE, WALL, ZAP

if TYPE_CHECKING:
    from shoal.envs.commons.harvest.env import Harvest

ENOUGH = 3
"""Apples that must be seen around one that a restrained agent eats."""


class Greedy(bots.Greedy):
    """Goes to the nearest apple."""

    solid = (WALL, ZAP)


class Restrained(Greedy):
    """Eats only apples with enough others around, and walks around the rest."""

    def __init__(self, env: Harvest, enough: int = ENOUGH) -> None:
        """Fixes how many must be seen within two steps of an apple."""
        super().__init__(env)
        self.enough = enough

    def edible(self, seen: Seen) -> Bool[Array, "height width"]:
        """Returns the apples that it eats; neighbours outside of the window do not count."""
        apples = seen.lies(APPLE)
        return apples & (fields.neighbours(apples, even_edges=True) >= self.enough)


def policies(env: Harvest) -> Mapping[str, Callable[[], Any]]:
    """Returns ``scripted`` (the same as ``restrained``), both kinds, and teams ``restrained-k`` of them."""
    greedy, restrained = Greedy(env), Restrained(env)
    teams = {f"restrained-{k}": Team(restrained, greedy, k) for k in range(1, env.num_agents)}
    named = {"scripted": restrained, "restrained": restrained, "greedy": greedy, **teams}
    return {name: partial(lambda policy: policy, policy) for name, policy in named.items()}
