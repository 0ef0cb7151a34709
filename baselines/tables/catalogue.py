"""Published tables as configs/table/*.yaml holds them: their source, their cells, how each is measured.

A table is a grid. What a cell is measured with comes from ``cell`` (for all), its column and its row, the
later over the earlier; ``row`` and ``column`` say which setting their names stand for. What a row claims
(`CLAIMS`) is a list over the columns, or one for all.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from shoal.envs.core.errors import UserError, nearest

SCALES = ("smoke", "laptop", "paper")
"""Minutes on two cores, hours on two cores, and the published budget."""
CLAIMS = ("published", "derived", "error", "within", "digits", "exact", "factor", "min_seeds", "known")
"""What a cell says of itself; everything else are settings of its measure."""
ABSENT = "-"
"""Stands in a row's ``published`` where there is no such cell; null is a cell that nobody published."""


@dataclass(frozen=True)
class Cell:
    """One number of a published table."""

    table: str
    row: str
    column: str
    settings: Mapping[str, Any]  # of its measure
    published: float | None  # None: nobody published one
    derived: bool = False  # it follows from what was published, and was not printed itself
    error: float | None = None  # standard error of the published mean
    within: float | None = None  # half the width of the published interval, instead
    digits: int | None = None  # decimals that were printed
    exact: bool = False  # nothing is drawn: ours must print alike
    factor: float = 1.0  # ours times this is in the published unit
    min_seeds: int = 5  # independent runs that agreement needs
    known: str | None = None  # what is known where ours differs

    @property
    def id(self) -> str:
        """``table/row/column``."""
        return f"{self.table}/{self.row}/{self.column}"


@dataclass(frozen=True)
class Scale:
    """A budget."""

    name: str
    settings: Mapping[str, Any]  # laid over those of every cell; ``overrides`` are added
    judged: bool  # whether this much earns a class
    only: tuple[str, ...]  # patterns of row/column; the rest needs a larger scale


@dataclass(frozen=True)
class Table:
    """A published table."""

    name: str
    title: str
    source: str
    read: str  # how the numbers were read
    measure: str  # a name of `measures.MEASURES`
    cells: tuple[Cell, ...]
    scales: Mapping[str, Scale]
    ordered: str = "columns"  # where an ordering is published: within "columns", within "rows", or "none"
    notes: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)  # as its file has it, for other readers

    def chosen(self, patterns: Sequence[str], scale: Scale) -> list[Cell]:
        """Returns the cells that are of this scale and match one of the patterns (all, without any).

        Raises:
            UserError: when a pattern matches no cell of the table.
        """
        for pattern in patterns:
            if not any(_matches(cell, pattern) for cell in self.cells):
                ids = {f"{cell.row}/{cell.column}" for cell in self.cells}
                raise UserError(f"{self.name} has no cell {pattern!r}{nearest(pattern, ids)}")
        return [
            cell
            for cell in self.cells
            if (not patterns or any(_matches(cell, p) for p in patterns))
            and (not scale.only or any(_matches(cell, p) for p in scale.only))
        ]


def _matches(cell: Cell, pattern: str) -> bool:
    """Reads ``ROW``, ``ROW/COLUMN`` or ``TABLE/ROW/COLUMN``, each with * and ?."""
    return any(
        fnmatch.fnmatchcase(name, pattern) for name in (cell.row, f"{cell.row}/{cell.column}", cell.id)
    )


@cache
def list_tables() -> list[str]:
    """Returns the names of all tables, sorted."""
    entries = resources.files("shoal.configs").joinpath("table").iterdir()
    return sorted(entry.name[:-5] for entry in entries if entry.name.endswith(".yaml"))


@cache
def read_table(name: str) -> Table:
    """Reads a table by name, or one's own from a ``.yaml`` file.

    Raises:
        UserError: when there is none, with the nearest one, or its file makes no sense.
    """
    import yaml

    own = Path(name)
    if own.suffix == ".yaml" and own.is_file():
        return parse_table(own.stem, yaml.safe_load(own.read_text(encoding="utf-8")))
    if name not in list_tables():
        raise UserError(
            f"there is no table {name!r}{nearest(name, list_tables())}; `shoal reproduce --list` lists all"
        )
    file = resources.files("shoal.configs").joinpath("table", f"{name}.yaml")
    return parse_table(name, yaml.safe_load(file.read_text(encoding="utf-8")))


def parse_table(name: str, raw: Mapping[str, Any]) -> Table:
    """Makes a table of what its YAML holds.

    Raises:
        UserError: for a missing key, a list of another length than the columns, or an unknown scale.
    """
    for key in ("title", "source", "read", "measure", "rows", "columns", "scales"):
        if not raw.get(key):
            raise UserError(f"table {name} does not say its {key}")
    unknown = set(raw["scales"]) - set(SCALES)
    if unknown:
        raise UserError(f"table {name}: a scale is one of {', '.join(SCALES)}, not {min(unknown)}")
    return Table(
        name=name,
        title=raw["title"],
        source=raw["source"],
        read=raw["read"],
        measure=raw["measure"],
        cells=tuple(_cells(name, raw)),
        scales={key: _scale(key, raw["scales"][key]) for key in SCALES if key in raw["scales"]},
        ordered=raw.get("ordered", "columns"),
        notes=raw.get("notes", ""),
        raw=MappingProxyType(dict(raw)),
    )


def _scale(name: str, raw: Mapping[str, Any]) -> Scale:
    settings = {key: value for key, value in raw.items() if key not in ("judged", "only")}
    return Scale(name, settings, bool(raw.get("judged", name != "smoke")), tuple(raw.get("only", ())))


def _cells(name: str, raw: Mapping[str, Any]) -> list[Cell]:
    columns = raw["columns"]
    if not isinstance(columns, Mapping):
        columns = {str(column): {raw["column"]: column} if "column" in raw else {} for column in columns}
    cells = []
    for row, entry in raw["rows"].items():
        own = dict(entry) if isinstance(entry, Mapping) else {"published": entry}
        if "row" in raw:
            own = {raw["row"]: row, **own}
        for number, (column, settings) in enumerate(columns.items()):
            picked = {
                key: _nth(name, row, key, own[key], number, len(columns)) for key in CLAIMS if key in own
            }
            rest = {key: value for key, value in own.items() if key not in CLAIMS}
            merged = merge(merge(dict(raw.get("cell", {})), settings or {}), rest) | picked
            claims = {key: merged.pop(key) for key in CLAIMS if key in merged}
            if claims.get("published") == ABSENT:
                continue
            cells.append(Cell(name, str(row), str(column), merged, **({"published": None} | claims)))
    return cells


def _nth(table: str, row: str, key: str, value: Any, number: int, count: int) -> Any:
    """Returns a row's claim for one column: of a list the n-th."""
    if not isinstance(value, list):
        return value
    if len(value) != count:
        raise UserError(f"table {table}: {key} of {row} has {len(value)} entries for {count} columns")
    return value[number]


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lays settings over others; ``overrides`` are joined, ``options`` merged."""
    merged = {**under, **over}
    if "overrides" in under and "overrides" in over:
        merged["overrides"] = [*under["overrides"], *over["overrides"]]
    if "options" in under and "options" in over:
        merged["options"] = {**under["options"], **over["options"]}
    return merged
