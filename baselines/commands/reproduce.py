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
    from functools import partial

    from shoal.baselines import devices
    from shoal.baselines.output import print_json, say_on_stderr, stderr_console
    from shoal.baselines.tables import reproduce as work
    from shoal.baselines.tables.catalogue import SCALES, list_tables, read_table
    from shoal.baselines.tables.measures import Deadline
    from shoal.envs.core import UserError
    from shoal.envs.core.errors import nearest

    names = [word for word in words or [] if "=" not in word]
    changes = tuple(word for word in words or [] if "=" in word)
    if listing:
        return _print_tables(json)
    if every or (ledger and not names):
        names = list_tables()
    if not names:
        raise UserError("reproduce what? name tables (shoal reproduce --list), or --all")
    tables = [read_table(name) for name in names]
    if ledger:
        return _print_ledger(tables, output, json)
    if scale not in SCALES:
        raise UserError(f"--scale {scale} is not one of {', '.join(SCALES)}{nearest(scale, SCALES)}")
    if every:
        for table in (table for table in tables if scale not in table.scales):
            say_on_stderr(f"{table.name}: left out, it has no scale {scale}")
        tables = [table for table in tables if scale in table.scales]
    if jobs < 1:
        raise UserError(f"--jobs {jobs} must be at least 1")
    devices.start()
    console = stderr_console()
    deadline = Deadline.after(max_seconds)
    wish = work.Wish(scale, tuple(cells or ()), changes, output, deadline, jobs, publish)
    _take([table.name for table in tables], merge or [], output)
    reports = []
    for table in tables:
        with deadline.heeding_sigterm():
            done = work.reproduce(table, wish, partial(console.print, f"{table.name}:"))
        reports.append(_report(done))
        if not json:
            _print_cells(f"{table.title} ({scale})", done.found)
            print(done.files[0])
    work.write_index(output, output, None)
    if json:
        print_json(reports[0] if len(reports) == 1 else {"tables": reports})
    if not all(report["complete"] for report in reports):
        raise typer.Exit(3)


def _take(names: Sequence[str], others: Sequence[Path], output: Path) -> None:
    """Takes what other machines finished of these tables."""
    from shoal.baselines.tables.works import Store
    from shoal.envs.core import UserError

    for other in others:
        if not other.is_dir():
            raise UserError(f"--merge {other}: there is no such folder")
        for name in names:
            Store(output, name).merge(Store(other, name).folder)


def _report(done: Any) -> dict[str, Any]:
    """Returns what ``--json`` prints of a table."""
    return {
        "table": done.table.name,
        "scale": done.scale.name,
        "complete": done.complete,
        "cells": [one.to_json() for one in done.found],
        "files": [str(file) for file in done.files],
    }


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
    from shoal.baselines.output import print_json, say_on_stderr
    from shoal.baselines.tables.assess import CLASSES
    from shoal.baselines.tables.ledger import EVIDENCE, counts, ledger

    if not EVIDENCE.is_dir():
        say_on_stderr(f"the repository's docs/evidence is not installed; only what {output} holds counts")
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
        runs = str(len(one.values) or "")
        rows.append((one.cell.id, published(one), number(one.mean) + interval, runs, one.grade, verdict))
    print_table(title, ("", "published", "ours [95 %]", "runs", "class", "verdict"), rows, right=(1, 2, 3))
