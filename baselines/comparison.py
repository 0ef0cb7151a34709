"""Which algorithm is better, and how sure that is: finished runs, by task and algorithm, compared in pairs.

A run's score is the mean of one metric over the episodes of its final evaluation. Statistics are those of
`shoal.baselines.statistics`; the same runs give the same report.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shoal.baselines import statistics
from shoal.baselines.build import make_env
from shoal.baselines.results import MemberResults
from shoal.envs.core import MetricSpec, UserError
from shoal.envs.core.errors import nearest

ALPHA = 0.05
RETURNS = ("episode_return", "episode_return_sum", "episode_length")  # of every environment
Warn = Callable[[str], None]
Scale = tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """The runs that are compared, by task and algorithm, and what they are compared by."""

    metric: str
    higher_is_better: bool
    scales: Mapping[str, Scale]  # task -> the scores that become 0 and 1; empty: scores stay as they are
    runs: Mapping[str, Mapping[str, tuple[MemberResults, ...]]]  # task -> algorithm -> its runs

    @property
    def tasks(self) -> list[str]:
        """The tasks, in the order in which they came."""
        return list(self.runs)

    @property
    def algorithms(self) -> list[str]:
        """The algorithms, in the order in which they came."""
        return list(dict.fromkeys(name for runs in self.runs.values() for name in runs))

    def scaled(self, task: str, values: Any) -> np.ndarray:
        """Returns values of the metric as scores."""
        low, high = self.scales.get(task, (0.0, 1.0))
        return (np.asarray(values, np.float64) - low) / (high - low)

    def scores(self, algorithm: str, tasks: Iterable[str]) -> list[np.ndarray]:
        """Returns an algorithm's scores [runs] in each of these tasks."""
        return [
            self.scaled(task, [run.absolute[self.metric]["mean"] for run in self.runs[task][algorithm]])
            for task in tasks
        ]

    def played(self, algorithm: str) -> list[str]:
        """Returns the tasks that an algorithm has runs of."""
        return [task for task, runs in self.runs.items() if algorithm in runs]


# What is compared ------------------------------------------------------------------------------------


def gather(
    results: Sequence[MemberResults], metric: str | None = None, normalise: Sequence[str] = ()
) -> Comparison:
    """Groups runs by task and algorithm.

    Args:
        results: of all members.
        metric: what to compare by; by default the headline metric where all environments have the same one,
            else the return.
        normalise: ``LOW,HIGH`` for all tasks or ``TASK=LOW,HIGH`` for one.

    Raises:
        UserError: when there is nothing to compare, a metric is not defined, runs of one name differ, or
            scales do not fit together.
    """
    runs: dict[str, dict[str, list[MemberResults]]] = {}
    for one in results:
        task = f"{one.environment}/{one.task}"
        others = runs.setdefault(task, {}).setdefault(one.algorithm, [])
        for other in others:
            _check_alike(task, other, one)
        others.append(one)
    specs = {task: _specs(next(iter(own.values()))[0]) for task, own in runs.items()}
    chosen = _metric(specs, metric)
    for one in results:
        if (one.absolute.get(chosen) or {}).get("mean") is None:
            raise UserError(f"{one.where} has no {chosen}{nearest(chosen, _defined(results))}")
    known = {task: own[chosen] for task, own in specs.items() if chosen in own}
    if len({spec.higher_is_better for spec in known.values()}) > 1:
        raise UserError(f"{chosen} is better high on one task and low on another; compare them one by one")
    comparison = Comparison(
        metric=chosen,
        higher_is_better=all(spec.higher_is_better for spec in known.values()),
        scales=_scales(normalise, list(runs)),
        runs={task: {name: tuple(own) for name, own in by.items()} for task, by in runs.items()},
    )
    _check_comparable(comparison, known)
    return comparison


