"""A lane each way between food and nest, for any layout. Computed once, without JAX.

Source of the two ways: J. W. Suurballe, "Disjoint paths in a network", Networks 4 (1974), in Bhandari's form:
a shortest way, then a second one that may undo parts of the first.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from shoal.envs.swarm.grid.types import FOOD, NEST

Cell = tuple[int, int]
_STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))  # in the order of the primitives up, down, left, right
_OFF_LANE, _AGAINST = 1.1, 5.0  # what a step costs beside the lanes, and on the other one


class Lanes(NamedTuple):
    """What travellers read of a layout."""

    onward: np.ndarray  # [H, W] int32, which way the circuit leads on; 0 beside it
    lane: (
        np.ndarray
    )  # [2, H, W] bool, the cells of the lane to the food and of that to the nest, with their ends
    cost: (
        np.ndarray
    )  # [2, H, W] float32, what it costs to go to the food, and to the nest; infinite on no floor


def lay(board: np.ndarray) -> Lanes | None:
    """Returns the lanes on a layout [H, W]; None where there is no room for two."""
    there = circuit(board)
    if there is None:
        return None
    to_nest, to_food = there
    onward = np.zeros(board.shape, np.int32)
    for way in there:
        for cell, following in pairwise(way):
            onward[cell] = 1 + _STEPS.index((following[0] - cell[0], following[1] - cell[1]))
    lane = np.zeros((2, *board.shape), bool)
    for number, way in enumerate((to_food, to_nest)):
        lane[number][tuple(np.transpose(way))] = True
    costs = [_cost(board, FOOD, lane[0], lane[1]), _cost(board, NEST, lane[1], lane[0])]
    return Lanes(onward, lane, np.stack(costs))


def circuit(board: np.ndarray) -> tuple[list[Cell], list[Cell]] | None:
    """Returns the cells of two ways, from food to nest and back, that share nothing but their ends.

    Of all such pairs it is the shortest; the way out is the shorter one.
    """
    free = board == 0
    best: tuple[list[Cell], list[Cell]] | None = None
    for start in np.argwhere(_beside(board == FOOD) & free):
        for end in np.argwhere(_beside(board == NEST) & free):
            pair = _disjoint(free, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])))
            if pair and (best is None or sum(map(len, pair)) < sum(map(len, best))):
                best = pair
    if best is None:
        return None
    out, back = sorted(best, key=len)
    return out, back[::-1]


def _cost(board: np.ndarray, goal: int, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the least cost of a way from each cell to one beside the goal."""
    free = board == 0
    enter = np.select([~free, own, other], [np.inf, 1.0, _AGAINST], _OFF_LANE)
    cost = np.where(_beside(board == goal) & free, 0.0, np.inf)
    while True:
        through = [np.roll(cost + enter, (-down, -right), (0, 1)) for down, right in _STEPS]
        nearer = np.where(free, np.minimum(cost, np.min(through, axis=0)), np.inf)
        if np.array_equal(nearer, cost):
            return cost.astype(np.float32)
        cost = nearer


def _beside(cells: np.ndarray) -> np.ndarray:
    return np.logical_or.reduce([np.roll(cells, step, (0, 1)) for step in _STEPS])


def _around(free: np.ndarray, cell: Cell) -> list[Cell]:
    return [(cell[0] + i, cell[1] + j) for i, j in _STEPS if free[cell[0] + i, cell[1] + j]]


def _disjoint(free: np.ndarray, start: Cell, end: Cell) -> tuple[list[Cell], list[Cell]] | None:
    """Returns the two ways with the least sum of lengths that share only their ends."""
    first = _shortest(free, start, end, [])
    second = _shortest(free, start, end, first) if first else []
    if not second:
        return None
    edges = set(pairwise(first))
    for edge in pairwise(second):
        if edge[::-1] in edges:
            edges.remove(edge[::-1])
        else:
            edges.add(edge)
    ways = []
    for cell in [b for a, b in sorted(edges) if a == start]:
        way = [start, cell]
        while way[-1] != end:
            way.append(next(b for a, b in edges if a == way[-1]))
        ways.append(way)
    return (ways[0], ways[1]) if len(ways) == 2 else None  # one, where food and nest are neighbours


def _shortest(free: np.ndarray, start: Cell, end: Cell, taken: list[Cell]) -> list[Cell]:
    """Returns a shortest way, [] for none; following a way that is taken backwards undoes it.

    A cell of the way taken can be left only backwards, unless it was come to backwards.
    """
    after = dict(pairwise(taken))
    before = {b: a for a, b in after.items()}
    State = tuple[Cell, bool]  # a cell, and whether it was come to backwards
    length: dict[State, int] = {(start, False): 0}
    origin: dict[State, State] = {}
    queue: deque[State] = deque(length)
    while queue:
        here = queue.popleft()
        cell, undid = here
        if cell == end:
            continue
        on = cell in before and cell != start
        onward: list[tuple[State, int]] = []
        if on:
            onward.append(((before[cell], True), -1))
        if not on or undid:
            onward += [
                ((to, False), 1)
                for to in _around(free, cell)
                if to not in (after.get(cell), before.get(cell))
            ]
        for there, step in onward:
            if there[0] != start and length[here] + step < length.get(there, 1 << 30):
                length[there] = length[here] + step
                origin[there] = here
                queue.append(there)
    if (end, False) not in length:
        return []
    way = [(end, False)]
    while way[-1] in origin:
        way.append(origin[way[-1]])
    return [cell for cell, _ in way[::-1]]
