"""What a person sees of a run, on standard error."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text


class Figures(ProgressColumn):
    """A task's figures; the seconds that it has taken where its end is not known."""

    def render(self, task: Task) -> Text:
        """As rich asks for it."""
        return Text(task.fields.get("figures", "") if task.total else f"{task.elapsed or 0.0:.0f} s")


class Display:
    """What a person sees on standard error: a live bar in a terminal, else a line now and then."""

    EVERY = 10.0  # seconds between lines where there is no terminal

    def __init__(self, total_steps: int, enabled: bool = True) -> None:
        """Shows nothing yet; where not ``enabled``, only what is said, no progress."""
        self.console = Console(file=sys.stderr)
        self.enabled = enabled
        self.live = enabled and self.console.is_terminal
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
        elif self.enabled and (time.monotonic() - self.last_line > self.EVERY or steps >= self.total):
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
