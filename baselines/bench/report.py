"""What the benchmark prints: the machine, versions, and rows for people, Markdown or JSON."""

from __future__ import annotations

import datetime
import json
import platform
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from shoal.envs.core.errors import UserError

PACKAGES = ("shoal", "jax", "jaxlib", "flax", "optax", "distrax", "numpy", "jaxmarl", "mpe2", "highway-env")
COUNTED = ("equations", "step_flops", "step_bytes")  # of environments only
COLUMNS = ("what", "envs", "steps/s", "compile s", "MiB", "peer", "envs", "steps/s", "compile s", "ratio")
PARTS = ("what", "suite", "program", "tracing s", "lowering s", "compiler s")
COUNTS = ("what", "suite", "envs", "equations", "operations a step", "bytes a step", "Gflop/s", "GB/s")

COMPILING = "Compiling, program by program (two may be compiled at the same time)"


def envelope(rows: list[dict[str, Any]], limits: dict[str, float] | None = None) -> dict[str, Any]:
    """Puts rows beside the machine, its limits and the versions that they were measured with."""
    import jax

    from shoal.baselines import devices

    found = jax.local_devices()
    return {
        "date": datetime.date.today().isoformat(),
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": devices.core_count(),
            "device": found[0].device_kind if found[0].platform != "cpu" else "cpu",
            "platform": found[0].platform,
            "limits": limits,
        },
        "versions": {"python": sys.version.split()[0], **_versions()},
        "rows": rows,
    }


def read(path: Path) -> dict[str, Any]:
    """Returns a report that ``--json`` printed into a file.

    Raises:
        UserError: when the file holds none.
    """
    try:
        report = json.loads(path.read_text())
        for row in report["rows"]:
            cells(row)
        _caption(report)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} does not hold what shoal bench --json prints") from error
    return dict(report)


def side(speed: float, prepared: dict[str, Any], rates: Sequence[float]) -> dict[str, Any]:
    """Returns the entries that both sides of a row have."""
    return {
        "steps_per_second": speed,
        "compile_seconds": prepared["compile_seconds"],
        "peak_bytes": prepared["peak_bytes"],
        "devices": prepared["devices"],
        **{name: prepared.get(name) for name in COUNTED},
        "programs": prepared.get("programs", []),
        "repeats": list(rates),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    from importlib import metadata

    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Returns a row as text, in the order of ``COLUMNS``."""
    what = row["env"] if row["algorithm"] is None else f"{row['env']}, {row['algorithm']}"
    if effort := row.get("compile_effort"):
        what += f" ({effort})"
    peer = row["peer"]
    theirs = ("-", "-", "-", "-", "-")
    if peer is not None:
        theirs = (
            peer["name"],
            str(peer["num_envs"]),
            f"{peer['steps_per_second']:,.0f}",
            f"{peer['compile_seconds']:.1f}",
            f"{row['ratio']:.2f}x",
        )
    memory = "-" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:,.0f}"
    return (
        what,
        str(row["num_envs"]),
        f"{row['steps_per_second']:,.0f}",
        f"{row['compile_seconds']:.1f}",
        memory,
        *theirs,
    )


def remarks(report: dict[str, Any]) -> list[str]:
    """Returns what a reader of the table must know."""
    lines = []
    for row in report["rows"]:
        rates = row.get("finished_episodes")
        if rates is not None and not rates["equal"]:
            lines.append(
                f"{row['env']}: NOT COMPARABLE, episodes finish at different rates "
                f"({rates['per_step']:.5f} and {rates['peer_per_step']:.5f} per step)"
            )
        if "skipped" in row:
            lines.append(f"{row['env']}, {row['algorithm']}: {row['skipped']}")
    return lines


def counts(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Returns what was counted of both sides of the rows, as text in the order of ``COUNTS``.

    Bytes may come from caches, which are faster than what the memory limit was measured with.
    """
    found: list[tuple[str, ...]] = []
    for row in report["rows"]:
        for name, part in (("shoal", row), ("" if row["peer"] is None else row["peer"]["name"], row["peer"])):
            if part is None or part.get("step_bytes") is None:
                continue
            rate, flops, size = part["steps_per_second"], part["step_flops"], part["step_bytes"]
            found.append(
                (
                    row["env"],
                    name,
                    str(part["num_envs"]),
                    f"{part['equations']:,}",
                    f"{flops:,.0f}",
                    f"{size:,.0f}",
                    f"{rate * flops / 1e9:,.1f}",
                    f"{rate * size / 1e9:,.1f}",
                )
            )
    return found


def parts(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Returns what compiling each program of training took, as text in the order of ``PARTS``."""
    return [
        (
            f"{row['env']}, {row['algorithm']}",
            "shoal" if part is row else part["name"],
            program["name"],
            *(f"{program[kind]:.1f}" for kind in ("tracing_seconds", "lowering_seconds", "backend_seconds")),
        )
        for row in report["rows"]
        if row["kind"] == "train"
        for part in (row, row["peer"])
        if part is not None
        for program in part.get("programs", [])
    ]


def _limits(report: dict[str, Any]) -> str:
    limits = report["machine"]["limits"]
    return (
        "Counted of the compiled programs, loops once. The machine multiplies matrices at "
        f"{limits['product_flops_per_second'] / 1e9:,.0f} Gflop/s and copies memory at "
        f"{limits['copied_bytes_per_second'] / 1e9:,.1f} GB/s, reading and writing"
    )


def _caption(report: dict[str, Any]) -> str:
    machine, versions = report["machine"], report["versions"]
    place = f"{machine['processor']}, {machine['cores']} cores"
    if machine["platform"] != "cpu":
        place += f", {machine['device']}"
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{report['date']}; {place}; {packages}"


def print_report(report: dict[str, Any]) -> None:
    """Prints tables for people."""
    from shoal.baselines.output import print_table

    print_table(_caption(report), COLUMNS, map(cells, report["rows"]), right=(1, 2, 3, 4, 6, 7, 8, 9))
    for line in remarks(report):
        print(line)
    if counts(report):
        print_table(_limits(report), COUNTS, counts(report), right=(2, 3, 4, 5, 6, 7))
    if parts(report):
        print_table(COMPILING, PARTS, parts(report), right=(3, 4, 5))


def markdown_table(report: dict[str, Any]) -> str:
    """Returns the tables in Markdown, their captions above them."""
    blocks = [_caption(report), _markdown(COLUMNS, map(cells, report["rows"])), *remarks(report)]
    if counts(report):
        blocks += [_limits(report) + ":", _markdown(COUNTS, counts(report))]
    if parts(report):
        blocks += [COMPILING + ":", _markdown(PARTS, parts(report))]
    return "\n\n".join(blocks)


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
