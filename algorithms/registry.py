"""Names for algorithms; ``module.path:Class`` for one that is registered nowhere."""

from __future__ import annotations

import dataclasses
import importlib
from importlib import metadata
from typing import Any

from shoal.envs.core import UserError
from shoal.envs.core.errors import nearest
from shoal.envs.core.importing import find_class, is_path

_ALGORITHMS = {
    "ippo": "shoal.algorithms.ippo:IPPO",
    "mappo": "shoal.algorithms.mappo:MAPPO",
    "mappo_replay": "shoal.algorithms.mappo_replay:ReplayMAPPO",
    "iql": "shoal.algorithms.iql:IQL",
    "vdn": "shoal.algorithms.vdn:VDN",
    "qmix": "shoal.algorithms.qmix:QMIX",
    "pqn_vdn": "shoal.algorithms.pqn_vdn:PQNVDN",
    "iplan": "shoal.algorithms.iplan:IPLAN",
    "networked": "shoal.algorithms.networked:Networked",
}
PLANNERS = {"cao": "shoal.algorithms.cao:CAO"}
"""Policies that learn nothing between episodes, for environments with ``metadata.extras["planning"]``."""
_LEARNER = (
    "Config", "needs_state", "fresh_rollouts",
    "init", "initial_carry", "explore", "learn", "acting", "policy",
)  # fmt: skip


def list_algorithms() -> list[str]:
    """Returns all names, sorted: ours, and those of installed ``shoal.algorithms`` entry points."""
    return sorted({*_ALGORITHMS, *(entry.name for entry in metadata.entry_points(group="shoal.algorithms"))})


def resolve_algorithm(name: str) -> str:
    """Returns the full name: a Python path without a class gets the one that its module defines.

    Raises:
        UserError: when there is none, with the nearest one.
    """
    if is_path(name):
        return find_class(name, "learner", _lacks)[0]
    learner_class(name)
    return name


def short_name(name: str) -> str:
    """Returns what an algorithm is called in rows, tables and folders; of a Python path, the class."""
    return name.rpartition(":")[2]


def learner_class(name: str) -> type[Any]:
    """Returns the `Learner` class of a name or Python path; its ``Config`` is the schema of ``algorithm.``.

    Raises:
        UserError: when there is none, with the nearest one.
    """
    if is_path(name):
        return find_class(name, "learner", _lacks)[1]
    for entry in metadata.entry_points(group="shoal.algorithms"):
        if entry.name == name:
            kind: type[Any] = entry.load()
            return kind
    if name not in _ALGORITHMS:
        raise UserError(
            f"there is no algorithm {name!r}{nearest(name, list_algorithms())} (your own go by their Python "
            "path, my_module:MyLearner)"
        )
    return _imported(_ALGORITHMS[name])


def planner_class(name: str) -> type[Any]:
    """Returns the planner of that name, one of `PLANNERS`: called with an environment it makes a `Policy`.

    Raises:
        UserError: when there is none, with the nearest one.
    """
    if name not in PLANNERS:
        raise UserError(f"there is no planner {name!r}{nearest(name, PLANNERS)}")
    return _imported(PLANNERS[name])


def _imported(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _lacks(found: Any) -> str:
    """Says what a class lacks to be a learner that runs can train, its config included."""
    if not isinstance(found, type):
        return "it must be a class, a shoal.algorithms.blocks.learner.Learner"
    kind: Any = found
    missing = [name for name in _LEARNER if not hasattr(kind, name)]
    missing += sorted(getattr(kind, "__abstractmethods__", ()))
    if "Config" not in missing:
        if not dataclasses.is_dataclass(kind.Config):
            return "its Config must be a frozen dataclass"
        known = {field.name for field in dataclasses.fields(kind.Config)} | set(dir(kind.Config))
        missing += [f"Config.{name}" for name in ("batching", "rollout_length") if name not in known]
    if not missing:
        return ""
    return f"it lacks {', '.join(missing)}; shoal.algorithms.blocks.learner.Learner says what is needed"
