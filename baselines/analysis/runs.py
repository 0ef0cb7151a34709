"""The members of run folders as models, sorted into families and put into a table of restraint."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import jax
import numpy as np

from shoal.baselines.analysis.restraint import Judged, Model, changed, check_alike, check_restraint
from shoal.baselines.build import members_of
from shoal.baselines.checkpoints import read_best, unflatten
from shoal.baselines.evaluation import learned_policy
from shoal.baselines.policies import Trained, read_run
from shoal.baselines.results import named_run
from shoal.baselines.teams import training_opponents
from shoal.envs.core import UserError
from shoal.envs.core.errors import nearest


@dataclass(frozen=True)
class Family:
    """Models of one learner that differ in the column's number and in their seeds only."""

    row: str  # the learner, and what else was swept
    models: tuple[Model, ...]

    @property
    def learner(self) -> str:
        """The learner's name alone."""
        return self.models[0].learner


def read_models(words: Iterable[str]) -> list[Model]:
    """Reads ``RUN`` (all members), ``RUN@member`` or ``NAME=RUN``; NAME is what its learner is called.

    Raises:
        UserError: when one is not there, or does not fit this analysis or the others.
    """
    models: list[Model] = []
    for word in words:
        name, folder, member = named_run(word)
        first = read_run(folder, member or 0)
        check_restraint(first.env)
        check_alike(first.env)
        models += _models(name, [first] if member is not None else _all_members(first))
    twice = {model.name for model in models if sum(other.name == model.name for other in models) > 1}
    if twice:
        raise UserError(f"{min(twice)} is named twice")
    _check_one_world(models)
    return models


def _all_members(first: Trained) -> list[Trained]:
    """Returns every member of a run of which one was read: the others have other arrays and numbers."""
    flat, note = read_best(first.folder / "checkpoints")
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((first.members, *x.shape), x.dtype), first.params)
    params = unflatten(shapes, flat)
    return [
        dataclasses.replace(
            first,
            env=changed(first.env, member.env_numbers),
            params=jax.tree.map(itemgetter(number), params),
            member=number,
            seed=member.seed,
            swept=member.swept,
            best=note["members"][number],
        )
        for number, member in enumerate(members_of(first.config))
    ]


def _models(name: str | None, found: Sequence[Trained]) -> list[Model]:
    """Makes models of the members of one folder, which share their program."""
    first = found[0]
    policy_of = learned_policy(
        first.env, first.learners, training_opponents(first.config, first.env, first.learners)
    )
    shapes = jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), first.params)
    leads, agents = [leaf.shape for leaf in jax.tree.leaves(first.params)], first.env.num_agents
    algorithm = first.config.algorithm
    # One algorithm of many structures goes by the structure's name.
    learner = name or getattr(algorithm, "structure", first.config.algorithm_name)
    static = {
        f.name: getattr(algorithm, f.name)
        for f in dataclasses.fields(algorithm)
        if f.type not in (float, "float")
    }
    program = (first.config.algorithm_name, static, first.config.network, first.config.sharing, shapes)
    return [
        Model(
            name=f"{member.folder}@{member.member}" if member.members > 1 else str(member.folder),
            learner=learner,
            seed=member.seed,
            swept=member.swept,
            env=member.env,
            policy_of=policy_of,
            params=member.params,
            program=program,
            apart=first.config.sharing == "none" and all(shape[:1] == (agents,) for shape in leads),
        )
        for member in found
    ]


def _check_one_world(models: Sequence[Model]) -> None:
    """Refuses models whose worlds differ in more than numbers, or whose learners' programs differ."""
    first = models[0]
    for model in models[1:]:
        mine, theirs = _facts(first), _facts(model)
        for key in mine:
            if mine[key] != theirs.get(key):
                raise UserError(
                    f"all runs must be of one environment, but {first.name} has {key}={mine[key]} and "
                    f"{model.name} has {key}={theirs.get(key)}"
                )
        other = next(m for m in models if m.learner == model.learner)
        if other.program != model.program:
            raise UserError(
                f"{other.name} and {model.name} are both {model.learner}, of different networks or options; "
                f"tell them apart by names: NAME={model.name}"
            )


def _facts(model: Model) -> dict[str, Any]:
    options = model.env.options
    return {
        "env": model.env.id,
        **{f"env.{f.name}": getattr(options, f.name) for f in dataclasses.fields(options)},
    }


def column_of(models: Sequence[Model], wanted: str | None) -> str | None:
    """Returns the number that the table's columns are: ``wanted``, or the one with the most values.

    None where all models have the same numbers.

    Raises:
        UserError: when the environment has no such number.
    """
    counts = {name: len({model.numbers[name] for model in models}) for name in models[0].numbers}
    if wanted is not None:
        if wanted not in counts:
            raise UserError(f"--by {wanted}: {models[0].env.id} has no such number{nearest(wanted, counts)}")
        return wanted
    most = max(counts, key=lambda name: counts[name], default=None)
    return None if most is None or counts[most] == 1 else most


def families(models: Sequence[Model], column: str | None) -> list[Family]:
    """Sorts models by learner and by every number that differs, but for the column's."""
    differ = [
        name
        for name in models[0].numbers
        if name != column and len({model.numbers[name] for model in models}) > 1
    ]
    rows: dict[str, list[Model]] = {}
    for model in models:
        numbers = {**{name: model.numbers[name] for name in differ}, **model.swept}
        words = " ".join(f"{name}={value:.4g}" for name, value in numbers.items())
        rows.setdefault(f"{model.learner} [{words}]" if words else model.learner, []).append(model)
    return [Family(row, tuple(members)) for row, members in rows.items()]


def restraint_table(
    judged: Mapping[str, Sequence[Judged]], column: str | None
) -> tuple[list[float], dict[str, list[dict[str, Any]]]]:
    """Returns the columns, and for each row its cells: mean over seeds and agents, and how seeds differ.

    Args:
        judged: by row.
        column: the number that the columns are; None: there is one column, of no value.
    """

    def place(model: Model) -> float:
        return 0.0 if column is None else model.numbers[column]

    columns = sorted({place(j.model) for row in judged.values() for j in row}, reverse=True)
    table = {}
    for row, found in judged.items():
        cells = []
        for value in columns:
            here = [j for j in found if place(j.model) == value]
            means = np.asarray([j.restraint.mean() for j in here])
            cells.append(
                {
                    "value": value if column is not None else None,
                    "models": len(here),
                    "mean": float(means.mean()) if here else None,
                    "std": float(means.std()) if here else None,
                    "payoff": float(np.mean([j.payoff for j in here])) if here else None,
                    "cooperators": int(sum((j.labels > 0).sum() for j in here)),
                    "defectors": int(sum((j.labels < 0).sum() for j in here)),
                }
            )
        table[row] = cells
    return columns, table
