"""Cells measured by training: one run folder with a member for each seed (and swept number)."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shoal.baselines.tables.catalogue import Cell
from shoal.baselines.tables.measures.base import Deadline, Measure, Settings, needed, picked
from shoal.envs.core.errors import UserError

GRACE = 300.0  # seconds that a run has to save and stop
GLANCE = 0.5  # seconds between looks at the deadline
PID = "pid"  # of the process that trains, in the work's folder
POINTS = 40  # of a kept curve
# What a configuration may differ in and still be the same experiment.
ELSEWHERE = (
    "output_dir", "resume", "config", "logger", "devices", "distributed", "checkpoint_every", "log_every",
    "shuffle_groups", "seed", "num_seeds", "compile_effort", "deterministic",
)  # fmt: skip


class Train(Measure):
    """What a preset reaches; a cell reads ``metric``.

    Settings: ``overrides`` (of `shoal train`, the preset among them), ``seeds`` (1), ``changes`` (overrides
    that are not the preset's; they are flagged), ``seeds_per_run`` (all in one program): a run for every so
    many, which other cores, days and machines can do, and which a scale of more seeds goes on from.

    A cell's ``of``: ``absolute`` (default), the final evaluation of the best policy; ``training`` or
    ``evaluations``, the mean over the ``last`` share (0.05) of the steps, or around step ``at`` (a twentieth
    of the run to each side); ``summary``, a field of summary.json. ``device``: the machine of a published
    time; another's cannot agree with it.
    """

    unit = "seed"

    def alone(self, cells: Sequence[Cell]) -> bool:
        """See `Measure`: times are taken alone."""
        return any(cell.settings.get("of") == "summary" for cell in cells)

    def settings(self, cell: Cell) -> Settings:
        """See `Measure`."""
        needed(cell, "overrides", "metric")
        own = ("overrides", "seeds_per_run") if "seeds_per_run" in cell.settings else ("overrides",)
        if cell.settings.get("seeds_per_run", 1) < 1:
            raise UserError(f"{cell.id}: seeds_per_run must be at least 1")
        return picked(cell, own, {"seeds": 1, "changes": []})

    def shares(self, settings: Settings) -> list[Settings]:
        """See `Measure`: a run for each ``seeds_per_run``."""
        if "seeds_per_run" not in settings:
            return [settings]
        rest = {key: value for key, value in settings.items() if key != "seeds_per_run"}
        most, seeds = settings["seeds_per_run"], settings["seeds"]
        return [
            rest | {"seeds": min(most, seeds - first), "first_seed": first} for first in range(0, seeds, most)
        ]

    def run(self, settings: Settings, folder: Path, deadline: Deadline, core: int | None) -> bool:
        """See `Measure`: `shoal train` in a process of its own; a half-done run is resumed."""
        run = folder / "run"
        _end_orphan(folder)
        if finished(run):
            return True
        if any((run / "checkpoints").glob("*")):
            words = [f"resume={run}"]
        else:
            shutil.rmtree(run, ignore_errors=True)
            seeds = [f"seed={settings['first_seed']}"] if "first_seed" in settings else []
            words = [*words_of(settings), *seeds, f"num_seeds={settings['seeds']}", f"output_dir={run}"]
        status = _supervised(["train", *words], folder / "log.txt", deadline, core)
        if status not in (0, 130, 143):
            lines = (folder / "log.txt").read_text().strip().splitlines()
            raise UserError(f"shoal train {' '.join(words)} failed: {lines[-1] if lines else status}")
        return finished(run)

    def read(self, settings: Settings, folder: Path, cells: Sequence[Cell]) -> dict[str, list[float]]:
        """See `Measure`."""
        summary, rows = _files(folder / "run")
        return {
            cell.id: [v for m in summary["members"] if (v := _value(cell, summary, m, rows)) is not None]
            for cell in cells
        }

    def record(self, settings: Settings, folder: Path) -> Mapping[str, Any]:
        """See `Measure`."""
        from shoal.baselines.config import read_yaml

        summary, rows = _files(folder / "run")
        return {"config": read_yaml(folder / "run"), "curves": _curves(summary, rows)}

    def seconds(self, folder: Path, spent: float) -> float:
        """See `Measure`: a run counts on where it was killed."""
        return max(spent, float(_files(folder / "run")[0]["wall_seconds"]))

    def differences(self, settings: Settings, record: Mapping[str, Any]) -> list[str]:
        """See `Measure`."""
        from shoal.baselines.composition import compose
        from shoal.baselines.config import plain

        wanted = flat(plain(compose(settings["overrides"]).to_dict()))
        found = flat(record["config"])
        names = [name for name in {**wanted, **found} if name.split(".")[0] not in ELSEWHERE]
        # What a preset leaves open (null) a run fills in.
        names = [name for name in names if wanted.get(name) is not None or name not in wanted]
        return [
            f"{name}={found.get(name)} (preset: {wanted.get(name)})"
            for name in names
            if not _alike(wanted.get(name), found.get(name))
        ]


def words_of(settings: Settings) -> list[str]:
    """Returns the overrides of `shoal train`; later ones win over earlier ones of the same key."""
    words = {word.partition("=")[0]: word for word in [*settings["overrides"], *settings["changes"]]}
    return list(words.values())


def finished(run: Path) -> bool:
    """Tells whether a run folder holds a finished run."""
    try:
        return bool(json.loads((run / "summary.json").read_text())["status"] == "finished")
    except (OSError, ValueError, KeyError):
        return False


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested mappings as one, with dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _alike(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, int | float) and isinstance(theirs, int | float):
        return math.isclose(mine, theirs, rel_tol=1e-6)
    return bool(mine == theirs or (not mine and not theirs))


def _end_orphan(folder: Path) -> None:
    """Saves and stops a training whose `shoal reproduce` was killed: two must not write into one run."""
    try:
        pid = int((folder / PID).read_text())
        ours = str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):  # nothing was left, it is over, or this system cannot tell
        return
    if ours:
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + GRACE
        while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
            time.sleep(0.1)


def _supervised(words: Sequence[str], log: Path, deadline: Deadline, core: int | None) -> int:
    """Runs a command of ours until it ends or the deadline has passed; returns its exit status."""
    environment = dict(os.environ)
    if core is not None:  # without this, a program that keeps to one core still starts threads for all
        environment["XLA_FLAGS"] = (
            environment.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
        ).strip()
    command = [sys.executable, "-m", "shoal.baselines.cli", *words]
    with log.open("a") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
        (log.parent / PID).write_text(str(process.pid))
        if core is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, {core})
        try:
            return _end_of(process, deadline)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as stop:
            process.send_signal(signal.SIGTERM)
            try:
                status = process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
            if isinstance(stop, KeyboardInterrupt):
                raise
            return 143 if status < 0 else status


def _end_of(process: subprocess.Popen[bytes], deadline: Deadline) -> int:
    """Waits for a process; raises TimeoutExpired at the deadline."""
    while True:
        left = deadline.left
        try:
            return process.wait(GLANCE if left is None else min(left, GLANCE))
        except subprocess.TimeoutExpired:
            if deadline.passed:
                raise


def _files(run: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    summary = json.loads((run / "summary.json").read_text())
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return summary, rows


def _value(
    cell: Cell, summary: Mapping[str, Any], member: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> float | None:
    """Returns what a cell reads of one member, None where it is undefined."""
    of, metric = cell.settings.get("of", "absolute"), cell.settings["metric"]
    if of == "absolute":
        return (member["absolute"] or {}).get(metric, {}).get("mean")
    if of == "summary":
        return summary[metric]
    name = metric if of == "training" else f"eval/{metric}"
    own = [row for row in rows if row["member"] == member["member"] and row.get(name) is not None]
    total = summary["env_steps"]
    if "at" in cell.settings:
        near = [row for row in own if abs(row["env_steps"] - cell.settings["at"]) <= total / 20]
    else:
        near = [row for row in own if row["env_steps"] > total * (1 - cell.settings.get("last", 0.05))]
    if not near:
        return None
    # While training, a row speaks of the episodes that ended in it.
    weights = [row.get("episodes") or 1 if of == "training" else 1 for row in near]
    return sum(row[name] * w for row, w in zip(near, weights, strict=True)) / sum(weights)


def _curves(summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns a thinned curve of each member: evaluations where there are some, else training."""
    curves = []
    for member in summary["members"]:
        own = [row for row in rows if row["member"] == member["member"]]
        evaluated = [row for row in own if row.get("eval/episode_return") is not None]
        prefix = "eval/" if len(evaluated) > 1 else ""
        shown = evaluated if prefix else [row for row in own if row.get("episode_return") is not None]
        names = list(member["absolute"] or {"episode_return": None})
        names = [n for i, n in enumerate(names) if i in (0, 3)]  # the return, and the headline metric
        step = max(1, math.ceil(len(shown) / POINTS))
        points = {
            name: [
                (row["env_steps"], row[prefix + name])
                for row in shown[::step]
                if row.get(prefix + name) is not None
            ]
            for name in names
        }
        swept = {k: v for k, v in member.items() if k.startswith(("algorithm.", "env."))}
        curves.append({"seed": member["seed"], **swept, "points": points})
    return curves
