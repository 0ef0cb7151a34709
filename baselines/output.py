"""What commands print: JSON alone on standard output, everything for people in tables, progress on stderr."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

WIDTH = 120  # of tables that no terminal shows


def plain(value: Any) -> Any:
    """Returns ``value`` with nothing in it that JSON does not know; what is not finite becomes None."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if isinstance(value, bool | str | int | None):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__"):
        return plain(np.asarray(value).tolist())
    return str(value)


def print_json(value: Any) -> None:
    """Prints one JSON document on standard output."""
    print(json.dumps(plain(value), indent=2, allow_nan=False))


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()
) -> None:
    """Prints a table for people on standard output; columns named in ``right`` are aligned to the right.

    A title wider than its table stays on one line.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=any(columns), box=box.SIMPLE_HEAD)
    for place, column in enumerate(columns):
        # The first column names the row: it is never broken, so that it can be copied.
        table.add_column(column, justify="right" if place in right else "left", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # as text: brackets are no markup
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width of its own
        console = Console(width=WIDTH)
    console.print(Text(title, style="table.title"), soft_wrap=True)
    console.print(table)


def stderr_console() -> Any:
    """Returns the console on which progress is shown."""
    from rich.console import Console

    return Console(stderr=True)


def say_on_stderr(line: str) -> None:
    """Shows one line about what goes on."""
    stderr_console().print(line, markup=False, highlight=False, soft_wrap=True)


def number(value: float | None, digits: int = 3) -> str:
    """Formats a number for a table; nothing defined is a dash."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.{digits}f}"
