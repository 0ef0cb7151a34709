"""How swarms on the grid are drawn: cells, bodies with their numbers and last words, and the score so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.envs import scene as draw
from shoal.envs.core.types import Recording
from shoal.envs.swarm.grid.physics import MARGIN
from shoal.envs.swarm.grid.types import FOOD, NEST, WALL

if TYPE_CHECKING:
    from shoal.envs.swarm.grid.frame import GridSwarm

RED, BROWN = "#cc2222", "#8b5a2b"
COLOURS = {WALL: draw.GREY, NEST: BROWN, FOOD: draw.GREEN}
RADIUS, DOT = 0.4, 0.13
NUMBERED = 40
"""Cells along a side up to which agents carry numbers and their last words."""
PANEL = 0.5
"""Width of the score's panel over that of the board."""
OUTSIDE = 3
"""Cells drawn beyond the edges of a board that can be left."""


def clip(env: GridSwarm[Any, Any], recording: Recording) -> draw.Clip:
    """Draws every state of the episode."""
    name = type(env).__name__
    still = ground(env, recording.states[0])
    scores = [float(state.score) for state in recording.states]
    frames = tuple(
        picture(env, state, still, scores[: k + 1], max(scores)) for k, state in enumerate(recording.states)
    )
    return draw.Clip(frames, frame_seconds=0.15, title=name)


def picture(
    env: GridSwarm[Any, Any],
    state: Any,
    still: list[draw.Item],
    scores: list[float],
    most: float,
) -> draw.Scene:
    """Draws one state.

    Args:
        env: what is played.
        state: with NumPy leaves.
        still: from `ground`.
        scores: of all states up to this one.
        most: the highest score that the panel shows.
    """
    options = env.options
    rows, columns = options.height, options.width
    items = [*still, *_movables(rows, state), *_agents(env, state)]
    out = OUTSIDE if env.agents_leave else 0
    right = columns + out
    panel = max(4.0, PANEL * columns)
    items += _curve(scores, most, options.max_steps, (right + 0.5, 0.5, right + panel - 0.5, rows - 1.0))
    subtitle = f"round {int(state.t)}   score {scores[-1]:.4g}   {told(env, state)}".rstrip()
    bounds = (-out, -out, right + panel, rows + out)
    return draw.Scene(bounds, tuple(items), title=type(env).__name__, subtitle=subtitle)


def told(env: GridSwarm[Any, Any], state: Any) -> str:
    """Returns what a task adds to round and score."""
    alive, flags = np.asarray(state.alive), np.asarray(state.flag)
    if env.switches:
        return f"on {int(flags.sum())} of {int(alive.sum())}"
    if env.shows_flags:
        return f"carrying {int(flags.sum())}"
    if env.agents_leave:
        return f"left {int((~alive).sum())} of {len(alive)}"
    return f"distance {float(state.distance):g}" if hasattr(state, "distance") else ""


def ground(env: GridSwarm[Any, Any], state: Any) -> list[draw.Item]:
    """Draws what never moves; floor is white, so that the map's surroundings stand out."""
    rows, columns = env.options.height, env.options.width
    board = np.asarray(state.board) if hasattr(state, "board") else env.ring()
    items: list[draw.Item] = [draw.Rectangle.from_corners(0, 0, columns, rows, fill=draw.WHITE)]
    if max(rows, columns) <= NUMBERED:
        lines = [((0, k), (columns, k)) for k in range(1, rows)] + [
            ((k, 0), (k, rows)) for k in range(1, columns)
        ]
        items += [draw.Line(points, stroke=draw.LIGHT_GREY, opacity=0.5) for points in lines]
    for kind, colour in COLOURS.items():
        items += _filled(board == kind, rows, colour)
    return items


