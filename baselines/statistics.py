"""Statistics over episodes, runs and tasks: means of the middle half, bootstrap intervals, comparisons.

Runs are compared as Agarwal et al. 2021 (arXiv 2108.13264) recommend: scores are given as one array for each
task, with an entry for each of its runs (seeds); intervals resample the runs within each task, so that a task
never vanishes from a resample. All intervals are 95 % percentile intervals of `RESAMPLES` resamples and, for
the same numbers, always the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2000  # of the bootstrap
LEVEL = 0.95
Numbers = NDArray[np.float64]
Interval = tuple[float, float]
Statistic = Callable[..., Any]
"""(values, axis) -> values without that axis: `iqm`, `np.mean`, `np.median`."""


def iqm(values: ArrayLike, axis: int | None = None) -> Any:
    """Returns the interquartile mean: that of what is left without the lowest and the highest quarter.

    Where a quarter is no whole number of values, less than a quarter is left out.
    """
    from scipy import stats

    return stats.trim_mean(np.asarray(values, np.float64), 0.25, axis=axis)


def bootstrap_interval(values: ArrayLike, statistic: Statistic = np.mean) -> Interval:
    """Returns the interval of a statistic of values [n] drawn alike, such as a policy's episodes."""
    from scipy import stats

    sample = np.asarray(values, np.float64)
    if np.all(sample == sample[0]):  # nothing to resample, and scipy would warn
        same = float(statistic(sample, axis=-1))
        return same, same
    found = stats.bootstrap(
        (sample,), statistic, n_resamples=RESAMPLES, batch=100, method="percentile", confidence_level=LEVEL,
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def summarise(values: Any) -> dict[str, Any]:
    """Sums up one value over episodes (or runs).

    Args:
        values: numbers of any shape; those that are not finite are undefined and left out.

    Returns:
        ``mean``, ``iqm`` (mean of the middle half) and ``ci95`` (95 % percentile bootstrap interval of the
        mean); None where nothing is defined.
    """
    values = np.asarray(values, np.float64).ravel()
    values = values[np.isfinite(values)]
    if not len(values):
        return {"mean": None, "iqm": None, "ci95": None}
    return {"mean": float(np.mean(values)), "iqm": float(iqm(values)), "ci95": [*bootstrap_interval(values)]}


def summary(records: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sums up every value of `shoal.baselines.evaluation.Records`."""
    return {name: summarise(values) for name, values in records.items()}


# Runs of several tasks -------------------------------------------------------------------------------


def stratified_interval(tasks: Sequence[ArrayLike], statistic: Statistic = iqm) -> Interval:
    """Returns the interval of a statistic of the runs of all tasks together.

    Args:
        tasks: the scores [runs] of each task, on one scale.
        statistic: of all scores at once.
    """
    scores = _checked(tasks)
    rng = np.random.default_rng(0)
    drawn = [task[rng.integers(len(task), size=(RESAMPLES, len(task)))] for task in scores]
    low, high = _percentiles(statistic(np.concatenate(drawn, axis=-1), axis=-1))
    return float(low), float(high)


def probability_of_improvement(x: Sequence[ArrayLike], y: Sequence[ArrayLike]) -> tuple[float, Interval]:
    """Returns how probable it is that a run of ``x`` scores higher than one of ``y``, and its interval.

    The mean over tasks of the share of pairs that ``x`` wins, a tie counted as half: Mann and Whitney's U
    over the number of pairs. Scales may differ between tasks.

    Args:
        x: the scores [runs] of each task.
        y: the same of the other, the tasks in the same order.

    Raises:
        ValueError: when the tasks are not as many.
    """
    ours, theirs = _checked(x), _checked(y)
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} tasks cannot be compared with {len(theirs)}")
    rng = np.random.default_rng(0)
    shares, drawn = [], np.zeros(RESAMPLES)
    for a, b in zip(ours, theirs, strict=True):
        wins = (a[:, None] > b) + 0.5 * (a[:, None] == b)  # [runs of x, runs of y]
        shares.append(float(np.mean(wins)))
        # Resampled runs are those at hand with whole weights: pairs need not be compared again.
        drawn += np.sum((_weights(rng, len(a)) @ wins) * _weights(rng, len(b)), axis=-1)
    low, high = _percentiles(drawn / len(ours))
    return float(np.mean(shares)), (float(low), float(high))


def performance_profile(
    tasks: Sequence[ArrayLike], thresholds: ArrayLike
) -> tuple[Numbers, Numbers, Numbers]:
    """Returns which share of runs scores at or above each threshold, mean over tasks, with pointwise bands.

    Args:
        tasks: the scores [runs] of each task, on one scale.
        thresholds: [K].

    Returns:
        Shares, and the lower and upper ends of their intervals, [K] each.
    """
    levels = np.asarray(thresholds, np.float64)
    rng = np.random.default_rng(0)
    shares, drawn = np.zeros(len(levels)), np.zeros((RESAMPLES, len(levels)))
    scores = _checked(tasks)
    for task in scores:
        reached = (task[:, None] >= levels).astype(np.float64)  # [runs, K]
        shares += np.mean(reached, axis=0) / len(scores)
        drawn += _weights(rng, len(task)) @ reached / len(scores)
    low, high = _percentiles(drawn)
    return shares, low, high


def mann_whitney(x: Sequence[ArrayLike], y: Sequence[ArrayLike]) -> float:
    """Returns the two-sided p-value of Mann and Whitney's U test: that neither tends to score higher.

    Tests of several tasks are combined by Stouffer's method, one-sided in either direction, the smaller
    p-value doubled. Arguments as those of `probability_of_improvement`.
    """
    from scipy import stats

    ours, theirs = _checked(x), _checked(y)
    if len(ours) == 1:
        return float(stats.mannwhitneyu(ours[0], theirs[0]).pvalue)
    sides = []
    for side in ("greater", "less"):
        tests = [stats.mannwhitneyu(a, b, alternative=side).pvalue for a, b in zip(ours, theirs, strict=True)]
        sides.append(float(stats.combine_pvalues(tests, method="stouffer").pvalue))
    return min(1.0, 2.0 * min(sides))


def _checked(tasks: Sequence[ArrayLike]) -> list[Numbers]:
    """Returns the scores as arrays; every task has runs, and every run a score."""
    scores = [np.asarray(task, np.float64) for task in tasks]
    for task in scores:
        if task.ndim != 1 or not len(task) or not np.all(np.isfinite(task)):
            raise ValueError(f"a task's scores must be finite numbers, one for each run, not {task.tolist()}")
    if not scores:
        raise ValueError("there are no tasks")
    return scores


def _weights(rng: np.random.Generator, runs: int) -> Numbers:
    """Returns how much each run counts in each resample, [RESAMPLES, runs], rows that sum to 1."""
    return rng.multinomial(runs, np.full(runs, 1.0 / runs), size=RESAMPLES) / runs


def _percentiles(drawn: Any) -> tuple[Any, Any]:
    """Returns the ends of the interval over axis 0."""
    tail = 50.0 * (1.0 - LEVEL)
    low, high = np.percentile(drawn, (tail, 100.0 - tail), axis=0)
    return low, high
