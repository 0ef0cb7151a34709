"""Cells measured by playing: scripted policies, planners, pretrained ones."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from shoal.baselines.tables.catalogue import Cell
from shoal.baselines.tables.measures.base import Deadline, Measure, Settings, needed, picked
from shoal.envs.core.errors import UserError


class Play(Measure):
    """Whole episodes of ``policy`` in ``env`` with ``options``; a cell reads ``metric``.

    Settings: ``env``, ``policy``, ``episodes`` (default 200), ``options``, ``greedy`` (true), ``seed`` (0).
    """

    unit = "episode"

    def settings(self, cell: Cell) -> Settings:
        """See `Measure`."""
        needed(cell, "env", "policy", "metric")
        defaults: Settings = {"episodes": 200, "options": {}, "greedy": True, "seed": 0}
        return picked(cell, ("env", "policy"), defaults)

    def run(self, settings: Settings, folder: Path, deadline: Deadline, core: int | None) -> bool:
        """See `Measure`; one play is short and not interrupted."""
        from shoal.baselines.config import hashable
        from shoal.baselines.evaluation import play_episodes
        from shoal.baselines.output import plain
        from shoal.baselines.policies import find_player

        player = find_player(settings["env"], settings["policy"], hashable(settings["options"]))
        records = play_episodes(
            player, settings["episodes"], greedy=settings["greedy"], seed=settings["seed"]
        )
        _values(folder).write_text(json.dumps({name: plain(v) for name, v in records.items()}))
        return True

    def read(self, settings: Settings, folder: Path, cells: Sequence[Cell]) -> dict[str, list[float]]:
        """See `Measure`."""
        found = json.loads(_values(folder).read_text())
        for cell in cells:
            if cell.settings["metric"] not in found:
                raise UserError(f"{cell.id}: {settings['env']} has no metric {cell.settings['metric']!r}")
        return {
            cell.id: [v for v in found[cell.settings["metric"]] if v is not None and math.isfinite(v)]
            for cell in cells
        }


def _values(folder: Path) -> Path:
    return folder / "episodes.json"
