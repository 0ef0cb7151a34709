"""The whole analysis: from run folders, or two scripted policies, to what ``shoal analyse --json`` prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from shoal.baselines.analysis.mixed import (
    Mixtures,
    play_kinds,
    play_models,
    seat_kinds,
    seat_models,
)
from shoal.baselines.analysis.play import Terms
from shoal.baselines.analysis.published import compare, published_restraint
from shoal.baselines.analysis.restraint import (
    COOPERATOR,
    DEFECTOR,
    WORDS,
    Judged,
    Model,
    Thresholds,
    changed,
    check_alike,
    judge,
    numbers_of,
    with_raw_rewards,
)
from shoal.baselines.analysis.runs import Family, column_of, families, read_models, restraint_table
from shoal.baselines.analysis.schelling import conditions, equilibria, payoff_table, schelling
from shoal.baselines.policies import load_policy, resolve_policy, split_member
from shoal.envs.core import Environment, Policy, UserError, make

Report = dict[str, Any]
Say = Callable[[str], None]


def analyse_runs(
    words: Sequence[str],
    settings: Mapping[str, Any],
    terms: Terms,
    thresholds: Thresholds,
    by: str | None = None,
    mix: bool = True,
    say: Say = lambda line: None,
) -> Report:
    """Evaluates the members of runs, classifies their agents, and plays mixtures of them.

    Args:
        words: ``RUN``, ``RUN@member`` or ``NAME=RUN``, at least one.
        settings: options and numbers of the world of mixed play.
        terms: how everything is played.
        thresholds: what the classes are told by.
        by: the environment's number that the table's columns are.
        mix: whether mixtures are played.
        say: told of what goes on.

    Raises:
        UserError: when runs are not there or do not fit together, or no mixture could be played.
    """
    say("reading runs")
    models = read_models(words)
    column = column_of(models, by)
    rows = families(models, column)
    judged: dict[str, Judged] = {}
    for learner in dict.fromkeys(model.learner for model in models):
        say(f"evaluating {learner}")
        own = [model for model in models if model.learner == learner]
        judged |= {j.model.name: j for j in judge(own, terms, thresholds)}
    by_row = {family.row: [judged[model.name] for model in family.models] for family in rows}
    columns, table = restraint_table(by_row, column)
    known = published_restraint(models[0].env.id, column)
    learners = {family.row: family.learner for family in rows}
    report = {
        **_opening(models[0].env, terms, thresholds),
        "column": column,
        "models": [_model(family.row, judged[model.name]) for family in rows for model in family.models],
        "restraint": {"columns": columns, "rows": table},
        "published": None
        if known is None
        else {"source": known["source"], "rows": compare(known, table, learners)},
        "mixed": [],
    }
    if mix:
        world = _mixing_world(models[0], column, settings)
        report["mixed"] = _mix_families(rows, by_row, world, terms, say)
    return report


def analyse_pair(
    target: str,
    settings: Mapping[str, Any],
    cooperator: str,
    defector: str,
    terms: Terms,
    thresholds: Thresholds,
    say: Say = lambda line: None,
) -> Report:
    """Plays mixtures of two policies of an environment: its own by name, or trained ones by run folder.

    Raises:
        UserError: for an unknown environment, option or policy, agents of several kinds, or a run in another
            environment.
    """
    env = make(target, **settings)
    check_alike(env)
    policies = [_policy(env, name) for name in (cooperator, defector)]
    say(f"playing mixtures of {cooperator} and {defector}")
    rng = np.random.default_rng(terms.seed)
    n = env.num_agents
    seatings = [seat_kinds(n, count, terms.episodes, rng) for count in range(n + 1)]
    found = play_kinds(with_raw_rewards(env), policies[0], policies[1], seatings, terms)
    diagram = _diagram(f"{cooperator} and {defector}", found, env)
    return {
        **_opening(env, terms, thresholds),
        "cooperator": cooperator,
        "defector": defector,
        "mixed": [diagram],
    }


def _policy(env: Environment[Any, Any], name: str) -> Policy:
    """Returns a policy of the environment, or the trained one of a run in it, whatever its numbers."""
    if not split_member(name)[0].exists():
        return resolve_policy(env, name)
    player = load_policy(name)
    mine, theirs = (with_raw_rewards(each) for each in (env, player.env()))
    if mine.id != theirs.id:
        raise UserError(f"{name} was trained in {theirs.id}, not in {mine.id}")
    for field in dataclasses.fields(mine.options):
        here, there = getattr(mine.options, field.name), getattr(theirs.options, field.name)
        if here != there:
            raise UserError(f"{name} was trained with env.{field.name}={there}, and here it is {here}")
    return player.policy_of(player.params)


def _opening(env: Environment[Any, Any], terms: Terms, thresholds: Thresholds) -> Report:
    return {"env": env.id, **dataclasses.asdict(terms), "thresholds": dataclasses.asdict(thresholds)}


def _model(row: str, judged: Judged) -> dict[str, Any]:
    model = judged.model
    return {
        "name": model.name,
        "row": row,
        "seed": model.seed,
        "numbers": {**model.numbers, **model.swept},
        "restraint": judged.restraint.tolist(),
        "payoff": judged.payoff.tolist(),
        "classes": [WORDS[int(label)] for label in judged.labels],
    }


def _mixing_world(model: Model, column: str | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is laid over a family's environment: the column's default number, then the settings."""
    default = {} if column is None else {column: numbers_of(make(model.env.id))[column]}
    return {**default, **settings}


def _mix_families(
    rows: Sequence[Family],
    judged: Mapping[str, Sequence[Judged]],
    world: Mapping[str, Any],
    terms: Terms,
    say: Say,
) -> list[dict[str, Any]]:
    """Plays the mixtures of every family that has cooperators and defectors.

    Raises:
        UserError: when there is none.
    """
    diagrams, lacking = [], []
    for family in rows:
        labels = np.stack([one.labels for one in judged[family.row]])
        missing = [f"no {WORDS[label]}s" for label in (COOPERATOR, DEFECTOR) if not np.any(labels == label)]
        if missing:
            lacking.append(f"{family.row} has {' and '.join(missing)}")
            continue
        say(f"playing mixtures of {family.row}")
        env = with_raw_rewards(changed(family.models[0].env, world))
        rng = np.random.default_rng(terms.seed)
        counts = range(env.num_agents + 1)
        seatings = [seat_models(labels, count, terms.episodes, rng) for count in counts]
        found = play_models(env, family.models, seatings, terms)
        diagrams.append(_diagram(family.row, found, env))
    if not diagrams:
        raise UserError(
            f"nothing to mix: {'; '.join(lacking)}; other thresholds (--cooperator-above, --defector-below) "
            "or more runs may help, and --no-mixed leaves mixed play out"
        )
    return diagrams


def _diagram(name: str, found: Mixtures, env: Environment[Any, Any]) -> dict[str, Any]:
    """Returns the Schelling diagram and what follows from it, lists by number of cooperators."""
    diagram = schelling(found.payoff, found.cooperates)
    held = schelling(found.restraint, found.cooperates)
    values = {f.name: getattr(diagram, f.name).tolist() for f in dataclasses.fields(diagram)}
    return {
        "name": name,
        "numbers": numbers_of(env),
        **values,
        "cooperator_restraint": held.cooperator.tolist(),
        "defector_restraint": held.defector.tolist(),
        "conditions": conditions(diagram),
        "payoffs": payoff_table(diagram),
        "equilibria": equilibria(diagram),
    }
