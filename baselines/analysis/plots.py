"""Pictures of a report: a Schelling diagram of every mixture, and the table of restraint, as PNG and SVG."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shoal.envs.core import UserError

COLOURS = {"cooperator": "#0072B2", "defector": "#D55E00", "overall": "#777777"}
WORDS = {"cooperator": "who cooperates", "defector": "who defects", "overall": "all agents, mean"}
KINDS = ("png", "svg")


def require_matplotlib() -> None:
    """Says before anything is played what plots need.

    Raises:
        UserError: when matplotlib is missing.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UserError("plots need matplotlib: pip install 'shoal[viz]', or leave --output out") from None


def save_plots(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draws everything that a report holds.

    Raises:
        UserError: when the folder cannot be written to.
    """
    figures = {f"schelling-{_slug(d['name'])}": schelling_figure(d, report["env"]) for d in report["mixed"]}
    if len(report.get("restraint", {}).get("columns", ())) > 1:
        figures["restraint"] = restraint_figure(report)
    return save_figures(figures, folder)


def save_figures(figures: Mapping[str, Any], folder: Path, kinds: Sequence[str] = KINDS) -> list[Path]:
    """Writes figures by name, each as PNG and SVG; the same figures are the same files.

    Raises:
        UserError: when the folder cannot be written to.
    """
    import matplotlib

    files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "shoal"}):  # else its names are drawn
            for name, figure in figures.items():
                for kind in kinds:
                    files.append(folder / f"{name}.{kind}")
                    figure.savefig(files[-1], dpi=150, metadata={"Date": None} if kind == "svg" else None)
    except OSError as error:
        raise UserError(f"{folder} cannot be written to: {error.strerror}") from error
    return files


def schelling_figure(diagram: Mapping[str, Any], title: str) -> Any:
    """Draws payoffs with bands of one standard deviation over runs, twice.

    On the left what one agent chooses between, by the number of others who cooperate; on the right the mean
    of all agents, by the number of all who do.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.8), layout="constrained")
    one, everybody = figure.subplots(1, 2, sharey=True)
    _line(one, "cooperator", diagram, shift=-1)  # a cooperator does not count among its others
    _line(one, "defector", diagram)
    _line(everybody, "overall", diagram)
    agents = len(diagram["overall"]) - 1
    for axes, most, label in ((one, agents - 1, "others who cooperate"), (everybody, agents, "cooperators")):
        axes.set_xlabel(label)
        axes.set_xticks(range(most + 1))
        axes.legend(frameon=False, fontsize="small")
    one.set_ylabel("payoff")
    figure.suptitle(f"{title}: {diagram['name']}")
    return figure


def _line(axes: Any, kind: str, diagram: Mapping[str, Any], shift: int = 0) -> None:
    x, mean, std = [], [], []
    for count, value in enumerate(diagram[kind]):
        if not math.isnan(value):
            x.append(count + shift)
            mean.append(value)
            std.append(diagram[f"{kind}_std"][count])
    axes.plot(x, mean, marker="o", markersize=4, color=COLOURS[kind], label=WORDS[kind])
    low, high = ([m + sign * s for m, s in zip(mean, std, strict=True)] for sign in (-1.0, 1.0))
    axes.fill_between(x, low, high, color=COLOURS[kind], alpha=0.15, linewidth=0)


def restraint_figure(report: Mapping[str, Any]) -> Any:
    """Draws the table of restraint as a heat map; where a reading was published it stands in brackets."""
    from matplotlib.figure import Figure

    columns, rows = report["restraint"]["columns"], report["restraint"]["rows"]
    published = (report["published"] or {"rows": {}})["rows"]
    figure = Figure(figsize=(1.8 + 0.9 * len(columns), 1.4 + 0.5 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    values = [
        [math.nan if cell["mean"] is None else cell["mean"] for cell in cells] for cells in rows.values()
    ]
    image = axes.imshow(values, vmin=0.0, vmax=1.0, cmap="viridis", aspect="auto")
    for y, (row, cells) in enumerate(rows.items()):
        readings = published.get(row, [{"published": None}] * len(cells))
        for x, (cell, known) in enumerate(zip(cells, readings, strict=True)):
            if cell["mean"] is not None:
                words = f"{cell['mean']:.2f}"
                words += "" if known["published"] is None else f"\n[{known['published']:.2f}]"
                colour = "white" if cell["mean"] < 0.6 else "black"
                axes.text(x, y, words, ha="center", va="center", color=colour, fontsize="small")
    axes.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_xlabel(report["column"])
    figure.colorbar(image, label="restraint")
    figure.suptitle(report["env"])
    return figure


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.=-]+", "-", name).strip("-")
