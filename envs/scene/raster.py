"""Scenes as pixels, without a display.

Pillow draws each scene at four times its size; averaging that down smooths the edges.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from shoal.envs.scene import checks
from shoal.envs.scene.primitives import Circle, Clip, Item, Line, Point, Polygon, Rectangle, Scene, Text

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

SUPERSAMPLE = 4
CAPITAL_HEIGHT = 0.7  # of the font size; the same number is in player.html
BAR_FILL = "#ffffff"
BAR_TITLE = "#222222"
BAR_SUBTITLE = "#6a6a6a"
SMALLEST, LARGEST = 16, 4096  # pixels along a side
_FAR = 1e6  # pixels; Pillow's integer arithmetic overflows far outside the picture
_LARGEST_ELLIPSE = 2e4  # pixels; Pillow walks every row of an ellipse, visible or not


@dataclass(frozen=True)
class Layout:
    """Where a picture's parts lie, in whole pixels: the size, the title bar, and the world's rectangle."""

    width: int
    height: int
    bar: int
    left: int
    top: int
    world_width: int
    world_height: int


def _bar_height(longest_side: int) -> int:
    return max(20, round(0.07 * longest_side))


def _side(value: Any) -> int:
    return round(checks.number(value, "size (pixels)", minimum=SMALLEST, maximum=LARGEST))


def layout(scene: Scene, size: int | tuple[int, int], bar: bool) -> Layout:
    """The layout of ``scene`` at ``size``: its longer side, or (width, height) of the whole picture."""
    x0, y0, x1, y1 = scene.bounds
    if not isinstance(size, tuple):
        scale = _side(size) / max(x1 - x0, y1 - y0)
        width, height = max(1, round(scale * (x1 - x0))), max(1, round(scale * (y1 - y0)))
        top = _bar_height(max(width, height)) if bar else 0
        return Layout(width, height + top, top, 0, top, width, height)
    width, height = (_side(side) for side in size)
    top = min(_bar_height(max(width, height)), height // 2) if bar else 0
    scale = min(width / (x1 - x0), (height - top) / (y1 - y0))
    inner = max(1, round(scale * (x1 - x0))), max(1, round(scale * (y1 - y0)))
    return Layout(width, height, top, (width - inner[0]) // 2, top + (height - top - inner[1]) // 2, *inner)


@functools.lru_cache(maxsize=64)
def _font(pixels: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.load_default(pixels)


class _Canvas:
    """The enlarged picture of one scene's world while it is drawn."""

    def __init__(self, scene: Scene, width: int, height: int) -> None:
        from PIL import Image, ImageDraw

        x0, _, x1, self.top = scene.bounds
        self.left = x0
        enlarged = width * SUPERSAMPLE, height * SUPERSAMPLE
        self.image: Image.Image = Image.new("RGB", enlarged, scene.background)
        self.draw: ImageDraw.ImageDraw = ImageDraw.Draw(self.image)
        self.scale = self.image.width / (x1 - x0)

    def pixels(self, points: Iterable[Point]) -> list[Point]:
        """World points as pixels of the enlarged picture, kept within what Pillow can count."""
        return [
            (
                min(max((x - self.left) * self.scale, -_FAR), _FAR),
                min(max((self.top - y) * self.scale, -_FAR), _FAR),
            )
            for x, y in points
        ]

    def stroke_pixels(self, width: float) -> int:
        return max(SUPERSAMPLE, round(min(width * self.scale, _FAR)))

    def item(self, item: Item) -> None:
        """Draws one shape, blended with what lies under it when it is translucent."""
        if item.opacity == 0:
            return
        box = self.box(item)
        if box is None:
            return
        if item.opacity == 1:
            self.paint(item)
            return
        from PIL import Image

        under = self.image.crop(box)
        self.paint(item)
        self.image.paste(Image.blend(under, self.image.crop(box), item.opacity), box)

    def box(self, item: Item) -> tuple[int, int, int, int] | None:
        """The part of the picture that the shape may touch, None when it lies outside."""
        match item:
            case Circle():
                points, reach = [(item.x, item.y)], item.radius
            case Rectangle():
                points, reach = _corners(item), 0.0
            case Line() | Polygon():
                points, reach = list(item.points), 0.0
            case Text():
                points, reach = [(item.x, item.y)], item.size * (len(item.text) + 1)
        margin = reach * self.scale + 2 * SUPERSAMPLE
        if not isinstance(item, Text) and item.stroke is not None:
            margin += self.stroke_pixels(item.stroke_width)
        xs, ys = zip(*self.pixels(points), strict=True)
        left, right = max(0.0, min(xs) - margin), min(float(self.image.width), max(xs) + margin)
        top, bottom = max(0.0, min(ys) - margin), min(float(self.image.height), max(ys) + margin)
        if left >= right or top >= bottom:
            return None
        return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)

    def paint(self, item: Item) -> None:
        """Draws one shape at full opacity."""
        match item:
            case Circle():
                self.circle(item)
            case Rectangle():
                self.outline(_corners(item), item.fill, item.stroke, item.stroke_width)
            case Polygon():
                self.outline(item.points, item.fill, item.stroke, item.stroke_width)
            case Line():
                self.stroke(self.pixels(item.points), item.stroke, self.stroke_pixels(item.stroke_width))
            case Text():
                self.text(item)

    def circle(self, item: Circle) -> None:
        radius = item.radius * self.scale
        if radius > _LARGEST_ELLIPSE:
            angles = [2 * math.pi * step / 1440 for step in range(1440)]
            rim = [(item.x + item.radius * math.cos(a), item.y + item.radius * math.sin(a)) for a in angles]
            self.outline(rim, item.fill, item.stroke, item.stroke_width)
            return
        ((x, y),) = self.pixels([(item.x, item.y)])
        if item.fill is not None:
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=item.fill)
        if item.stroke is not None:
            width = self.stroke_pixels(item.stroke_width)
            outer = radius + width / 2
            self.draw.ellipse((x - outer, y - outer, x + outer, y + outer), outline=item.stroke, width=width)

    def outline(self, corners: Iterable[Point], fill: str | None, stroke: str | None, width: float) -> None:
        points = self.pixels(corners)
        if fill is not None:
            self.draw.polygon(points, fill=fill)
        if stroke is not None:
            self.stroke([*points, points[0]], stroke, self.stroke_pixels(width))

    def stroke(self, points: list[Point], color: str, width: int) -> None:
        """A thick line with round ends and joints."""
        radius = width / 2
        self.draw.line(points, fill=color, width=width)
        for x, y in points:
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)

    def text(self, item: Text) -> None:
        pixels = round(min(item.size * self.scale, 4.0 * self.image.height))
        if pixels < 1:
            return
        ((x, y),) = self.pixels([(item.x, item.y)])
        horizontal = "l" if "left" in item.anchor else "r" if "right" in item.anchor else "m"
        rise = 1.0 if "top" in item.anchor else 0.0 if "bottom" in item.anchor else 0.5
        y += rise * CAPITAL_HEIGHT * pixels
        self.draw.text((x, y), item.text, fill=item.fill, font=_font(pixels), anchor=horizontal + "s")


