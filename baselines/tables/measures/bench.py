"""Cells measured by `shoal bench env`: steps per second, a matter of the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shoal.baselines.tables.catalogue import Cell
from shoal.baselines.tables.measures.base import Deadline, Measure, Settings, needed, picked
from shoal.envs.core.errors import UserError


class Bench(Measure):
    """Steps per second of ``env`` with ``num_envs`` environments.

    Settings: ``env``, ``num_envs``, ``repeats`` (3), ``seconds`` (of each, 2).
    """

    unit = "repeat"

    def settings(self, cell: Cell) -> Settings:
        """See `Measure`."""
        needed(cell, "env", "num_envs")
        return picked(cell, ("env", "num_envs"), {"repeats": 3, "seconds": 2.0})

    def run(self, settings: Settings, folder: Path, deadline: Deadline, core: int | None) -> bool:
        """See `Measure`."""
        words = ["bench", "env", settings["env"], "--num-envs", str(settings["num_envs"]), "--json"]
        words += ["--repeats", str(settings["repeats"]), "--seconds", str(settings["seconds"])]
        command = [sys.executable, "-m", "shoal.baselines.cli", *words]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise UserError(f"shoal {' '.join(words)} failed: {done.stderr.strip().splitlines()[-1:]}")
        (folder / "bench.json").write_text(done.stdout)
        return True

    def read(self, settings: Settings, folder: Path, cells: Sequence[Cell]) -> dict[str, list[float]]:
        """See `Measure`."""
        (row,) = json.loads((folder / "bench.json").read_text())["rows"]
        return {cell.id: list(row["repeats"]) for cell in cells}

    def record(self, settings: Settings, folder: Path) -> Mapping[str, Any]:
        """See `Measure`."""
        return {"machine": json.loads((folder / "bench.json").read_text())["machine"]}
