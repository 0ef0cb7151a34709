"""Scenes as pixels."""

import numpy as np
import pytest

from shoal.envs.core.errors import UserError
from shoal.envs.scene import (
    Circle,
    Clip,
    Item,
    Line,
    Polygon,
    Rectangle,
    Scene,
    Text,
    rasterize,
    rasterize_clip,
)

RED, BLUE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def draw(*items: Item, size: int = 100, world: float = 10.0) -> np.ndarray:
    return rasterize(Scene.of_size(world, world, items, background="#ffffff"), size)


def at(picture: np.ndarray, x: float, y: float, world: float = 10.0) -> tuple[int, ...]:
    """The colour of the pixel that holds world point (x, y)."""
    scale = picture.shape[0] / world
    return tuple(int(value) for value in picture[int((world - y) * scale), int(x * scale)])


def inked(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels that are not background."""
    return np.nonzero((picture != 255).any(axis=2))


def test_circle_lies_where_it_should_with_y_up() -> None:
    picture = draw(Circle(2, 8, 1, fill="#ff0000"), Circle(7, 1, 0.5, fill="#0000ff"))
    assert picture.shape == (100, 100, 3) and picture.dtype == np.uint8
    assert at(picture, 2, 8) == RED and at(picture, 7, 1) == BLUE
    assert at(picture, 2, 2) == WHITE and at(picture, 7, 9) == WHITE
    assert tuple(picture[20, 20]) == RED  # row 20 of 100 is y = 8
    rows, columns = inked(draw(Circle(2, 8, 1, fill="#ff0000")))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx((10, 29, 10, 29), abs=1)


def test_edges_are_smoothed_and_the_area_is_right() -> None:
    picture = draw(Circle(5, 5, 3, fill="#000000"))
    shades = np.unique(picture[..., 0])
    assert len(shades) > 5
    covered = (255.0 - picture[..., 0]).sum() / 255 / 100  # world units squared
    assert covered == pytest.approx(np.pi * 9, rel=0.02)


def test_later_items_cover_earlier_ones_and_opacity_blends() -> None:
    square = Rectangle(5, 5, 4, 4, fill="#ff0000")
    assert at(draw(square, Circle(5, 5, 1, fill="#0000ff")), 5, 5) == BLUE
    blended = at(draw(square, Circle(5, 5, 1, fill="#0000ff", opacity=0.5)), 5, 5)
    assert blended == pytest.approx((127, 0, 127), abs=1)
    assert at(draw(square, Circle(5, 5, 1, fill="#0000ff", opacity=0)), 5, 5) == RED


def test_translucent_line_has_one_shade_at_its_joints() -> None:
    picture = draw(Line(((1, 5), (5, 5), (9, 5)), "#000000", 1.0, opacity=0.5))
    assert at(picture, 5, 5) == at(picture, 3, 5) == pytest.approx((127, 127, 127), abs=1)


def test_rectangle_turns_counter_clockwise() -> None:
    picture = draw(Rectangle(5, 5, 6, 1, angle=np.pi / 4, fill="#ff0000"))
    assert at(picture, 6.5, 6.5) == RED and at(picture, 3.5, 3.5) == RED
    assert at(picture, 6.5, 3.5) == WHITE and at(picture, 7.8, 5) == WHITE


def test_stroke_is_centred_on_the_edge() -> None:
    for shape in (
        Rectangle(5, 5, 4, 4, fill="#ff0000", stroke="#0000ff", stroke_width=1),
        Circle(5, 5, 2, fill="#ff0000", stroke="#0000ff", stroke_width=1),
        Polygon(((3, 3), (7, 3), (7, 7), (3, 7)), fill="#ff0000", stroke="#0000ff", stroke_width=1),
    ):
        picture = draw(shape)
        assert at(picture, 5, 5) == RED
        assert at(picture, 7.3, 5) == BLUE and at(picture, 6.7, 5) == BLUE
        assert at(picture, 6.3, 5) == RED and at(picture, 7.7, 5) == WHITE


def test_thin_lines_are_one_pixel_wide() -> None:
    picture = draw(Line(((1, 5.05), (9, 5.05)), "#000000"))
    assert (255.0 - picture[:, 50, 0]).sum() / 255 == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize(
    ("anchor", "left_of", "below"),
    [("center", 0.5, 0.5), ("left", 0, 0.5), ("right", 1, 0.5), ("top-left", 0, 1), ("bottom-right", 1, 0)],
)
def test_text_is_drawn_at_its_anchor(anchor: str, left_of: float, below: float) -> None:
    rows, columns = inked(draw(Text(5, 5, "HHH", size=2, fill="#000000", anchor=anchor), size=200))
    width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
    assert height == pytest.approx(0.7 * 2 * 20, abs=3)  # capitals are 0.7 of the size
    assert columns.min() == pytest.approx(100 - left_of * width, abs=5)
    assert rows.min() == pytest.approx(100 - (1 - below) * height, abs=3)


def test_bounds_map_to_the_whole_picture() -> None:
    scene = Scene((-20, 5, 20, 25), (Rectangle.from_corners(-20, 5, -10, 10, fill="#ff0000"),), "#ffffff")
    picture = rasterize(scene, 200)
    assert picture.shape == (100, 200, 3)
    assert tuple(picture[99, 0]) == RED and tuple(picture[76, 48]) == RED
    assert (
        tuple(picture[73, 48]) == WHITE and tuple(picture[76, 51]) == WHITE and tuple(picture[0, 0]) == WHITE
    )


def test_picture_of_given_width_and_height_is_not_stretched() -> None:
    picture = rasterize(
        Scene.of_size(10, 10, [Circle(5, 5, 5, fill="#ff0000")], background="#ffffff"), (300, 100)
    )
    rows, columns = inked(picture)
    assert picture.shape == (100, 300, 3)
    assert (columns.min(), columns.max()) == pytest.approx((100, 199), abs=1)
    assert (rows.min(), rows.max()) == pytest.approx((0, 99), abs=1)


def test_title_bar_stands_on_top_and_long_titles_are_fitted() -> None:
    plain = rasterize(Scene.of_size(10, 10, [Circle(5, 5, 5)]), 200)
    scene = Scene.of_size(10, 10, [Circle(5, 5, 5)], title="step 7", subtitle="a remark")
    titled = rasterize(scene, 200)
    bar = titled.shape[0] - 200
    assert 15 < bar < 40
    np.testing.assert_array_equal(titled[bar:], plain)
    assert titled[:bar, :100].min() < 100 and titled[:bar, 100:].min() < 200
    fitted = rasterize(Scene.of_size(10, 10, title="long " * 60), 200)
    assert (fitted[: fitted.shape[0] - 200, -4:] == 255).all()


def test_what_lies_outside_is_cut_off_even_when_it_is_huge() -> None:
    picture = draw(Circle(-50, -50, 1, fill="#ff0000"), Text(500, 5, "away"), Line(((20, 20), (30, 30))))
    assert (picture == 255).all()
    picture = draw(
        Circle(0, -1e6, 1e6 + 5, fill="#ff0000"),
        Line(((-1e12, 8), (1e12, 8)), "#000000", 1),
        Circle(5, 5, 1e9, None, "#0000ff", opacity=0.5),
    )
    assert at(picture, 5, 3) == RED and at(picture, 5, 7) == WHITE and at(picture, 5, 8) == BLACK


def test_nothing_sizes_draw_nothing_or_a_hairline() -> None:
    picture = draw(Text(5, 5, "", size=1), Text(5, 5, "x", size=0), Circle(5, 5, 0, None))
    assert (picture == 255).all()


def test_frames_of_a_clip_share_one_size() -> None:
    frames = (
        Scene.of_size(10, 10, title="a"),
        Scene.of_size(20, 10, [Circle(10, 5, 4, fill="#ff0000")], background="#ffffff"),
    )
    stack = rasterize_clip(Clip(frames), 64)
    assert stack.shape[0] == 2 and stack.shape[2] == 64
    rows, columns = np.nonzero((stack[1] == RED).all(axis=2))
    assert np.ptp(columns) == pytest.approx(np.ptp(rows), abs=1)


@pytest.mark.parametrize("size", [0, 15, 10**6, (64, 5)])
def test_impossible_sizes_are_rejected(size: int | tuple[int, int]) -> None:
    with pytest.raises(UserError, match="size"):
        rasterize(Scene.of_size(1, 1), size)
