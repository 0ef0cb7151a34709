"""``shoal compare``: which algorithm is better, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Finished run folders (all members; RUN@member for one); NAME=RUN calls the algorithm NAME.",
            metavar="RUN",
        ),
    ],
    metric: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="What to compare by; by default the environment's headline metric, or the return."),
    ] = None,
    normalise: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="LOW,HIGH: the values that become 0 and 1; TASK=LOW,HIGH for one task, given several times.",
            metavar="[TASK=]LOW,HIGH",
        ),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A folder for plots (PNG and SVG) and comparison.json."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare trained algorithms over seeds and tasks, as Agarwal et al. 2021 (arXiv 2108.13264) recommend.

    A run's score is its final evaluation's mean. For each pair of algorithms: how probable it is that a run
    of the first is better than one of the second, and whether that is significant; for each algorithm the
    interquartile mean over runs. Intervals are of 95 %, by a bootstrap stratified by task.

    Example: shoal compare runs/mine runs/ippo

    Example: shoal compare small=runs/a large=runs/b large=runs/c --metric episode_return --output comparison

    Example: shoal compare runs/ippo-* runs/qmix-* --normalise 0,20 --json
    """
    from shoal.baselines import comparison
    from shoal.baselines.analysis.plots import require_matplotlib
    from shoal.baselines.output import print_json, say_on_stderr
    from shoal.baselines.results import named_run, read_results

    if output is not None:
        require_matplotlib()
    found = comparison.gather(read_results(map(named_run, runs)), metric, normalise or ())
    report = comparison.report(found, say_on_stderr)
    files = [] if output is None else _save(report, found, output)
    report["files"] = [str(file) for file in files]
    if json:
        return print_json(report)
    _print(report)
    for file in files:
        print(file)


def _save(report: dict[str, Any], found: Any, folder: Path) -> list[Path]:
    """Writes the plots, and the report together with what was plotted."""
    import json

    from shoal.baselines import comparison
    from shoal.baselines.analysis.plots import save_figures
    from shoal.baselines.comparison_plots import figures
    from shoal.baselines.output import plain

    everything = {**report, "curves": comparison.curves(found), "profiles": comparison.profiles(found)}
    files = save_figures(figures(everything), folder)
    path = folder / "comparison.json"
    path.write_text(json.dumps(plain(everything), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return [*files, path]


def _print(report: dict[str, Any]) -> None:
    """Prints a table of algorithms and one of pairs."""
    from shoal.baselines.output import number, print_table

    def interval(cell: dict[str, Any]) -> str:
        return f"{number(cell['ci95'][0])} to {number(cell['ci95'][1])}"

    cells = report["cells"]
    scale = "normalised " if report["normalised"] else ""
    better = "high" if report["higher_is_better"] else "low"
    single = [
        (
            cell["algorithm"],
            cell["task"] or "all tasks",
            str(cell["runs"]),
            number(cell["mean"]),
            number(cell["ours"]),
            interval(cell),
            cell["verdict"],
        )
        for cell in cells
        if cell["statistic"] == "iqm"
    ]
    heads = ("", "task", "runs", "mean", "IQM", "95 % interval of the IQM", "")
    print_table(f"{scale}{report['metric']} ({better} is better)", heads, single, right=(2, 3, 4, 5))
    pairs = [
        (
            f"{cell['x']} > {cell['y']}",
            cell["task"] or "all tasks",
            f"{cell['runs'][0]}, {cell['runs'][1]}",
            number(cell["ours"]),
            interval(cell),
            number(cell["p_value"]),
            cell["verdict"],
        )
        for cell in cells
        if cell["statistic"] == "probability_of_improvement"
    ]
    heads = ("", "task", "runs", "P(better)", "95 % interval", "p", "verdict")
    print_table("Probability of improvement", heads, pairs, right=(2, 3, 4, 5))
    print(f"A verdict needs both: {report['test']}.")