def _check_alike(task: str, known: MemberResults, new: MemberResults) -> None:
    """Refuses a run counted twice, and runs under one name that were not trained alike."""
    if known.seed == new.seed:
        raise UserError(
            f"{known.where} and {new.where} are both {new.algorithm}, seed {new.seed}, on {task}; tell them "
            f"apart by names: NAME={new.where}"
        )
    if known.named and new.named:
        return
    ours, theirs = (_trained_with(run.config) for run in (known, new))
    different = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    if different:
        raise UserError(
            f"{known.where} and {new.where} are both {new.algorithm} and differ in {', '.join(different)}; "
            f"tell them apart by names: NAME={new.where}"
        )


def _trained_with(config: Any) -> dict[str, Any]:
    """Returns what makes runs of one algorithm alike, flat."""
    values = config.to_dict()
    alike = ("num_envs", "total_env_steps", "sharing", "opponent", "curriculum")
    flat = {name: values[name] for name in alike}
    for section in ("algorithm", "network"):
        flat |= {f"{section}.{name}": value for name, value in values[section].items()}
    return flat


def _specs(run: MemberResults) -> dict[str, MetricSpec]:
    """Returns the metrics of a run's environment, the headline first."""
    return {spec.name: spec for spec in make_env(run.config).metric_specs}


def _defined(results: Sequence[MemberResults]) -> list[str]:
    """Returns the metrics that every run has."""
    names = [{name for name, cell in one.absolute.items() if cell["mean"] is not None} for one in results]
    return sorted(set.intersection(*names))


def _metric(specs: Mapping[str, Mapping[str, MetricSpec]], asked: str | None) -> str:
    """Returns what to compare by."""
    if asked is not None:
        known = {name for own in specs.values() for name in own} | set(RETURNS)
        if asked not in known:
            raise UserError(f"there is no metric {asked!r}{nearest(asked, known)}")
        return asked
    headlines = {next(iter(own), RETURNS[0]) for own in specs.values()}
    return headlines.pop() if len(headlines) == 1 else RETURNS[0]


def _scales(words: Sequence[str], tasks: Sequence[str]) -> dict[str, Scale]:
    """Reads ``LOW,HIGH`` and ``TASK=LOW,HIGH``."""
    scales: dict[str, Scale] = {}
    for word in words:
        # The options of a task hold = themselves: [max_steps=12].
        task, equals, numbers = word.rpartition("=")
        try:
            low, high = map(float, numbers.split(","))
        except ValueError:
            low = high = math.nan
        if not low < high:
            raise UserError(f"--normalise {word}: it must be LOW,HIGH or TASK=LOW,HIGH, such as 0,20")
        if equals and task not in tasks:
            raise UserError(f"--normalise {word}: there is no task {task!r}{nearest(task, tasks)}")
        scales |= dict.fromkeys([task] if equals else tasks, (low, high))
    missing = [task for task in tasks if task not in scales] if scales else []
    if missing:
        raise UserError(f"--normalise leaves out {', '.join(missing)}; give TASK=LOW,HIGH for every task")
    return scales


def _check_comparable(comparison: Comparison, specs: Mapping[str, MetricSpec]) -> None:
    """Refuses what has no pair, and tasks whose scores cannot be averaged."""
    names, tasks = comparison.algorithms, comparison.tasks
    if len(names) < 2:
        raise UserError(
            f"compare needs two algorithms, and all runs are of {names[0]}; NAME=RUN tells runs apart"
        )
    if not any(_shared(comparison, *pair) for pair in itertools.combinations(names, 2)):
        where = ", ".join(f"{name} on {', '.join(comparison.played(name))}" for name in names)
        raise UserError(f"no two algorithms were trained on the same task: {where}")
    ranges = {(spec.low, spec.high) for spec in specs.values()}
    one_range = len(specs) == len(tasks) and len(ranges) == 1 and all(map(math.isfinite, *ranges))
    if len(tasks) > 1 and not comparison.scales and not one_range:
        raise UserError(
            f"{comparison.metric} has no common scale over {', '.join(tasks)}, so an average means nothing; "
            "give --normalise TASK=LOW,HIGH for each (random and best play, say), a --metric that has one, "
            "or one task at a time"
        )


