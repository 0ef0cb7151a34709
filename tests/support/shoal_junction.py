"""The traffic junction stepped by hand; and once more in plain Python, straight from the published rules.

In the plain form routes are written down and turned anew, so that nothing is shared with what is tested.
Randomness comes from outside: a car comes where `arrive` lies below the rate, takes the route that `way`
points at, and of the dead cars the one of the least `order`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from shoal.envs.core import make
from shoal.envs.traffic.junction.types import Draws

KEY = jax.random.key(0)
GAS, BRAKE = 0, 1
Cell = tuple[int, int]
Way = list[Cell]

MEDIUM = {
    (0, 6): ["13,6", "6,6 6,0", "7,6 7,13"],
    (13, 7): ["0,7", "7,7 7,13", "6,7 6,0"],
    (7, 0): ["7,13", "7,6 13,6", "7,7 0,7"],
    (6, 13): ["6,0", "6,7 0,7", "6,6 13,6"],
}
FIRST = ["17,4", "12,4 12,0", "13,4 13,17", "4,4 4,0", "5,4 5,17", "5,4 5,12 17,12", "5,4 5,13 0,13"]
SECOND = ["17,12", "12,12 12,0", "13,12 13,17", "4,12 4,0", "4,12 4,5 0,5", "4,12 4,4 17,4", "5,12 5,17"]


def way(start: Cell, corners: str) -> Way:
    """All cells from the start along the corners."""
    cells = [start]
    for text in corners.split():
        row, column = map(int, text.split(","))
        while cells[-1] != (row, column):
            r, c = cells[-1]
            cells.append((r + (row > r) - (row < r), c + (column > c) - (column < c)))
    return cells


def hard_ways() -> list[list[Way]]:
    """Arrival -> its routes; six of the eight are the first two, turned to the right."""
    found: dict[int, list[Way]] = {}
    for start, corners, chain in (((0, 4), FIRST, (0, 6, 5, 3)), ((0, 12), SECOND, (1, 7, 4, 2))):
        ways = [way(start, text) for text in corners]
        for arrival in chain:
            found[arrival] = ways
            ways = [[(c, 17 - r) for r, c in cells] for cells in ways]
    return [found[arrival] for arrival in range(8)]


def ways(difficulty: str) -> list[list[Way]]:
    """Arrival -> its routes."""
    if difficulty == "easy":
        return [[way((0, 3), "6,3")], [way((3, 0), "3,6")]]
    if difficulty == "medium":
        return [[way(start, text) for text in corners] for start, corners in MEDIUM.items()]
    return hard_ways()


def kinds(difficulty: str) -> tuple[np.ndarray, int]:
    """What is in each cell of the grid, and how many road cells the vocabulary counts."""
    size, base, lanes = {"easy": (7, 12, [[3]]), "medium": (14, 56, [[6, 7]])}.get(
        difficulty, (18, 144, [[4, 5], [12, 13]])
    )
    grid = np.full((size, size), base)
    number = 0
    for down in (False, True):
        for rows in lanes:
            cells = [(r, c) for r in range(size) for c in rows] if down else None
            for r, c in cells or [(r, c) for r in rows for c in range(size)]:
                grid[r, c] = number
                number += 1
    return grid, base


@dataclass
class Junction:
    """The state, one entry per car, and the rules."""

    difficulty: str
    cars: int
    vision: int
    rate: float
    alive: list[bool] = field(default_factory=list)
    loc: list[Cell] = field(default_factory=list)
    route: list[int] = field(default_factory=list)
    progress: list[int] = field(default_factory=list)
    wait: list[int] = field(default_factory=list)
    last_act: list[int] = field(default_factory=list)
    failed: bool = False

    def __post_init__(self) -> None:
        """Opens empty."""
        n = self.cars
        self.ways = ways(self.difficulty)
        self.flat = [cells for own in self.ways for cells in own]
        self.grid, self.base = kinds(self.difficulty)
        self.alive, self.loc, self.wait, self.last_act = [False] * n, [(0, 0)] * n, [0] * n, [0] * n
        self.route, self.progress = [-1] * n, [-1] * n

    def step(
        self, actions: list[int], arrive: list[float], way: list[float], order: list[float]
    ) -> list[float]:
        """Plays one step; returns the rewards."""
        for i in range(self.cars):
            self._drive(i, actions[i])
        for k, own in enumerate(self.ways):
            if sum(self.alive) >= self.cars:
                break
            if arrive[k] < self.rate:
                dead = [i for i in range(self.cars) if not self.alive[i]]
                i = min(dead, key=lambda i: order[i])
                r = int(way[k] * len(own))
                self.alive[i], self.wait[i], self.progress[i] = True, 0, 0
                self.route[i], self.loc[i] = k * len(own) + r, own[r][0]
        return [self._reward(i) for i in range(self.cars)]

    def _drive(self, i: int, action: int) -> None:
        if not self.alive[i]:
            return
        self.wait[i] += 1
        if action != 0:
            self.last_act[i] = 1
            return
        self.progress[i] += 1
        cells = self.flat[self.route[i]]
        if self.progress[i] == len(cells):
            self.alive[i], self.wait[i], self.loc[i] = False, 0, (0, 0)
            return
        self.loc[i], self.last_act[i] = cells[self.progress[i]], 0

    def _reward(self, i: int) -> float:
        if not self.alive[i]:
            return 0.0
        hit = any(j != i and self.loc[j] == self.loc[i] != (0, 0) for j in range(self.cars))
        self.failed |= hit
        return -0.01 * self.wait[i] - (10.0 if hit else 0.0)

    def view(self, i: int) -> np.ndarray:
        """What car i sees."""
        reach = range(-self.vision, self.vision + 1)
        vocabulary, size = self.base + 3, len(self.grid)
        numbers: list[float] = [self.last_act[i], self.route[i] / (len(self.flat) - 1)]
        for down in reach:
            for right in reach:
                r, c = self.loc[i][0] + down, self.loc[i][1] + right
                inside = 0 <= r < size and 0 <= c < size
                cell = [0.0] * vocabulary
                cell[self.grid[r, c] if inside else self.base] = 1.0
                cell[self.base + 2] += self.loc.count((r, c))
                numbers += cell
        return np.asarray(numbers, np.float32) * self.alive[i]


@cache
def game(difficulty: str, **options: Any) -> "Game":
    """The compiled game with these options; the same one for the same question."""
    return Game(make(f"traffic/junction-{difficulty}", **options))


class Game:
    """One junction, stepped with draws that are given."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.dynamics, self.observe, self.whole = map(jax.jit, (env.dynamics, env.observe, env.global_state))
        self.empty = env.reset(KEY)[0]

    def state(self, cars: Mapping[int, tuple[int, int, int]]) -> Any:
        """Cars by slot: route, progress, wait."""
        fields = jax.tree.map(np.array, self.empty.cars)
        steps = self.env.options.network.steps
        for slot, (route, progress, wait) in cars.items():
            fields.alive[slot], fields.cell[slot] = True, steps[route, progress]
            fields.route[slot], fields.progress[slot], fields.wait[slot] = route, progress, wait
        return replace(self.empty, cars=jax.tree.map(jnp.asarray, fields))

    def draws(self, ways: Mapping[int, float] | None = None, order: Any = None) -> Draws:
        """A car comes at the arrivals that are named, on the route that the number points at."""
        arrivals, slots = self.env.options.network.arrivals, self.env.num_agents
        arrive, way = np.ones(arrivals, np.float32), np.zeros(arrivals, np.float32)
        for arrival, where in (ways or {}).items():
            arrive[arrival], way[arrival] = 0.0, where
        order = np.linspace(0, 0.9, slots) if order is None else order
        return Draws(*map(jnp.asarray, (arrive, way, np.asarray(order, np.float32))))

    def step(self, state: Any, *actions: int, come: Mapping[int, float] | None = None) -> tuple[Any, Any]:
        """Plays; slots that are not named brake, and nobody comes who is not named."""
        rest = [BRAKE] * (self.env.num_agents - len(actions))
        return self.dynamics(state, jnp.asarray([*actions, *rest], jnp.int32), self.draws(come))


def places(state: Any, size: int) -> list[tuple[int, int]]:
    return [divmod(int(cell), size) for cell in np.asarray(state.cars.cell)]
