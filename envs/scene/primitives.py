"""The vocabulary of a picture: five shapes, a scene made of them, and a clip made of scenes.

Coordinates and lengths are world units, x to the right and y up; angles are radians, counter-clockwise.
Numbers may be given as NumPy scalars or arrays: they are stored as Python floats, so scenes compare, hash and
pickle by value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from shoal.envs.scene import checks
from shoal.envs.scene.palette import DARK_GREY, GREY, PAPER

Point: TypeAlias = tuple[float, float]
Bounds: TypeAlias = tuple[float, float, float, float]

ANCHORS = (
    "center",
    "left",
    "right",
    "top",
    "bottom",
    "top-left",
    "top-right",
    "bottom-left",
    "bottom-right",
)


def _assign(item: Any, **values: Any) -> None:
    """Stores checked values in a frozen dataclass while it is being made."""
    for name, value in values.items():
        object.__setattr__(item, name, value)


def _check_paint(item: Any) -> None:
    """Checks what shapes have in common: fill, stroke, stroke width and opacity."""
    kind = type(item).__name__
    for name in ("fill", "stroke"):
        value = getattr(item, name, None)
        if value is not None:
            _assign(item, **{name: checks.color(value, f"{kind}.{name}")})
    if hasattr(item, "stroke_width"):
        _assign(item, stroke_width=checks.number(item.stroke_width, f"{kind}.stroke_width", minimum=0.0))
    _assign(item, opacity=checks.number(item.opacity, f"{kind}.opacity", minimum=0.0, maximum=1.0))


@dataclass(frozen=True, slots=True)
class Circle:
    """A disc around (x, y). A stroke is centred on the rim and at least a pixel wide."""

    x: float
    y: float
    radius: float
    fill: str | None = GREY
    stroke: str | None = None
    stroke_width: float = 0.0
    opacity: float = 1.0

    def __post_init__(self) -> None:
        """Checks and converts the fields."""
        _assign(self, x=checks.number(self.x, "Circle.x"), y=checks.number(self.y, "Circle.y"))
        _assign(self, radius=checks.number(self.radius, "Circle.radius", minimum=0.0))
        _check_paint(self)


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle centred on (x, y), turned by ``angle`` radians; ``from_corners`` takes corners instead."""

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0
    fill: str | None = GREY
    stroke: str | None = None
    stroke_width: float = 0.0
    opacity: float = 1.0

    def __post_init__(self) -> None:
        """Checks and converts the fields."""
        for name in ("x", "y", "angle"):
            _assign(self, **{name: checks.number(getattr(self, name), f"Rectangle.{name}")})
        for name in ("width", "height"):
            _assign(self, **{name: checks.number(getattr(self, name), f"Rectangle.{name}", minimum=0.0)})
        _check_paint(self)

    @classmethod
    def from_corners(cls, x0: Any, y0: Any, x1: Any, y1: Any, **paint: Any) -> Rectangle:
        """The upright rectangle with opposite corners (x0, y0) and (x1, y1), in any order."""
        left, right = sorted((checks.number(x0, "Rectangle.x0"), checks.number(x1, "Rectangle.x1")))
        bottom, top = sorted((checks.number(y0, "Rectangle.y0"), checks.number(y1, "Rectangle.y1")))
        return cls((left + right) / 2, (bottom + top) / 2, right - left, top - bottom, **paint)


@dataclass(frozen=True, slots=True)
class Line:
    """A line through two or more points, with round ends and joints, at least a pixel wide."""

    points: tuple[Point, ...]
    stroke: str = DARK_GREY
    stroke_width: float = 0.0
    opacity: float = 1.0

    def __post_init__(self) -> None:
        """Checks and converts the fields."""
        _assign(self, points=checks.points(self.points, "Line.points", at_least=2))
        _check_paint(self)
        if self.stroke is None:
            checks.reject("Line.stroke is None; a line needs a colour")


