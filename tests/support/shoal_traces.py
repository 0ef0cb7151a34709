"""Reading what was recorded from originals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Rows = dict[str, np.ndarray]


def public_folder(traces: Path, system: str) -> Path:
    """The public recordings of a system; skips where they are absent."""
    folder = traces / system / "public"
    if not folder.is_dir():
        pytest.skip(f"no recorded traces at {folder}")
    return folder


def reader(traces: Path, system: str) -> Callable[[str], Rows]:
    """Returns what reads all arrays of one recorded file by its name, small integers widened."""
    folder = public_folder(traces, system)

    def read(name: str) -> Rows:
        with np.load(folder / f"{name}.npz") as file:
            rows = dict(file)
        return {key: x.astype(np.int32) if x.dtype.kind == "i" else x for key, x in rows.items()}

    return read
