"""Clean Up: cleaning is left to others, and without it nothing grows.

Source: SocialJax (arXiv 2503.14576) and its code, after Melting Pot and Hughes et al. 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.envs.commons.cleanup import dynamics, types
from shoal.envs.commons.cleanup.levels import MAPS
from shoal.envs.commons.cleanup.types import CLEAN, DIRT, RIVER, SPRAY, SWEEP, Draws, State
from shoal.envs.commons.gridworld import beams, fields
from shoal.envs.commons.gridworld.frame import GridDilemma
from shoal.envs.commons.gridworld.types import APPLE, EMPTY, FLAGS, ZAP, Level
from shoal.envs.core.environment import MetricSpec
from shoal.envs.core.spaces import choose
from shoal.envs.core.types import Key

ONE_KEY = "one-key"
"""Flag: the coin that decides on new dirt is the draw that decides on the first apple cell."""


class Cleanup(GridDilemma[State]):
    """Apples grow the faster the less of the water is dirty; nothing stands in the way."""

    Options = types.Options
    Params = types.Params
    options: types.Options
    params: types.Params
    named_maps = MAPS
    characters = ".aP~dc"
    items = 9
    shown = (ZAP, APPLE, CLEAN, DIRT, SPRAY)
    actions = SWEEP + 1
    flags = (*FLAGS, ONE_KEY)

    def __init__(self, id: str = "", options: Any = None, params: Any = None) -> None:
        """Reads the map and checks options and numbers.

        Raises:
            UserError: for one out of its range, an unknown map or flag, or a map without room.
        """
        super().__init__(id, options, params)
        area = self.layout.where("dc")
        self.area = self.layout.cells("dc")
        self.area_number = np.where(area, np.cumsum(area).reshape(area.shape) - 1, -1).astype(np.int32)
        self.water = int(self.layout.where("~dc").sum())

    def opening_items(self) -> np.ndarray:
        """Returns the river and its polluted area; no apples."""
        codes = [self.layout.where(mark) * code for mark, code in (("~", RIVER), ("c", CLEAN), ("d", DIRT))]
        return np.sum(codes, axis=0).astype(np.int8)

    def initial_state(self, level: Level) -> State:
        """Returns everybody in place."""
        nothing = jnp.zeros((), jnp.int32)
        return State(
            **self.open(level),
            sweeps=jnp.zeros_like(level.row),
            cleaned=nothing,
            clean_time=jnp.zeros((), jnp.float32),
        )

    def draws(self, key: Key, state: State) -> Draws:
        """Draws all random numbers of a step at once; the cell among those that are clean now."""
        bits = jax.random.bits(key, (self.random_words() + 2,), jnp.uint32)
        made, rest = self.drawn(bits)
        coin, u = fields.uniform(rest)
        clean = state.items[self.area[:, 0], self.area[:, 1]] == CLEAN
        coin = made["grow"][0] if ONE_KEY in self.compat else coin
        return Draws(**made, coin=coin, cell=choose(u, clean))

    def grow(self, state: State, covered: Array, draws: Draws) -> Array:
        """Grows apples on cells of the orchard with nothing on them, and lets dirt come."""
        chance = dynamics.growth(dynamics.dirty_cells(state.items), self.water, state.params)
        grows = fields.on_board(self.layout, draws.grow) < chance[None, None]
        items = dynamics.soil(state, covered, draws.coin, draws.cell, self.area_number)
        return jnp.where(grows & (items == EMPTY) & ~covered, APPLE, items).astype(jnp.int8)

    def _is_sprite(self, items: Array) -> Array:
        return (items == ZAP) | (items == SPRAY)

    def work(self, before: State, after: State, action: Array, reach: beams.Reach, taken: Array) -> State:
        """Cleans dirt in the beams of those who sweep; not where an agent stands."""
        sweeping = action == SWEEP
        board = after.items.shape
        lasting = beams.lasting(reach, sweeping, board, "all" if "beam-order" in self.compat else "none")
        cleans = beams.lit(reach, lasting, board) & (after.items == DIRT) & ~taken
        items = self.sprites(after.items, sweeping, reach, taken, SPRAY)
        dirty = dynamics.dirty_cells(before.items)
        return replace(
            after,
            items=jnp.where(cleans, CLEAN, items).astype(jnp.int8),
            sweeps=before.sweeps + sweeping.astype(jnp.int32),
            cleaned=before.cleaned + jnp.sum(cleans, axis=(0, 1), dtype=jnp.int32),
            clean_time=before.clean_time + (len(self.area) - dirty).astype(jnp.float32),
        )

    def own_colours(self) -> dict[int, str]:
        """Returns blue water, brown dirt and pale spray."""
        from shoal.envs import scene as draw

        return {RIVER: draw.BLUE, CLEAN: draw.SKY, DIRT: "#8b5a2b", SPRAY: "#b3e5fc"}

    def own_metrics(self, state: State) -> dict[str, Array]:
        """Returns what was cleaned, and how much was clean."""
        return {
            "clean_water": state.clean_time / jnp.maximum(state.t, 1).astype(jnp.float32),
            "cleaning_actions": jnp.sum(state.sweeps, axis=0).astype(jnp.float32),
            "cells_cleaned": state.cleaned.astype(jnp.float32),
        }

    def own_specs(self) -> tuple[MetricSpec, ...]:
        """Declares them."""
        most = float(self.options.num_agents * self.options.max_steps)
        area = float(self.layout.where("dc").sum())
        return (
            MetricSpec("clean_water", "clean cells at the start of a step, mean over steps", 0.0, area, True),
            MetricSpec("cleaning_actions", "times that agents tried to clean", 0.0, most, True),
            MetricSpec("cells_cleaned", "dirty cells that were cleaned", 0.0, 4.0 * most, True),
        )

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns the bots of `bots.policies`; none see the published view, which hides headings."""
        from shoal.envs.commons.cleanup.bots import policies

        return {} if "view" in self.compat else policies(self)
