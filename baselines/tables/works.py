"""What must be run for a table: works, their folders, and the results that are kept of them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import queue
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.baselines.tables.catalogue import Cell, Scale, Table, merge
from shoal.baselines.tables.measures import MEASURES, Deadline, Measure, Settings
from shoal.envs.core.errors import UserError, nearest

SLUG = 40  # letters of a work's name before the hash
Result = dict[str, Any]
"""``measure``, ``settings``, ``unit``, ``values`` (by cell id), ``record``, ``seconds``, ``versions``."""


@dataclass(frozen=True)
class Work:
    """One thing to run, and the cells that are read from it."""

    measure: str
    settings: Settings
    cells: tuple[Cell, ...]

    @property
    def key(self) -> str:
        """A readable name with a hash of all that decides the result, whichever cells were asked for."""
        text = json.dumps([self.measure, self.settings], sort_keys=True, default=str)
        slug = re.sub(r"[^A-Za-z0-9]+", "-", " ".join(_words(self.settings)))[:SLUG].strip("-").lower()
        return f"{slug}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def plan(table: Table, cells: Iterable[Cell], scale: Scale, changes: Sequence[str] = ()) -> list[Work]:
    """Returns what must be run for cells at a scale; cells of equal settings share a work, or several.

    Args:
        table: whose cells they are.
        cells: of the table.
        scale: its settings are laid over those of the cells.
        changes: overrides of `shoal train` that are not the preset's.

    Raises:
        UserError: for an unknown measure, a cell that says too little, or changes to what trains nothing.
    """
    if table.measure not in MEASURES:
        raise UserError(
            f"table {table.name}: there is no measure {table.measure!r}{nearest(table.measure, MEASURES)}"
        )
    measure = MEASURES[table.measure]
    if changes and "changes" not in measure.settings(scaled(table.cells[0], scale)):
        raise UserError(f"{table.name} trains nothing, so {changes[0]} changes nothing; leave it out")
    groups: dict[str, list[Cell]] = {}
    settings: dict[str, Settings] = {}
    for cell in cells:
        laid = scaled(cell, scale, changes)
        for share in measure.shares(measure.settings(laid)):
            name = json.dumps(share, sort_keys=True, default=str)
            groups.setdefault(name, []).append(laid)
            settings[name] = share
    return [Work(table.measure, settings[name], tuple(group)) for name, group in groups.items()]


def scaled(cell: Cell, scale: Scale, changes: Sequence[str] = ()) -> Cell:
    """Returns a cell with the settings of a scale."""
    laid = merge(cell.settings, scale.settings)
    return dataclasses.replace(cell, settings=laid | ({"changes": list(changes)} if changes else {}))


def _words(value: Any) -> Iterator[str]:
    """Yields the words in settings, which tell works apart for people."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name in sorted(value):
            yield from _words(value[name])
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _words(entry)


class Store:
    """Works of one table on disk: ``ROOT/TABLE/works/KEY/``, a finished one with its ``result.json``."""

    def __init__(self, root: Path, table: str) -> None:
        """Touches nothing."""
        self.folder = root / table / "works"

    def result(self, work: Work) -> Result | None:
        """Returns what came of a work, None where it is not done."""
        result = read_json(self._of(work) / "result.json")
        if result is None or all(cell.id in result["values"] for cell in work.cells):
            return result
        # Done when the table had fewer cells: what it left holds the new ones, too.
        values = MEASURES[work.measure].read(work.settings, self._of(work), work.cells)
        return {**result, "values": result["values"] | values}

    def run(self, work: Work, deadline: Deadline, core: int | None = None) -> bool:
        """Runs a work, or goes on with it; returns whether it is done.

        Raises:
            UserError: when it fails, or the folder cannot be written.
        """
        measure, folder = MEASURES[work.measure], self._of(work)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {error.strerror}") from error
        spent, begun = float((read_json(folder / "spent.json") or {"seconds": 0.0})["seconds"]), time.time()
        done = measure.run(work.settings, folder, deadline, core)
        spent += time.time() - begun
        _write_json(folder / "spent.json", {"seconds": spent})
        if done:
            _write_json(folder / "result.json", self._result(work, measure, spent))
        return done

    def merge(self, other: Path) -> int:
        """Takes the finished works of another machine's folder that are missing here; returns how many."""
        taken = 0
        for result in sorted(other.glob("*/result.json")):
            here = self.folder / result.parent.name
            if not (here / "result.json").exists():
                shutil.rmtree(here, ignore_errors=True)
                shutil.copytree(result.parent, here)
                taken += 1
        return taken

    def _of(self, work: Work) -> Path:
        return self.folder / work.key

    def _result(self, work: Work, measure: Measure, seconds: float) -> Result:
        import jax

        from shoal.baselines.folder import versions

        folder = self._of(work)
        return {
            "measure": work.measure,
            "settings": work.settings,
            "unit": measure.unit,
            "values": measure.read(work.settings, folder, work.cells),
            "record": measure.record(work.settings, folder),
            "seconds": measure.seconds(folder, seconds),
            "date": time.strftime("%Y-%m-%d"),
            "versions": versions(jax.local_devices()),
        }


def run_all(
    works: Sequence[Work],
    store: Store,
    deadline: Deadline,
    jobs: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> bool:
    """Runs what is not done yet; returns whether everything is.

    Args:
        works: in the order in which they are begun.
        store: keeps their results.
        deadline: after which nothing is begun and runs are saved and stopped.
        jobs: how many trainings at a time, each on a processor core of its own.
        say: told of what goes on.

    Raises:
        UserError: when one fails; the others' results are kept.
    """
    waiting = [work for work in works if store.result(work) is None]
    together = [work for work in waiting if jobs > 1 and not MEASURES[work.measure].alone(work.cells)]
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        cores = _Cores(jobs)

        def train(work: Work) -> bool:
            if deadline.passed:
                return False
            with cores.one() as core:
                say(f"{work.key} (core {core})")
                return store.run(work, deadline, core)

        done = list(pool.map(train, together))
    for work in waiting:
        if work not in together and not deadline.passed:
            say(work.key)
            done.append(store.run(work, deadline))
    return len(done) == len(waiting) and all(done)


class _Cores:
    """Processor cores, each lent to one run at a time."""

    def __init__(self, count: int) -> None:
        """Takes the cores of this process, some of them twice where ``count`` is more."""
        found = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(count))
        self.free: queue.Queue[int] = queue.Queue()
        for number in range(count):
            self.free.put(found[number % len(found)])

    @contextlib.contextmanager
    def one(self) -> Iterator[int]:
        """Lends one."""
        core = self.free.get()
        try:
            yield core
        finally:
            self.free.put(core)


def read_json(path: Path) -> Any:
    """Returns what a file holds, None where it is absent or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes an object; the file is whole or as it was."""
    from shoal.baselines.output import plain

    part = path.with_suffix(".part")
    part.write_text(json.dumps(plain(value), allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)