def _shared(comparison: Comparison, x: str, y: str) -> list[str]:
    return [task for task, runs in comparison.runs.items() if x in runs and y in runs]


# What came of it -------------------------------------------------------------------------------------


def report(comparison: Comparison, warn: Warn) -> dict[str, Any]:
    """Returns what ``--json`` prints.

    ``cells`` has for each pair of algorithms, on every task that both have runs of and (task None) over all
    of these, a probability of improvement; and for each algorithm the interquartile mean of its scores, by
    task and over all of its tasks.

    Args:
        comparison: what to report of.
        warn: told of what weakens the comparison.
    """
    pairs = []
    for x, y in itertools.combinations(comparison.algorithms, 2):
        shared = _shared(comparison, x, y)
        pairs += [_pair(comparison, x, y, tasks) for tasks in _views(shared)]
    singles = [
        _single(comparison, name, tasks, pairs)
        for name in comparison.algorithms
        for tasks in _views(comparison.played(name))
    ]
    _warn_of_weakness(comparison, pairs, warn)
    return {
        "metric": comparison.metric,
        "higher_is_better": comparison.higher_is_better,
        "normalised": {task: list(scale) for task, scale in comparison.scales.items()} or None,
        "tasks": comparison.tasks,
        "algorithms": comparison.algorithms,
        "test": f"95 % interval of the probability of improvement without 0.5, and Mann-Whitney p < {ALPHA}",
        "cells": [*pairs, *singles],
    }


def _views(tasks: list[str]) -> list[list[str]]:
    """Returns the tasks one by one, and all together where there are several."""
    return [[task] for task in tasks] + ([tasks] if len(tasks) > 1 else [])


def _pair(comparison: Comparison, x: str, y: str, tasks: list[str]) -> dict[str, Any]:
    """Compares two algorithms: better, worse (x than y), or undecided."""
    ours, theirs = comparison.scores(x, tasks), comparison.scores(y, tasks)
    first, second = (ours, theirs) if comparison.higher_is_better else (theirs, ours)
    value, (low, high) = statistics.probability_of_improvement(first, second)
    p = statistics.mann_whitney(first, second)
    verdict = "undecided"
    if p < ALPHA and not low <= 0.5 <= high:
        verdict = "better" if value > 0.5 else "worse"
    return {
        "statistic": "probability_of_improvement",
        "x": x,
        "y": y,
        "task": tasks[0] if len(tasks) == 1 else None,
        "tasks": tasks,
        "published": None,
        "ours": value,
        "ci95": [low, high],
        "p_value": p,
        "runs": [sum(map(len, ours)), sum(map(len, theirs))],
        "verdict": verdict,
    }


