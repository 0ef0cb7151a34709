"""Checkpoints by Orbax: everything that a run needs to go on, and the best policy's parameters.

A checkpoint is written beside its final name and renamed when whole: a process can be killed at any moment.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from shoal.envs.core import PyTree, UserError

KEPT = 2  # full checkpoints
MANIFEST = "manifest.json"
Flat = dict[str, np.ndarray]


@dataclass(frozen=True)
class Checkpoint:
    """What was read back."""

    update: int
    state: Flat
    best: Flat  # policy parameters; empty before the first evaluation
    progress: dict[str, Any]


class Checkpoints:
    """The folder ``checkpoints/`` of a run; writing happens in the background, one write at a time."""

    def __init__(self, folder: Path, keeper: bool = True) -> None:
        """Creates the folder and clears what a killed process left half-written.

        Args:
            folder: where checkpoints lie.
            keeper: false in all processes of a run but one: these read, and write nothing.
        """
        self.folder = folder
        self.keeper = keeper
        self.best_folder = folder / "best"
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self.pending: list[Future[None]] = []
        if not keeper:
            return
        self.best_folder.mkdir(parents=True, exist_ok=True)
        for parent in (folder, self.best_folder):
            for entry in parent.iterdir():
                if "orbax-checkpoint-tmp" in entry.name:
                    shutil.rmtree(entry, ignore_errors=True)

    def save(self, update: int, state: Flat, best: Flat, progress: Mapping[str, Any]) -> None:
        """Writes a full checkpoint in the background, then drops all but the two newest."""

        def job() -> None:
            trees = {"state": state, "best": best} if best else {"state": state}
            _write(self.folder / _name(update), trees, {"progress": dict(progress)})
            _keep(self.folder, KEPT)

        self._submit(job)

    def save_best(self, update: int, params: Flat, note: Mapping[str, Any]) -> None:
        """Writes the best policy parameters in the background, then drops the earlier ones."""

        def job() -> None:
            path = self.best_folder / _name(update)
            _write(path, {"params": params}, note)
            for old in _saved(self.best_folder):
                if old != path:
                    shutil.rmtree(old)

        self._submit(job)

    def wait(self) -> None:
        """Waits until everything is on disk; raises what went wrong there."""
        while self.pending:
            self.pending.pop(0).result()

    @property
    def busy(self) -> bool:
        """Whether something is still being written."""
        return bool(self.pending) and not self.pending[-1].done()

    def _submit(self, job: Callable[[], None]) -> None:
        if not self.keeper:
            return
        # A failed write must not go unnoticed, and what waits to be written must not pile up.
        while self.pending and (self.pending[0].done() or len(self.pending) > 2):
            self.pending.pop(0).result()
        self.pending.append(self.worker.submit(job))

    def newest(self, say: Callable[[str], None]) -> Checkpoint | None:
        """Reads the newest checkpoint that is whole; damaged ones are named and put aside, not deleted.

        Raises:
            UserError: when there are checkpoints but all are damaged.
        """
        found = _saved(self.folder)
        for path in reversed(found):
            try:
                trees, note = _read(path)
                return Checkpoint(int(path.name), trees["state"], trees.get("best", {}), note["progress"])
            except Exception as error:  # whatever a damaged file makes Orbax raise
                reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
                say(f"checkpoint {path} is damaged and skipped ({reason})")
                if self.keeper:
                    _put_aside(path)
        if found:
            raise UserError(f"every checkpoint in {self.folder} is damaged; they are kept in damaged/ there")
        return None


def read_best(folder: Path) -> tuple[Flat, dict[str, Any]]:
    """Reads the best policy parameters of a run's ``checkpoints/`` folder.

    Returns:
        Parameters by path, leaves [members, ...], and what was noted with them.

    Raises:
        UserError: when there are none or they are damaged.
    """
    saved = _saved(folder / "best")
    if not saved:
        raise UserError(f"{folder} holds no policy yet; the first is saved after the first evaluation")
    try:
        trees, note = _read(saved[-1])
    except Exception as error:
        raise UserError(f"{saved[-1]} is damaged: {str(error).splitlines()[0][:160]}") from error
    return trees["params"], note


# Trees as flat mappings ------------------------------------------------------------------------------


def flatten(tree: PyTree) -> Flat:
    """Copies a pytree to the host as ``path -> array``; keys become their data."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    flat = {}
    for path, leaf in leaves:
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        flat[_path(path)] = np.array(leaf, copy=True)  # the original may be donated meanwhile
    return flat


