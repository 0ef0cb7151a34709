"""``shoal reproduce``: published tables, measured again, ours beside theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer


def reproduce(
    words: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            help="Tables (--list names them), or YAML files of one's own; then KEY=VALUE to train with other "
            "values, which are flagged.",
            metavar="TABLE",
        ),
    ] = None,
    scale: Annotated[
        str, typer.Option(help="smoke (minutes on 2 cores), laptop (hours) or paper (the published budget).")
    ] = "smoke",
    cells: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Only these: ROW or ROW/COLUMN, with * and ?. May be given several times."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All tables.")] = False,
    output: Annotated[Path, typer.Option(help="The folder to work in.")] = Path("reproduced"),
    max_seconds: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Stop after so many seconds; the same command goes on later."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Trainings at a time, each on a core of its own.")] = 1,
    merge: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(help="Take what is finished in another machine's folder. May be given several times."),
    ] = None,
    publish: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Keep results and reports there, as docs/evidence does."),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Name the tables.")] = False,
    ledger: Annotated[
        bool, typer.Option("--ledger", help="Print every cell of every table, and what ours is worth.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure published tables again: train what is missing, resume what is half done, skip what is done.

    Example: shoal reproduce mohaf-google govsim-scripted

    Example: shoal reproduce water-restraint --scale paper --cells 'ia2c/*' --max-seconds 3600

    Example: shoal reproduce --ledger --json
    """
    from shoal.baselines.output import print_json
    from shoal.baselines.tables.catalogue import SCALES, list_tables, read_table
    from shoal.envs.core import UserError
    from shoal.envs.core.errors import nearest

    tables = [word for word in words or [] if "=" not in word]
    changes = [word for word in words or [] if "=" in word]
    if listing:
        return _print_tables(json)
    names = list_tables() if every or (ledger and not tables) else tables
    if not names:
        raise UserError("reproduce what? name tables (shoal reproduce --list), or --all")
    found = [read_table(name) for name in names]
    if ledger:
        return _print_ledger(found, output, json)
    if scale not in SCALES:
        raise UserError(f"--scale {scale} is not one of {', '.join(SCALES)}{nearest(scale, SCALES)}")
    if every:  # a table without this scale is one that it cannot say anything of
        found = [table for table in found if scale in table.scales]
    if jobs < 1:
        raise UserError(f"--jobs {jobs} must be at least 1")
    from shoal.baselines import devices
    from shoal.baselines.tables.measures import Deadline

    devices.start()
    deadline = Deadline.after(max_seconds)
    for table in found:
        _take(table.name, merge or [], output)
    reports = [
        _reproduce(table, scale, cells or [], changes, output, deadline, jobs, publish, not json)
        for table in found
    ]
    _write_index(output, output, None)
    if json:
        print_json(reports[0] if len(reports) == 1 else {"tables": reports})
    if not all(report["complete"] for report in reports):
        raise typer.Exit(3)


def _take(name: str, others: Sequence[Path], output: Path) -> None:
    from shoal.baselines.tables.works import Store
    from shoal.envs.core import UserError

    for other in others:
        if not other.is_dir():
            raise UserError(f"--merge {other}: there is no such folder")
        Store(output, name).merge(Store(other, name).folder)


