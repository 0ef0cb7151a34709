"""Pushing: hand-worked facts, and random crowded boards beside the integer program that defines the rule."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shoal_push
from shoal_push import BOX_MASS, Body

from shoal.envs.common.batching import batch_last
from shoal.envs.swarm.grid import physics
from shoal.envs.swarm.grid.physics import DOWN, LEFT, MARGIN, RIGHT, STAY, UP, Bodies, Crate

Cell = tuple[int, int]
Push = Callable[..., tuple[list[Cell], Cell]]
R, L = RIGHT, LEFT
BOXES = [
    np.ones((1, 1), bool),
    np.ones((2, 2), bool),
    np.array([[1, 1, 0], [1, 1, 0], [0, 1, 1]], bool),  # a block with a tail, as the benchmark has
    np.array([[1, 1, 1], [1, 0, 0], [1, 1, 1]], bool),  # bodies can stand between its own cells
]


def push_only(bodies: Bodies, static: jax.Array, crate: Crate) -> tuple[Bodies, Crate]:
    """`physics.push` in the form of `physics.push_with_box`."""
    return physics.push(bodies, static), crate


PROGRAMS = {"push": push_only, "push_with_box": physics.push_with_box}


# Facts of spec section 7 ---------------------------------------------------------------------------


@pytest.fixture(scope="module", params=PROGRAMS)
def push(request: pytest.FixtureRequest) -> Push:
    """Plays one round of up to nine agents, on a 10 x 10 board with a ring of walls unless open."""
    program = jax.jit(PROGRAMS[request.param])

    def call(
        agents: dict[Cell, int], box: Sequence[Cell] = (), closed: bool = True
    ) -> tuple[list[Cell], Cell]:
        cells = np.zeros((9, 2), np.int32)
        cells[: len(agents)] = list(agents)
        action = np.zeros(9, np.int32)
        action[: len(agents)] = list(agents.values())
        static = np.full((10, 10), closed)
        static[1:-1, 1:-1] = False
        mask = np.zeros((10 + 2 * MARGIN, 10 + 2 * MARGIN), bool)
        for i, j in box:
            mask[i + MARGIN, j + MARGIN] = True
        bodies = Bodies(*map(jnp.asarray, (*cells.T, np.arange(9) < len(agents), action)))
        zero = jnp.int32(0)
        after, crate = program(bodies, jnp.asarray(static), Crate(jnp.asarray(mask), zero, zero))
        reached = list(zip(after.i.tolist(), after.j.tolist(), strict=True))[: len(agents)]
        return reached, (int(crate.i), int(crate.j))

    return call


ROWS = [
    # Fact 1: one pusher moves one idle agent; 2: not two.
    ({(5, 3): R, (5, 4): STAY}, [(5, 4), (5, 5)]),
    ({(5, 3): R, (5, 4): STAY, (5, 5): STAY}, [(5, 3), (5, 4), (5, 5)]),
    # 3: two pushers move two, in any order.
    ({(5, 2): R, (5, 3): R, (5, 4): STAY, (5, 5): STAY}, [(5, 3), (5, 4), (5, 5), (5, 6)]),
    ({(5, 2): R, (5, 3): STAY, (5, 4): R, (5, 5): STAY}, [(5, 3), (5, 4), (5, 5), (5, 6)]),
    # 4: who does not push is left behind.
    ({(5, 2): STAY, (5, 3): R, (5, 4): R}, [(5, 2), (5, 4), (5, 5)]),
    # 5: three pushers, not two, shove one who pushes back.
    ({(5, 3): R, (5, 4): L}, [(5, 3), (5, 4)]),
    ({(5, 2): R, (5, 3): R, (5, 4): L}, [(5, 2), (5, 3), (5, 4)]),
    ({(5, 1): R, (5, 2): R, (5, 3): R, (5, 4): L}, [(5, 2), (5, 3), (5, 4), (5, 5)]),
    # 6: contested cells: left before right, up before down, vertical first, and then pushed on.
    ({(5, 3): R, (5, 5): L}, [(5, 3), (5, 4)]),
    ({(4, 5): DOWN, (6, 5): UP}, [(4, 5), (5, 5)]),
    ({(5, 3): R, (6, 4): UP}, [(5, 4), (5, 5)]),
    # 7: pushed up, and still steps to the right.
    ({(5, 4): UP, (4, 4): R}, [(4, 4), (3, 5)]),
    # 9: nobody pushes into a wall.
    ({(5, 7): R, (5, 8): R}, [(5, 7), (5, 8)]),
]


@pytest.mark.parametrize(("agents", "reached"), ROWS, ids=str)
def test_agents_push_each_other(push: Push, agents: dict[Cell, int], reached: list[Cell]) -> None:
    assert push(agents)[0] == reached


SQUARE = [(5, 7), (5, 8), (6, 7), (6, 8)]


@pytest.mark.parametrize("push", ["push_with_box"], indirect=True)
@pytest.mark.parametrize(
    ("pushers", "moves"),
    [
        ([(5, 6), (5, 5), (5, 4), (5, 3)], False),
        ([(5, 6), (5, 5), (5, 4), (5, 3), (5, 2)], True),
        ([(5, 6), (6, 6), (5, 5), (6, 5), (5, 4)], True),
    ],
)
def test_five_pushers_move_a_box(push: Push, pushers: list[Cell], moves: bool) -> None:
    """Fact 8; behind each other or beside each other."""
    reached, gone = push(dict.fromkeys(pushers, R), SQUARE, closed=False)
    assert gone == (0, int(moves)) and reached == [(i, j + moves) for i, j in pushers]


@pytest.mark.parametrize("push", ["push_with_box"], indirect=True)
def test_what_stands_before_a_box(push: Push) -> None:
    """An idle agent ahead needs a sixth pusher; ahead of that, a wall stops them all."""
    file = {(5, j): R for j in range(2, 7)}
    assert push({**file, (5, 9): STAY}, SQUARE, closed=False)[1] == (0, 0)
    reached, gone = push({**file, (6, 6): R, (5, 9): STAY}, SQUARE, closed=False)
    assert gone == (0, 1) and reached[-1] == (5, 10), "pushed off the board"
    assert push({**file, (6, 6): R}, SQUARE, closed=True)[1] == (0, 0), "the wall is ahead"


@pytest.mark.parametrize("push", ["push_with_box"], indirect=True)
def test_a_box_carries_who_stands_within_it(push: Push) -> None:
    """An idle agent between two cells of the box in line is carried, for a sixth pusher."""
    box, file = [(5, 5), (5, 7), (6, 5), (6, 6), (6, 7)], {(5, j): R for j in range(5)}
    assert push({**file, (5, 6): STAY}, box, closed=False) == ([*file, (5, 6)], (0, 0))
    reached, gone = push({**file, (6, 4): R, (5, 6): STAY}, box, closed=False)
    assert gone == (0, 1) and reached[-1] == (5, 7) and reached[0] == (5, 1)


@pytest.mark.parametrize("push", ["push_with_box"], indirect=True)
def test_box_cells_beyond_the_edge_stop_agents(push: Push) -> None:
    """An agent at an open edge pushes onto the part of a box that is outside, and is held by it."""
    box = [(8, 5), (9, 5), (9, 6), (10, 5), (10, 6)]
    assert push({(9, 7): DOWN}, box, closed=False)[0] == [(10, 7)]
    held = [(8, 6), (9, 5), (9, 6), (9, 7), (10, 5), (10, 6), (10, 7)]
    assert push({(9, 8): DOWN, (8, 7): DOWN}, held, closed=False)[0] == [(10, 8), (8, 7)]
    outside = [(8, 7), (9, 7), (10, 7), (10, 8)]
    assert push({(9, 8): DOWN}, outside, closed=False)[0] == [(9, 8)]


# Random boards beside the integer program ----------------------------------------------------------

BOARDS = {"push": 100, "push_with_box": 200}
ROWS_COLUMNS, AGENTS = (8, 9), 34


class Board:
    """A crowded board: agents, of which a share pushes one way, walls, and perhaps a box."""

    def __init__(self, seed: int, with_box: bool) -> None:
        rng = np.random.default_rng([seed, with_box])
        rows, columns = ROWS_COLUMNS
        self.static = rng.random(ROWS_COLUMNS) < rng.choice([0.0, 0.06])
        ring = np.ones(ROWS_COLUMNS, bool)
        ring[1:-1, 1:-1] = False
        # Open edges only where bodies may leave.
        self.static |= ring & (rng.random(ROWS_COLUMNS) < (rng.choice([0.0, 0.5, 1.0]) if with_box else 1.0))
        self.box: set[Cell] = set()
        if with_box:
            shape = np.rot90(BOXES[rng.integers(len(BOXES))], rng.integers(4))
            low, high = rng.choice([(-1, 1), (2, -1)], p=[0.2, 0.8])  # partly off the board, or well inside
            top, left = (
                int(rng.integers(low, size - extent + high + 1))
                for size, extent in zip(ROWS_COLUMNS, shape.shape, strict=True)
            )
            self.box = {(top + int(i), left + int(j)) for i, j in np.argwhere(shape)}
        for i, j in self.box:
            if 0 <= i < rows and 0 <= j < columns:
                self.static[i, j] = False
        free = [
            (i, j) for i, j in np.ndindex(rows, columns) if not self.static[i, j] and (i, j) not in self.box
        ]
        count = min(len(free), int(rng.integers(6, AGENTS + 1)))
        direction = int(rng.integers(1, 5))
        if rng.random() < 0.7:  # a crowd that pushes one way, from behind the box if there is one
            di, dj = shoal_push.STEPS[direction]
            around = min(self.box) if self.box else (rows // 2, columns // 2)
            aim = around[0] - di, around[1] - dj
            free.sort(key=lambda cell: abs(cell[0] - aim[0]) + abs(cell[1] - aim[1]) + 3 * rng.random())
            self.agents = free[:count]
        else:
            self.agents = [free[k] for k in rng.permutation(len(free))[:count]]
        others = rng.choice([STAY, UP, DOWN, LEFT, RIGHT, shoal_push.OPPOSITE[direction]], count)
        self.action = np.where(rng.random(count) < rng.choice([0.2, 0.75, 0.95]), direction, others)

    def solved(self) -> tuple[list[Cell], Cell]:
        """Where agents and box go by the integer program."""
        agents = [Body({cell}, 1, int(a)) for cell, a in zip(self.agents, self.action, strict=True)]
        walls = [Body({(int(i), int(j)) for i, j in np.argwhere(self.static)}, static=True)]
        box = [Body(set(self.box), BOX_MASS)] if self.box else []
        shoal_push.play([*agents, *(walls if walls[0].cells else []), *box], ROWS_COLUMNS)
        gone = (0, 0)
        if box:
            gone = min(box[0].cells)[0] - min(self.box)[0], min(box[0].cells)[1] - min(self.box)[1]
        return [next(iter(agent.cells)) for agent in agents], gone


def batched(boards: list[Board]) -> tuple[Bodies, jax.Array, Crate]:
    """The boards as arrays [B, ...]."""
    rows, columns = ROWS_COLUMNS
    shape = (len(boards), AGENTS)
    cells, action = np.zeros((*shape, 2), np.int32), np.zeros(shape, np.int32)
    present = np.zeros(shape, bool)
    mask = np.zeros((len(boards), rows + 2 * MARGIN, columns + 2 * MARGIN), bool)
    for b, board in enumerate(boards):
        count = len(board.agents)
        cells[b, :count], action[b, :count], present[b, :count] = board.agents, board.action, True
        for i, j in board.box:
            mask[b, i + MARGIN, j + MARGIN] = True
    zeros = jnp.zeros(len(boards), jnp.int32)
    bodies = Bodies(*map(jnp.asarray, (cells[..., 0], cells[..., 1], present, action)))
    return bodies, jnp.asarray(np.stack([b.static for b in boards])), Crate(jnp.asarray(mask), zeros, zeros)


@pytest.mark.parametrize("name", PROGRAMS)
def test_random_boards_beside_the_integer_program(name: str, strict_numerics: None) -> None:
    boards = [Board(seed, name == "push_with_box") for seed in range(BOARDS[name])]
    program: Any = jax.jit(jax.vmap(batch_last(PROGRAMS[name])))
    after, crate = jax.device_get(program(*batched(boards)))
    seen = dict.fromkeys(("moved", "held", "shoved", "left", "box moved", "box outside"), 0)
    for b, board in enumerate(boards):
        expected, gone = board.solved()
        count = len(board.agents)
        reached = list(zip(after.i[b, :count].tolist(), after.j[b, :count].tolist(), strict=True))
        assert reached == expected and (crate.i[b], crate.j[b]) == gone, f"board {b}"
        tally(seen, board, expected, gone)
        inside = [0 <= i < ROWS_COLUMNS[0] and 0 <= j < ROWS_COLUMNS[1] for i, j in expected]
        np.testing.assert_array_equal(after.present[b, :count], inside, err_msg=f"board {b}")
    kinds = seen if name == "push_with_box" else ("moved", "held", "shoved")
    assert min(seen[kind] for kind in kinds) >= 3, f"the boards show too little: {seen}"


def tally(seen: dict[str, int], board: Board, reached: list[Cell], gone: Cell) -> None:
    """Counts what a board shows, so that the comparison cannot become an empty one."""
    for before, after, action in zip(board.agents, reached, board.action, strict=True):
        di, dj = shoal_push.STEPS.get(int(action), (0, 0))
        along = (after[0] - before[0]) * di + (after[1] - before[1]) * dj
        seen["moved"] += after != before
        seen["held"] += int(after == before and action != STAY)
        seen["shoved"] += along < 0
        seen["left"] += not (0 <= after[0] < ROWS_COLUMNS[0] and 0 <= after[1] < ROWS_COLUMNS[1])
    seen["box moved"] += gone != (0, 0)
    seen["box outside"] += any(
        not (0 <= i < ROWS_COLUMNS[0] and 0 <= j < ROWS_COLUMNS[1]) for i, j in board.box
    )
