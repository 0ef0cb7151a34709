"""A copy for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shoal.baselines.loggers.sinks import Row, RunInfo, numbers_of

SKIPPED = ("member", "seed", "update", "env_steps")  # what tells rows apart, and the step itself


class TensorBoardSink:
    """Scalars over environment steps below RUN/tensorboard, one folder per member."""

    def __init__(self, run: RunInfo) -> None:
        """Opens the writers; what a resume writes again is struck out."""
        from tensorboardX import SummaryWriter

        self.writers = []
        for member, steps in zip(run.members, run.env_steps, strict=True):
            swept = [f"{k.partition('.')[2]}{v:g}" for k, v in member.items() if k.startswith("algorithm.")]
            folder = run.folder / "tensorboard" / "-".join([f"seed{member['seed']}", *swept])
            purge: dict[str, Any] = {"purge_step": steps + 1} if run.resumed else {}
            self.writers.append(SummaryWriter(str(folder), **purge))

    def write(self, rows: Sequence[Row]) -> None:
        """Adds one point to every curve."""
        for writer, row in zip(self.writers, rows, strict=True):
            for name, value in numbers_of(row).items():
                if name not in SKIPPED:
                    writer.add_scalar(name, value, row["env_steps"])

    def close(self) -> None:
        """Flushes and closes."""
        for writer in self.writers:
            writer.close()