def _single(
    comparison: Comparison, name: str, tasks: list[str], pairs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Sums up one algorithm: the best (better than all others), beaten (by any), or undecided."""
    scores = comparison.scores(name, tasks)
    task = tasks[0] if len(tasks) == 1 else None
    # An algorithm that was trained on one task only is compared on it alone.
    met = [pair for pair in pairs if pair["task"] == task and name in (pair["x"], pair["y"])]
    won = [pair["verdict"] == ("better" if pair["x"] == name else "worse") for pair in met]
    lost = [pair["verdict"] == ("worse" if pair["x"] == name else "better") for pair in met]
    everything = np.concatenate(scores)
    steps = {int(run.config.total_env_steps) for t in tasks for run in comparison.runs[t][name]}
    return {
        "statistic": "iqm",
        "algorithm": name,
        "task": task,
        "tasks": tasks,
        "published": None,
        "ours": float(statistics.iqm(everything)),
        "ci95": list(statistics.stratified_interval(scores)),
        "mean": float(np.mean(everything)),
        "runs": len(everything),
        "env_steps": sorted(steps),
        "verdict": "beaten" if any(lost) else "best" if won and all(won) else "undecided",
    }


def _warn_of_weakness(comparison: Comparison, pairs: Sequence[Mapping[str, Any]], warn: Warn) -> None:
    """Says which pairs were trained for different lengths, or have too few runs for any test."""
    for pair in pairs:
        x, y, task = pair["x"], pair["y"], pair["task"]
        if task is None:
            continue
        steps = [{run.config.total_env_steps for run in comparison.runs[task][name]} for name in (x, y)]
        if steps[0] != steps[1]:
            words = (", ".join(f"{n:,}" for n in sorted(own)) for own in steps)
            warn(f"{x} and {y} were not trained for equally long on {task}: {' and '.join(words)} env steps")
        # All of one above all of the other is the rarest order: its mirror image counts as well.
        least = 2.0 / math.comb(sum(pair["runs"]), pair["runs"][0])
        if least >= ALPHA:
            warn(
                f"{x} and {y} have {pair['runs'][0]} and {pair['runs'][1]} runs of {task}: no outcome would "
                f"have p < {ALPHA} (four of each could)"
            )


# Curves and profiles ---------------------------------------------------------------------------------


def curves(comparison: Comparison) -> list[dict[str, Any]]:
    """Returns the learning curves: interquartile means over runs at each evaluation, with their intervals.

    Runs that were evaluated at other steps are read at those of the first one, along straight lines.
    """
    found = []
    for task, algorithms in comparison.runs.items():
        for name, runs in algorithms.items():
            lines = [line for line in (_line(comparison, task, run) for run in runs) if len(line[0])]
            if len(lines) < len(runs):  # evaluated at the end only
                continue
            end = min(steps[-1] for steps, _ in lines)
            grid = lines[0][0][lines[0][0] <= end]
            values = np.stack([np.interp(grid, *line) for line in lines])  # [runs, K]
            bands = [statistics.stratified_interval([column]) for column in values.T]
            found.append(
                {
                    "task": task,
                    "algorithm": name,
                    "env_steps": grid,
                    "iqm": statistics.iqm(values, axis=0),
                    "low": [low for low, _ in bands],
                    "high": [high for _, high in bands],
                }
            )
    return found


def _line(comparison: Comparison, task: str, run: MemberResults) -> tuple[np.ndarray, np.ndarray]:
    """Returns the steps and the scores of a run's evaluations, where they are defined."""
    rows = [(row["env_steps"], row.get(f"eval/{comparison.metric}")) for row in run.evaluations]
    defined = [(step, value) for step, value in rows if value is not None]
    steps, values = np.asarray(defined, np.float64).reshape(-1, 2).T
    return steps, comparison.scaled(task, values)


def profiles(comparison: Comparison, points: int = 101) -> list[dict[str, Any]]:
    """Returns for each algorithm the share of its runs that score at least so much, with pointwise bands."""
    return profiles_of(
        {name: comparison.scores(name, comparison.played(name)) for name in comparison.algorithms}, points
    )


def profiles_of(scores: Mapping[str, Sequence[Any]], points: int = 101) -> list[dict[str, Any]]:
    """Returns performance profiles with pointwise bands, at thresholds over the range of all scores.

    Args:
        scores: algorithm -> for each task the scores of its runs.
        points: how many thresholds.
    """
    everything = np.concatenate([task for tasks in scores.values() for task in tasks])
    thresholds = np.linspace(np.min(everything), np.max(everything), points)
    found = []
    for name, tasks in scores.items():
        shares, low, high = statistics.performance_profile(tasks, thresholds)
        found.append(
            {"algorithm": name, "thresholds": thresholds, "shares": shares, "low": low, "high": high}
        )
    return found
