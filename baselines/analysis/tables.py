"""A report as tables on the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shoal.baselines.output import number, print_table


def print_report(report: Mapping[str, Any]) -> None:
    """Prints the table of restraint, where there is one, and of every mixture what came of it."""
    if "restraint" in report:
        _print_restraint(report)
        if report["published"] and report["published"]["rows"]:
            _print_published(report)
    for diagram in report["mixed"]:
        _print_diagram(diagram, report)


def _print_restraint(report: Mapping[str, Any]) -> None:
    columns, rows = report["restraint"]["columns"], report["restraint"]["rows"]
    by = report["column"]
    heads = ["restraint"] if by is None else [f"{value:g}" for value in columns]
    cells = [(row, *map(_restraint, found)) for row, found in rows.items()]
    title = f"{report['env']}: mean restraint{f' by {by}' if by else ''} (cooperators/defectors)"
    print_table(title, ("", *heads), cells, right=tuple(range(1, len(heads) + 1)))


def _restraint(cell: Mapping[str, Any]) -> str:
    if cell["mean"] is None:
        return "-"
    return f"{cell['mean']:.2f} ({cell['cooperators']}/{cell['defectors']})"


def _print_published(report: Mapping[str, Any]) -> None:
    columns = report["restraint"]["columns"]
    rows = []
    for row, cells in report["published"]["rows"].items():
        rows.append((row, "published", *(number(cell["published"], 2) for cell in cells)))
        rows.append(("", "ours", *(number(cell["ours"], 2) for cell in cells)))
        rows.append(("", "verdict", *(_verdict(cell) for cell in cells)))
    heads = ("", report["column"], *(f"{value:g}" for value in columns))
    title = f"Beside what was published: {report['published']['source']}"
    print_table(title, heads, rows, right=tuple(range(2, len(heads))))


def _verdict(cell: Mapping[str, Any]) -> str:
    return "-" if cell["verdict"] is None else f"{cell['verdict']} ({cell['rule']})"


def _print_diagram(diagram: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    count = len(diagram["overall"])
    rows = [
        (
            str(c),
            str(diagram["runs"][c]),
            _spread(diagram, "cooperator", c),
            _spread(diagram, "defector", c),
            _spread(diagram, "overall", c),
            number(diagram["cooperator_restraint"][c], 2),
            number(diagram["defector_restraint"][c], 2),
        )
        for c in range(count)
    ]
    heads = ("c", "runs", "R_c(c)", "R_d(c)", "all", "restraint of cooperators", "of defectors")
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in diagram["numbers"].items())
    title = f"{report['env']}: {diagram['name']}, payoffs when c agents cooperate ({numbers})"
    print_table(title, heads, rows, right=tuple(range(1, len(heads))))
    _print_payoffs(diagram)
    held = diagram["conditions"]
    shown = ("c1", "c2", "c3", "fear", "greed")
    print("  ".join(f"{name} {number(held[name])}" for name in shown))
    published = f"as published, by c1, c2, c3: {_yes(held['published_dilemma'])}"
    print(f"social dilemma: {_yes(held['dilemma'])} ({published})")
    print(f"pattern of temptations: {held['pattern'] or 'unknown'}")
    found = ", ".join(map(str, diagram["equilibria"])) or "none found"
    print(f"cooperators in equilibria: {found}\n")


def _print_payoffs(diagram: Mapping[str, Any]) -> None:
    names = ("others", "cooperate", "defect", "temptation")
    rows = [(str(row["others"]), *(number(row[name]) for name in names[1:])) for row in diagram["payoffs"]]
    print_table("What one agent chooses between, by others who cooperate", names, rows, right=range(4))


def _spread(diagram: Mapping[str, Any], kind: str, place: int) -> str:
    mean, std = diagram[kind][place], diagram[f"{kind}_std"][place]
    return "-" if math.isnan(mean) else f"{mean:.3f} ± {std:.3f}"


def _yes(value: bool | None) -> str:
    return "unknown" if value is None else "yes" if value else "no"
