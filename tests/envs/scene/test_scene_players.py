"""PNG, GIF and HTML players."""

import html
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoal.envs.core.errors import UserError
from shoal.envs.scene import (
    Circle,
    Clip,
    Line,
    Polygon,
    Rectangle,
    Scene,
    Text,
    notebook_html,
    page,
    rasterize,
    save,
    save_gif,
    save_html,
    save_png,
    unpack_clip,
)
from shoal.envs.scene.players import _gif_durations
from shoal.envs.scene.primitives import ANCHORS
from shoal.envs.scene.raster import CAPITAL_HEIGHT

VOID = {"meta", "link", "input", "br"}


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Ten frames with every kind of shape, one of them moving."""
    still = (
        Rectangle(2, 2, 2, 1, fill="orange"),
        Line(((0, 0), (8, 8)), "grey", 0.125),
        Polygon(((5, 1), (7, 1), (6, 2)), "purple"),
        Text(4, 7, "</script><b>&", size=0.5),
    )
    frames = tuple(
        Scene.of_size(
            8, 8, [*still, Circle(0.5 * t + 1, 5, 0.5, fill="blue")], title=f"step {t}", subtitle="{{CLIP}}"
        )
        for t in range(10)
    )
    return Clip(frames, 0.064, 'fight "one" <1>')


class Outline(HTMLParser):
    """Checks that tags are balanced, and keeps the texts of scripts and every attribute."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.title = ""
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        if self.open and self.open[-1] == "title":
            self.title += data


def test_png_holds_the_raster(tmp_path: Path, clip: Clip) -> None:
    path = save_png(clip.frames[0], tmp_path / "new" / "folder" / "scene.png", 96)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), rasterize(clip.frames[0], 96))
    shown = Image.open(io.BytesIO(clip.frames[0]._repr_png_()))
    assert shown.format == "PNG" and shown.width == 512


def test_gif_has_every_frame_its_time_and_its_colours(tmp_path: Path, clip: Clip) -> None:
    path = save_gif(clip, tmp_path / "clip.gif", 128)
    durations = []
    with Image.open(path) as gif:
        assert gif.n_frames == 10 and gif.info["loop"] == 0  # type: ignore[attr-defined]
        for index, frame in enumerate(clip.frames):
            gif.seek(index)
            durations.append(gif.info["duration"])
            difference = np.abs(np.asarray(gif.convert("RGB")).astype(int) - rasterize(frame, 128))
            assert difference.max() < 60 and difference.mean() < 0.5
            assert (np.asarray(gif.convert("RGB")) == (0, 0x72, 0xB2)).all(axis=2).sum() > 100
    assert set(durations) == {60, 70} and sum(durations) == 640
    assert path.stat().st_size < 15_000


def test_gif_merges_equal_frames_and_keeps_the_time(tmp_path: Path) -> None:
    scene = Scene.of_size(4, 4, [Circle(1, 1, 1)])
    path = save_gif(Clip((scene, scene, scene, Scene.of_size(4, 4)), 0.05), tmp_path / "still.gif", 32)
    with Image.open(path) as gif:
        shown = []
        for index in range(gif.n_frames):  # type: ignore[attr-defined]
            gif.seek(index)
            shown.append(gif.info["duration"])
    assert shown == [150, 50]


def test_gif_of_one_frame_and_of_very_short_ones(tmp_path: Path) -> None:
    save_gif(Clip((Scene.of_size(4, 4),), 0.001), tmp_path / "one.gif", 32)
    assert _gif_durations(3, 0.001) == [20, 20, 20]
    assert sum(_gif_durations(1000, 1 / 30)) == pytest.approx(33_333, abs=10)


def test_gif_keeps_a_small_bright_thing_among_many_shades(tmp_path: Path) -> None:
    rows = [Rectangle(x + 0.5, 16, 1, 32, fill=f"#{4 * x:02x}{255 - 3 * x:02x}80") for x in range(60)]
    scene = Scene.of_size(60, 32, [*rows, Rectangle(30, 16, 0.5, 0.5, fill="#ff0000")])
    path = save_gif(Clip((scene,)), tmp_path / "many.gif", 240)
    with Image.open(path) as gif:
        assert (np.asarray(gif.convert("RGB")) == (255, 0, 0)).all(axis=2).any()


def test_gif_is_reproducible(tmp_path: Path, clip: Clip) -> None:
    first, second = (save_gif(clip, tmp_path / name, 64).read_bytes() for name in ("a.gif", "b.gif"))
    assert first == second


def test_page_is_well_formed_and_holds_the_clip(tmp_path: Path, clip: Clip) -> None:
    text = save_html(clip, tmp_path / "clip.html").read_text(encoding="utf-8")
    outline = Outline(text)
    assert outline.title == clip.title
    data, code = outline.scripts
    packed = json.loads(data)
    assert {item[0] for item in packed["items"]} == {0, 1, 2, 3, 4}
    assert unpack_clip(packed) == clip
    assert "requestAnimationFrame" in code and "{{" not in code
    assert text.count("</script>") == 2


def test_page_asks_nothing_of_the_network(clip: Clip) -> None:
    text = page(clip)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttp|WebSocket", text)
    attributes = Outline(text).attributes
    assert [value for name, value in attributes if name in ("src", "href", "action", "data")] == ["data:,"]
    assert any(value and "default-src 'none'" in value for name, value in attributes if name == "content")


def test_page_has_named_controls(clip: Clip) -> None:
    attributes = Outline(page(clip)).attributes
    ids = {value for name, value in attributes if name == "id"}
    assert {"play", "back", "forward", "scrub", "speed", "counter", "repeat", "picture", "title"} <= ids
    labels = {value for name, value in attributes if name == "aria-label"}
    assert {"play", "previous frame", "next frame", "frame", "speed"} <= labels


def test_page_draws_by_the_same_numbers_as_the_raster(clip: Clip) -> None:
    code = Outline(page(clip)).scripts[1]
    found = re.search(r"const ANCHORS = (\[.*?\]);", code)
    assert found and tuple(json.loads(found.group(1))) == ANCHORS
    assert f"const CAPITAL_HEIGHT = {CAPITAL_HEIGHT};" in code


def test_page_is_compact() -> None:
    walls = [Rectangle(x % 32, x // 32, 1, 1) for x in range(300)]
    frames = tuple(
        Scene.of_size(32, 32, [*walls, *(Circle(unit + t / 7, unit, 0.5) for unit in range(20))])
        for t in range(100)
    )
    assert len(page(Clip(frames))) < 90_000


def test_notebook_frame_holds_the_whole_page(clip: Clip) -> None:
    text = clip._repr_html_()
    assert text == notebook_html(clip)
    outline = Outline(text)
    values = dict(outline.attributes)
    assert values["srcdoc"] == page(clip) and values["sandbox"] == "allow-scripts"
    assert values["title"] == clip.title
    wide = Clip((Scene.of_size(30, 10),))
    height = re.search(
        r"height:(\d+)px", html.unescape(notebook_html(wide, 600)).split("max-width:600px;")[-1]
    )
    assert height and 200 < int(height.group(1)) < 400


def test_save_follows_the_file_name(tmp_path: Path, clip: Clip) -> None:
    short = Clip(clip.frames[:2])
    assert save(short, tmp_path / "a.GIF").read_bytes().startswith(b"GIF89a")
    assert save(short, tmp_path / "a.html").read_text().startswith("<!doctype html>")
    assert save(short, str(tmp_path / "a.png")).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match=r"'a\.mp4'; end it in \.gif, \.html or \.png"):
        save(short, tmp_path / "a.mp4")
