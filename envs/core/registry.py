"""Names for environments: ``family/scenario-vN``, or ``module.path:Class`` for what is not registered."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Any

from shoal.envs.core.environment import Environment
from shoal.envs.core.errors import UserError, nearest
from shoal.envs.core.importing import find_class, is_path

_ID = re.compile(r"(?P<name>[a-z0-9_]+/[A-Za-z0-9_.-]+?)(-v(?P<version>\d+))?")


@dataclass(frozen=True)
class Registration:
    """Where an environment comes from: ``module:Class`` and the options that make it this one."""

    id: str
    entry_point: str
    overrides: Mapping[str, Any] = field(default_factory=dict)


_registry: dict[str, Registration] = {}
BRIDGES = {suite: f"shoal.envs.adapters.{suite}" for suite in ("jaxmarl", "jumanji")}
"""Other suites -> the module whose `bridge` says what ``suite/NAME`` is; not ours, and so not listed."""


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

    A Python path is an id as well; the full form of ``module.path``, which must define one environment, is
    ``module.path:Class``.

    Raises:
        UserError: when there is none, with the nearest one.
    """
    if is_path(id):
        return _by_path(id)[0]
    return _registration(id).id


def _registration(id: str) -> Registration:
    """Finds what is registered by this id, or what a bridge makes of it."""
    _load_plugins()
    if id in _registry:
        return _registry[id]
    versions = [
        (int(known.rpartition("-v")[2]), known) for known in _registry if known.rpartition("-v")[0] == id
    ]
    if versions:
        return _registry[max(versions)[1]]
    if id.partition("/")[0] in BRIDGES:
        found: Registration = importlib.import_module(BRIDGES[id.partition("/")[0]]).bridge(id)
        return found
    bare = {known.rpartition("-v")[0] for known in _registry}
    raise UserError(
        f"there is no environment {id!r}{nearest(id, bare | set(_registry))}; `shoal envs` lists all"
    )


def split_id(id: str) -> tuple[str, str]:
    """Returns the family and the scenario of a full id; a Python path's are its module and its class."""
    family, _, scenario = id.rpartition(":" if is_path(id) else "/")
    return family, scenario


def _by_path(path: str) -> tuple[str, type[Environment[Any, Any]]]:
    return find_class(path, "environment", _lacks)


def _lacks(found: Any) -> str:
    """Says what a class lacks to be an environment that can be made."""
    if not (isinstance(found, type) and issubclass(found, Environment)):
        return "it must be a subclass of shoal.envs.core.Environment"
    missing = sorted(found.__abstractmethods__) if inspect.isabstract(found) else []
    missing += [name for name in ("Options", "Params") if not hasattr(found, name)]
    return f"it lacks {', '.join(missing)}" if missing else ""


def make(id: str, **overrides: Any) -> Environment[Any, Any]:
    """Builds a registered environment.

    Args:
        id: ``family/scenario-vN``, or without ``-vN`` for the newest version; or a Python path.
        **overrides: options and parameters by name; `describe` lists them.

    Raises:
        UserError: for an unknown id, an unknown override or a value out of range.
    """
    if is_path(id):
        id, kind = _by_path(id)
        return kind.from_overrides(id, overrides)
    registration = _registration(id)
    module, _, name = registration.entry_point.partition(":")
    kind = getattr(importlib.import_module(module), name)
    return kind.from_overrides(registration.id, {**registration.overrides, **overrides})


def list_environments() -> list[str]:
    """Returns the full ids of all registered environments, sorted."""
    _load_plugins()
    return sorted(_registry)


def describe(id: str) -> dict[str, Any]:
    """Returns an environment's metadata, options and parameters as plain values."""
    return make(id).describe()
