"""Errors that a user can cause and can repair."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """One line that says what was wrong and what would be right; the CLI prints it without a traceback."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the closest choice, else the choices when few, else ''."""
    names = sorted(choices)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    if 0 < len(names) <= 12:
        return f"; choose one of {', '.join(names)}"
    return ""
