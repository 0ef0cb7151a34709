"""Cells measured by training and then playing what was trained, on terms of the table's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shoal.baselines.tables.catalogue import Cell
from shoal.baselines.tables.measures.base import Deadline, Settings, picked
from shoal.baselines.tables.measures.train import Train
from shoal.envs.core.errors import UserError


class Trained(Train):
    """Mean of ``metric`` over ``episodes`` (200) of each seed's best policy, judged as its preset says.

    Settings: those of `Train`; ``options`` of the environment that are laid over those of the training, where
    a published score is taken under others than one learns best with.
    """

    def settings(self, cell: Cell) -> Settings:
        """See `Measure`."""
        return super().settings(cell) | picked(cell, (), {"episodes": 200, "options": {}})

    def run(self, settings: Settings, folder: Path, deadline: Deadline, core: int | None) -> bool:
        """See `Measure`; the play at the end is short and not interrupted."""
        if not super().run(settings, folder, deadline, core):
            return False
        from shoal.baselines.config import hashable
        from shoal.baselines.evaluation import play_episodes
        from shoal.baselines.policies import find_player

        means = []
        for member in range(settings["seeds"]):
            player = find_player(f"{folder / 'run'}@{member}", None, hashable(settings["options"]))
            records = play_episodes(player, settings["episodes"], greedy=player.greedy)
            means.append({name: float(np.nanmean(values)) for name, values in records.items()})
        (folder / "means.json").write_text(json.dumps(means))
        return True

    def read(self, settings: Settings, folder: Path, cells: Sequence[Cell]) -> dict[str, list[float]]:
        """See `Measure`."""
        means = json.loads((folder / "means.json").read_text())
        for cell in cells:
            if cell.settings["metric"] not in means[0]:
                raise UserError(f"{cell.id}: the environment has no metric {cell.settings['metric']!r}")
        return {cell.id: [mean[cell.settings["metric"]] for mean in means] for cell in cells}
