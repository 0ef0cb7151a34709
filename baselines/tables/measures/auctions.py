"""Cells of a table of one-shot auctions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from shoal.baselines.tables.catalogue import Cell
from shoal.baselines.tables.measures.base import Deadline, Measure, Settings, needed, picked


class Auctions(Measure):
    """A cell reads ``metric`` of ``mechanism``, scored as published.

    Settings: ``classes`` (requests of each scheduling class), ``weights``, ``seeds`` (markets and draws).
    """

    unit = "seed"

    def settings(self, cell: Cell) -> Settings:
        """See `Measure`."""
        keys = ("mechanism", "classes", "weights", "seeds")
        needed(cell, *keys, "metric")
        return picked(cell, keys, {})

    def run(self, settings: Settings, folder: Path, deadline: Deadline, core: int | None) -> bool:
        """See `Measure`."""
        from shoal.baselines.tables.auctions import played

        seeds, weights = range(settings["seeds"]), tuple(settings["weights"])
        scores = played(settings["mechanism"], seeds, settings["classes"], weights, "published")
        (folder / "scores.json").write_text(json.dumps([asdict(one) for one in scores]))
        return True

    def read(self, settings: Settings, folder: Path, cells: Sequence[Cell]) -> dict[str, list[float]]:
        """See `Measure`."""
        scores = json.loads((folder / "scores.json").read_text())
        return {cell.id: [row[cell.settings["metric"]] for row in scores] for cell in cells}
