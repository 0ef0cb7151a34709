"""Maps as text, and what is read off them once, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from shoal.envs.core.errors import UserError, nearest

APPLE_CELL, SPAWN, INSIDE = "a", "P", "Q"
"""Characters of every game: where apples can be, where agents appear, and where the first of them do."""


@dataclass(frozen=True, eq=False)
class Layout:
    """A map: [H, W] characters."""

    marks: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.marks.shape
        return rows, columns

    def where(self, characters: str) -> np.ndarray:
        """Returns [H, W] bool, the cells with any of these characters."""
        return np.isin(self.marks, list(characters))

    def cells(self, characters: str) -> np.ndarray:
        """Returns [K, 2] i32, row and column of these cells, in order of rows."""
        return np.argwhere(self.where(characters)).astype(np.int32)

    @cached_property
    def apple_number(self) -> np.ndarray:
        """[H, W] i32, which apple cell each one is; their count where it is none."""
        apples = self.where(APPLE_CELL)
        return np.where(apples, np.cumsum(apples).reshape(apples.shape) - 1, apples.sum()).astype(np.int32)


def read(text: str, named: Mapping[str, str], characters: str) -> Layout:
    """Returns the map of a name, or one written out.

    Args:
        text: name, or rows with / or line ends between them.
        named: the game's own maps.
        characters: that the game knows.

    Raises:
        UserError: for an unknown name or character, or rows of unlike length.
    """
    if text not in named and not set("/\n.#") & set(text):
        raise UserError(f"there is no map {text!r}{nearest(text, set(named))}; it has {', '.join(named)}")
    rows = named.get(text, text).strip().replace("/", "\n").split("\n")
    if len({len(row) for row in rows}) != 1:
        raise UserError(f"the rows of map {text!r} are not of one length")
    marks = np.array([list(row) for row in rows])
    strange = sorted(set(marks.ravel().tolist()) - set(characters))
    if strange:
        raise UserError(f"map {text!r} has {strange[0]!r}; the characters of this game are {characters}")
    return Layout(marks)


def check_room(layout: Layout, num_agents: int) -> None:
    """Refuses maps on which agents could not be placed, or nothing could grow.

    Raises:
        UserError: with what is missing.
    """
    spawns = len(layout.cells(SPAWN))
    if spawns < num_agents:
        raise UserError(
            f"num_agents={num_agents} must be at most {spawns}: the map has so many {SPAWN} cells"
        )
    if not layout.where(APPLE_CELL).any():
        raise UserError(f"the map has no apple cell ({APPLE_CELL})")
    if min(layout.shape) < 3:
        raise UserError(f"the map is {layout.shape[0]} x {layout.shape[1]}; it must be at least 3 x 3")
