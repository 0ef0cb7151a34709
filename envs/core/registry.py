"""Names for environments: ``family/scenario-vN``."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Any

from shoal.envs.core.environment import Environment
from shoal.envs.core.errors import UserError, nearest

_ID = re.compile(r"(?P<name>[a-z0-9_]+/[A-Za-z0-9_.-]+?)(-v(?P<version>\d+))?")


@dataclass(frozen=True)
class Registration:
    """Where an environment comes from: ``module:Class`` and the options that make it this one."""

    id: str
    entry_point: str
    overrides: Mapping[str, Any] = field(default_factory=dict)


_registry: dict[str, Registration] = {}


def register(id: str, entry_point: str, **overrides: Any) -> None:
    """Makes ``id`` known to `make`.

    Args:
        id: ``family/scenario-vN``; the version is raised when behaviour, parameters or layout change.
        entry_point: ``module:Class`` of an `Environment`, imported when first made.
        **overrides: options and parameters of the class that define this scenario.

    Raises:
        UserError: when the id is malformed or taken by something else.
    """
    match = _ID.fullmatch(id)
    if match is None or match["version"] is None:
        raise UserError(f"environment id {id!r} must look like family/scenario-v1")
    registration = Registration(id, entry_point, dict(overrides))
    if _registry.setdefault(id, registration) != registration:
        raise UserError(f"environment id {id!r} is already registered by {_registry[id].entry_point}")


@cache
def _load_plugins() -> None:
    """Imports what registers environments: our own families and installed ``shoal.envs`` entry points."""
    importlib.import_module("shoal.envs")
    for entry in metadata.entry_points(group="shoal.envs"):
        entry.load()


def resolve(id: str) -> str:
    """Returns the full id; without ``-vN`` the newest version is meant.

    Raises:
        UserError: when there is none, with the nearest one.
    """
    _load_plugins()
    if id in _registry:
        return id
    versions = [
        (int(known.rpartition("-v")[2]), known) for known in _registry if known.rpartition("-v")[0] == id
    ]
    if versions:
        return max(versions)[1]
    bare = {known.rpartition("-v")[0] for known in _registry}
    raise UserError(
        f"there is no environment {id!r}{nearest(id, bare | set(_registry))}; `shoal envs` lists all"
    )


def make(id: str, **overrides: Any) -> Environment[Any, Any]:
    """Builds a registered environment.

    Args:
        id: ``family/scenario-vN``, or without ``-vN`` for the newest version.
        **overrides: options and parameters by name; `describe` lists them.

    Raises:
        UserError: for an unknown id, an unknown override or a value out of range.
    """
    registration = _registry[resolve(id)]
    module, _, name = registration.entry_point.partition(":")
    kind: type[Environment[Any, Any]] = getattr(importlib.import_module(module), name)
    return kind.from_overrides(registration.id, {**registration.overrides, **overrides})


def list_environments() -> list[str]:
    """Returns the full ids of all registered environments, sorted."""
    _load_plugins()
    return sorted(_registry)


def describe(id: str) -> dict[str, Any]:
    """Returns an environment's metadata, options and parameters as plain values."""
    return make(id).describe()
