"""``shoal bench``: steps per second and compile seconds on this machine, beside a peer's if one is named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

bench = typer.Typer(
    help="Measure environment and training speed on this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

Against = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="A peer to measure in turns with ours: jaxmarl; environments: mpe2, highway-env."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print a table in Markdown.")]
Repeats = Annotated[int, typer.Option(help="Timed repeats of each, in turns; the median counts.")]


@bench.command("env")
def bench_env(
    envs: Annotated[list[str], typer.Argument(help="Environment ids.")],
    num_envs: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Batch sizes, such as 1,128,1024: a row for each. Default: each side's best of 64 to 4096."
        ),
    ] = None,
    against: Against = None,
    seconds: Annotated[float, typer.Option(help="Length of a timed repeat, about.")] = 5.0,
    repeats: Repeats = 5,
    effort: Annotated[
        str, typer.Option(help="How hard a CPU's compiler tries for ours: full, or quick, in half the time.")
    ] = "full",
    json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Step environments with random legal actions, everything that a step returns folded into a checksum.

    Example: shoal bench env combat/smax-3m combat/smax-2s3z --against jaxmarl
    """
    from shoal.baselines.bench.env import bench_envs

    sizes = None if num_envs is None else _sizes(num_envs)
    report = bench_envs(envs, sizes, against, seconds=seconds, repeats=repeats, effort=effort)
    _print(report, json, markdown)


@bench.command("train")
def bench_train(
    env: Annotated[str, typer.Argument(help="Environment id.")],
    algorithm: Annotated[str, typer.Argument(help="Algorithm.")],
    overrides: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            help="Hydra overrides as in `shoal train`; with --against, where the peer's rule, compile_effort."
        ),
    ] = None,
    num_envs: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Numbers of environments, such as 64,128: a row for each. Default: as configured."),
    ] = None,
    against: Against = None,
    peer_repo: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A checkout of the peer's repository, whose training scripts its package lacks."),
    ] = None,
    updates: Annotated[int, typer.Option(help="Updates in a timed repeat.")] = 2,
    repeats: Repeats = 3,
    json: Json = False,
    markdown: Markdown = False,
) -> None:
    """Train for a few updates, with the peer's own hyperparameters where a peer is named.

    Example: shoal bench train combat/smax-2s3z ippo --against jaxmarl --peer-repo ../JaxMARL
    """
    from shoal.baselines.bench.train import bench_training

    sizes = None if num_envs is None else _sizes(num_envs)
    report = bench_training(env, algorithm, overrides or [], sizes, against, peer_repo, updates, repeats)
    _print(report, json, markdown)


@bench.command("table")
def bench_table(
    files: Annotated[list[Path], typer.Argument(help="What --json printed, in files.")],
    markdown: Markdown = False,
) -> None:
    """Print tables of measurements taken before.

    Example: shoal bench table docs/results/bench-env-cpu.json --markdown
    """
    from shoal.baselines.bench.report import read

    for number, report in enumerate([read(file) for file in files]):
        if number:
            print()
        _print(report, False, markdown)


def _sizes(text: str) -> list[int]:
    from shoal.envs.core.errors import UserError

    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise UserError(
            f"num_envs={text!r} must be numbers from 1 on with commas between, such as 1,128,1024"
        )
    return sizes


def _print(report: dict[str, Any], json: bool, markdown: bool) -> None:
    from shoal.baselines.bench.report import markdown_table, print_report
    from shoal.baselines.output import print_json

    if json:
        print_json(report)
    elif markdown:
        print(markdown_table(report))
    else:
        print_report(report)
