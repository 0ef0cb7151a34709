"""How the traffic junction is drawn."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from shoal.envs import scene as draw
from shoal.envs.core.types import Recording
from shoal.envs.traffic.junction.reward import crashed
from shoal.envs.traffic.junction.routes import Network
from shoal.envs.traffic.junction.types import Options, State

TITLE = "Traffic junction"
FRAME_SECONDS = 0.3
COLOURS = {"gas": draw.GREEN, "brake": draw.BLUE, "crash": draw.VERMILION}
CAR = 0.7
"""Side of a car, cells."""


def clip(options: Options, recording: Recording) -> draw.Clip:
    """Draws every state of the episode."""
    still = ground(options.network)
    frames = tuple(picture(options, state, still) for state in recording.states)
    return draw.Clip(frames, frame_seconds=FRAME_SECONDS, title=TITLE)


def ground(network: Network) -> list[draw.Item]:
    """Draws the roads, and the edges of all cells."""
    size = network.size
    items: list[draw.Item] = [draw.Rectangle.from_corners(0, 0, size, size, fill=draw.GREY)]
    for top, bottom, left, right in network.blocks:
        corners = (left, size - top, right + 1, size - bottom - 1)
        items.append(draw.Rectangle.from_corners(*corners, fill=draw.PAPER))
    for k in range(1, size):
        for points in (((0, k), (size, k)), ((k, 0), (k, size))):
            items.append(draw.Line(points, stroke=draw.LIGHT_GREY, opacity=0.5))
    return items


def picture(options: Options, state: State, still: list[draw.Item]) -> draw.Scene:
    """Draws one state.

    Args:
        options: which junction.
        state: with NumPy leaves.
        still: from `ground`.
    """
    size, cars = options.network.size, state.cars
    crash = np.asarray(crashed(jax.tree.map(jnp.asarray, cars)))
    items = list(still)
    for cell in np.unique(cars.cell[cars.alive]):
        there = np.flatnonzero(cars.alive & (cars.cell == cell)).tolist()
        row, column = divmod(int(cell), size)
        x, y, first = column + 0.5, size - row - 0.5, there[0]
        what = "crash" if crash[first] else "brake" if cars.braked[first] else "gas"
        items.append(draw.Rectangle(x, y, CAR, CAR, fill=COLOURS[what]))
        text = "+".join(map(str, there))
        items.append(draw.Text(x, y, text, size=0.45 / max(1.0, len(text) / 2), fill=draw.WHITE))
    subtitle = f"step {int(state.t)}   cars {int(np.sum(cars.alive))}"
    if state.failed:
        subtitle += "   failed"
    return draw.Scene((0, 0, size, size), tuple(items), title=TITLE, subtitle=subtitle)
