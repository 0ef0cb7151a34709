"""Commons Harvest: whoever eats the last apples of a patch eats those that would have grown.

Source: SocialJax (arXiv 2503.14576) and its code, after Melting Pot and Pérolat et al. 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.envs.commons.gridworld import fields, maps
from shoal.envs.commons.gridworld.frame import GridDilemma
from shoal.envs.commons.gridworld.types import APPLE, EMPTY, WALL, ZAP, Draws, Level, State
from shoal.envs.commons.harvest import types
from shoal.envs.commons.harvest.levels import MAPS


class Harvest(GridDilemma[State]):
    """Apples grow the faster the more of them are near; beams and walls stand in the way for a step."""

    Options = types.Options
    Params = types.Params
    options: types.Options
    params: types.Params
    named_maps = MAPS
    characters = ".#aPQ"
    items = 5
    solid = (WALL, ZAP)
    shown = (WALL, ZAP, APPLE)

    def opening_items(self) -> np.ndarray:
        """Returns all apples and the walls."""
        there = self.layout.where(maps.APPLE_CELL) * APPLE + self.layout.where("#") * WALL
        return there.astype(np.int8)

    def initial_state(self, level: Level) -> State:
        """Returns everybody in place among all apples."""
        return State(**self.open(level))

    def grow(self, state: State, covered: Array, draws: Draws) -> Array:
        """Grows apples on cells with nothing on them, then clears beams off apple cells."""
        near = fields.neighbours(state.items == APPLE, self.options.even_edges)
        chance = growth(near, state.params)
        grows = fields.on_board(self.layout, draws.grow) < chance
        items = jnp.where(grows & (state.items == EMPTY) & ~covered, APPLE, state.items)
        return clear_apple_cells(items, self.layout)

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns the bots of `bots.policies`; none see the published view, which hides headings."""
        from shoal.envs.commons.harvest.bots import policies

        return {} if "view" in self.compat else policies(self)


def growth(near: Array, params: types.Params) -> Array:
    """Returns the chance that an apple grows, by the number of apples near, [H, W, *B]."""
    some, more, most = (
        jnp.asarray(x)[None, None] for x in (params.regrow_1, params.regrow_2, params.regrow_3)
    )
    return jnp.where(near >= 3, most, jnp.where(near == 2, more, jnp.where(near == 1, some, 0.0)))


def clear_apple_cells(items: Array, layout: maps.Layout) -> Array:
    """Returns the board without beams on apple cells: they are gone before anybody walks."""
    where = layout.where(maps.APPLE_CELL).reshape(*layout.shape, *[1] * (items.ndim - 2))
    return jnp.where((items == ZAP) & where, EMPTY, items).astype(jnp.int8)
