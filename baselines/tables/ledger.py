"""The ledger: every cell of every table, at the best scale that it was measured at."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from shoal.baselines.tables.assess import CLASSES, Assessment, assess, by_cell
from shoal.baselines.tables.catalogue import SCALES, Table
from shoal.baselines.tables.works import Result, Store, Work, plan, read_json

EVIDENCE = Path(__file__).resolve().parents[2] / "docs" / "evidence"
"""Results that the checkout keeps; absent from an installed wheel."""


class Evidence:
    """Results of one table in one file, ``FOLDER/TABLE.json``: work key -> result."""

    def __init__(self, folder: Path, table: str) -> None:
        """Reads the file if it is there."""
        self.path = folder / f"{table}.json"
        self.results: dict[str, Result] = read_json(self.path) or {}

    def result(self, work: Work) -> Result | None:
        """Returns what came of a work, None where nothing is kept."""
        return self.results.get(work.key)

    def keep(self, results: Mapping[str, Result], known: Collection[str]) -> Path:
        """Adds results and writes the file.

        Args:
            results: work key -> result; a work's other cells, kept before, stay.
            known: keys of all works that the table has today; others are dropped.
        """
        for key, new in results.items():
            old = self.results.get(key, {"values": {}})
            self.results[key] = {**new, "values": {**old["values"], **new["values"]}}
        self.results = {key: result for key, result in self.results.items() if key in known}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{json.dumps(key)}: {json.dumps(self.results[key])}" for key in sorted(self.results)]
        # A work a line, for diffs.
        self.path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        return self.path


def ledger(tables: Iterable[Table], root: Path, evidence: Path | None = EVIDENCE) -> list[Assessment]:
    """Returns the best assessment of every cell.

    Args:
        tables: whose cells.
        root: the folder in which `shoal reproduce` works.
        evidence: a folder of kept results, looked at as well.
    """
    found = []
    for table in tables:
        stores: list[Store | Evidence] = [Store(root, table.name)]
        if evidence is not None:
            stores.append(Evidence(evidence, table.name))
        found += best(table, stores)
    return found


def best(table: Table, stores: Sequence[Store | Evidence]) -> list[Assessment]:
    """Returns for every cell of a table its best assessment over scales and stores."""
    chosen: dict[str, Assessment] = {}
    for scale in sorted(table.scales.values(), key=lambda scale: -SCALES.index(scale.name)):
        cells = table.chosen((), scale)
        works = plan(table, cells, scale)
        for store in stores:
            for one in assess(table, cells, scale, by_cell(works, store.result)):
                old = chosen.get(one.cell.id)
                if old is None or (one.rank, not one.values) < (old.rank, not old.values):
                    chosen[one.cell.id] = one
    return [chosen[cell.id] for cell in table.cells if cell.id in chosen]


def counts(found: Iterable[Assessment]) -> dict[str, int]:
    """Returns how many cells are of each class."""
    grades = [one.grade for one in found]
    return {grade: grades.count(grade) for grade in CLASSES}
