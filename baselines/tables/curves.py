"""Pictures of a table's trained cells: learning curves with bands, and how rows compare over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shoal.baselines.statistics import bootstrap_interval, performance_profile, probability_of_improvement
from shoal.baselines.tables.assess import Assessment
from shoal.baselines.tables.catalogue import Table
from shoal.baselines.tables.works import Result

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#777777", "#000000")


def save_curves(
    table: Table,
    found: Sequence[Assessment],
    results: Mapping[str, Result],
    folder: Path,
    prefix: str = "",
) -> list[Path]:
    """Draws what training left, as SVG files in a folder; nothing without matplotlib or trained cells."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return []
    lines = _lines(found, results)
    scores = _scores(table, found)
    drawings = {}
    if lines:
        drawings["curves"] = lambda figure: _draw_curves(figure, lines)
    if len(scores) > 1:
        drawings["comparison"] = lambda figure: _draw_comparison(figure, scores)
    files = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in drawings.items():
        figure = Figure(figsize=(8.4, 3.8), layout="constrained")
        draw(figure)
        files.append(folder / f"{prefix}{name}.svg")
        figure.savefig(files[-1], metadata={"Date": None})  # the same results are the same file
    return files


def _lines(found: Sequence[Assessment], results: Mapping[str, Result]) -> dict[str, list[dict[str, Any]]]:
    """Returns row -> the curves of its seeds, one work for each row."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        curves = results.get(one.cell.id, {}).get("record", {}).get("curves")
        if curves:
            lines.setdefault(one.cell.row, curves)
    return lines


def _scores(table: Table, found: Sequence[Assessment]) -> dict[str, dict[str, tuple[float, ...]]]:
    """Returns row -> column -> values of seeds, where every row has several seeds in every column."""
    columns = list(dict.fromkeys(one.cell.column for one in found))
    rows: dict[str, dict[str, tuple[float, ...]]] = {}
    for one in found:
        if one.unit == "seed" and len(one.values) > 1 and not one.cell.exact:
            rows.setdefault(one.cell.row, {})[one.cell.column] = one.values
    return {row: cells for row, cells in rows.items() if list(cells) == columns}


def _draw_curves(figure: Any, lines: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draws mean and bootstrap band over seeds of the last metric that all curves have (the headline)."""
    metric = list(next(iter(lines.values()))[0]["points"])[-1]
    axes = figure.subplots()
    for number, (row, curves) in enumerate(lines.items()):
        seeds = [np.asarray(curve["points"].get(metric, [])) for curve in curves]
        length = min((len(seed) for seed in seeds), default=0)
        if not length:
            continue
        steps = seeds[0][:length, 0]
        values = np.stack([seed[:length, 1] for seed in seeds])  # [seeds, points]
        colour = PALETTE[number % len(PALETTE)]
        axes.plot(steps, values.mean(0), color=colour, label=f"{row} ({len(seeds)})")
        if len(seeds) > 1:
            bands = np.asarray([bootstrap_interval(point) for point in values.T])
            axes.fill_between(steps, bands[:, 0], bands[:, 1], color=colour, alpha=0.2, linewidth=0)
    axes.set_xlabel("environment steps")
    axes.set_ylabel(metric)
    axes.legend(fontsize=8, title="row (seeds)")


def _draw_comparison(figure: Any, scores: Mapping[str, Mapping[str, tuple[float, ...]]]) -> None:
    """Draws performance profiles, and how probably each row is above the first."""
    left, right = figure.subplots(1, 2)
    everything = np.concatenate([value for cells in scores.values() for value in cells.values()])
    thresholds = np.linspace(everything.min(), everything.max(), 60)
    first, *others = scores
    for number, (row, cells) in enumerate(scores.items()):
        shares, low, high = performance_profile(list(cells.values()), thresholds)
        colour = PALETTE[number % len(PALETTE)]
        left.step(thresholds, shares, color=colour, label=row, where="post")
        left.fill_between(thresholds, low, high, color=colour, alpha=0.15, linewidth=0, step="post")
    left.set_xlabel("score")
    left.set_ylabel("share of runs at or above")
    left.legend(fontsize=7)
    for number, row in enumerate(others, 1):
        better, ends = probability_of_improvement(list(scores[row].values()), list(scores[first].values()))
        right.plot(ends, [number, number], color=PALETTE[number % len(PALETTE)], linewidth=3)
        right.plot(better, number, "o", color=PALETTE[number % len(PALETTE)])
    right.axvline(0.5, color="#999", linewidth=1)
    right.set_xlim(0, 1)
    right.set_yticks(range(1, len(others) + 1), others)
    right.set_xlabel(f"probability of being above {first}")
