"""What `make quick` runs: no slow tests, one scenario per family, and more where the working tree differs."""

import subprocess
from pathlib import Path
from typing import Any, Protocol, TypeVar

SLOW_MARKS = ("slow", "learning", "serial")
ENV_PARAMETER = "env_id"
"""Tests of every registered environment are parametrised by this name with ids such as family/scenario-v1."""


class Item(Protocol):
    """The part of a pytest item that the choice looks at."""

    nodeid: str

    @property
    def path(self) -> Path: ...

    def get_closest_marker(self, name: str) -> Any: ...


T = TypeVar("T", bound=Item)


def changed_files(root: Path) -> frozenset[str]:
    """Paths (relative, with /) that differ from the last commit and from origin/main; empty outside git."""
    changed: set[str] = set()
    for command in (
        ["diff", "--name-only", "HEAD"],
        ["diff", "--name-only", "origin/main...HEAD"],
        ["ls-files", "--others", "--exclude-standard"],
    ):
        answer = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=False)
        changed.update(answer.stdout.split("\n") if answer.returncode == 0 else ())
    return frozenset(changed - {""})


def choose(items: list[T], root: Path, changed: frozenset[str]) -> tuple[list[T], list[T]]:
    """Split `items` into those that `make quick` runs and those that it leaves out, in order."""
    kept: list[T] = []
    left_out: list[T] = []
    seen: set[tuple[str, str]] = set()
    for item in items:
        (kept if _is_quick(item, root, changed, seen) else left_out).append(item)
    return kept, left_out


def _is_quick(item: Item, root: Path, changed: frozenset[str], seen: set[tuple[str, str]]) -> bool:
    if item.path.relative_to(root).as_posix() in changed:
        return True
    if any(item.get_closest_marker(mark) for mark in SLOW_MARKS):
        return False
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    env_id = parameters.get(ENV_PARAMETER)
    if not isinstance(env_id, str):
        return True
    family = env_id.partition("/")[0]
    if any(path.startswith(f"envs/{family}/") for path in changed):
        return True
    place = (item.nodeid.partition("[")[0], family)
    first = place not in seen
    seen.add(place)
    return first
