"""Files and notebook cells that show scenes: a PNG, an animated GIF, or one HTML page with its own player."""

from __future__ import annotations

import functools
import html
import io
import itertools
import os
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int32, UInt8

from shoal.envs.scene import checks
from shoal.envs.scene.packing import clip_json
from shoal.envs.scene.primitives import Clip, Line, Scene, Text
from shoal.envs.scene.raster import (
    BAR_FILL,
    BAR_SUBTITLE,
    BAR_TITLE,
    clip_images,
    rasterize,
)

if TYPE_CHECKING:
    from PIL import Image

_GIF_COLORS = 255  # one of the 256 is left to Pillow, for "as in the frame before"
_NAMED_COLORS = 96  # of those, at most so many for colours that the scenes name
_FREQUENT_COLORS = (
    64  # and so many for the commonest colours of the pixels, blends of translucent shapes included
)
_SAMPLED_FRAMES = 12  # frames that the shades of smoothed edges are collected from
_SHORTEST_GIF_FRAME = 2  # centiseconds; viewers play anything shorter ten times slower
_NOTEBOOK_WIDTH = 600  # CSS pixels
_NOTEBOOK_CHROME = 112  # CSS pixels: the height of title and controls around the picture


def png_bytes(scene: Scene, size: int | tuple[int, int] = 512) -> bytes:
    """``scene`` as the bytes of a PNG file; ``size`` as for ``rasterize``."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(rasterize(scene, size)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _target(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def save_png(scene: Scene, path: str | os.PathLike[str], size: int | tuple[int, int] = 512) -> Path:
    """Writes ``scene`` as a PNG file, making its folder when needed, and returns the path."""
    target = _target(path)
    target.write_bytes(png_bytes(scene, size))
    return target


def _flat_colors(clip: Clip) -> list[str]:
    """The colours that the scenes name themselves, the most used first."""
    uses: dict[str, int] = {BAR_FILL: 1, BAR_TITLE: 1, BAR_SUBTITLE: 1}
    for frame in clip.frames:
        uses[frame.background] = uses.get(frame.background, 0) + 1
        for item in frame.items:
            fill = None if isinstance(item, Line) else item.fill
            stroke = None if isinstance(item, Text) else item.stroke
            for color in (fill, stroke):
                if color is not None:
                    uses[color] = uses.get(color, 0) + 1
    return sorted(uses, key=lambda color: -uses[color])


def _gif_palette(clip: Clip, size: int | tuple[int, int]) -> UInt8[np.ndarray, "colors 3"]:
    """One palette for the whole clip, since a palette per frame would flicker.

    It holds the colours that scenes name and the most frequent ones of the pixels exactly, so that neither
    small bright things nor pale grounds are lost, and for the rest the shades of smoothed edges.
    """
    from PIL import Image

    step = max(1, len(clip.frames) // _SAMPLED_FRAMES)
    sample = Clip(clip.frames[::step][:_SAMPLED_FRAMES], clip.frame_seconds)
    pixels = np.concatenate([np.asarray(image).reshape(-1, 3) for image in clip_images(sample, size)])
    codes, counts = np.unique(_codes(pixels), return_counts=True)
    frequent = codes[np.argsort(-counts, kind="stable")[:_FREQUENT_COLORS]]
    named = [int(color[1:], 16) for color in _flat_colors(clip)[:_NAMED_COLORS]]
    exact = list(dict.fromkeys([*named, *frequent.tolist()]))
    sheet = Image.fromarray(pixels.reshape(1, -1, 3))
    shades = sheet.quantize(_GIF_COLORS - len(exact), method=Image.Quantize.MEDIANCUT).getpalette() or []
    colors = [channel for code in exact for channel in (code >> 16, code >> 8 & 255, code & 255)] + shades
    return np.array(colors[: 3 * _GIF_COLORS], np.uint8).reshape(-1, 3)


def _codes(pixels: UInt8[np.ndarray, "*shape 3"]) -> Int32[np.ndarray, "*shape"]:
    """Each pixel as one number 0xRRGGBB."""
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    return red << 16 | green << 8 | blue


def _palette_images(clip: Clip, size: int | tuple[int, int]) -> Iterator[Image.Image]:
    """The frames in the clip's palette: each pixel's nearest colour, undithered, which compresses better."""
    from PIL import Image

    palette = _gif_palette(clip, size)
    nearest = np.full(1 << 24, -1, np.int16)  # 0xRRGGBB -> index, filled as colours turn up
    for image in clip_images(clip, size):
        codes = _codes(np.asarray(image))
        for code in np.unique(codes[nearest[codes] < 0]).tolist():
            color = np.array((code >> 16, code >> 8 & 255, code & 255), np.int32)
            nearest[code] = np.argmin(((palette - color) ** 2).sum(axis=1))
        indexed = Image.fromarray(nearest[codes].astype(np.uint8))
        indexed.putpalette(palette.tobytes())
        yield indexed


def _gif_durations(frames: int, seconds: float) -> list[int]:
    """Milliseconds per frame in GIF's steps of 10 ms, such that the rounding does not add up."""
    centiseconds = max(_SHORTEST_GIF_FRAME, 100 * seconds)
    ends = [round(centiseconds * frame) for frame in range(frames + 1)]
    return [10 * (end - start) for start, end in itertools.pairwise(ends)]


