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
}


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
    module, _, attribute = _ALGORITHMS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
