"""The interface of a logger, the file that is always written, and the guard around everything else."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

Row = Mapping[str, Any]
"""One line of metrics.jsonl: field -> value, None where undefined."""


@runtime_checkable
class Sink(Protocol):
    """Somewhere that rows go. A logger of your own is a class with these methods, made from a `RunInfo`."""

    def write(self, rows: Sequence[Row]) -> None:
        """Takes the rows of one log interval, one per member, in the order of `RunInfo.members`."""
        ...

    def close(self) -> None:
        """Ends; called once, also when the run was stopped."""
        ...


@dataclass(frozen=True)
class RunInfo:
    """What a logger is told about the run that it follows."""

    folder: Path
    config: Mapping[str, Any]  # everything, nested as in config.yaml
    members: tuple[Mapping[str, Any], ...]  # per member: member, seed, and algorithm.NAME of swept values
    env_steps: tuple[int, ...]  # per member: where it goes on; zeros unless the run is resumed

    @property
    def options(self) -> Mapping[str, Any]:
        """What the user set below ``logger.options``."""
        options: Mapping[str, Any] = self.config["logger"]["options"]
        return options

    @property
    def resumed(self) -> bool:
        """Whether rows were written before."""
        return any(self.env_steps)


def undefined_as_null(value: Any) -> Any:
    """Turns NaN and infinities, which JSON lacks, into None, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: undefined_as_null(v) for k, v in value.items()}
    return [undefined_as_null(v) for v in value] if isinstance(value, list | tuple) else value


def numbers_of(row: Row) -> dict[str, float]:
    """Returns the defined numbers of a row, for loggers that know nothing else."""
    return {k: v for k, v in row.items() if isinstance(v, int | float) and math.isfinite(v)}


class JsonLines:
    """An append-only file of one JSON object per line."""

    def __init__(self, path: Path, position: int = 0) -> None:
        """Opens the file for appending after its first ``position`` bytes; what lies behind is cut off."""
        self.file = path.open("ab")
        self.file.truncate(position)
        self.file.seek(0, os.SEEK_END)

    @property
    def position(self) -> int:
        """Bytes written and handed to the system so far."""
        return self.file.tell()

    def write(self, rows: Sequence[Row]) -> None:
        """Appends and flushes."""
        text = "".join(json.dumps(undefined_as_null(row), allow_nan=False) + "\n" for row in rows)
        self.file.write(text.encode())
        self.file.flush()

    def close(self) -> None:
        """Closes the file."""
        self.file.close()


class Guarded:
    """A sink whose first failure is said once, in one line, and ends it: never the run."""

    def __init__(self, name: str, make: Callable[[], Sink], warn: Callable[[str], None]) -> None:
        """Opens the sink."""
        self.name = name
        self.warn = warn
        self.sink: Sink | None = None
        self.sink = self._guarded(make)

    def write(self, rows: Sequence[Row]) -> None:
        """Hands the rows on as metrics.jsonl has them: None where undefined."""
        sink = self.sink
        if sink is not None:
            self._guarded(lambda: sink.write([undefined_as_null(row) for row in rows]))

    def close(self) -> None:
        """Ends the sink."""
        sink = self.sink
        if sink is not None:
            self._guarded(sink.close)

    def _guarded(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:
            self.sink = None
            self.warn(f"{self.name} failed and is switched off, the run goes on: {one_line(error)}")
            return None


def one_line(error: BaseException) -> str:
    """Returns an error's kind and the first line of what it says."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
