"""Roads and routes of the three junctions: static tables.

Source: the environment `traffic_junction` of IC3Net, "Learning when to Communicate at Scale in Multiagent
Cooperative and Competitive Tasks", ICLR 2019, arXiv 1812.09755. Cells are (row, column), rows counted
downwards.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

Cell = tuple[int, int]
Corners = tuple[Cell, ...]
DIFFICULTIES = ("easy", "medium", "hard")
GONE = -1
"""What stands in `Network.steps` beyond the last cell of a route."""


@dataclass(frozen=True)
class Network:
    """Roads, and the routes that lead over them, as many from every arrival."""

    size: int  # rows, and columns
    roads: tuple[tuple[int, int], ...]  # rows (first, last) of the roads across; the same columns downwards
    outside: int  # the published id of all that is no road
    corners: tuple[tuple[Corners, ...], ...]  # arrival -> route -> corners, both ends included

    @property
    def arrivals(self) -> int:
        """How many cells cars arrive at: ``K``."""
        return len(self.corners)

    @property
    def choices(self) -> int:
        """How many routes start at each arrival: ``R``."""
        return len(self.corners[0])

    @property
    def channels(self) -> int:
        """How many numbers a view has per cell: ids, outside, one that is never used, and cars."""
        return self.outside + 3

    @cached_property
    def routes(self) -> tuple[tuple[Cell, ...], ...]:
        """The cells of every route; the route ``r`` of arrival ``k`` is number ``R k + r``: ``P`` routes."""
        return tuple(_cells(corners) for own in self.corners for corners in own)

    @cached_property
    def lengths(self) -> np.ndarray:
        """[P] i32, cells of every route."""
        return np.array([len(route) for route in self.routes], np.int32)

    @cached_property
    def steps(self) -> np.ndarray:
        """[P, longest + 1] i16, the cell (row times size plus column) at every progress, then `GONE`."""
        table = np.full((len(self.routes), int(self.lengths.max()) + 1), GONE, np.int16)
        for row, route in zip(table, self.routes, strict=True):
            row[: len(route)] = [i * self.size + j for i, j in route]
        return table

    @cached_property
    def merges(self) -> np.ndarray:
        """[size squared] bool, cells that cars enter from more than one side: the junctions."""
        ways = {pair for route in self.routes for pair in itertools.pairwise(route)}
        count = np.zeros(self.size * self.size, np.int32)
        for _, (i, j) in ways:
            count[i * self.size + j] += 1
        return count > 1

    @cached_property
    def blocks(self) -> tuple[tuple[int, int, int, int], ...]:
        """The roads as (first row, last row, first column, last column), in the order of their numbering."""
        end = self.size - 1
        across = tuple((first, last, 0, end) for first, last in self.roads)
        return across + tuple((0, end, first, last) for first, last in self.roads)

    @cached_property
    def ids(self) -> np.ndarray:
        """[size, size] i16, what a view says of a cell: its number on the road, or `outside`.

        Roads are numbered one after another, row by row, and the later one keeps a crossing. On the easy
        junction the last two numbers are those of `outside` and of nothing, as published.
        """
        grid = np.full((self.size, self.size), self.outside, np.int16)
        start = 0
        for top, bottom, left, right in self.blocks:
            shape = (bottom - top + 1, right - left + 1)
            grid[top : bottom + 1, left : right + 1] = start + np.arange(shape[0] * shape[1]).reshape(shape)
            start += shape[0] * shape[1]
        return grid


def _cells(corners: Corners) -> tuple[Cell, ...]:
    """Returns all cells on the way along corners that lie in one row or column."""
    cells = [corners[0]]
    for i, j in corners[1:]:
        while cells[-1] != (i, j):
            row, column = cells[-1]
            cells.append((row + int(np.sign(i - row)), column + int(np.sign(j - column))))
    return tuple(cells)


def _turned(corners: Corners, size: int) -> Corners:
    """Returns the corners after a quarter turn to the right."""
    return tuple((j, size - 1 - i) for i, j in corners)


_MEDIUM: tuple[tuple[Corners, ...], ...] = (
    (((0, 6), (13, 6)), ((0, 6), (6, 6), (6, 0)), ((0, 6), (7, 6), (7, 13))),
    (((13, 7), (0, 7)), ((13, 7), (7, 7), (7, 13)), ((13, 7), (6, 7), (6, 0))),
    (((7, 0), (7, 13)), ((7, 0), (7, 6), (13, 6)), ((7, 0), (7, 7), (0, 7))),
    (((6, 13), (6, 0)), ((6, 13), (6, 7), (0, 7)), ((6, 13), (6, 6), (13, 6))),
)
_HARD_0: tuple[Corners, ...] = (
    ((0, 4), (17, 4)),
    ((0, 4), (12, 4), (12, 0)),
    ((0, 4), (13, 4), (13, 17)),
    ((0, 4), (4, 4), (4, 0)),
    ((0, 4), (5, 4), (5, 17)),
    ((0, 4), (5, 4), (5, 12), (17, 12)),
    ((0, 4), (5, 4), (5, 13), (0, 13)),
)
_HARD_1: tuple[Corners, ...] = (
    ((0, 12), (17, 12)),
    ((0, 12), (12, 12), (12, 0)),
    ((0, 12), (13, 12), (13, 17)),
    ((0, 12), (4, 12), (4, 0)),
    ((0, 12), (4, 12), (4, 5), (0, 5)),
    ((0, 12), (4, 12), (4, 4), (17, 4)),
    ((0, 12), (5, 12), (5, 17)),
)
_HARD_TURNS = ((0, 6, 5, 3), (1, 7, 4, 2))
"""Arrivals that follow from the first of each row by one, two and three quarter turns."""


def _hard() -> tuple[tuple[Corners, ...], ...]:
    """Returns the hard routes: those of two arrivals, turned."""
    found: dict[int, tuple[Corners, ...]] = {}
    for own, arrivals in zip((_HARD_0, _HARD_1), _HARD_TURNS, strict=True):
        for arrival in arrivals:
            found[arrival] = own
            own = tuple(_turned(corners, 18) for corners in own)
    return tuple(found[arrival] for arrival in sorted(found))


@cache
def network(difficulty: str) -> Network:
    """Returns the junction of that name, one of `DIFFICULTIES`."""
    if difficulty == "easy":
        ways: tuple[tuple[Corners, ...], ...] = ((((0, 3), (6, 3)),), (((3, 0), (3, 6)),))
        return Network(size=7, roads=((3, 3),), outside=12, corners=ways)
    if difficulty == "medium":
        return Network(size=14, roads=((6, 7),), outside=56, corners=_MEDIUM)
    return Network(size=18, roads=((4, 5), (12, 13)), outside=144, corners=_hard())
