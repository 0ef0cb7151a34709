"""Cells of a table of restraint: a learner trained at every value of an environment's number, then played."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shoal.baselines.tables.catalogue import Cell
from shoal.baselines.tables.measures.base import Deadline, Settings, needed, picked
from shoal.baselines.tables.measures.train import Train


class Restraint(Train):
    """Mean restraint of each seed's model over agents and ``episodes`` (20).

    Settings: those of `Train`; ``swept``, the numbers that the columns are. A cell reads ``value`` of
    ``number``, which its column is.
    """

    def settings(self, cell: Cell) -> Settings:
        """See `Measure`: one run for a row, all columns side by side."""
        needed(cell, "overrides", "number", "swept", "value")
        values = ",".join(f"{value:g}" for value in cell.settings["swept"])
        found = picked(cell, ("overrides",), {"seeds": 1, "changes": [], "episodes": 20})
        sweep = f"sweep.env.{cell.settings['number']}=[{values}]"
        return found | {"overrides": [*found["overrides"], sweep]}

    def run(self, settings: Settings, folder: Path, deadline: Deadline, core: int | None) -> bool:
        """See `Measure`."""
        if not super().run(settings, folder, deadline, core):
            return False
        from shoal.baselines.analysis.play import Terms
        from shoal.baselines.analysis.report import analyse_runs
        from shoal.baselines.analysis.restraint import Thresholds
        from shoal.baselines.output import plain

        terms = Terms(episodes=settings["episodes"])
        report = analyse_runs([str(folder / "run")], {}, terms, Thresholds(), mix=False)
        (folder / "restraint.json").write_text(json.dumps(plain(report["models"])))
        return True

    def read(self, settings: Settings, folder: Path, cells: Sequence[Cell]) -> dict[str, list[float]]:
        """See `Measure`."""
        models = json.loads((folder / "restraint.json").read_text())
        return {
            cell.id: [
                float(np.mean(model["restraint"]))
                for model in models
                if np.isclose(model["numbers"][cell.settings["number"]], cell.settings["value"], rtol=1e-4)
            ]
            for cell in cells
        }

    def record(self, settings: Settings, folder: Path) -> Mapping[str, Any]:
        """See `Measure`: without curves, of which there are as many as cells times seeds."""
        return {"config": super().record(settings, folder)["config"]}