def _corners(item: Rectangle) -> list[Point]:
    cosine, sine = math.cos(item.angle), math.sin(item.angle)
    halves = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    offsets = [(a * item.width / 2, b * item.height / 2) for a, b in halves]
    return [(item.x + cosine * dx - sine * dy, item.y + sine * dx + cosine * dy) for dx, dy in offsets]


def _fit(text: str, pixels: int, room: float) -> tuple[str, ImageFont.ImageFont | ImageFont.FreeTypeFont]:
    """``text`` and a font in which it is at most ``room`` pixels long: shrunk to 3/5, then cut short."""
    font = _font(pixels)
    if font.getlength(text) > room:
        font = _font(max(1, round(0.6 * pixels), math.floor(pixels * room / font.getlength(text))))
    kept, shown = len(text), text
    while kept and font.getlength(shown) > room:
        kept -= 1
        shown = text[:kept].rstrip() + "..." if kept else ""
    return shown, font


def _draw_bar(image: Image.Image, scene: Scene, height: int) -> None:
    """The title at the left and the subtitle at the right, each shrunk to the room it has when too long."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, image.width, height - 1), fill=BAR_FILL)
    pad, pixels = round(0.3 * height), round(0.55 * height)
    baseline = height / 2 + CAPITAL_HEIGHT * pixels / 2
    room = float(image.width - 2 * pad)
    if scene.title:
        text, font = _fit(scene.title, pixels, 0.6 * room if scene.subtitle else room)
        room -= font.getlength(text) + pad
        draw.text((pad, baseline), text, fill=BAR_TITLE, font=font, anchor="ls")
    if scene.subtitle:
        text, font = _fit(scene.subtitle, round(0.8 * pixels), room)
        draw.text((image.width - pad, baseline), text, fill=BAR_SUBTITLE, font=font, anchor="rs")


def _draw(scene: Scene, place: Layout) -> Image.Image:
    from PIL import Image

    canvas = _Canvas(scene, place.world_width, place.world_height)
    for item in scene.items:
        canvas.item(item)
    picture = Image.new("RGB", (place.width, place.height), scene.background)
    picture.paste(canvas.image.reduce(SUPERSAMPLE), (place.left, place.top))
    if place.bar:
        _draw_bar(picture, scene, place.bar)
    return picture


def rasterize(scene: Scene, size: int | tuple[int, int] = 512) -> UInt8[np.ndarray, "height width 3"]:
    """Draws ``scene``.

    Args:
        scene: what to draw; a bar with its title is set on top when it has a title or a subtitle.
        size: pixels of the world's longer side (the bar comes on top of that), or (width, height) of the
            whole picture, in which the world is centred without being stretched.

    Returns:
        Red, green and blue, 0 to 255, the first row on top.
    """
    return np.array(_draw(scene, layout(scene, size, bool(scene.title or scene.subtitle))))


def clip_images(clip: Clip, size: int | tuple[int, int] = 512) -> Iterator[Image.Image]:
    """The clip's frames as Pillow images, all of the first frame's size, drawn one at a time."""
    bar = any(frame.title or frame.subtitle for frame in clip.frames)
    first = layout(clip.frames[0], size, bar)
    for frame in clip.frames:
        fits = frame.bounds == clip.frames[0].bounds
        yield _draw(frame, first if fits else layout(frame, (first.width, first.height), bar))


def rasterize_clip(
    clip: Clip, size: int | tuple[int, int] = 512
) -> UInt8[np.ndarray, "frames height width 3"]:
    """The clip's frames as ``rasterize`` draws them, in one array."""
    return np.stack([np.array(image) for image in clip_images(clip, size)])