def _filled(cells: np.ndarray, rows: int, colour: str, up: int = 0, left: int = 0) -> list[draw.Item]:
    """Draws cells as few rectangles: runs along rows, those below each other in one.

    Args:
        cells: [H, W] bool.
        rows: of the board.
        colour: of all.
        up: rows of ``cells`` above the board.
        left: columns of ``cells`` beside it.
    """
    found: list[draw.Item] = []
    begun: dict[tuple[int, int], int] = {}  # columns of a run -> its first row
    padded = np.pad(cells, ((0, 1), (1, 1))).astype(np.int8)
    for i, row in enumerate(np.diff(padded, axis=1)):
        runs = set(zip(np.nonzero(row == 1)[0].tolist(), np.nonzero(row == -1)[0].tolist(), strict=True))
        for run in [run for run in begun if run not in runs]:
            top, bottom = rows + up - begun.pop(run), rows + up - i
            found.append(draw.Rectangle.from_corners(run[0] - left, bottom, run[1] - left, top, fill=colour))
        begun |= {run: i for run in runs if run not in begun}
    return found


def _movables(rows: int, state: Any) -> list[draw.Item]:
    """Draws the box, its parts beyond the edge too, and the prey: square where it cannot be pushed."""
    items: list[draw.Item] = []
    if hasattr(state, "box"):
        items += _filled(np.asarray(state.box), rows, draw.YELLOW, up=MARGIN, left=MARGIN)
    if hasattr(state, "prey_i"):
        x, y = float(state.prey_j) + 0.5, rows - float(state.prey_i) - 0.5
        if state.prey_static:
            items.append(draw.Rectangle(x, y, 2 * RADIUS, 2 * RADIUS, fill=RED))
        else:
            items.append(draw.Circle(x, y, RADIUS, fill=RED))
    return items


def _agents(env: GridSwarm[Any, Any], state: Any) -> list[draw.Item]:
    """Draws discs, hollow where a flag is off, pale for those who have left, with number and last word."""
    options = env.options
    named = max(options.height, options.width) <= NUMBERED
    x, y = np.asarray(state.j) + 0.5, options.height - np.asarray(state.i) - 0.5
    lit = np.asarray(state.flag) | (not env.shows_flags)
    alive, token = np.asarray(state.alive), np.asarray(state.token)
    items: list[draw.Item] = []
    for k in np.nonzero(alive | env.agents_leave)[0]:
        fill = draw.BLUE if lit[k] else draw.WHITE
        opacity = 1.0 if alive[k] else 0.35
        items.append(draw.Circle(x[k], y[k], RADIUS, fill, draw.BLUE, 0.08, opacity))
        if named:
            ink = draw.WHITE if lit[k] else draw.BLUE
            items.append(draw.Text(x[k], y[k], str(k), size=0.42, fill=ink, opacity=opacity))
        if named and token[k] > 0:
            colour = draw.cycle_color(int(token[k]))  # token 1 is not the agents' blue
            items.append(draw.Circle(x[k] + 0.3, y[k] + 0.3, DOT, colour, draw.WHITE, 0.04))
    return items


def _curve(
    scores: list[float], most: float, rounds: int, panel: tuple[float, float, float, float]
) -> list[draw.Item]:
    """Draws the score over the rounds so far."""
    x0, y0, x1, y1 = panel
    size = 0.06 * (y1 - y0)
    scale = (y1 - y0) / most if most > 0 else 0.0
    items: list[draw.Item] = [
        draw.Line(((x0, y1), (x0, y0), (x1, y0)), stroke=draw.DARK_GREY),
        draw.Text(x0, y1 + 0.3 * size, f"score {most:.4g}", size=size, anchor="bottom-left"),
        draw.Text(x1, y0 + 0.3 * size, f"{rounds} rounds", size=size, anchor="bottom-right"),
    ]
    points = [
        (x0 + (x1 - x0) * min(k / rounds, 1.0), y0 + max(score, 0.0) * scale)
        for k, score in enumerate(scores)
    ]
    if len(points) > 1:
        items.append(draw.Line(tuple(points), stroke=draw.BLUE, stroke_width=0.01 * (y1 - y0)))
    return items
