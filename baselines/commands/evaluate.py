"""``shoal evaluate``: how well a policy plays."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer


def evaluate(
    target: Annotated[
        str, typer.Argument(help="Run folder (RUN@member for one of several), or environment id.")
    ],
    policy: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="random, idle, scripted or another policy of the environment, instead of a trained one."
        ),
    ] = None,
    episodes: Annotated[int, typer.Option(help="Whole episodes to play, at least.")] = 256,
    num_envs: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Environments side by side; by default as many as episodes, 256 at most."),
    ] = None,
    greedy: Annotated[
        bool, typer.Option("--greedy/--sample", help="Most probable actions, or drawn ones.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Decides levels, steps and drawn actions.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Play whole episodes and print mean, interquartile mean and a 95 % bootstrap interval of the mean.

    Example: shoal evaluate runs/demo --episodes 512

    Example: shoal evaluate combat/smax-3m --policy random --json
    """
    from shoal.baselines import devices
    from shoal.baselines.output import number, print_json, print_table

    devices.start()
    report = evaluation_report(target, policy, episodes, num_envs, greedy, seed)
    if json:
        return print_json(report)
    how = "greedy" if greedy else "sampling"
    title = f"{report['env']}: {report['policy']}, {how}, {report['episodes']} episodes, seed {seed}"
    rows = [
        (name, number(cell["mean"]), number(cell["iqm"]), _interval(cell["ci95"]))
        for name, cell in report["metrics"].items()
    ]
    print_table(title, ("", "mean", "IQM", "95 % interval of the mean"), rows, right=(1, 2, 3))


def _interval(ends: list[float] | None) -> str:
    from shoal.baselines.output import number

    return "-" if ends is None else f"{number(ends[0])} to {number(ends[1])}"


def evaluation_report(
    target: str, policy: str | None, episodes: int, num_envs: int | None, greedy: bool, seed: int
) -> dict[str, Any]:
    """Plays and returns what ``--json`` prints; progress goes to standard error."""
    import math

    import jax
    import numpy as np
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from shoal.baselines.evaluation import Evaluator, summary
    from shoal.baselines.output import stderr_console
    from shoal.baselines.policies import find_player
    from shoal.envs.core import UserError

    if episodes < 1:
        raise UserError(f"episodes={episodes} must be at least 1")
    player = find_player(target, policy)
    env = player.env()
    wanted = min(episodes, 256 if num_envs is None else num_envs)
    # One episode per environment and call, so that the bar moves.
    evaluator = Evaluator(env, player.policy_of, wanted, wanted, greedy, devices=jax.local_devices())
    params = jax.tree.map(lambda leaf: leaf[None], player.params)
    rounds = math.ceil(episodes / wanted)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    records = []
    with Progress(*columns, console=stderr_console(), transient=True) as progress:
        task = progress.add_task("compiling", total=rounds * wanted)
        for turn in range(rounds):
            keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), turn), 1)
            records.append(jax.device_get(evaluator(params, keys)))
            progress.update(task, description="playing", advance=wanted)
    joined = {name: np.concatenate([record[name][0] for record in records]) for name in records[0]}
    names = ["episode_return", "episode_return_sum", "episode_length", *(m.name for m in env.metric_specs)]
    return {
        "env": env.id,
        "episodes": rounds * wanted,
        "seed": seed,
        "policy": player.name,
        "greedy": greedy,
        "num_envs": wanted,
        "metrics": summary({name: joined[name] for name in names}),
    }