@dataclass(frozen=True, slots=True)
class Polygon:
    """A closed shape through three or more points."""

    points: tuple[Point, ...]
    fill: str | None = GREY
    stroke: str | None = None
    stroke_width: float = 0.0
    opacity: float = 1.0

    def __post_init__(self) -> None:
        """Checks and converts the fields."""
        _assign(self, points=checks.points(self.points, "Polygon.points", at_least=3))
        _check_paint(self)


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text: ``size`` is font height in world units, ``anchor`` the part that lies at (x, y).

    Vertical anchors refer to the height of capitals, so a "center" letter sits in the middle of its disc.
    """

    x: float
    y: float
    text: str
    size: float = 1.0
    fill: str = DARK_GREY
    anchor: str = "center"
    opacity: float = 1.0

    def __post_init__(self) -> None:
        """Checks and converts the fields."""
        _assign(self, x=checks.number(self.x, "Text.x"), y=checks.number(self.y, "Text.y"))
        _assign(self, text=checks.one_line(self.text, "Text.text"))
        _assign(self, size=checks.number(self.size, "Text.size", minimum=0.0))
        _check_paint(self)
        if self.fill is None:
            checks.reject("Text.fill is None; text needs a colour")
        if self.anchor not in ANCHORS:
            checks.reject(f"Text.anchor is {self.anchor!r}; choose one of {', '.join(ANCHORS)}")


Item: TypeAlias = Circle | Rectangle | Line | Polygon | Text


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture: ``items`` drawn in order over ``background``, clipped to ``bounds`` = (x0, y0, x1, y1).

    ``title`` and ``subtitle`` stand in a bar above the picture, which is left out when both are empty.
    """

    bounds: Bounds
    items: tuple[Item, ...] = ()
    background: str = PAPER
    title: str = ""
    subtitle: str = ""

    def __post_init__(self) -> None:
        """Checks and converts the fields."""
        values = tuple(self.bounds)
        if len(values) != 4:
            checks.reject(f"Scene.bounds has {len(values)} numbers; it must be (x0, y0, x1, y1)")
        x0, y0, x1, y1 = (checks.number(value, "Scene.bounds") for value in values)
        if not (x1 > x0 and y1 > y0):
            checks.reject(
                f"Scene.bounds is ({x0:g}, {y0:g}, {x1:g}, {y1:g}); x1 must exceed x0 and y1 exceed y0"
            )
        items = tuple(self.items)
        for item in items:
            if not isinstance(item, Circle | Rectangle | Line | Polygon | Text):
                checks.reject(f"Scene.items holds a {type(item).__name__}; it takes the five shapes only")
        _assign(self, bounds=(x0, y0, x1, y1), items=items)
        _assign(self, background=checks.color(self.background, "Scene.background"))
        _assign(self, title=checks.one_line(self.title, "Scene.title"))
        _assign(self, subtitle=checks.one_line(self.subtitle, "Scene.subtitle"))

    @classmethod
    def of_size(cls, width: Any, height: Any, items: Iterable[Item] = (), **rest: Any) -> Scene:
        """A scene whose bounds are (0, 0, width, height)."""
        return cls((0.0, 0.0, width, height), tuple(items), **rest)

    def _repr_png_(self) -> bytes:
        """What a notebook shows for a scene."""
        from shoal.envs.scene.players import png_bytes

        return png_bytes(self)


@dataclass(frozen=True, slots=True)
class Clip:
    """Scenes shown one after another, each for ``frame_seconds``; ``title`` names the page."""

    frames: tuple[Scene, ...]
    frame_seconds: float = 0.1
    title: str = ""

    def __post_init__(self) -> None:
        """Checks and converts the fields."""
        frames = tuple(self.frames)
        if not frames:
            checks.reject("Clip.frames is empty; a clip needs at least one scene")
        for frame in frames:
            if not isinstance(frame, Scene):
                checks.reject(f"Clip.frames holds a {type(frame).__name__}; it takes scenes only")
        seconds = checks.number(self.frame_seconds, "Clip.frame_seconds", minimum=0.001)
        _assign(self, frames=frames, frame_seconds=seconds, title=checks.one_line(self.title, "Clip.title"))

    def _repr_html_(self) -> str:
        """What a notebook shows for a clip."""
        from shoal.envs.scene.players import notebook_html

        return notebook_html(self)
