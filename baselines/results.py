"""The results of runs as other tools read them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.algorithms.registry import short_name
from shoal.baselines.policies import split_member
from shoal.envs.core import UserError
from shoal.envs.core.registry import split_id

Named = tuple[str | None, Path, int | None]
"""The algorithm's name to use instead of its own, a run folder, and one of its members."""


@dataclass(frozen=True)
class MemberResults:
    """What one member of a run reached."""

    where: str  # to name it in messages
    environment: str  # the family: combat
    task: str  # scenario and options: smax-3m-v1
    algorithm: str
    seed: int
    evaluations: tuple[dict[str, Any], ...]  # rows of metrics.jsonl with an evaluation, in order
    absolute: dict[str, Any]  # metric -> {"mean", ...} of the final evaluation
    config: Any  # the RunConfig of its run
    named: bool  # whether the user gave the algorithm's name


def marl_eval(results: Sequence[MemberResults], warn: Callable[[str], None]) -> dict[str, Any]:
    """Returns the raw data that `marl-eval` (Gorsane et al. 2022, arXiv 2209.10485) reads.

    environment -> task -> algorithm -> seed_N -> step_K -> ``step_count`` and metrics; after the steps
    ``absolute_metrics``. Each metric is a list of one value, the mean over the evaluation's episodes, which
    is all that metrics.jsonl holds. There is no ``elapsed_time``: version 0.0.4 writes it itself, but its
    `DiagnoseData` takes it for a metric that the absolute ones lack.

    Args:
        results: of all members.
        warn: told of what the package will refuse or miss.

    Raises:
        UserError: when two members would be written to one place, or one was evaluated only at its end.
    """
    data: dict[str, Any] = {}
    places: dict[tuple[str, str, str, int], str] = {}
    metrics = _common_metrics(results, warn)
    for member in results:
        if not member.evaluations:
            raise UserError(f"{member.where} was evaluated only at its end (eval.every=0)")
        if "," in member.algorithm:
            raise UserError(f"marl-eval takes no comma in an algorithm's name: {member.algorithm!r}")
        place = (member.environment, member.task, member.algorithm, member.seed)
        if place in places:
            raise UserError(
                f"{places[place]} and {member.where} are both {member.algorithm}, seed {member.seed}, on "
                f"{member.environment}/{member.task}; tell them apart by names: NAME={member.where}"
            )
        places[place] = member.where
        runs = data.setdefault(member.environment, {}).setdefault(member.task, {})
        steps: dict[str, Any] = {
            f"step_{number}": {
                "step_count": row["env_steps"],
                **{name: [row[f"eval/{name}"]] for name in metrics},
            }
            for number, row in enumerate(member.evaluations)
        }
        steps["absolute_metrics"] = {name: [member.absolute[name]["mean"]] for name in metrics}
        runs.setdefault(member.algorithm, {})[f"seed_{member.seed}"] = steps
    _warn_of_gaps(data, warn)
    return data


FORMATS: dict[str, Callable[[Sequence[MemberResults], Callable[[str], None]], dict[str, Any]]] = {
    "marl-eval": marl_eval
}


def named_run(word: str) -> Named:
    """Reads ``RUN``, ``RUN@member`` or ``NAME=RUN``."""
    name, equals, run = word.partition("=")
    if equals and not Path(word).exists() and not split_member(word)[0].exists():
        return (name, *split_member(run))
    return (None, *split_member(word))


def read_results(runs: Iterable[Named]) -> list[MemberResults]:
    """Reads what the members of runs reached.

    Raises:
        UserError: for a run that is not there, or has not finished.
    """
    return [result for named in runs for result in _members(*named)]


def _members(name: str | None, folder: Path, member: int | None) -> list[MemberResults]:
    from shoal.baselines.config import ENV_PREFIX, from_dict, read_yaml

    if not (folder / "config.yaml").is_file():
        raise UserError(f"there is no run folder {str(folder)!r} (no config.yaml in it)")
    config = from_dict(read_yaml(folder))
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [row for row in map(json.loads, lines) if "eval/episode_return" in row]
    except (OSError, ValueError):
        raise UserError(f"{folder} has not finished, or its metrics are damaged") from None
    members = summary["members"]
    if summary["status"] != "finished":
        raise UserError(f"{folder} has not finished; shoal train resume={folder} goes on")
    if member is not None and not 0 <= member < len(members):
        raise UserError(f"{folder} has no member {member}; it has {len(members)}, counted from 0")
    family, scenario = split_id(config.env_id)
    found = []
    for entry in members if member is None else [members[member]]:
        numbers = {k.partition(".")[2]: v for k, v in entry.items() if k.startswith("algorithm.")}
        swept = " ".join(f"{key}={value:g}" for key, value in numbers.items())
        env = {k.partition(".")[2]: v for k, v in entry.items() if k.startswith(ENV_PREFIX)}
        options = " ".join(f"{key}={value}" for key, value in sorted({**config.env_options, **env}.items()))
        evaluations = tuple(row for row in rows if row["member"] == entry["member"])
        found.append(
            MemberResults(
                where=f"{folder}@{entry['member']}",
                environment=family,
                task=f"{scenario}[{options}]" if options else scenario,
                algorithm=(name or short_name(config.algorithm_name)) + (f"[{swept}]" if swept else ""),
                seed=entry["seed"],
                evaluations=evaluations,
                absolute=entry["absolute"],
                config=config,
                named=name is not None,
            )
        )
    return found


def _common_metrics(results: Sequence[MemberResults], warn: Callable[[str], None]) -> list[str]:
    """Returns the metrics that every member has and that are defined everywhere."""
    known = list(dict.fromkeys(name for member in results for name in member.absolute))

    def defined(member: MemberResults, name: str) -> bool:
        values = [row.get(f"eval/{name}") for row in member.evaluations]
        values.append(member.absolute.get(name, {}).get("mean"))
        return all(value is not None and math.isfinite(value) for value in values)

    kept = [name for name in known if all(defined(member, name) for member in results)]
    lost = [name for name in known if name not in kept]
    if lost:
        warn(f"left out, since not every run defines them in every evaluation: {', '.join(lost)}")
    return kept


def _warn_of_gaps(data: dict[str, Any], warn: Callable[[str], None]) -> None:
    """Says what marl-eval will refuse: within an environment everything must be there equally often."""
    for environment, tasks in data.items():
        found: dict[str, dict[str, Any]] = {"algorithms": {}, "seeds": {}, "numbers of evaluations": {}}
        for task, algorithms in tasks.items():
            found["algorithms"][task] = sorted(algorithms)
            for algorithm, seeds in algorithms.items():
                found["seeds"][f"{algorithm} on {task}"] = sorted(seeds)
                for seed, steps in seeds.items():
                    found["numbers of evaluations"][f"{algorithm} on {task}, {seed}"] = len(steps) - 1
        for what, by_place in found.items():
            (first, wanted), *rest = by_place.items()
            odd = next((place for place, value in rest if value != wanted), None)
            if odd is not None:
                warn(
                    f"marl-eval wants the same {what} everywhere in {environment}: {first} has {wanted}, "
                    f"{odd} has {by_place[odd]}"
                )
