"""Published readings of restraint (configs/table), and how ours compare."""

from __future__ import annotations

from typing import Any

import numpy as np

from shoal.baselines.tables.catalogue import list_tables, read_table

Cell = dict[str, Any]


def published_restraint(env_id: str, column: str | None) -> dict[str, Any] | None:
    """Returns the published restraint for an environment and a swept number, if there is some.

    Returns:
        ``source``, ``columns``, ``rows`` (learner -> numbers over the columns) and how cells are judged:
        ``judged``, ``within`` and ``below``, as in configs/table/water-restraint.yaml.
    """
    family = env_id.rpartition("-v")[0]
    for table in map(read_table, list_tables()):
        raw = table.raw
        if (table.measure, raw.get("env"), raw.get("cell", {}).get("number")) == (
            "restraint",
            family,
            column,
        ):
            rows = {name: row["published"] for name, row in raw["rows"].items()}
            return {**raw["verdicts"], "source": table.source, "columns": raw["columns"], "rows": rows}
    return None


def compare(
    table: dict[str, Any], rows: dict[str, list[Cell]], learners: dict[str, str]
) -> dict[str, list[Cell]]:
    """Returns for each row whose learner was published its cells beside the reading, with a verdict.

    Args:
        table: from `published_restraint`.
        rows: cells by row (`runs.restraint_table`).
        learners: row -> the learner's name.

    Returns:
        Row -> cells with ``published``, ``ours``, ``rule`` and ``verdict`` (``pass``, ``fail``, or None where
        nothing is claimed).
    """
    return {
        row: [_cell(table, rows, learners, row, cell) for cell in cells]
        for row, cells in rows.items()
        if learners[row] in table["rows"]
    }


def _cell(
    table: dict[str, Any], rows: dict[str, list[Cell]], learners: dict[str, str], row: str, cell: Cell
) -> Cell:
    learner, value, ours = learners[row], cell["value"], cell["mean"]
    published = reading(table, learner, value)
    judged = any(np.isclose(value, known, rtol=1e-4) for known in table["judged"])
    rule, verdict = None, None
    if judged and ours is not None and published is not None:
        if learner in table["within"]:
            most = table["within"][learner]
            rule, good = f"within {most:g}", abs(ours - published) <= most
            verdict = "pass" if good else "fail"
        elif learner in table["below"]:
            other = table["below"][learner]
            limit = _own(rows, learners, row, other, value)
            limit = reading(table, other, value) if limit is None else limit
            rule = f"below {other}"
            verdict = "pass" if limit is not None and ours < limit else "fail"
    return {"value": value, "published": published, "ours": ours, "rule": rule, "verdict": verdict}


def reading(table: dict[str, Any], learner: str, value: float) -> float | None:
    """Returns what was published for a learner at a value of the column."""
    for known, number in zip(table["columns"], table["rows"][learner], strict=True):
        if np.isclose(value, known, rtol=1e-4):
            return float(number)
    return None


def _own(
    rows: dict[str, list[Cell]], learners: dict[str, str], row: str, other: str, value: float
) -> float | None:
    """Returns what we measured for another learner, with the same other numbers as this row."""
    rest = row.removeprefix(learners[row])
    wanted = [name for name in rows if learners[name] == other and name.removeprefix(other) == rest]
    cells = [cell for name in wanted for cell in rows[name] if cell["value"] == value]
    return cells[0]["mean"] if cells else None
