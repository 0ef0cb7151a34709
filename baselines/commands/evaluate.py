"""``shoal evaluate``: how well a policy plays, or several with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Optional

import typer


def evaluate(
    targets: Annotated[
        list[str],
        typer.Argument(
            help="Run folder (RUN@member for one of several), exported policy, or environment id; then "
            "env.KEY=VALUE to play with other options, VALUE,VALUE,... for one row each.",
            metavar="TARGET",
        ),
    ],
    policy: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="random, idle, scripted or another policy of the environment, instead of a trained one."
        ),
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Play the environment's policy that comes with Shoal.")
    ] = False,
    episodes: Annotated[int, typer.Option(help="Whole episodes to play, at least.")] = 256,
    num_envs: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Environments side by side; by default as many as episodes, 256 at most."),
    ] = None,
    greedy: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option(
            "--greedy/--sample",
            help="Most probable actions, or drawn ones. By default as the run was judged (eval.greedy), "
            "else the most probable.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides levels, steps and drawn actions.")] = 0,
    cross: Annotated[
        bool, typer.Option("--cross", help="Play every policy with every other: a matrix of returns.")
    ] = False,
    split: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="With --cross, what the row's policy plays: agents (agent 0, the column's the rest) or "
            "teams (the first team). By default teams where there are several."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Play whole episodes and print mean, interquartile mean and a 95 % bootstrap interval of the mean.

    Example: shoal evaluate runs/demo --episodes 512

    Example: shoal evaluate combat/smax-2s3z --pretrained

    Example: shoal evaluate combat/smax-3m --policy random --json

    Example: shoal evaluate runs/a runs/b policies/c --cross

    Example: shoal evaluate runs/set env.allies=3m,5m,20m env.enemies=3m,5m,20m
    """
    from shoal.baselines import devices
    from shoal.baselines.output import number, print_json, print_table
    from shoal.baselines.policies import chosen_policy
    from shoal.envs.core import UserError

    devices.start()
    policy = chosen_policy(policy, pretrained)
    targets, settings = split_settings(targets)
    if settings and cross:
        raise UserError("--cross plays runs as they were trained; it takes no env.KEY=VALUE")
    if len(settings) > 1:
        target = _only(targets, split)
        reports = [
            evaluation_report(target, policy, episodes, num_envs, greedy, seed, options)
            for options in settings
        ]
        return print_json({"rows": reports}) if json else _print_settings(reports)
    if cross:
        report = cross_report(targets, policy, split, episodes, num_envs, greedy is not False, seed)
        return print_json(report) if json else _print_matrices(report)
    options = settings[0] if settings else {}
    report = evaluation_report(_only(targets, split), policy, episodes, num_envs, greedy, seed, options)
    if json:
        return print_json(report)
    how = "greedy" if report["greedy"] else "sampling"
    task = " ".join([report["env"], *(f"env.{name}={value}" for name, value in options.items())])
    title = f"{task}: {report['policy']}, {how}, {report['episodes']} episodes, seed {seed}"
    rows = [
        (name, number(cell["mean"]), number(cell["iqm"]), _interval(cell["ci95"]))
        for name, cell in report["metrics"].items()
    ]
    print_table(title, ("", "mean", "IQM", "95 % interval of the mean"), rows, right=(1, 2, 3))


def _interval(ends: list[float] | None) -> str:
    from shoal.baselines.output import number

    return "-" if ends is None else f"{number(ends[0])} to {number(ends[1])}"


def split_settings(words: Sequence[str]) -> tuple[list[str], list[dict[str, Any]]]:
    """Splits targets from ``env.KEY=VALUE[,VALUE...]``; the n-th values of all keys go together.

    Raises:
        UserError: for other keys, and where lists differ in length.
    """
    import re

    from shoal.baselines.composition import overlaid
    from shoal.baselines.config import hashable
    from shoal.envs.core import UserError

    targets = [word for word in words if not re.match(r"[A-Za-z_][\w.]*=", word)]
    columns: dict[str, list[Any]] = {}
    for word in words:
        if word in targets:
            continue
        key, _, value = word.partition("=")
        if not key.startswith("env."):
            raise UserError(f"{word}: evaluate takes env.KEY=VALUE; its own options look like --episodes 512")
        values = [value] if re.search(r"[\[({'\"]", value) else value.split(",")
        columns[key[4:]] = [hashable(overlaid({}, {"value": one})["value"]) for one in values]
    rows = max((len(values) for values in columns.values()), default=0)
    for name, values in columns.items():
        if len(values) not in (1, rows):
            raise UserError(
                f"env.{name} has {len(values)} values and another key {rows}; the n-th values go together, "
                "so give as many, or one for all"
            )
    return targets, [
        {name: values[row % len(values)] for name, values in columns.items()} for row in range(rows)
    ]


