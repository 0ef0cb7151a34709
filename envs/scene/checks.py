"""What primitives check when they are made, so that a bad number is reported in one line where it arises."""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

from shoal.envs.scene.palette import PALETTE

_HEX = re.compile(r"#[0-9a-fA-F]{6}")


def reject(message: str) -> NoReturn:
    """Raises ``UserError(message)``."""
    # Imported late: drawing needs nothing of the environment core, nor of what that imports.
    from shoal.envs.core.errors import UserError

    raise UserError(message)


def number(value: Any, where: str, minimum: float | None = None, maximum: float | None = None) -> float:
    """``value`` as a Python float; rejects what is not a finite number or lies outside [minimum, maximum]."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        reject(f"{where} is {value!r}; it must be a number")
    if not math.isfinite(result):
        reject(f"{where} is {result}; a scene is drawn from finite numbers only")
    if minimum is not None and result < minimum:
        reject(f"{where} is {result:g}; it must be at least {minimum:g}")
    if maximum is not None and result > maximum:
        reject(f"{where} is {result:g}; it must be at most {maximum:g}")
    return result


def points(values: Any, where: str, at_least: int) -> tuple[tuple[float, float], ...]:
    """``values`` (pairs, or an array [N, 2]) as a tuple of (x, y) floats."""
    result = []
    for index, pair in enumerate(values):
        place = f"{where}[{index}]"
        try:
            x, y = pair
        except (TypeError, ValueError):
            reject(f"{place} is {pair!r}; it must be a pair (x, y)")
        result.append((number(x, f"{place}.x"), number(y, f"{place}.y")))
    if len(result) < at_least:
        reject(f"{where} has {len(result)} points; it needs at least {at_least}")
    return tuple(result)


def color(value: Any, where: str) -> str:
    """``value`` as lower-case ``"#rrggbb"``; the names of the palette are accepted too."""
    if isinstance(value, str):
        if value in PALETTE:
            return PALETTE[value]
        if _HEX.fullmatch(value):
            return value.lower()
    reject(f"{where} is {value!r}; a colour is '#rrggbb' or one of {', '.join(PALETTE)}")


def one_line(value: Any, where: str) -> str:
    """``value`` as text without line breaks."""
    text = str(value)
    if len(text.splitlines()) > 1 or text.endswith(("\n", "\r")):
        reject(f"{where} is {text!r}; it must be a single line")
    return text
