"""Where rows go: metrics.jsonl (the record), the terminal and Weights & Biases (copies)."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from shoal.baselines.config import LoggerConfig
from shoal.baselines.rows import Row


class Sink(Protocol):
    """Somewhere that rows go."""

    def write(self, rows: Sequence[Row]) -> None:
        """Takes the rows of one log interval, one per member."""
        ...

    def close(self) -> None:
        """Ends."""
        ...


def undefined_as_null(value: Any) -> Any:
    """Turns NaN and infinities, which JSON lacks, into None, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: undefined_as_null(v) for k, v in value.items()}
    return [undefined_as_null(v) for v in value] if isinstance(value, list | tuple) else value


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


class WandbSink:
    """A copy on Weights & Biases; its first failure is said once and ends it, never the run."""

    def __init__(
        self, config: LoggerConfig, folder: Path, values: Mapping[str, Any], warn: Callable[[str], None]
    ):
        """Starts a run online, or offline where there is no account or no network."""
        self.warn = warn
        self.run: Any = None
        self._guarded(lambda: self._start(config, folder, values))

    def _start(self, config: LoggerConfig, folder: Path, values: Mapping[str, Any]) -> None:
        import wandb

        mode: Any = os.environ.get("WANDB_MODE") or config.mode
        if mode == "auto":
            mode = "online" if wandb.api.api_key else "offline"
        common: dict[str, Any] = {
            "project": config.project,
            "entity": config.entity,
            "tags": list(config.tags),
            "name": folder.name,
            "dir": str(folder),
            "config": dict(values),
        }
        settings = wandb.Settings(init_timeout=20, console="off", silent=True)
        try:
            self.run = wandb.init(mode=mode, settings=settings, **common)
        except Exception as error:
            if mode != "online":
                raise
            self.warn(f"W&B cannot be reached ({_line(error)}); writing an offline run instead")
            self.run = wandb.init(mode="offline", settings=settings, **common)

    def write(self, rows: Sequence[Row]) -> None:
        """Logs all members at the step they share."""
        if self.run is None:
            return
        flat = {
            (key if len(rows) == 1 else f"member{row['member']}/{key}"): value
            for row in rows
            for key, value in row.items()
            if value is not None
        }
        self._guarded(lambda: self.run.log(flat, step=rows[0]["update"]))

    def close(self) -> None:
        """Finishes the run."""
        if self.run is not None:
            self._guarded(lambda: self.run.finish())

    def _guarded(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:
            self.run = None
            self.warn(f"W&B failed and is switched off, the run goes on: {_line(error)}")


class Figures(ProgressColumn):
    """A task's figures; the seconds that it has taken where its end is not known."""

    def render(self, task: Task) -> Text:
        """As rich asks for it."""
        return Text(task.fields.get("figures", "") if task.total else f"{task.elapsed or 0.0:.0f} s")


class Display:
    """What a person sees on standard error: a live bar in a terminal, else a line now and then."""

    EVERY = 10.0  # seconds between lines where there is no terminal

    def __init__(self, total_steps: int) -> None:
        """Shows nothing yet."""
        self.console = Console(file=sys.stderr)
        self.live = self.console.is_terminal
        self.total = total_steps
        self.last_line = time.monotonic()
        self.progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=10),
            Figures(),
            console=self.console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.task: TaskID | None = None

    def say(self, line: str) -> None:
        """Prints a line above the bar."""
        self.console.print(Text(line), soft_wrap=True)

    def __enter__(self) -> Display:
        """Starts the bar."""
        if self.live:
            self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Removes the bar."""
        if self.live:
            self.progress.stop()

    def waiting(self, what: str) -> Waiting:
        """Returns a context that shows ``what, n s`` while something without a known end goes on."""
        return Waiting(self, what)

    def training(self, row: Mapping[str, Any], steps: int, rate: float, left: float) -> None:
        """Shows how far the run is.

        Args:
            row: means over members by the names of metrics.jsonl.
            steps: environment steps so far, of one member.
            rate: environment steps per second, all members together.
            left: seconds left.
        """
        names = {"episode_return": "return", "win_rate": "win rate"}
        figures = [f"{steps:,} steps", f"{rate:,.0f} steps/s", f"ETA {_clock(left)}"]
        figures += [f"{text} {row[name]:.3g}" for name, text in names.items() if row.get(name) is not None]
        if self.live:
            if self.task is None:
                self.task = self.progress.add_task("training", total=self.total)
            self.progress.update(self.task, completed=steps, figures="  ".join(figures))
        elif time.monotonic() - self.last_line > self.EVERY or steps >= self.total:
            self.last_line = time.monotonic()
            self.say("  ".join(figures))


class Waiting:
    """Shows that something is going on, for how long, and how long it took."""

    def __init__(self, display: Display, what: str) -> None:
        """Shows nothing yet."""
        self.display = display
        self.what = what
        self.seconds = 0.0

    def __enter__(self) -> Waiting:
        """Starts the clock."""
        self.began = time.monotonic()
        if self.display.live:
            self.task = self.display.progress.add_task(f"{self.what},", total=None)
        return self

    def __exit__(self, *_: object) -> None:
        """Stops the clock."""
        self.seconds = time.monotonic() - self.began
        if self.display.live:
            self.display.progress.remove_task(self.task)


def _clock(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "?"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
