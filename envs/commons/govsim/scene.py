"""How the GovSim worlds are drawn: the stock, and what everybody got, stacked month by month."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np

from shoal.envs import scene as draw
from shoal.envs.commons.govsim.rules import heads
from shoal.envs.commons.govsim.types import SILENCE, PoolOptions, State
from shoal.envs.core.types import Recording

if TYPE_CHECKING:
    from shoal.envs.commons.govsim.env import GovSim

WIDTH, HEIGHT = 16.0, 10.0
TANK = (1.0, 1.6, 5.6, 8.6)  # x0, y0, x1, y1
BARS = (6.6, 1.6, 15.2, 8.6)
FONT = 0.5


class Look(NamedTuple):
    """The words and the colour of one world."""

    title: str
    units: str
    fill: str


LOOKS = {
    "fishery": Look("Fishery", "tons of fish", draw.SKY),
    "pasture": Look("Pasture", "hectares of grass", draw.LIGHT_GREEN),
    "pollution": Look("Pollution", "percent of clean water", draw.LIGHT_BLUE),
    "trash": Look("Trash", "units of trash", draw.GREY),
}


def clip(env: GovSim, recording: Recording) -> draw.Clip:
    """Draws every state of the episode, each with all months up to it."""
    frames = tuple(picture(env, recording.states[: k + 1]) for k in range(len(recording.states)))
    return draw.Clip(frames, frame_seconds=0.8, title=f"GovSim: {_look(env).title}")


def picture(env: GovSim, states: Sequence[State]) -> draw.Scene:
    """Draws the last state; those before it, with NumPy leaves, are the months that led to it."""
    state, look, o = states[-1], _look(env), env.options
    stock, t = jnp.asarray(state.stock), jnp.asarray(state.t)
    share = int(env.rules.share(o, state.params, stock, t))
    fullest = max(int(np.sum(s.last_catch)) for s in states)
    scale = max(fullest, o.capacity // 2)
    catches = [np.asarray(s.last_catch) for s in states[1:]]
    items = [
        *_tank(look, int(stock), o.capacity, share * int(heads(o, t))),
        *_bars(catches, o.months, scale),
        *_people(env, state),
    ]
    subtitle = f"month {int(t)}   {int(stock)} {look.units}   fair share {share}"
    title = f"GovSim: {look.title}"
    return draw.Scene.of_size(WIDTH, HEIGHT, tuple(items), title=title, subtitle=subtitle)


def _look(env: GovSim) -> Look:
    o = env.options
    return LOOKS[o.setting if isinstance(o, PoolOptions) else "trash"]


def _tank(look: Look, stock: int, capacity: int, shares: int) -> list[draw.Item]:
    """Draws the stock, and a line where it would fall to by the fair shares of all."""
    x0, y0, x1, y1 = TANK

    def height(units: int) -> float:
        return y0 + (y1 - y0) * min(max(units / capacity, 0.0), 1.0)

    after = height(stock - shares)
    return [
        draw.Rectangle.from_corners(x0, y0, x1, y1, fill=draw.WHITE),
        draw.Rectangle.from_corners(x0, y0, x1, height(stock), fill=look.fill),
        draw.Line(((x0, after), (x1, after)), stroke=draw.VERMILION, stroke_width=0.08),
        draw.Line(((x0, y1), (x0, y0), (x1, y0), (x1, y1)), stroke=draw.DARK_GREY, stroke_width=0.12),
    ]


def _bars(catches: Sequence[np.ndarray], months: int, scale: int) -> list[draw.Item]:
    """Draws a bar for every month, a block of it for every agent."""
    x0, y0, x1, y1 = BARS
    pitch = (x1 - x0) / months
    items: list[draw.Item] = []
    for month, units in enumerate(catches):
        left, bottom = x0 + pitch * (month + 0.1), y0
        for i, part in enumerate(units.tolist()):
            top = bottom + (y1 - y0) * part / scale
            if part:
                right, fill = left + 0.8 * pitch, draw.cycle_color(i)
                items.append(draw.Rectangle.from_corners(left, bottom, right, top, fill=fill))
            bottom = top
        label = str(int(units.sum()))
        items.append(draw.Text(left + 0.4 * pitch, bottom + 0.1, label, min(FONT, pitch), anchor="bottom"))
    items.append(draw.Line(((x0, y0), (x1, y0)), stroke=draw.DARK_GREY, stroke_width=0.08))
    return items


def _people(env: GovSim, state: State) -> list[draw.Item]:
    """Names everybody with what it got so far and what it said last."""
    x0, y0, x1, _ = BARS
    agents = env.num_agents
    pitch = (x1 - x0) / agents
    items: list[draw.Item] = []
    for i in range(agents):
        x, gain, word = x0 + pitch * (i + 0.5), int(state.gain[i]), int(state.words[i])
        said = f' "{word}"' if word != SILENCE else ""
        size = min(FONT, 0.24 * pitch)
        items.append(draw.Circle(x - 0.4 * pitch, y0 - 0.7, 0.4 * size, draw.cycle_color(i)))
        items.append(draw.Text(x - 0.25 * pitch, y0 - 0.7, f"{gain}{said}", size, anchor="left"))
    return items
