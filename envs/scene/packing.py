"""A clip as compact JSON-ready values, and back.

A shape that stays the same over many frames is stored once: ``items`` lists the distinct shapes in order of
first appearance, and a frame is a list of runs ``first, count`` into it. Colours and texts are numbered in
tables of their own. Coordinates are rounded to about a hundred-thousandth of the smallest picture's longer
side, far below a pixel.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Sequence
from typing import Any

from shoal.envs.scene.primitives import (
    ANCHORS,
    Circle,
    Clip,
    Item,
    Line,
    Polygon,
    Rectangle,
    Scene,
    Text,
)

FORMAT = 1
_CIRCLE, _RECTANGLE, _LINE, _POLYGON, _TEXT = range(5)
_ANGLE_DIGITS = 5


class _Table:
    """Numbers distinct values in order of first appearance."""

    def __init__(self) -> None:
        self.index: dict[Hashable, int] = {}

    def number(self, value: Hashable) -> int:
        return self.index.setdefault(value, len(self.index))

    def values(self) -> list[Any]:
        return list(self.index)


def _short(value: float, digits: int) -> float | int:
    """``value`` rounded, as an int where that is the same number (JSON writes it shorter)."""
    rounded = round(value, digits)
    return int(rounded) if rounded == int(rounded) else rounded


def _digits(clip: Clip) -> int:
    """Decimals that resolve a hundred-thousandth of the smallest picture's longer side."""
    extent = min(max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in (frame.bounds for frame in clip.frames))
    return max(0, 5 - math.floor(math.log10(extent)))


def _pack_item(item: Item, styles: _Table, texts: _Table, digits: int) -> tuple[float | int, ...]:
    fill = None if isinstance(item, Line) else item.fill
    stroke, width = (None, 0.0) if isinstance(item, Text) else (item.stroke, item.stroke_width)
    style = styles.number((fill, stroke, _short(width, digits), _short(item.opacity, 3)))
    match item:
        case Circle():
            numbers = item.x, item.y, item.radius
            return _CIRCLE, style, *(_short(value, digits) for value in numbers)
        case Rectangle():
            box = (_short(value, digits) for value in (item.x, item.y, item.width, item.height))
            return _RECTANGLE, style, *box, _short(item.angle, _ANGLE_DIGITS)
        case Line() | Polygon():
            kind = _LINE if isinstance(item, Line) else _POLYGON
            return kind, style, *(_short(value, digits) for point in item.points for value in point)
        case Text():
            place = (_short(value, digits) for value in (item.x, item.y, item.size))
            return _TEXT, style, *place, ANCHORS.index(item.anchor), texts.number(item.text)


def _runs(indices: list[int]) -> list[int]:
    """``[4, 5, 6, 9]`` as ``[4, 3, 9, 1]``."""
    runs: list[int] = []
    for index in indices:
        if runs and runs[-2] + runs[-1] == index:
            runs[-1] += 1
        else:
            runs += [index, 1]
    return runs


def pack_clip(clip: Clip) -> dict[str, Any]:
    """The clip as a dictionary of lists, numbers and strings; ``player.html`` and ``unpack_clip`` read it."""
    digits = _digits(clip)
    styles, texts, items, views = _Table(), _Table(), _Table(), _Table()
    frames = []
    for frame in clip.frames:
        view = views.number((*frame.bounds, frame.background))
        shapes = [items.number(_pack_item(item, styles, texts, digits)) for item in frame.items]
        frames.append([view, texts.number(frame.title), texts.number(frame.subtitle), _runs(shapes)])
    return {
        "format": FORMAT,
        "title": clip.title,
        "frame_seconds": clip.frame_seconds,
        "views": views.values(),
        "styles": styles.values(),
        "texts": texts.values(),
        "items": items.values(),
        "frames": frames,
    }


def _unpack_item(packed: Sequence[Any], styles: Sequence[Any], texts: Sequence[str]) -> Item:
    kind, style, *values = packed
    fill, stroke, stroke_width, opacity = styles[style]
    pairs = tuple(zip(values[::2], values[1::2], strict=False))
    if kind == _CIRCLE:
        x, y, radius = values
        return Circle(x, y, radius, fill, stroke, stroke_width, opacity)
    if kind == _RECTANGLE:
        x, y, width, height, angle = values
        return Rectangle(x, y, width, height, angle, fill, stroke, stroke_width, opacity)
    if kind == _LINE:
        return Line(pairs, stroke, stroke_width, opacity)
    if kind == _POLYGON:
        return Polygon(pairs, fill, stroke, stroke_width, opacity)
    x, y, size, anchor, text = values
    return Text(x, y, texts[text], size, fill, ANCHORS[anchor], opacity)


def unpack_clip(packed: dict[str, Any]) -> Clip:
    """The clip that ``pack_clip`` packed, up to its rounding."""
    texts = packed["texts"]
    items = [_unpack_item(item, packed["styles"], texts) for item in packed["items"]]
    frames = []
    for view, title, subtitle, runs in packed["frames"]:
        *bounds, background = packed["views"][view]
        shapes: list[Item] = []
        for first, count in zip(runs[::2], runs[1::2], strict=True):
            shapes += items[first : first + count]
        x0, y0, x1, y1 = bounds
        frames.append(Scene((x0, y0, x1, y1), tuple(shapes), background, texts[title], texts[subtitle]))
    return Clip(tuple(frames), packed["frame_seconds"], packed["title"])


def clip_json(clip: Clip) -> str:
    """The packed clip as compact ASCII JSON that may stand inside an HTML ``script`` element."""
    text = json.dumps(pack_clip(clip), separators=(",", ":"), allow_nan=False)
    # Inside a string only: no other part of this JSON has these characters, and \uXXXX reads the same.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
