"""Pictures of a comparison: learning curves, the performance profile, and interquartile means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Okabe and Ito 2008, without the yellow that white paper swallows; then once more, dashed.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", ":")
Style = dict[str, Any]


def figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the figures of a report with ``curves`` and ``profiles``, by the names of their files."""
    styles = styles_of(report["algorithms"])
    label = report["metric"] + (" (normalised)" if report["normalised"] else "")
    drawn = {
        "profile": profile_figure(report["profiles"], styles, label),
        "iqm": iqm_figure(report["cells"], styles, label),
    }
    if report["curves"]:
        drawn["curves"] = curves_figure(report["curves"], styles, label)
    return drawn


def styles_of(names: Iterable[str]) -> dict[str, Style]:
    """Returns a colour and a kind of line for each name."""
    return {
        name: {"color": COLOURS[i % len(COLOURS)], "linestyle": STYLES[i // len(COLOURS) % len(STYLES)]}
        for i, name in enumerate(names)
    }


def curves_figure(curves: Sequence[Mapping[str, Any]], styles: Mapping[str, Style], label: str) -> Any:
    """Draws interquartile means over runs by environment steps, one picture for each task."""
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(curve["task"] for curve in curves))
    columns = min(3, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    figure = Figure(figsize=(1.2 + 4.2 * columns, 3.4 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for task, axes in zip(tasks, grid.flat, strict=False):
        for curve in curves:
            if curve["task"] == task:
                x, style = curve["env_steps"], styles[curve["algorithm"]]
                axes.plot(x, curve["iqm"], label=curve["algorithm"], **style)
                axes.fill_between(
                    x, curve["low"], curve["high"], color=style["color"], alpha=0.15, linewidth=0
                )
        axes.set(title=task, xlabel="environment steps", ylabel=label)
        axes.locator_params(axis="x", nbins=5)
        axes.legend(frameon=False, fontsize="small")
    for axes in grid.flat[len(tasks) :]:
        axes.set_visible(False)
    return figure


def profile_figure(profiles: Sequence[Mapping[str, Any]], styles: Mapping[str, Style], label: str) -> Any:
    """Draws which share of runs scores at least so much."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for profile in profiles:
        x, style = profile["thresholds"], styles[profile["algorithm"]]
        axes.plot(x, profile["shares"], label=profile["algorithm"], drawstyle="steps-pre", **style)
        axes.fill_between(
            x, profile["low"], profile["high"], step="pre", color=style["color"], alpha=0.15, linewidth=0
        )
    axes.set(xlabel=f"{label} of at least", ylabel="share of runs", ylim=(-0.02, 1.02))
    axes.legend(frameon=False, fontsize="small")
    return figure


def iqm_figure(cells: Sequence[Mapping[str, Any]], styles: Mapping[str, Style], label: str) -> Any:
    """Draws interquartile means with their intervals, one picture for each task and one for all."""
    from matplotlib.figure import Figure

    means = [cell for cell in cells if cell["statistic"] == "iqm"]
    tasks = list(dict.fromkeys(cell["task"] for cell in means))
    height = 0.9 + 0.35 * len(styles)
    figure = Figure(figsize=(6.0, height * len(tasks)), layout="constrained")
    names = list(styles)
    for task, axes in zip(tasks, figure.subplots(len(tasks), 1, squeeze=False).flat, strict=True):
        for cell in means:
            if cell["task"] == task:
                y, (low, high) = names.index(cell["algorithm"]), cell["ci95"]
                colour = styles[cell["algorithm"]]["color"]
                axes.plot([low, high], [y, y], color=colour, linewidth=7, alpha=0.35, solid_capstyle="butt")
                axes.plot(cell["ours"], y, marker="|", markersize=12, markeredgewidth=2, color=colour)
        axes.set_yticks(range(len(names)), names)
        axes.set(ylim=(len(names) - 0.5, -0.5), title=task or "all tasks")
    axes.set_xlabel(f"{label}, interquartile mean and 95 % interval")
    return figure
