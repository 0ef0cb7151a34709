"""Shapes, scenes and clips: what they accept, what they reject, and how they are packed."""

import ast
import json
import math
from pathlib import Path

import numpy as np
import pytest

import shoal.envs.scene as drawing
from shoal.envs.core.errors import UserError
from shoal.envs.scene import Circle, Clip, Line, Polygon, Rectangle, Scene, Text, pack_clip, unpack_clip
from shoal.envs.scene.packing import clip_json


def every_kind() -> tuple[drawing.Item, ...]:
    return (
        Circle(1.5, 2.25, 0.5, fill="#112233", stroke="#445566", stroke_width=0.125, opacity=0.5),
        Rectangle(4, 5, 2, 1, angle=0.75, fill=None, stroke="#000000"),
        Line(((0, 0), (1, 1), (2, 0)), "#d55e00", 0.25),
        Polygon(((5, 5), (6, 5), (5.5, 6)), "#e69f00"),
        Text(3, 3, "</script> & é", size=1.5, fill="#ffffff", anchor="top-left"),
    )


def test_numpy_numbers_become_python_floats_and_scenes_compare_by_value() -> None:
    circle = Circle(np.float32(1.5), np.int16(2), np.array(0.5))  # type: ignore[arg-type]
    assert circle == Circle(1.5, 2.0, 0.5)
    assert all(type(value) is float for value in (circle.x, circle.y, circle.radius))
    line = Line(np.array([[0, 1], [2, 3]]))  # type: ignore[arg-type]
    assert line.points == ((0.0, 1.0), (2.0, 3.0))
    assert Scene.of_size(4, 2, [circle]) == Scene((0.0, 0.0, 4.0, 2.0), (Circle(1.5, 2.0, 0.5),))
    assert hash(line) == hash(Line(((0, 1), (2, 3))))


def test_rectangle_from_corners_in_any_order() -> None:
    assert Rectangle.from_corners(3, 1, 1, 5, fill="blue") == Rectangle(2, 3, 2, 4, fill=drawing.BLUE)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("make", "place"),
    [
        (lambda v: Circle(v, 0, 1), "Circle.x"),
        (lambda v: Circle(0, 0, v), "Circle.radius"),
        (lambda v: Rectangle(0, v, 1, 1), "Rectangle.y"),
        (lambda v: Rectangle.from_corners(0, 0, v, 1), "Rectangle.x1"),
        (lambda v: Line(((0, 0), (v, 0))), "Line.points[1].x"),
        (lambda v: Polygon(((0, 0), (1, 0), (0, v))), "Polygon.points[2].y"),
        (lambda v: Text(0, 0, "a", size=v), "Text.size"),
        (lambda v: Scene((0, 0, v, 1)), "Scene.bounds"),
        (lambda v: Clip((Scene((0, 0, 1, 1)),), frame_seconds=v), "Clip.frame_seconds"),
    ],
)
def test_numbers_that_are_not_finite_are_named_in_one_line(make, place, bad) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError) as caught:
        make(bad)
    message = str(caught.value)
    assert message.startswith(f"{place} is {bad}") and "\n" not in message


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Circle(0, 0, -1), "Circle.radius is -1; it must be at least 0"),
        (lambda: Circle("a", 0, 1), "Circle.x is 'a'; it must be a number"),
        (lambda: Circle(0, 0, 1, opacity=1.5), "Circle.opacity is 1.5; it must be at most 1"),
        (lambda: Circle(0, 0, 1, fill="blu"), "Circle.fill is 'blu'; a colour is '#rrggbb' or one of"),
        (lambda: Circle(0, 0, 1, fill="#12345"), "a colour is '#rrggbb'"),
        (lambda: Line(((0, 0),)), "Line.points has 1 points; it needs at least 2"),
        (lambda: Polygon((1, 2, 3)), "Polygon.points[0] is 1; it must be a pair"),
        (lambda: Text(0, 0, "a", anchor="middle"), "Text.anchor is 'middle'; choose one of center"),
        (lambda: Text(0, 0, "a\nb"), "it must be a single line"),
        (lambda: Scene((0, 0, 0, 1)), "x1 must exceed x0"),
        (lambda: Scene((0, 0, 1)), "Scene.bounds has 3 numbers"),
        (lambda: Scene((0, 0, 1, 1), ("circle",)), "Scene.items holds a str"),
        (lambda: Clip(()), "Clip.frames is empty"),
        (lambda: Clip((Scene((0, 0, 1, 1)),), 0), "Clip.frame_seconds is 0; it must be at least 0.001"),
    ],
)
def test_what_cannot_be_drawn_is_rejected(make, says) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError) as caught:
        make()
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_packed_clip_round_trips_through_json() -> None:
    frames = (
        Scene.of_size(8, 8, every_kind(), title="step 0", subtitle="a"),
        Scene((-1, -2, 7, 6), every_kind()[::-1], background="#010203", title="step 1"),
        Scene.of_size(8, 8),
    )
    clip = Clip(frames, 0.064, "a fight")
    assert unpack_clip(json.loads(clip_json(clip))) == clip


def test_packing_rounds_far_below_a_pixel() -> None:
    clip = Clip((Scene.of_size(32, 32, [Circle(1 / 3, 20 / 3, math.pi)]),))
    (circle,) = unpack_clip(pack_clip(clip)).frames[0].items
    assert isinstance(circle, Circle)
    assert circle.x == pytest.approx(1 / 3, abs=32e-5) and circle.radius == pytest.approx(math.pi, abs=32e-5)
    assert len(str(circle.x)) < 8


def test_shapes_that_stay_are_stored_once() -> None:
    walls = [Rectangle(x, 0, 1, 1) for x in range(20)]
    frames = tuple(Scene.of_size(20, 20, [*walls, Circle(t, 5, 1)]) for t in range(50))
    packed = pack_clip(Clip(frames))
    assert len(packed["items"]) == 20 + 50
    assert packed["frames"][7][3] == [0, 20, 27, 1]
    assert len(packed["styles"]) == 1


def test_json_cannot_end_its_script_element() -> None:
    text = clip_json(Clip((Scene.of_size(8, 8, every_kind(), title="<!-- <script>"),)))
    assert "<" not in text and ">" not in text and "&" not in text and text.isascii()


def test_cycle_color_repeats_after_distinct_ones() -> None:
    colors = [drawing.cycle_color(index) for index in range(8)]
    assert len(set(colors)) == 8 and drawing.cycle_color(8) == colors[0]


def test_exported_names_exist() -> None:
    assert all(hasattr(drawing, name) for name in drawing.__all__)


def test_sources_import_no_jax_and_pillow_only_late() -> None:
    sources = sorted(Path(str(drawing.__file__)).parent.glob("*.py"))
    assert len(sources) >= 6
    for source in sources:
        tree = ast.parse(source.read_text())
        names = {
            name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
        }
        at_import = {
            name.split(".")[0]
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
        }
        assert not names & {"jax", "flax", "chex", "matplotlib"}, source.name
        assert "PIL" not in at_import, source.name
