"""Pictures of a table's trained cells, as `shoal compare` draws them: curves and performance profiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shoal.baselines import statistics
from shoal.baselines.tables.assess import Assessment, Results


def save_pictures(
    found: Sequence[Assessment], results: Results, folder: Path, prefix: str = ""
) -> list[Path]:
    """Writes ``curves.svg`` and ``profile.svg`` where there is something to draw, and matplotlib to draw it.

    Raises:
        UserError: when the folder cannot be written to.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return []
    from shoal.baselines.analysis.plots import save_figures
    from shoal.baselines.comparison import profiles_of
    from shoal.baselines.comparison_plots import curves_figure, profile_figure, styles_of

    curves, scores = _curves(found, results), scores_of(found)
    figures = {}
    if curves:
        styles = styles_of(dict.fromkeys(curve["algorithm"] for curve in curves))
        figures[f"{prefix}curves"] = curves_figure(curves, styles, "headline metric")
    if len(scores) > 1:
        figures[f"{prefix}profile"] = profile_figure(profiles_of(scores), styles_of(scores), "score")
    return save_figures(figures, folder, kinds=("svg",))


def scores_of(found: Sequence[Assessment]) -> dict[str, list[tuple[float, ...]]]:
    """Returns row -> the values of its seeds in each column, for rows with several seeds in every column."""
    columns = list(dict.fromkeys(one.cell.column for one in found))
    rows: dict[str, dict[str, tuple[float, ...]]] = {}
    for one in found:
        if one.unit == "seed" and len(one.values) > 1 and not one.cell.exact:
            rows.setdefault(one.cell.row, {})[one.cell.column] = one.values
    return {row: list(cells.values()) for row, cells in rows.items() if list(cells) == columns}


def _curves(found: Sequence[Assessment], results: Results) -> list[dict[str, Any]]:
    """Returns interquartile means over the seeds of each cell, of the headline metric."""
    curves: dict[tuple[str, str], dict[str, Any]] = {}
    for one in found:
        records = [result["record"] for result in results.get(one.cell.id, ())]
        seeds = [seed for record in records for seed in record.get("curves") or ()]
        lines = [np.asarray(list(seed["points"].values())[-1]) for seed in seeds]
        length = min((len(line) for line in lines), default=0)
        if not length:
            continue
        values = np.stack([line[:length, 1] for line in lines])  # [seeds, points]
        bands = [statistics.stratified_interval([point]) for point in values.T]
        curves[one.cell.row, one.cell.column] = {
            "task": one.cell.column,
            "algorithm": one.cell.row,
            "env_steps": lines[0][:length, 0],
            "iqm": statistics.iqm(values, axis=0),
            "low": [low for low, _ in bands],
            "high": [high for _, high in bands],
        }
    return list(curves.values())
