"""``shoal analyse``: who holds back in a commons, and whether the mixtures are a dilemma."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer


def analyse(
    targets: Annotated[
        list[str],
        typer.Argument(
            help="Run folders (all members; RUN@member for one, NAME=RUN to name the learner), or an "
            "environment with --cooperator and --defector; then env.KEY=VALUE for the world of mixed play.",
            metavar="TARGET",
        ),
    ],
    cooperator: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="With an environment: the policy that cooperates, or a run folder."),
    ] = None,
    defector: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="With an environment: the policy that defects, or a run folder."),
    ] = None,
    episodes: Annotated[
        int, typer.Option(help="Episodes of every member, and of every number of cooperators.")
    ] = 20,
    steps: Annotated[int, typer.Option(help="Records are cut after so many steps.")] = 100,
    greedy: Annotated[
        bool, typer.Option("--greedy/--sample", help="Most probable actions, or drawn ones.")
    ] = False,
    defector_below: Annotated[
        float, typer.Option(help="Mean restraint below which an agent defects.")
    ] = 0.25,
    cooperator_above: Annotated[
        float, typer.Option(help="Mean restraint above which an agent cooperates.")
    ] = 0.35,
    by: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="The environment's number that is the table's columns; by default what varies most."
        ),
    ] = None,
    mixed: Annotated[bool, typer.Option("--mixed/--no-mixed", help="Play mixtures of both kinds.")] = True,
    seed: Annotated[int, typer.Option(help="Decides steps, drawn actions and who is mixed.")] = 0,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A folder for plots (PNG and SVG) and analysis.json."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Classify agents by restraint, play mixtures of cooperators and defectors, draw Schelling diagrams.

    Example: shoal analyse runs/ia2c runs/commnet --output analysis

    Example: shoal analyse commons/water --cooperator idle --defector defector

    Example: shoal analyse commons/water --cooperator runs/common --defector runs/individual

    Example: shoal analyse ia2c=runs/a@0 ia2c=runs/b env.regeneration=0.055 --json
    """
    from shoal.baselines import devices
    from shoal.baselines.analysis.play import Terms
    from shoal.baselines.analysis.plots import require_matplotlib, save_plots
    from shoal.baselines.analysis.report import analyse_pair, analyse_runs
    from shoal.baselines.analysis.restraint import Thresholds
    from shoal.baselines.analysis.tables import print_report
    from shoal.baselines.commands.evaluate import split_settings
    from shoal.baselines.output import print_json, stderr_console
    from shoal.envs.core import UserError

    devices.start()
    words = [target for target in targets if not target.startswith("env.")]
    _, rows = split_settings([target for target in targets if target.startswith("env.")])
    if len(rows) > 1:
        raise UserError("analyse takes one value for each env.KEY; sweep it in training to compare several")
    settings = rows[0] if rows else {}
    terms, thresholds = Terms(episodes, steps, greedy, seed), Thresholds(defector_below, cooperator_above)
    pair = _pair(words, cooperator, defector, by, mixed)
    if settings and not mixed:
        raise UserError("env.KEY=VALUE is for the world of mixed play, which --no-mixed leaves out")
    if output is not None:
        require_matplotlib()
    report: dict[str, Any]
    with stderr_console().status("starting") as status:
        if pair is not None:
            report = analyse_pair(words[0], settings, *pair, terms, thresholds, status.update)
        else:
            report = analyse_runs(words, settings, terms, thresholds, by, mixed, status.update)
    files = [] if output is None else [*save_plots(report, output), _save_json(report, output)]
    report["files"] = [str(file) for file in files]
    if json:
        return print_json(report)
    print_report(report)
    for file in files:
        print(file)


def _pair(
    words: list[str], cooperator: str | None, defector: str | None, by: str | None, mixed: bool
) -> tuple[str, str] | None:
    """Returns the two policies, or None where runs are analysed."""
    from shoal.baselines.policies import split_member
    from shoal.baselines.results import named_run
    from shoal.envs.core import UserError
    from shoal.envs.core.registry import resolve

    if not words:
        raise UserError("analyse what? name run folders, or an environment with --cooperator and --defector")
    if cooperator is None and defector is None:
        for word in words:
            if not named_run(word)[1].exists():
                raise UserError(
                    f"there is no run folder {word!r}; give one, or an environment with --cooperator NAME "
                    "--defector NAME"
                )
        return None
    if cooperator is None or defector is None:
        raise UserError("--cooperator and --defector go together: the two policies that are mixed")
    if len(words) > 1 or split_member(words[0])[0].exists():
        raise UserError(
            "--cooperator and --defector are policies of one environment; the agents of runs are told apart "
            "by their restraint"
        )
    if by is not None or not mixed:
        raise UserError("--by and --no-mixed are for the table of runs; two policies are only mixed")
    resolve(words[0])
    return cooperator, defector


def _save_json(report: dict[str, Any], folder: Path) -> Path:
    import json

    from shoal.baselines.output import plain

    path = folder / "analysis.json"
    path.write_text(json.dumps(plain(report), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path
