"""What a measure is: how cells of a table are run and read."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from shoal.baselines.tables.catalogue import Cell
from shoal.envs.core.errors import UserError

Settings = dict[str, Any]
"""Plain values that decide a result. Cells of equal settings share one work."""


@dataclass(frozen=True)
class Deadline:
    """When to stop, by the monotonic clock; None: never."""

    at: float | None = None
    called: threading.Event = field(default_factory=threading.Event)  # it has come, whatever the clock says

    @contextlib.contextmanager
    def heeding_sigterm(self) -> Iterator[None]:
        """Within it SIGTERM is the deadline, as schedulers mean it; for the main thread."""
        before = signal.signal(signal.SIGTERM, lambda *_: self.called.set())
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """So many seconds from now."""
        return cls(None if seconds is None else time.monotonic() + seconds)

    @property
    def left(self) -> float | None:
        """Seconds left, at least 0."""
        if self.called.is_set():
            return 0.0
        return None if self.at is None else max(0.0, self.at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether nothing new should be begun."""
        return self.left == 0.0


class Measure(ABC):
    """One way of measuring. A work's folder is its own, and may hold what an earlier call left half done."""

    unit: ClassVar[str]
    """What a value of a cell comes from: ``seed``, ``episode`` or ``repeat``."""

    def alone(self, cells: Sequence[Cell]) -> bool:
        """Tells whether nothing else should run beside what these cells are read from."""
        return True

    @abstractmethod
    def settings(self, cell: Cell) -> Settings:
        """Returns what decides the result of a cell (its scale laid over it).

        Raises:
            UserError: when the cell does not say what this measure needs.
        """

    def shares(self, settings: Settings) -> list[Settings]:
        """Returns the works that settings come to: one, or several that together hold all values."""
        return [settings]

    @abstractmethod
    def run(self, settings: Settings, folder: Path, deadline: Deadline, core: int | None) -> bool:
        """Measures, or goes on with it; returns whether it is done.

        Args:
            settings: from `settings`.
            folder: of this work.
            deadline: when to stop.
            core: the processor core to keep to; None: all.
        """

    @abstractmethod
    def read(self, settings: Settings, folder: Path, cells: Sequence[Cell]) -> dict[str, list[float]]:
        """Returns values by cell id, one for each `unit`; what is undefined is left out."""

    def record(self, settings: Settings, folder: Path) -> Mapping[str, Any]:
        """Returns what is kept beside the values, such as ``config`` and ``curves``."""
        return {}

    def seconds(self, folder: Path, spent: float) -> float:
        """Returns what a finished work took, given the seconds of its calls that were not killed."""
        return spent

    def differences(self, settings: Settings, record: Mapping[str, Any]) -> list[str]:
        """Returns in what a kept record is not what the settings ask for today."""
        return []


def needed(cell: Cell, *keys: str) -> None:
    """Refuses a cell that leaves out what its measure needs.

    Raises:
        UserError: naming the key.
    """
    for key in keys:
        if key not in cell.settings:
            raise UserError(f"{cell.id} does not say its {key}")


def picked(cell: Cell, keys: Sequence[str], defaults: Settings) -> Settings:
    """Returns some of a cell's settings, and defaults for others."""
    return {key: cell.settings[key] for key in keys} | {
        key: cell.settings.get(key, default) for key, default in defaults.items()
    }
