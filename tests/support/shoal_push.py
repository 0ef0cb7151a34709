"""How bodies push each other, as an integer program over contacts and forces, one direction after another.

This is the definition that SwarmBench publishes (spec section 2.1), written once more for tests and solved by
`scipy.optimize.milp`: slow, and without any of the shortcuts of `shoal.envs.swarm.grid.physics`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

STEPS = {1: (-1, 0), 2: (1, 0), 3: (0, -1), 4: (0, 1)}  # up, down, left, right, in the order of the passes
OPPOSITE = {1: 2, 2: 1, 3: 4, 4: 3}
PUSH = 2
BOX_MASS = 5


@dataclass
class Body:
    """What moves as a whole."""

    cells: set[tuple[int, int]]
    mass: int = 1
    action: int = 0
    static: bool = False

    def is_on(self, shape: tuple[int, int]) -> bool:
        """Whether any cell lies on a board of this shape; a body that has left altogether is gone."""
        return any(0 <= i < shape[0] and 0 <= j < shape[1] for i, j in self.cells)


def play(bodies: list[Body], shape: tuple[int, int]) -> None:
    """Moves bodies through the four passes."""
    for direction in STEPS:
        present = [body for body in bodies if body.is_on(shape)]
        for body, moves in zip(present, movers(present, direction), strict=True):
            if moves:
                di, dj = STEPS[direction]
                body.cells = {(i + di, j + dj) for i, j in body.cells}


def movers(bodies: list[Body], direction: int) -> list[bool]:
    """Returns which bodies move in one pass: the largest set that can."""
    di, dj = STEPS[direction]
    owner = {cell: v for v, body in enumerate(bodies) for cell in body.cells}
    ahead = {(v, owner.get((i + di, j + dj), v)) for v, body in enumerate(bodies) for i, j in body.cells}
    contacts = sorted((v, w) for v, w in ahead if v != w)
    graph = csr_matrix(([1] * len(contacts), np.array(contacts).reshape(-1, 2).T), shape=[len(bodies)] * 2)
    count, merged = connected_components(graph, connection="strong")
    mass, force, static = np.zeros(count, int), np.zeros(count, int), np.zeros(count, bool)
    for v, body in enumerate(bodies):
        mass[merged[v]] += body.mass
        force[merged[v]] += PUSH * ((body.action == direction) - (body.action == OPPOSITE[direction]))
        static[merged[v]] |= body.static
    mass, force = mass - np.minimum(force, 0), np.maximum(force, 0)
    edges = sorted({(int(merged[v]), int(merged[w])) for v, w in contacts if merged[v] != merged[w]})
    moves = _largest(mass, force, static, edges)
    return [bool(moves[component]) for component in merged]


def _largest(
    mass: np.ndarray, force: np.ndarray, static: np.ndarray, edges: list[tuple[int, int]]
) -> np.ndarray:
    """Solves for x[v], whether v moves, and f[v, w], the force that v hands on to w in front of it."""
    count, much = len(mass), float(np.sum(mass) + np.sum(force) + 1)
    rows, lows = [], []

    def at_least(low: float, x: dict[int, float], flow: dict[int, float]) -> None:
        row = np.zeros(count + len(edges))
        for v, factor in x.items():
            row[v] = factor
        for e, factor in flow.items():
            row[count + e] = factor
        rows.append(row)
        lows.append(low)

    for e, (v, w) in enumerate(edges):
        at_least(0.0, {w: 1.0, v: -1.0}, {})
        at_least(0.0, {w: much}, {e: -1.0})
    for v in range(count):
        received = {e: 1.0 for e, edge in enumerate(edges) if edge[1] == v}
        given = {e: -1.0 for e, edge in enumerate(edges) if edge[0] == v}
        at_least(-float(force[v]), {v: -float(mass[v])}, received)
        # Gives on no more than is left over, and only if it moves.
        at_least(float(mass[v] - force[v]) - much, {v: -much}, received | given)
        at_least(0.0, {v: much}, given)
    upper = np.concatenate([(~static).astype(float), np.full(len(edges), much)])
    found = milp(
        np.concatenate([-np.ones(count), np.zeros(len(edges))]),
        integrality=np.concatenate([np.ones(count), np.zeros(len(edges))]),
        bounds=Bounds(0.0, upper),
        constraints=LinearConstraint(np.stack(rows), np.array(lows), np.inf),
    )
    assert found.success, found.message
    return found.x[:count] > 0.5
