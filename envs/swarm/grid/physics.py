"""How bodies on a grid push each other: four passes, up, down, left and right, each solved without a solver.

Source: SwarmBench (arXiv 2505.04364 v4, Appendix A and its code): in each pass the largest set of bodies
moves one cell that can, by an integer program over contacts and forces. Its optimum is unique. A body has a
surplus along the pass, force less mass: +1 for an agent that pushes along, -1 for one that does not or for
movable prey, -3 for one that pushes against, -5 for the box. In a line of touching bodies, front first, those
up to the LAST largest prefix sum of surpluses move. Behind the box, prefix sums add up over all lines that
push it; what stands in its way counts against them.

All arrays may share trailing axes of worlds (`batch_last`). Cost is linear in cells and agents.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Bool, Int

from shoal.envs.common.boards import inside, look_up, place

STAY, UP, DOWN, LEFT, RIGHT, SWITCH = range(6)
PRIMITIVES = 6
OPPOSITE = (STAY, DOWN, UP, RIGHT, LEFT)
ROW_STEP, COLUMN_STEP = (0, -1, 1, 0, 0, 0), (0, 0, 0, -1, 1, 0)
BOX_MASS = 5
MARGIN = 5
"""Cells beyond each edge of a board with a box, which may stand partly outside; its shapes reach four out."""

_EMPTY, _STATIC, _BOX, _BODY = range(4)


@struct.dataclass
class Bodies:
    """Movable bodies of one cell each."""

    i: Array  # [N, *B] i32, rows, downwards
    j: Array  # [N, *B] i32, columns, to the right
    present: Array  # [N, *B] bool, whether it is on the board
    action: Array  # [N, *B] i32, what it pushes: one of the primitives


@struct.dataclass
class Crate:
    """The box of a board with a margin."""

    mask: Array  # [H + 2 MARGIN, W + 2 MARGIN, *B] bool, its cells
    i: Array  # [*B] i32, rows it has gone down
    j: Array  # [*B] i32, columns it has gone right


class _Line(NamedTuple):
    """What the scan from front to rear has seen in each line."""

    kind: Array  # of the cell before
    front: Array  # kind of what stands before the present run
    total: Array  # prefix sum of surpluses
    most: Array  # largest prefix sum, the empty one included
    force: Array  # what all runs that touch the box add to its surplus
    stuck: Array  # whether the box is blocked


def push(bodies: Bodies, static: Bool[Array, "rows columns *batch"]) -> Bodies:
    """Plays the four passes on a board whose edge is closed by static cells.

    Args:
        bodies: before the round.
        static: cells that never move.
    """
    grid = _grid(bodies, static.shape)
    for direction in (UP, DOWN, LEFT, RIGHT):
        moved, _ = _pass(grid, static, None, direction)
        bodies, grid = _shifted(bodies, moved, direction), _carried(grid, moved, direction)
    return bodies


def push_with_box(
    bodies: Bodies, static: Bool[Array, "rows columns *batch"], crate: Crate
) -> tuple[Bodies, Crate]:
    """Plays the four passes on a board with open edges and a box.

    A body that leaves the board is gone for the passes after; it keeps the cell beyond the edge that it went
    to. The box blocks and carries with all its cells, also those outside, until it has left altogether.

    Args:
        bodies: before the round.
        static: cells that never move.
        crate: the box before the round.
    """
    pad = [(MARGIN, MARGIN), (MARGIN, MARGIN), *[(0, 0)] * (static.ndim - 2)]
    walls, on_board = jnp.pad(static, pad), jnp.pad(jnp.ones_like(static), pad)
    grid = jnp.pad(_grid(bodies, static.shape), pad)
    for direction in (UP, DOWN, LEFT, RIGHT):
        box = crate.mask & jnp.any(crate.mask & on_board, axis=(0, 1), keepdims=True)
        moved, box_moves = _pass(grid, walls, box, direction)
        bodies = _shifted(bodies, moved[MARGIN:-MARGIN, MARGIN:-MARGIN], direction)
        bodies = replace(bodies, present=bodies.present & inside(bodies.i, bodies.j, static.shape))
        grid = jnp.where(on_board, _carried(grid, moved, direction), 0)
        crate = Crate(
            mask=jnp.where(box_moves[None, None], _advanced(crate.mask, direction), crate.mask),
            i=crate.i + jnp.where(box_moves, ROW_STEP[direction], 0),
            j=crate.j + jnp.where(box_moves, COLUMN_STEP[direction], 0),
        )
    return bodies, crate


def _grid(bodies: Bodies, shape: tuple[int, ...]) -> Int[Array, "rows columns *batch"]:
    """Returns one more than what the body in each cell pushes, 0 where there is none."""
    return place(jnp.where(bodies.present, bodies.action + 1, 0), bodies.i, bodies.j, shape)


def _shifted(bodies: Bodies, moved: Bool[Array, "rows columns *batch"], direction: int) -> Bodies:
    moves = bodies.present & look_up(moved, bodies.i, bodies.j, False)
    return replace(
        bodies,
        i=bodies.i + jnp.where(moves, ROW_STEP[direction], 0),
        j=bodies.j + jnp.where(moves, COLUMN_STEP[direction], 0),
    )


def _advanced(board: Array, direction: int) -> Array:
    return jnp.roll(board, (ROW_STEP[direction], COLUMN_STEP[direction]), axis=(0, 1))


def _carried(grid: Array, moved: Array, direction: int) -> Array:
    """Returns the grid after those that move have moved; nobody moves beyond the array."""
    return jnp.where(moved, 0, grid) + _advanced(jnp.where(moved, grid, 0), direction)


def _turned(board: Array, direction: int) -> Array:
    """Turns a board so that the direction lies in its first axis; doing it twice undoes it."""
    return jnp.swapaxes(board, 0, 1) if direction in (LEFT, RIGHT) else board


def _pass(
    grid: Int[Array, "rows columns *batch"],
    static: Bool[Array, "rows columns *batch"],
    box: Bool[Array, "rows columns *batch"] | None,
    direction: int,
) -> tuple[Bool[Array, "rows columns *batch"], Bool[Array, "*batch"]]:
    """Returns which bodies move in a direction, and whether the box does."""
    rear_first = direction in (DOWN, RIGHT)
    grid, static = _turned(grid, direction), _turned(static, direction)
    kind = jnp.where(static, _STATIC, jnp.where(grid > 0, _BODY, _EMPTY))
    if box is not None:
        kind = jnp.where(_turned(box, direction), _BOX, kind)
    pushes_along, pushes_against = grid == direction + 1, grid == OPPOSITE[direction] + 1
    surplus = jnp.where(pushes_along, 1, jnp.where(pushes_against, -3, -1))

    none = jnp.zeros_like(kind[0])
    no_line = _Line(none, none, none, none, none, none.astype(bool))
    line, ahead = jax.lax.scan(_from_front, no_line, (kind, surplus), reverse=rear_first)
    if box is None:
        box_moves = jnp.zeros(kind.shape[2:], bool)
    else:
        force, stuck = jnp.sum(line.force, axis=0), jnp.any(line.stuck, axis=0)
        box_moves = ~stuck & (force >= BOX_MASS)

    def from_rear(carry: Any, cell: Any) -> tuple[Any, Array]:
        return _from_rear(box_moves[None], carry, cell)

    start = (none, none, none)
    _, moved = jax.lax.scan(from_rear, start, (kind, *ahead), reverse=not rear_first)
    return _turned(moved, direction), box_moves


def _from_front(line: _Line, cell: tuple[Array, Array]) -> tuple[_Line, tuple[Array, Array, Array]]:
    """Takes the next cell behind; returns its prefix sum, the largest before it, and what its run faces."""
    kind, surplus = cell
    body, begins = kind == _BODY, line.kind != _BODY
    ended = ~begins & ~body
    touches = kind == _BOX
    faces_box = line.front == _BOX
    # A run that pushes the box, one between two parts of it, and one that stands in its way.
    added = jnp.where(
        faces_box,
        jnp.where(touches, line.total, line.most),
        jnp.where(touches, line.total - line.most, 0),
    )
    blocks = (ended & touches & (line.front == _STATIC)) | (touches & (line.kind == _STATIC))
    front = jnp.where(begins, line.kind, line.front)
    before = jnp.where(begins, 0, line.most)
    total = jnp.where(begins, 0, line.total) + surplus
    after = _Line(
        kind=kind,
        front=front,
        total=total,
        most=jnp.maximum(before, total),
        force=line.force + jnp.where(ended, added, 0),
        stuck=line.stuck | blocks,
    )
    return after, (total, before, front)


def _from_rear(box_moves: Array, carry: tuple[Array, Array, Array], cell: Any) -> tuple[Any, Array]:
    """Takes the next cell ahead; returns whether its body moves."""
    behind, rear, most = carry  # kind of the cell behind, of what is behind the run; largest sum from here on
    kind, total, before, front = cell
    begins = behind != _BODY
    rear = jnp.where(begins, behind, rear)
    most = jnp.where(begins, total, jnp.maximum(most, total))
    stopped = (front == _STATIC) | ((front == _BOX) & ~box_moves)
    taken = (rear == _BOX) & box_moves
    moves = (kind == _BODY) & (taken | (~stopped & (most >= before)))
    return (kind, rear, most), moves
