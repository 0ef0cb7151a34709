"""How adaptive coverage is drawn: points in the colours of their robots, large where thought dense."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from shoal.envs import scene as draw
from shoal.envs.core.types import Recording
from shoal.envs.swarm.coverage.dynamics import density_on_lattice
from shoal.envs.swarm.coverage.reward import stand
from shoal.envs.swarm.coverage.types import Options, State
from shoal.envs.swarm.planar import scenery

TITLE = "Adaptive coverage"
SHADES = (0.4, 0.75)  # of the first eight robots, and of the next eight, who have the same colours


def clip(options: Options, recording: Recording) -> draw.Clip:
    """Draws every state of the episode."""

    @jax.jit
    def look(state: State) -> Any:
        owner = stand(options, state.team.x, state.team.y).owner
        return owner, density_on_lattice(options, state.params, state.estimate)

    frames = tuple(picture(options, state, *map(np.asarray, look(state))) for state in recording.states)
    return draw.Clip(frames, frame_seconds=scenery.FRAME_SECONDS, title=TITLE)


def picture(options: Options, state: State, owner: np.ndarray, density: np.ndarray) -> draw.Scene:
    """Draws one state.

    Args:
        options: the points.
        state: with NumPy leaves.
        owner: [K] which robot is nearest to each point.
        density: [K] as estimated.
    """
    pitch = 1.0 / (options.side + 1)
    size = pitch * (0.25 + 0.7 * np.sqrt(density / max(float(np.max(density)), 1e-9)))
    x, y = options.points
    items: list[draw.Item] = [
        draw.Rectangle(
            x[k], y[k], size[k], size[k], fill=draw.cycle_color(robot), opacity=SHADES[robot // 8 % 2]
        )
        for k, robot in enumerate(owner.tolist())
    ]
    weights = np.asarray(state.weights)
    for a, b in np.argwhere(weights > 0.5 * weights.max()):
        where = options.centres[a], options.centres[b]
        items.append(draw.Circle(*where, 0.14, None, draw.DARK_GREY, 0.004))
    items += scenery.robots(state.team)
    return scenery.picture(items, TITLE, state.team, f"   true cost {state.true_cost:.1f}")