def unflatten(template: PyTree, flat: Mapping[str, np.ndarray]) -> PyTree:
    """Returns a pytree of the template's structure (arrays or their shapes) from `flatten`'s mapping.

    Raises:
        ValueError: where names, shapes or dtypes differ: another version wrote it.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)

    def leaf(path: Any, like: Any) -> Any:
        name = _path(path)
        is_key = jax.dtypes.issubdtype(like.dtype, jax.dtypes.prng_key)
        if 0 in like.shape:
            return np.zeros(like.shape, like.dtype)
        if name not in flat:
            raise ValueError(f"{name} is missing")
        value: Any = flat[name]
        if is_key:
            value = jax.random.wrap_key_data(value)
        if value.shape != like.shape or value.dtype != like.dtype:
            raise ValueError(f"{name} is {value.dtype}{value.shape}, not {like.dtype}{like.shape}")
        return value

    return jax.tree_util.tree_unflatten(structure, [leaf(path, like) for path, like in leaves])


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


# Orbax -----------------------------------------------------------------------------------------------


def _alone() -> Any:
    """Returns a checkpointer that waits for no other process."""
    import orbax.checkpoint as ocp

    if jax.process_count() == 1:
        return ocp.Checkpointer(ocp.CompositeCheckpointHandler())
    me = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}"
    )
    handler = ocp.CompositeCheckpointHandler(
        composite_options=ocp.CompositeOptions(multiprocessing_options=options)
    )
    return ocp.Checkpointer(handler, multiprocessing_options=options)


def _write(path: Path, trees: Mapping[str, Flat], note: Mapping[str, Any]) -> None:
    import orbax.checkpoint as ocp

    items = {
        # Orbax refuses empty arrays; `unflatten` makes them from their shapes.
        name: ocp.args.PyTreeSave({k: v for k, v in flat.items() if v.size})
        for name, flat in trees.items()
    }
    with _alone() as checkpointer:
        checkpointer.save(
            path.absolute(), args=ocp.args.Composite(note=ocp.args.JsonSave(dict(note)), **items), force=True
        )
    part = path / f"{MANIFEST}.part"
    part.write_text(json.dumps(_sums(path)), encoding="utf-8")
    part.replace(path / MANIFEST)


def _read(path: Path) -> tuple[dict[str, Flat], dict[str, Any]]:
    import orbax.checkpoint as ocp

    _check_files(path)
    names = [entry.name for entry in path.iterdir() if entry.is_dir() and entry.name != "note"]
    items = {name: ocp.args.PyTreeRestore() for name in names}
    with _alone() as checkpointer:
        read = checkpointer.restore(
            path.absolute(), args=ocp.args.Composite(note=ocp.args.JsonRestore(), **items)
        )
    return {name: {k: np.asarray(v) for k, v in read[name].items()} for name in names}, dict(read["note"])


def _sums(path: Path) -> dict[str, int]:
    """Returns a CRC of every file below ``path``, by name."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and MANIFEST not in file.name)
    return {file.relative_to(path).as_posix(): zlib.crc32(file.read_bytes()) for file in files}


def _check_files(path: Path) -> None:
    """Compares the files with their manifest: Orbax notices a short file (with a traceback), no changed one.

    A process killed just before it wrote the manifest leaves a checkpoint that is whole, but has none.
    """
    if not (path / MANIFEST).exists():
        return
    wanted, found = json.loads((path / MANIFEST).read_text(encoding="utf-8")), _sums(path)
    for name, crc in wanted.items():
        if name not in found:
            raise ValueError(f"{name} is missing")
        if found[name] != crc:
            raise ValueError(f"{name} has changed since it was written")


def _name(update: int) -> str:
    return f"{update:09d}"


def _saved(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.glob("*") if entry.is_dir() and entry.name.isdigit())


def _keep(folder: Path, count: int) -> None:
    for old in _saved(folder)[:-count]:
        shutil.rmtree(old)


def _put_aside(path: Path) -> None:
    aside = path.parent / "damaged" / path.name
    number = 0
    while aside.exists():
        number += 1
        aside = path.parent / "damaged" / f"{path.name}.{number}"
    aside.parent.mkdir(exist_ok=True)
    path.rename(aside)
