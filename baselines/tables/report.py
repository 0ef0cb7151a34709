"""The report of a table: Markdown, the same as one HTML page, and the cells as JSON."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path

from shoal.baselines.output import number, plain
from shoal.baselines.statistics import probability_of_improvement
from shoal.baselines.tables.assess import CLASSES, Assessment, Results
from shoal.baselines.tables.catalogue import Scale, Table
from shoal.baselines.tables.ledger import counts
from shoal.baselines.tables.pictures import scores_of
from shoal.baselines.tables.works import Result

COLOURS = {"agrees": "#d6f0d6", "ordering": "#fdf3cd", "reference": "#e8eef7", "differs": "#f8d0cc",
           "flagged": "#f8d0cc"}  # fmt: skip
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}"
    "th,td{border:1px solid #ccc;padding:.3em .6em;text-align:left}"
    "td.n{text-align:right}img{max-width:100%}"
)
HEADS = ("cell", "published", "ours", "95 % interval", "IQM", "runs", "class", "verdict", "why")


def write_report(
    table: Table,
    scale: Scale,
    found: Sequence[Assessment],
    results: Results,
    folder: Path,
    pictures: Sequence[Path] = (),
) -> list[Path]:
    """Writes ``report.md``, ``report.html`` and ``cells.json``.

    Args:
        table: what is reported on.
        scale: at which it was measured.
        found: from `assess`.
        results: from `by_cell`.
        folder: made if it is not there.
        pictures: SVG files in it, shown at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in ("report.md", "report.html", "cells.json")]
    files[0].write_text(markdown(table, scale, found, results, pictures), encoding="utf-8")
    facts = _facts(table, scale, found, results)
    files[1].write_text(_html(table, facts, found, pictures), encoding="utf-8")
    cells = plain([one.to_json() for one in found])
    files[2].write_text(json.dumps(cells, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return files


def published(one: Assessment) -> str:
    """Returns a cell's published number with its error or interval."""
    cell = one.cell
    if cell.published is None:
        return "-"
    shown = f"{cell.published:g}" if cell.digits is None else f"{cell.published:.{cell.digits}f}"
    width = cell.within if cell.within is not None else cell.error
    shown = shown if not width else f"{shown} ± {width:g}"
    return f"{shown} (derived)" if cell.derived else shown


def cells_of(one: Assessment) -> tuple[str, ...]:
    """Returns a cell's line: one entry for each of `HEADS`."""
    interval = "-" if one.ci95 is None else f"{number(one.ci95[0])} to {number(one.ci95[1])}"
    runs = f"{len(one.values)} {one.unit}{'s' * (len(one.values) != 1)}" if one.values else "-"
    return (
        f"{one.cell.row}, {one.cell.column}",
        published(one),
        number(one.mean),
        interval,
        number(one.iqm),
        runs,
        one.grade,
        one.verdict,
        one.why,
    )


def _facts(
    table: Table, scale: Scale, found: Sequence[Assessment], results: Results
) -> list[tuple[str, str]]:
    """Returns what stands above the table: source, classes, compute, versions."""
    measured = [result for several in results.values() for result in several]
    unique = {json.dumps(result["settings"], sort_keys=True): result for result in measured}.values()
    machines = sorted({_machine(result) for result in unique})
    held = [f"{count} {grade}" for grade, count in counts(found).items() if count]
    return [
        ("Source", f"{table.source}; read {table.read}"),
        ("Scale", scale.name + ("" if scale.judged else ", too small a budget to be judged")),
        ("Cells", ", ".join(held)),
        ("Compute", f"{sum(result['seconds'] for result in unique) / 3600:.2f} hours in {len(unique)} works"),
        ("Machines", "; ".join(machines) or "-"),
        ("Again", f"`shoal reproduce {table.name} --scale {scale.name}`"),
    ]


def _machine(result: Result) -> str:
    held = result["versions"]
    device, git = held["device"], held["git"] or {}
    packages = ", ".join(f"{name} {held['packages'].get(name)}" for name in ("shoal", "jax", "flax"))
    revision = str(git.get("revision") or "")[:12] + (" with changes" if git.get("changed") else "")
    machine = f"{device['count']} x {device['kind']}, Python {held['python']}"
    return f"{machine}, {packages} {revision}, {result['date']}"


def markdown(
    table: Table,
    scale: Scale,
    found: Sequence[Assessment],
    results: Results,
    pictures: Sequence[Path] = (),
) -> str:
    """Returns the report as Markdown; ``pictures`` lie beside it."""
    facts = _facts(table, scale, found, results)
    lines = [f"# {table.title}", "", *(f"- **{name}**: {text}" for name, text in facts), ""]
    if table.notes:
        lines += [table.notes.strip(), ""]
    lines += ["| " + " | ".join(HEADS) + " |", "|" + "---|" * len(HEADS)]
    lines += ["| " + " | ".join(text.replace("|", "\\|") for text in cells_of(one)) + " |" for one in found]
    lines += ["", *_improvement(found)]
    lines += ["Classes: " + "; ".join(f"{grade}: {text}" for grade, text in CLASSES.items()) + ".", ""]
    lines += [f"![{picture.stem}]({picture.name})\n" for picture in pictures]
    return "\n".join(lines)


def _improvement(found: Sequence[Assessment]) -> list[str]:
    """Returns how probably a run of each row is above one of the first, where rows have several seeds."""
    scores = scores_of(found)
    if len(scores) < 2:
        return []
    (first, ours), *others = scores.items()
    lines = [f"| row | probability of being above {first} | 95 % interval |", "|---|---|---|"]
    for row, values in others:
        share, (low, high) = probability_of_improvement(values, ours)
        lines.append(f"| {row} | {share:.2f} | {low:.2f} to {high:.2f} |")
    return [*lines, ""]


def _html(
    table: Table,
    facts: Sequence[tuple[str, str]],
    found: Sequence[Assessment],
    pictures: Sequence[Path],
) -> str:
    esc = html.escape
    heads = "".join(f"<th>{esc(head)}</th>" for head in HEADS)
    rows = "".join(
        f'<tr style="background:{COLOURS.get(one.verdict, "#fff")}">'
        + "".join(f"<td{' class=n' * (1 <= i <= 5)}>{esc(text)}</td>" for i, text in enumerate(cells_of(one)))
        + "</tr>"
        for one in found
    )
    listed = "".join(f"<li><b>{esc(name)}</b>: {esc(text)}</li>" for name, text in facts)
    compared = "".join(
        "<tr>" + "".join(f"<td>{esc(text.strip())}</td>" for text in line.strip("|").split("|")) + "</tr>"
        for line in _improvement(found)
        if line.strip("|-")
    )
    legend = "".join(f"<li>{esc(grade)}: {esc(text)}</li>" for grade, text in CLASSES.items())
    drawn = "".join(
        f"<h2>{esc(p.stem)}</h2>{p.read_text(encoding='utf-8').partition('?>')[2]}" for p in pictures
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{esc(table.title)}</title>'
        f"<style>{STYLE}</style><h1>{esc(table.title)}</h1><ul>{listed}</ul><p>{esc(table.notes)}</p>"
        f"<table><tr>{heads}</tr>{rows}</table><table>{compared}</table><h2>Classes</h2><ul>{legend}</ul>{drawn}</html>\n"
    )


def evidence_index(found: Sequence[Assessment], tables: Sequence[Table], folder: Path) -> str:
    """Returns the page that lists every table with its classes, and links to the reports in a folder."""
    lines = [
        "# Evidence",
        "",
        "What `shoal reproduce --ledger` prints: every published cell, and what ours is worth.",
        "",
        "| table | " + " | ".join(CLASSES) + " |",
        "|---" * (len(CLASSES) + 1) + "|",
    ]
    for table in tables:
        held = counts([one for one in found if one.cell.table == table.name])
        pages = [
            f"{table.name}.md",
            *(f"{table.name}/{scale}/report.md" for scale in reversed(list(table.scales))),
        ]
        page = next((page for page in pages if (folder / page).exists()), None)
        link = table.title if page is None else f"[{table.title}]({page})"
        lines.append(f"| {link} | " + " | ".join(str(held[grade] or "") for grade in CLASSES) + " |")
    total = counts(found)
    lines.append("| all | " + " | ".join(str(total[grade] or "") for grade in CLASSES) + " |")
    lines += ["", *(f"- **{grade}**: {text}" for grade, text in CLASSES.items()), ""]
    return "\n".join(lines)
