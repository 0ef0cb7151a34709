"""How the water commons is drawn: a tank, a valve and a bar for every agent."""

from __future__ import annotations

from typing import Any

import numpy as np

from shoal.envs import scene as draw
from shoal.envs.commons.water.types import TAKE, State
from shoal.envs.core.types import Recording

WIDTH, HEIGHT = 16.0, 10.0
TANK = (1.0, 2.6, 7.0, 9.2)  # x0, y0, x1, y1
BARS = (8.6, 2.6, 15.2, 9.2)


def clip(recording: Recording) -> draw.Clip:
    """Draws every state of the episode with the actions taken in it."""
    most = float(np.max(recording.states[-1].total_taken))
    actions: list[Any] = [*recording.actions, None]
    frames = tuple(
        picture(state, action, most) for state, action in zip(recording.states, actions, strict=True)
    )
    return draw.Clip(frames, frame_seconds=0.1, title="Water commons")


def picture(state: State, action: Any = None, most: float = 1.0) -> draw.Scene:
    """Draws one state.

    Args:
        state: with NumPy leaves.
        action: [A] what is done in this state; valves of takers are lit. None: all shut.
        most: the total that a full bar stands for, pool fractions.
    """
    totals = np.asarray(state.total_taken)
    open_valves = np.zeros(totals.shape, bool) if action is None else np.asarray(action) == TAKE
    pool = float(state.resource)
    items = [*_tank(max(pool, 0.0)), *_valves(open_valves), *_bars(totals, max(most, 1e-6))]
    subtitle = f"step {int(state.t)}   pool {pool:.3f}   taken {float(totals.sum()):.3f}"
    return draw.Scene.of_size(WIDTH, HEIGHT, tuple(items), title="Water commons", subtitle=subtitle)


def _tank(pool: float) -> list[draw.Item]:
    x0, y0, x1, y1 = TANK
    level = y0 + (y1 - y0) * min(pool, 1.0)
    return [
        draw.Rectangle.from_corners(x0, y0, x1, y1, fill=draw.WHITE),
        draw.Rectangle.from_corners(x0, y0, x1, level, fill=draw.SKY),
        draw.Line(((x0, y1), (x0, y0), (x1, y0), (x1, y1)), stroke=draw.DARK_GREY, stroke_width=0.12),
    ]


def _valves(open_valves: np.ndarray) -> list[draw.Item]:
    x0, y0, x1, _ = TANK
    centres, radius = _slots(x0, x1, len(open_valves), 0.45)
    items: list[draw.Item] = []
    for i, x in enumerate(centres):
        lit = bool(open_valves[i])
        fill = draw.YELLOW if lit else draw.LIGHT_GREY
        items.append(draw.Line(((x, y0), (x, y0 - 1.0)), stroke=draw.DARK_GREY, stroke_width=0.1))
        if lit:
            items.append(draw.Line(((x, y0 - 1.0), (x, 0.3)), stroke=draw.SKY, stroke_width=radius * 0.5))
        items.append(draw.Circle(x, y0 - 1.0, radius, fill, draw.DARK_GREY, 0.08))
    return items


def _bars(totals: np.ndarray, most: float) -> list[draw.Item]:
    x0, y0, x1, y1 = BARS
    centres, half = _slots(x0, x1, len(totals), 0.6)
    items: list[draw.Item] = []
    for i, x in enumerate(centres):
        top = y0 + (y1 - y0) * 0.9 * float(totals[i]) / most
        items.append(draw.Rectangle.from_corners(x - half, y0, x + half, top, fill=draw.cycle_color(i)))
        items.append(draw.Text(x, y0 - 0.2, str(i), size=min(0.7, 2 * half), anchor="top"))
        items.append(draw.Text(x, top + 0.15, f"{totals[i]:.2f}", size=min(0.5, half), anchor="bottom"))
    items.append(draw.Line(((x0, y0), (x1, y0)), stroke=draw.DARK_GREY, stroke_width=0.08))
    return items


def _slots(x0: float, x1: float, count: int, widest: float) -> tuple[list[float], float]:
    """Returns ``count`` centres spread over [x0, x1], and the half width that leaves gaps between them."""
    pitch = (x1 - x0) / count
    return [x0 + pitch * (i + 0.5) for i in range(count)], min(widest, 0.4 * pitch)
