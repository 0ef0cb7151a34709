"""How hold-the-line is drawn: each stretch of the line in the colour of the robot that is nearest."""

from __future__ import annotations

import jax
import numpy as np

from shoal.envs import scene as draw
from shoal.envs.core.types import Recording
from shoal.envs.swarm.hold_the_line.reward import stand
from shoal.envs.swarm.hold_the_line.types import Options, State
from shoal.envs.swarm.planar import scenery

TITLE = "Hold the line"
STROKE = 0.02


def clip(options: Options, recording: Recording) -> draw.Clip:
    """Draws every state of the episode."""
    look = jax.jit(lambda x, y, params: stand(options, params, x, y).near.owner)
    frames = tuple(
        picture(options, state, np.asarray(look(state.team.x, state.team.y, state.params)))
        for state in recording.states
    )
    return draw.Clip(frames, frame_seconds=scenery.FRAME_SECONDS, title=TITLE)


def picture(options: Options, state: State, owner: np.ndarray) -> draw.Scene:
    """Draws one state.

    Args:
        options: the line.
        state: with NumPy leaves.
        owner: [K] which robot is nearest to each point.
    """
    points = np.stack(options.line, axis=1)
    cuts = np.flatnonzero(np.diff(owner)) + 1
    items: list[draw.Item] = []
    for stretch in np.split(np.arange(len(owner)), cuts):
        # One point further, so that stretches touch; a line of one point needs a second anyway.
        reach = points[[*stretch, min(stretch[-1] + 1, len(points) - 1)]]
        colour = draw.cycle_color(int(owner[stretch[0]]))
        items.append(draw.Line(tuple(map(tuple, reach.tolist())), stroke=colour, stroke_width=STROKE))
    items += scenery.robots(state.team)
    idle = f"   idle {int(state.idle)}" if int(state.idle) else ""
    return scenery.picture(items, TITLE, state.team, idle)