def _print_settings(reports: list[dict[str, Any]]) -> None:
    """Prints one row for every setting: the return, the length and the environment's headline metric."""
    from shoal.baselines.output import number, print_table

    first = reports[0]
    names = list(first["metrics"])
    shown = [names[0], *names[3:4], names[2]]  # return, sum, length, then the environment's, headline first
    options = list(first["env_options"])
    rows = []
    for report in reports:
        cells = [report["metrics"][name] for name in shown]
        values = [str(report["env_options"][name]) for name in options]
        rows.append((*values, *(f"{number(cell['mean'])} [{_interval(cell['ci95'])}]" for cell in cells)))
    how = "greedy" if first["greedy"] else "sampling"
    title = (
        f"{first['env']}: {first['policy']}, {how}, {first['episodes']} episodes each, seed {first['seed']}"
    )
    right = tuple(range(len(options), len(options) + len(shown)))
    print_table(title, (*options, *shown), rows, right=right)


def _only(targets: list[str], split: str | None) -> str:
    from shoal.envs.core import UserError

    if not targets:
        raise UserError("evaluate whom? name a run folder, an exported policy or an environment")
    if len(targets) > 1:
        raise UserError(f"evaluate plays one policy, not {len(targets)}; --cross plays each with each")
    if split is not None:
        raise UserError(f"--split {split} goes with --cross")
    return targets[0]


def _print_matrices(report: dict[str, Any]) -> None:
    """Prints the matrix of returns, and that of the environment's headline metric."""
    from shoal.baselines.output import number, print_table

    names = report["policies"]
    who = f"rows play {', '.join(report['first'])}; columns the rest"
    how = "greedy" if report["greedy"] else "sampling"
    shown = list(report["metrics"])
    for metric in [shown[0], *shown[3:4]]:  # return, sum, length, then the environment's, headline first
        rows = [
            (name, *(f"{number(cell['mean'])} [{_interval(cell['ci95'])}]" for cell in cells))
            for name, cells in zip(names, report["metrics"][metric], strict=True)
        ]
        title = f"{report['env']}: {metric}, {who}; {how}, {report['episodes']} episodes per entry"
        print_table(title, ("", *names), rows, right=tuple(range(1, len(names) + 1)))
        same, other = number(report["self_play"][metric]), number(report["cross_play"][metric])
        print(f"with itself {same}, with others {other} (means over entries)\n")


def cross_report(
    targets: list[str],
    policy: str | None,
    split: str | None,
    episodes: int,
    num_envs: int | None,
    greedy: bool,
    seed: int,
) -> dict[str, Any]:
    """Plays each with each and returns what ``--cross --json`` prints."""
    from shoal.baselines.crossplay import checked, cross_play
    from shoal.baselines.evaluation import side_by_side
    from shoal.baselines.policies import load_policy
    from shoal.envs.core import UserError

    if policy is not None:
        raise UserError("--cross plays trained policies; it takes no --policy")
    wanted, rounds = side_by_side(episodes, num_envs)
    players = [load_policy(target) for target in targets]
    checked(players, split)  # before anything is shown
    with _progress() as progress:
        task = progress.add_task("playing", total=len(players) ** 2 * wanted * rounds)
        return cross_play(
            players, split, episodes, num_envs, greedy, seed, lambda count: progress.advance(task, count)
        )


def _progress() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from shoal.baselines.output import stderr_console

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=stderr_console(), transient=True)


def evaluation_report(
    target: str,
    policy: str | None,
    episodes: int,
    num_envs: int | None,
    greedy: bool | None,
    seed: int,
    env_options: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Plays and returns what ``--json`` prints; progress goes to standard error."""
    from shoal.baselines.evaluation import play_episodes, side_by_side
    from shoal.baselines.policies import find_player
    from shoal.baselines.statistics import summary

    wanted, rounds = side_by_side(episodes, num_envs)
    player = find_player(target, policy, env_options)
    greedy = player.greedy if greedy is None else greedy
    with _progress() as progress:
        task = progress.add_task("compiling", total=rounds * wanted)

        def advance(count: int) -> None:
            progress.update(task, description="playing", advance=count)

        records = play_episodes(player, episodes, num_envs, greedy, seed, advance)
    return {
        "env": player.env().id,
        "env_options": dict(env_options),
        "episodes": rounds * wanted,
        "seed": seed,
        "policy": player.name,
        "greedy": greedy,
        "num_envs": wanted,
        "metrics": summary(records),
    }
