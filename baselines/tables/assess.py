"""What a measured cell is worth: its class, and in a word how ours stands to the published number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shoal.baselines.statistics import summarise
from shoal.baselines.tables.catalogue import Cell, Scale, Table
from shoal.baselines.tables.measures import MEASURES
from shoal.baselines.tables.works import Result, Work

Results = Mapping[str, Sequence[Result]]
"""Cell id -> the results that hold its values: several where its seeds ran apart."""
CLASSES = {
    "A": "agrees with the original to the last printed digit, nothing being drawn",
    "B": "inside the published interval: at most two combined standard errors apart",
    "C": "stands to the table's other rows as published, at another level",
    "D": "no number was published; ours is the reference",
    "open": "measured, and none of these",
    "not run": "not measured at a scale that is judged",
}
"""Best first."""
COMBINED_ERRORS = 2.0
MIN_OTHERS = 2  # an order of fewer comes right by chance too often


@dataclass(frozen=True)
class Assessment:
    """A cell beside what came of it."""

    cell: Cell
    scale: str
    grade: str  # of `CLASSES`
    verdict: str  # agrees, ordering, reference, differs, flagged, few seeds, too small a budget, not run
    why: str = ""
    values: tuple[float, ...] = ()
    unit: str = "seed"
    mean: float | None = None
    iqm: float | None = None
    ci95: tuple[float, float] | None = None
    error: float | None = None  # standard error of our mean

    @property
    def rank(self) -> int:
        """0 is best."""
        return list(CLASSES).index(self.grade)

    def to_json(self) -> dict[str, Any]:
        """Returns what ``--json`` prints of a cell."""
        cell = self.cell
        return {
            "id": cell.id,
            "table": cell.table,
            "row": cell.row,
            "column": cell.column,
            "scale": self.scale,
            "published": cell.published,
            "derived": cell.derived,
            "published_error": cell.error,
            "published_within": cell.within,
            "ours": self.mean,
            "iqm": self.iqm,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "error": self.error,
            "runs": len(self.values),
            "unit": self.unit,
            "class": self.grade,
            "verdict": self.verdict,
            "why": self.why,
        }


def assess(table: Table, cells: Iterable[Cell], scale: Scale, results: Results) -> list[Assessment]:
    """Judges cells by the results that are there.

    Args:
        table: whose cells they are.
        cells: of the table, each once.
        scale: at which they were measured.
        results: from `by_cell`.

    Returns:
        An assessment of each cell, in order.
    """
    # Once for each result, which many cells share: a preset takes a moment to compose.
    unique = {id(result): result for several in results.values() for result in several}
    flags = {name: differences(result) for name, result in unique.items()}
    first = [_measured(cell, scale, results.get(cell.id, ()), flags) for cell in cells]
    return [_ordered(table, one, first) if one.verdict in ("differs", "few seeds") else one for one in first]


def _measured(
    cell: Cell, scale: Scale, results: Sequence[Result], flags: Mapping[int, list[str]]
) -> Assessment:
    """Judges a cell by itself."""
    values = np.asarray([value for result in results for value in result["values"][cell.id]], np.float64)
    values *= cell.factor
    if not len(values):
        why = "nothing defined came out" if results else ""
        return Assessment(cell, scale.name, "not run", "not run", why)
    summary = summarise(values)
    found = Assessment(
        cell,
        scale.name,
        "open",
        "differs",
        cell.known or "",
        tuple(values.tolist()),
        results[0]["unit"],
        summary["mean"],
        summary["iqm"],
        tuple(summary["ci95"]),
        float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None,
    )
    flagged = dict.fromkeys(flag for result in results for flag in flags[id(result)])
    if flagged:
        return replace(found, verdict="flagged", why="not the preset: " + ", ".join(flagged))
    if not scale.judged:
        return replace(found, grade="not run", verdict="too small a budget", why="")
    if cell.published is None:
        return replace(found, grade="D", verdict="reference")
    device = cell.settings.get("device", "")
    others = [kind for result in results if device not in (kind := result["versions"]["device"]["kind"])]
    if others:
        return replace(found, why=f"published on {device}, ours on {others[0]}")
    return _beside(found, cell.published)


def _beside(found: Assessment, published: float) -> Assessment:
    """Judges a cell by its published number."""
    cell = found.cell
    assert found.mean is not None
    apart = abs(found.mean - published)
    if cell.exact:
        alike = all(abs(value - published) <= _last_digit(cell) for value in found.values)
        return replace(found, grade="A", verdict="agrees") if alike else found
    few = len(found.values) < cell.min_seeds
    if cell.within is not None:
        inside, rule = apart <= cell.within * (1 + 1e-9), f"within {cell.within:g}"
    else:
        spread = math.hypot(found.error or 0.0, cell.error or 0.0)
        inside = apart <= COMBINED_ERRORS * spread
        rule = f"{apart / spread:.1f} standard errors apart" if spread else f"{apart:.3g} apart"
    if inside and few:
        why = f"{rule}, but {len(found.values)} of {cell.min_seeds} {found.unit}s"
        return replace(found, verdict="few seeds", why=why)
    if inside:
        return replace(found, grade="B", verdict="agrees", why=rule)
    return replace(found, why=cell.known or rule)


def _last_digit(cell: Cell) -> float:
    """Returns half of the last printed decimal, which is what rounding hides."""
    return 0.0 if cell.digits is None else 0.5 * 10.0**-cell.digits * (1 + 1e-9)


def _ordered(table: Table, one: Assessment, others: Sequence[Assessment]) -> Assessment:
    """Returns class C where a cell stands to all others of its column (or row) as published."""
    if table.ordered == "none" or one.cell.exact:
        return one
    axis = "column" if table.ordered == "columns" else "row"
    pairs = [
        (one.cell.published - other.cell.published, one.mean - other.mean)
        for other in others
        if getattr(other.cell, axis) == getattr(one.cell, axis)
        and other.mean is not None
        and one.mean is not None
        and other.cell.published is not None
        and one.cell.published is not None
        and other.cell.published != one.cell.published
        and other.verdict != "flagged"
    ]
    if len(pairs) >= MIN_OTHERS and all(published * ours > 0 for published, ours in pairs):
        why = f"the published order with {len(pairs)} others; {one.why}".rstrip("; ")
        return replace(one, grade="C", verdict="ordering", why=why)
    return one


def differences(result: Result) -> list[str]:
    """Returns what a result was made with that its preset does not say: changes, and what changed since."""
    settings = result["settings"]
    found = MEASURES[result["measure"]].differences(settings, result["record"])
    return found or list(settings.get("changes", ()))


def by_cell(works: Iterable[Work], result_of: Callable[[Work], Result | None]) -> dict[str, list[Result]]:
    """Returns cell id -> results of the works that are done, where the result has the cell."""
    found: dict[str, list[Result]] = {}
    for work in works:
        result = result_of(work)
        if result is None:
            continue
        for cell in work.cells:
            if cell.id in result["values"]:
                found.setdefault(cell.id, []).append(result)
    return found
