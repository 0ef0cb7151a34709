"""How the highway is drawn: a stretch of road that goes along with the first learner, to the right."""

from __future__ import annotations

import numpy as np

from shoal.envs import scene as draw
from shoal.envs.core.types import Recording
from shoal.envs.traffic.highway.types import (
    AGGRESSIVE,
    DEFENSIVE,
    LANE_WIDTH,
    LEARNER,
    LENGTH,
    NORMAL,
    WIDTH,
    Options,
    State,
)

TITLE = "Highway"
FRAME_SECONDS = 0.3
BACK, AHEAD = 40.0, 110.0  # m of road that are shown
MARGIN = 2.0  # m of verge
DASH, PERIOD = 3.0, 8.0  # m of the lines between lanes
TARMAC = "#8a8d91"
COLOURS = {
    LEARNER: draw.GREEN,
    NORMAL: draw.BLUE,
    AGGRESSIVE: draw.PURPLE,
    DEFENSIVE: draw.YELLOW,
}
WRECK = "#cc2222"


def clip(options: Options, recording: Recording) -> draw.Clip:
    """Draws every state of the episode."""
    frames = tuple(picture(options, state) for state in recording.states)
    return draw.Clip(frames, frame_seconds=FRAME_SECONDS, title=TITLE)


def picture(options: Options, state: State) -> draw.Scene:
    """Draws one state (with NumPy leaves); the leftmost lane lies on top."""
    v = state.vehicles
    learners = options.learners
    start = float(v.x[learners[0]]) - BACK
    end = start + BACK + AHEAD
    items = [*_road(options.lanes, start, end), *_cars(options, state, start, end)]
    crashed, speed = np.asarray(v.crashed)[learners], np.asarray(v.speed)[learners]
    subtitle = f"step {int(state.t)}   driving {int(np.sum(~crashed))} of {len(learners)}"
    if not crashed.all():
        subtitle += f"   mean speed {float(np.mean(speed[~crashed])):.1f} m/s"
    bottom, top = _height(options.lanes - 0.5) - MARGIN, _height(-0.5) + MARGIN
    return draw.Scene((start, bottom, end, top), tuple(items), title=TITLE, subtitle=subtitle)


def _height(lane: float) -> float:
    """Returns where the centre of a lane is drawn, lane 0 at zero and the others below."""
    return -LANE_WIDTH * lane


def _road(lanes: int, start: float, end: float) -> list[draw.Item]:
    """Draws the lanes; dashes stand still on the road, so that they show its motion."""
    top, bottom = _height(-0.5), _height(lanes - 0.5)
    items: list[draw.Item] = [draw.Rectangle.from_corners(start, bottom, end, top, fill=TARMAC)]
    items += [draw.Line(((start, y), (end, y)), draw.WHITE, 0.3) for y in (top, bottom)]
    first = PERIOD * np.floor(start / PERIOD)
    for k in range(1, lanes):
        y = _height(k - 0.5)
        for x in np.arange(first, end, PERIOD).tolist():
            items.append(draw.Line(((x, y), (x + DASH, y)), draw.WHITE, 0.2, opacity=0.8))
    return items


def _cars(options: Options, state: State, start: float, end: float) -> list[draw.Item]:
    """Draws who is on this stretch: learners with their numbers, wrecks red."""
    v = state.vehicles
    number = {int(place): str(i) for i, place in enumerate(options.learners)}
    items: list[draw.Item] = []
    for i in np.flatnonzero((v.x > start - LENGTH) & (v.x < end + LENGTH)).tolist():
        x, y = float(v.x[i]), -float(v.y[i])
        colour = WRECK if v.crashed[i] else COLOURS[int(v.kind[i])]
        edge = draw.BLACK if i in number else draw.DARK_GREY
        items.append(draw.Rectangle(x, y, LENGTH, WIDTH, -float(v.heading[i]), colour, edge, 0.2))
        if i in number:
            items.append(draw.Text(x, y, number[i], size=2.2, fill=draw.WHITE))
    return items
