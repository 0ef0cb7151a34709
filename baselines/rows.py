"""What metrics.jsonl says: one row per member and log interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shoal.algorithms.blocks.rollout import Totals
from shoal.baselines.build import Member
from shoal.envs.core import Environment

Row = dict[str, Any]


def episode_fields(env: Environment[Any, Any]) -> tuple[str, ...]:
    """Returns what is reported of episodes, in order."""
    return (
        "episode_return",
        "episode_return_sum",
        "episode_length",
        *(spec.name for spec in env.metric_specs),
    )


def headline(env: Environment[Any, Any], means: Mapping[str, float]) -> tuple[float, float]:
    """Returns what evaluations are compared by: the headline metric, larger is better, then the return."""
    episode_return = means["episode_return"]
    if not env.metric_specs:
        return (episode_return, episode_return)
    spec = env.metric_specs[0]
    return (means[spec.name] if spec.higher_is_better else -means[spec.name], episode_return)


def identity(number: int, member: Member) -> Row:
    """Returns what tells a member from the others."""
    return {
        "member": number,
        "seed": member.seed,
        **{f"algorithm.{name}": value for name, value in member.swept.items()},
        **{f"env.{name}": value for name, value in member.env_numbers.items()},
    }


def training_row(
    env: Environment[Any, Any], number: int, totals: Totals, metrics: Mapping[str, Mapping[str, np.ndarray]]
) -> Row:
    """Returns one member's part of a row that came out of training: means over the episodes that finished.

    NaN (null in the file) where none finished, or where the environment has no such thing.
    """
    finished = int(totals.episodes[number])
    sums = {**totals.metrics, **{name: getattr(totals, name) for name in episode_fields(env)[:3]}}
    row: Row = {"episodes": finished, **dict.fromkeys((*episode_fields(env)[:3], "win_rate"), math.nan)}
    for name in episode_fields(env):
        row[name] = float(sums[name][number]) / finished if finished else math.nan
    for learner, values in metrics.items():
        if learner in totals.team_return:
            total = float(totals.team_return[learner][number])
            row[f"{learner}/episode_return"] = total / finished if finished else math.nan
        row |= {f"{learner}/{name}": float(value[number]) for name, value in values.items()}
    return row


def mean_row(rows: Sequence[Row]) -> Row:
    """Returns the means over members of what is defined, for display."""
    mean: Row = {}
    for name in rows[0]:
        numbers = (row[name] for row in rows if isinstance(row[name], int | float))
        defined = [number for number in numbers if math.isfinite(number)]
        if defined:
            mean[name] = sum(defined) / len(defined)
    return mean