def save_gif(clip: Clip, path: str | os.PathLike[str], size: int | tuple[int, int] = 384) -> Path:
    """Writes ``clip`` as a GIF that repeats for ever and returns the path; a frame lasts at least 20 ms.

    Equal neighbours are stored as one longer frame.
    """
    images = _palette_images(clip, size)
    first = next(images)
    target = _target(path)
    durations = _gif_durations(len(clip.frames), clip.frame_seconds)
    first.save(
        target,
        format="GIF",
        save_all=True,
        append_images=images,
        duration=durations if len(durations) > 1 else durations[0],
        loop=0,
    )
    return target


@functools.cache
def _template() -> str:
    return resources.files("shoal.envs.scene").joinpath("player.html").read_text(encoding="utf-8")


def page(clip: Clip) -> str:
    """One self-contained HTML page that plays ``clip``; it asks nothing of the network."""
    title = clip.title or clip.frames[0].title or "Shoal"
    parts = {"TITLE": html.escape(title), "CLIP": clip_json(clip)}
    # One pass, so that a title that looks like a placeholder stays what it is.
    return re.sub(r"\{\{(TITLE|CLIP)\}\}", lambda match: parts[match.group(1)], _template())


def save_html(clip: Clip, path: str | os.PathLike[str]) -> Path:
    """Writes ``page(clip)`` and returns the path."""
    target = _target(path)
    target.write_text(page(clip), encoding="utf-8")
    return target


def save(clip: Clip, path: str | os.PathLike[str]) -> Path:
    """Writes ``clip`` in the format that the file name asks for: .gif, .html, or .png (the first frame)."""
    match Path(path).suffix.lower():
        case ".gif":
            return save_gif(clip, path)
        case ".html" | ".htm":
            return save_html(clip, path)
        case ".png":
            return save_png(clip.frames[0], path)
    checks.reject(f"no format is known for the file name {Path(path).name!r}; end it in .gif, .html or .png")


def notebook_html(clip: Clip, width: int = _NOTEBOOK_WIDTH) -> str:
    """The player as an inline frame for a notebook cell, at most ``width`` CSS pixels wide."""
    x0, y0, x1, y1 = clip.frames[0].bounds
    height = min(width, round(width * (y1 - y0) / (x1 - x0))) + _NOTEBOOK_CHROME
    return (
        f'<iframe srcdoc="{html.escape(page(clip), quote=True)}" sandbox="allow-scripts" '
        f'title="{html.escape(clip.title or "Shoal player")}" '
        f'style="width:100%;max-width:{width}px;height:{height}px;border:0"></iframe>'
    )
