"""Names for algorithms."""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import Any

from shoal.envs.core import UserError
from shoal.envs.core.errors import nearest

_ALGORITHMS = {
    "ippo": "shoal.algorithms.ippo:IPPO",
    "mappo": "shoal.algorithms.mappo:MAPPO",
    "iql": "shoal.algorithms.iql:IQL",
    "vdn": "shoal.algorithms.vdn:VDN",
    "qmix": "shoal.algorithms.qmix:QMIX",
    "pqn_vdn": "shoal.algorithms.pqn_vdn:PQNVDN",
    "iplan": "shoal.algorithms.iplan:IPLAN",
    "networked": "shoal.algorithms.networked:Networked",
}
PLANNERS = {"cao": "shoal.algorithms.cao:CAO"}
"""Policies that learn nothing between episodes, for environments with ``metadata.extras["planning"]``."""


def list_algorithms() -> list[str]:
    """Returns all names, sorted: ours, and those of installed ``shoal.algorithms`` entry points."""
    return sorted({*_ALGORITHMS, *(entry.name for entry in metadata.entry_points(group="shoal.algorithms"))})


def learner_class(name: str) -> type[Any]:
    """Returns the `Learner` class of that name; its ``Config`` is the schema of ``algorithm.``.

    Raises:
        UserError: when there is none, with the nearest one.
    """
    for entry in metadata.entry_points(group="shoal.algorithms"):
        if entry.name == name:
            kind: type[Any] = entry.load()
            return kind
    if name not in _ALGORITHMS:
        raise UserError(f"there is no algorithm {name!r}{nearest(name, list_algorithms())}")
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