def _reproduce(
    table: Any,
    scale_name: str,
    patterns: Sequence[str],
    changes: Sequence[str],
    output: Path,
    deadline: Any,
    jobs: int,
    publish: Path | None,
    show: bool,
) -> dict[str, Any]:
    """Measures one table, writes its report and prints it."""
    from shoal.baselines.output import stderr_console
    from shoal.baselines.tables.assess import assess, by_cell
    from shoal.baselines.tables.curves import save_curves
    from shoal.baselines.tables.report import write_report
    from shoal.baselines.tables.works import Store, plan, run_all
    from shoal.envs.core import UserError

    name = table.name
    if scale_name not in table.scales:
        raise UserError(f"{name} has no scale {scale_name}; it has {', '.join(table.scales)}")
    scale = table.scales[scale_name]
    chosen = table.chosen(patterns, scale)
    works, store = plan(table, chosen, scale, changes), Store(output, name)
    console = stderr_console()
    complete = run_all(works, store, deadline, jobs, lambda line: console.print(f"{name}: {line}"))
    results = by_cell(works, store.result)
    found = assess(table, chosen, scale, results)
    folder = output / name / (scale.name if not changes else f"{scale.name}-changed")
    pictures = save_curves(table, found, results, folder)
    files = write_report(table, scale, found, results, folder, pictures)
    if publish is not None:
        files.append(_publish(table, scale, works, store, found, results, publish))
    if show:
        _print_cells(f"{table.title} ({scale.name})", found)
        print(files[0])
    return {
        "table": name,
        "scale": scale.name,
        "complete": complete,
        "cells": [one.to_json() for one in found],
        "files": [str(file) for file in files],
    }


def _publish(table: Any, scale: Any, works: Any, store: Any, found: Any, results: Any, folder: Path) -> Path:
    """Keeps results in one file of a table, and the report beside it."""
    from shoal.baselines.tables.curves import save_curves
    from shoal.baselines.tables.ledger import Evidence
    from shoal.baselines.tables.report import markdown

    done = {work.key: result for work in works if (result := store.result(work)) is not None}
    path = Evidence(folder, table.name).keep(done)
    pictures = save_curves(table, found, results, folder, prefix=f"{table.name}-")
    (folder / f"{table.name}.md").write_text(
        markdown(table, scale, found, results, pictures), encoding="utf-8"
    )
    _write_index(folder, folder / "nowhere", folder)
    return path


def _write_index(folder: Path, root: Path, evidence: Path | None) -> None:
    """Writes the page of all tables, by what is found in a working folder or among kept results."""
    from shoal.baselines.tables.catalogue import list_tables, read_table
    from shoal.baselines.tables.ledger import ledger
    from shoal.baselines.tables.report import evidence_index

    tables = [read_table(name) for name in list_tables()]
    index = evidence_index(ledger(tables, root, evidence), tables, folder)
    (folder / "index.md").write_text(index, encoding="utf-8")


def _print_tables(json: bool) -> None:
    from shoal.baselines.output import print_json, print_table
    from shoal.baselines.tables.catalogue import list_tables, read_table

    tables = [read_table(name) for name in list_tables()]
    if json:
        return print_json(
            [
                {
                    "table": table.name,
                    "title": table.title,
                    "source": table.source,
                    "read": table.read,
                    "measure": table.measure,
                    "cells": [cell.id for cell in table.cells],
                    "scales": list(table.scales),
                }
                for table in tables
            ]
        )
    rows = [(t.name, t.title, str(len(t.cells)), ", ".join(t.scales), t.source) for t in tables]
    print_table("Published tables", ("", "what", "cells", "scales", "source"), rows, right=(2,))


def _print_ledger(tables: Sequence[Any], output: Path, json: bool) -> None:
    from shoal.baselines.output import print_json
    from shoal.baselines.tables.assess import CLASSES
    from shoal.baselines.tables.ledger import counts, ledger

    found = ledger(tables, output)
    if json:
        return print_json([one.to_json() for one in found])
    _print_cells("The ledger: every published cell, and what ours is worth", found)
    held = counts(found)
    print("; ".join(f"{held[grade]} {grade} ({text})" for grade, text in CLASSES.items()))


def _print_cells(title: str, found: Any) -> None:
    from shoal.baselines.output import number, print_table
    from shoal.baselines.tables.report import published

    rows = []
    for one in found:
        spread = one.ci95 is not None and one.ci95[0] != one.ci95[1]
        interval = f" [{number(one.ci95[0])}, {number(one.ci95[1])}]" if spread else ""
        verdict = f"{one.verdict}: {one.why}" if one.why else one.verdict
        rows.append((one.cell.id, published(one), number(one.mean) + interval, one.grade, verdict))
    print_table(title, ("", "published", "ours [95 %]", "class", "verdict"), rows, right=(1, 2))
