"""What the pictures of the robots in the plane share."""

from __future__ import annotations

import numpy as np

from shoal.envs import scene as draw
from shoal.envs.swarm.planar.frame import HIGH, LOW, Team

MARGIN = 0.05
RADIUS = 0.022
FRAME_SECONDS = 0.05


def robots(team: Team) -> list[draw.Item]:
    """Returns the robots with their numbers, each behind it the way that it came in the last rounds."""
    items: list[draw.Item] = []
    x = np.concatenate([np.asarray(team.x)[None], np.asarray(team.past_x)])
    y = np.concatenate([np.asarray(team.y)[None], np.asarray(team.past_y)])
    for i in range(x.shape[1]):
        colour = draw.cycle_color(i)
        way = tuple(zip(x[:, i].tolist(), y[:, i].tolist(), strict=True))
        items.append(draw.Line(way, stroke=colour, stroke_width=0.006, opacity=0.6))
        items.append(draw.Circle(x[0, i], y[0, i], RADIUS, colour, draw.DARK_GREY, 0.003))
        items.append(draw.Text(x[0, i], y[0, i], str(i), size=1.2 * RADIUS, fill=draw.WHITE))
    return items


def picture(items: list[draw.Item], title: str, team: Team, more: str = "") -> draw.Scene:
    """Frames what was drawn, with the round and the cost above it."""
    square = draw.Rectangle.from_corners(LOW, LOW, HIGH, HIGH, fill=draw.WHITE, stroke=draw.LIGHT_GREY)
    bounds = (LOW - MARGIN, LOW - MARGIN, HIGH + MARGIN, HIGH + MARGIN)
    subtitle = f"round {int(team.t)}   cost {float(team.cost):.1f}{more}"
    return draw.Scene(bounds, (square, *items), title=title, subtitle=subtitle)
