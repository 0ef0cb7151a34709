"""Schelling diagrams, the meta-game between two kinds of policy, and the conditions of a social dilemma.

Everything is counted by ``c``, how many of N agents cooperate. R_c(c) is what cooperators get when c do,
R_d(c) what defectors get when c others do: so one agent compares R_c(c + 1) with R_d(c). NaN: not played.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

TIE = 1e-5  # relative; gains up to it are rounding of float32 payoffs
PATTERNS = {
    (True, True): "prisoner's dilemma",
    (True, False): "stag hunt",
    (False, True): "chicken",
    (False, False): "harmony",
}
"""(fear, greed) -> the name of the two-player game with these temptations."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Schelling:
    """Mean payoffs by number of cooperators, and how they differ between runs; [N + 1] each."""

    cooperator: Floats  # R_c, NaN at 0
    defector: Floats  # R_d, NaN at N
    overall: Floats  # of all agents
    cooperator_std: Floats
    defector_std: Floats
    overall_std: Floats
    runs: NDArray[np.int64]  # how many were played

    @property
    def agents(self) -> int:
        """N."""
        return len(self.overall) - 1


def schelling(payoffs: Sequence[ArrayLike], cooperates: Sequence[ArrayLike]) -> Schelling:
    """Sums up runs of mixed play.

    Args:
        payoffs: for c = 0 to N, [runs, N]; no runs where none could be played.
        cooperates: likewise, who was a cooperator: c of every row.
    """
    rows = []
    for paid, mine in zip(payoffs, cooperates, strict=True):
        values, kinds = np.asarray(paid, np.float64), np.asarray(mine, bool)
        row: list[float] = []
        for part in (kinds, ~kinds, np.ones_like(kinds)):
            row += _mean_and_std(values, part)
        rows.append((*row, len(values)))
    columns = [np.asarray(column) for column in zip(*rows, strict=True)]
    return Schelling(
        cooperator=columns[0],
        defector=columns[2],
        overall=columns[4],
        cooperator_std=columns[1],
        defector_std=columns[3],
        overall_std=columns[5],
        runs=columns[6],
    )


def of_means(cooperator: Sequence[float], defector: Sequence[float]) -> Schelling:
    """Returns the diagram of known payoffs.

    Args:
        cooperator: R_c(1) to R_c(N).
        defector: R_d(0) to R_d(N - 1).
    """
    n = len(cooperator)
    c = np.asarray([math.nan, *cooperator], np.float64)
    d = np.asarray([*defector, math.nan], np.float64)
    count = np.arange(n + 1)
    overall = (count * np.nan_to_num(c) + (n - count) * np.nan_to_num(d)) / n
    nothing = np.zeros(n + 1)
    return Schelling(c, d, overall, nothing, nothing, nothing, np.ones(n + 1, np.int64))


def _mean_and_std(values: Floats, part: NDArray[np.bool_]) -> list[float]:
    """Returns mean and standard deviation over runs of each run's mean over ``part``."""
    count = part.sum(axis=1) if len(values) else np.zeros(0)
    if not len(count) or not count.all():
        return [math.nan, math.nan]
    each = np.where(part, values, 0.0).sum(axis=1) / count
    return [float(each.mean()), float(each.std())]


def temptations(diagram: Schelling) -> Floats:
    """Returns R_d(c) - R_c(c + 1) for c = 0 to N - 1: what one gains by defecting among c cooperators."""
    return diagram.defector[:-1] - diagram.cooperator[1:]


def conditions(diagram: Schelling) -> dict[str, Any]:
    """Returns the conditions of a social dilemma; what was not played is None.

    ``c1`` = R_c(N) - R_d(0): all cooperating beats all defecting. ``c2`` = R_c(N) - R_c(1): it beats
    cooperating alone. ``fear`` = R_d(0) - R_c(1), ``greed`` = R_d(N - 1) - R_c(N): defecting pays where
    nobody else cooperates, or where all do. ``c3`` is the published code's one number for both: the last
    temptation that is positive, or else the first one.
    """
    c, d = diagram.cooperator, diagram.defector
    gaps = temptations(diagram)
    positive = gaps[gaps > 0.0]
    values = {
        "c1": float(c[-1] - d[0]),
        "c2": float(c[-1] - c[1]),
        "c3": float(positive[-1] if len(positive) else gaps[0]) if np.isfinite(gaps).all() else math.nan,
        "fear": float(gaps[0]),
        "greed": float(gaps[-1]),
    }
    above = {name: value > _tie(diagram) for name, value in values.items()}
    known = all(math.isfinite(value) for value in values.values())
    dilemma = above["c1"] and above["c2"] and (above["fear"] or above["greed"])
    return {
        **{name: value if math.isfinite(value) else None for name, value in values.items()},
        "dilemma": dilemma if known else None,
        "published_dilemma": above["c1"] and above["c2"] and above["c3"] if known else None,
        "pattern": PATTERNS[above["fear"], above["greed"]] if known else None,
    }


def payoff_table(diagram: Schelling) -> list[dict[str, Any]]:
    """Returns the meta-game, one row for each number of others who cooperate: what either choice pays."""
    return [
        {
            "others": others,
            "cooperate": _or_none(diagram.cooperator[others + 1]),
            "defect": _or_none(diagram.defector[others]),
            "temptation": _or_none(gap),
        }
        for others, gap in enumerate(temptations(diagram))
    ]


def equilibria(diagram: Schelling) -> list[int]:
    """Returns the numbers of cooperators from which nobody gains by switching; none where one is unknown."""
    gaps, tie = temptations(diagram), _tie(diagram)
    n = diagram.agents
    return [
        count
        for count in range(n + 1)
        if (count == 0 or gaps[count - 1] <= tie) and (count == n or gaps[count] >= -tie)
    ]


def _tie(diagram: Schelling) -> float:
    values = np.concatenate([diagram.cooperator, diagram.defector])
    return TIE * float(np.max(np.abs(values), where=np.isfinite(values), initial=0.0))


def _or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
