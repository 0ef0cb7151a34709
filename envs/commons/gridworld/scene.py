"""How social dilemmas on the grid are drawn: what lies on cells, agents and headings, apples so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shoal.envs import scene as draw
from shoal.envs.commons.gridworld.movement import COLUMN_STEP, ROW_STEP
from shoal.envs.commons.gridworld.types import APPLE, WALL, ZAP
from shoal.envs.core.types import Recording

if TYPE_CHECKING:
    from shoal.envs.commons.gridworld.frame import GridDilemma

COLOURS = {WALL: draw.GREY, ZAP: draw.YELLOW}
"""Of what every game has; a game adds its own (`GridDilemma.own_colours`)."""
RADIUS = 0.42
PANEL = 6.0
"""Width of the panel with a bar for each agent, cells."""


def clip(env: GridDilemma[Any], recording: Recording) -> draw.Clip:
    """Draws every state of the episode."""
    most = max(float(np.max(recording.states[-1].eaten)), 1.0)
    frames = tuple(picture(env, state, most) for state in recording.states)
    return draw.Clip(frames, frame_seconds=0.1, title=type(env).__name__)


def picture(env: GridDilemma[Any], state: Any, most: float = 1.0) -> draw.Scene:
    """Draws one state, its first row at the top.

    Args:
        env: what is played.
        state: with NumPy leaves.
        most: apples that a full bar stands for.
    """
    rows, columns = env.layout.shape
    items: list[draw.Item] = [draw.Rectangle.from_corners(0, 0, columns, rows, fill=draw.WHITE)]
    items += [*_cells(np.asarray(state.items), COLOURS | env.own_colours()), *_agents(state, rows)]
    items += _bars(np.asarray(state.eaten), most, (columns + 0.7, 0.7, columns + PANEL, rows - 0.5))
    subtitle = f"step {int(state.t)}   apples {int(np.sum(state.eaten))}   zaps {int(state.zaps)}"
    bounds = (0.0, 0.0, columns + PANEL, float(rows))
    return draw.Scene(bounds, tuple(items), title=type(env).__name__, subtitle=subtitle)


def _cells(codes: np.ndarray, colours: dict[int, str]) -> list[draw.Item]:
    rows = codes.shape[0]
    found: list[draw.Item] = []
    for i, j in np.argwhere(codes > 0):
        x, y, code = j + 0.5, rows - i - 0.5, int(codes[i, j])
        if code == APPLE:
            found.append(draw.Circle(x, y, 0.28, fill=draw.GREEN))
        else:
            found.append(draw.Rectangle(x, y, 1.0, 1.0, fill=colours[code]))
    return found


def _agents(state: Any, rows: int) -> list[draw.Item]:
    found: list[draw.Item] = []
    for k, (i, j, h) in enumerate(zip(state.row, state.column, state.heading, strict=True)):
        x, y = j + 0.5, rows - i - 0.5
        nose = (x + RADIUS * COLUMN_STEP[h], y - RADIUS * ROW_STEP[h])
        found.append(draw.Circle(x, y, RADIUS, draw.cycle_color(k), draw.DARK_GREY, 0.05))
        found.append(draw.Line(((x, y), nose), stroke=draw.DARK_GREY, stroke_width=0.12))
        found.append(draw.Text(x, y, str(k), size=0.45, fill=draw.WHITE))
    return found


def _bars(eaten: np.ndarray, most: float, panel: tuple[float, float, float, float]) -> list[draw.Item]:
    """Draws how many apples each agent has eaten."""
    x0, y0, x1, y1 = panel
    pitch = (x1 - x0) / len(eaten)
    found: list[draw.Item] = [draw.Line(((x0, y0), (x1, y0)), stroke=draw.DARK_GREY, stroke_width=0.05)]
    for k, count in enumerate(eaten):
        left = x0 + pitch * (k + 0.15)
        top = y0 + (y1 - y0) * float(count) / most
        found.append(draw.Rectangle.from_corners(left, y0, left + 0.7 * pitch, top, fill=draw.cycle_color(k)))
        found.append(draw.Text(left + 0.35 * pitch, y0 - 0.1, str(k), size=0.45, anchor="top"))
    return found
