"""Measuring a table again: what is missing is run, what there is is judged, and the report is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shoal.baselines.tables.assess import Assessment, assess, by_cell
from shoal.baselines.tables.catalogue import Scale, Table, list_tables, read_table
from shoal.baselines.tables.ledger import Evidence, ledger
from shoal.baselines.tables.measures import Deadline
from shoal.baselines.tables.pictures import save_pictures
from shoal.baselines.tables.report import evidence_index, markdown, write_report
from shoal.baselines.tables.works import Result, Store, plan, run_all
from shoal.envs.core.errors import UserError


@dataclass(frozen=True)
class Wish:
    """How a table is to be measured."""

    scale: str = "smoke"
    cells: tuple[str, ...] = ()  # patterns; none: all of the scale
    changes: tuple[str, ...] = ()  # overrides of `shoal train` that are not the preset's
    output: Path = Path("reproduced")
    deadline: Deadline = field(default_factory=Deadline)
    jobs: int = 1
    publish: Path | None = None  # where results and reports are kept


@dataclass(frozen=True)
class Reproduced:
    """What came of it."""

    table: Table
    scale: Scale
    complete: bool  # whether everything is measured
    found: tuple[Assessment, ...]
    files: tuple[Path, ...]  # the report first


def reproduce(table: Table, wish: Wish, say: Callable[[str], None] = lambda line: None) -> Reproduced:
    """Measures a table and writes its report.

    Args:
        table: from `read_table`.
        wish: how.
        say: told of every work that is begun.

    Raises:
        UserError: for a scale or cells that the table does not have, changes to what trains nothing or
            is to be published, a training that fails, or a folder that cannot be written.
    """
    if wish.scale not in table.scales:
        raise UserError(f"{table.name} has no scale {wish.scale}; it has {', '.join(table.scales)}")
    if wish.changes and wish.publish is not None:
        raise UserError(f"only what the presets give is published; leave out {wish.changes[0]}")
    scale = table.scales[wish.scale]
    chosen = table.chosen(wish.cells, scale)
    works, store = plan(table, chosen, scale, wish.changes), Store(wish.output, table.name)
    complete = run_all(works, store, wish.deadline, wish.jobs, say)
    results = by_cell(works, store.result)
    found = assess(table, chosen, scale, results)
    folder = wish.output / table.name / (f"{scale.name}-changed" if wish.changes else scale.name)
    pictures = save_pictures(found, results, folder)
    files = write_report(table, scale, found, results, folder, pictures)
    if wish.publish is not None:
        done = {work.key: result for work in works if (result := store.result(work)) is not None}
        files.append(_publish(table, scale, done, wish.publish))
    return Reproduced(table, scale, complete, tuple(found), tuple(files))


def write_index(folder: Path, root: Path, evidence: Path | None) -> None:
    """Writes ``index.md``, the page of all tables, by what a working folder or kept results hold."""
    tables = [read_table(name) for name in list_tables()]
    index = evidence_index(ledger(tables, root, evidence), tables, folder)
    (folder / "index.md").write_text(index, encoding="utf-8")


def _publish(table: Table, scale: Scale, done: Mapping[str, Result], folder: Path) -> Path:
    """Keeps results in one file of a table, with a report of all its cells, and the page of all tables."""
    kept = Evidence(folder, table.name)
    scales = table.scales.values()
    known = {work.key for each in scales for work in plan(table, table.chosen((), each), each)}
    path = kept.keep(done, known)
    cells = table.chosen((), scale)
    results = by_cell(plan(table, cells, scale), kept.result)
    found = assess(table, cells, scale, results)
    pictures = save_pictures(found, results, folder, prefix=f"{table.name}-")
    page = markdown(table, scale, found, results, pictures)
    (folder / f"{table.name}.md").write_text(page, encoding="utf-8")
    write_index(folder, folder / "nowhere", folder)
    return path
