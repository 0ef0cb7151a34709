"""``shoal export-results``: what runs reached, as other tools read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer


def export_results(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Finished run folders (RUN@member for one of several); NAME=RUN calls the algorithm NAME.",
            metavar="RUN",
        ),
    ],
    format: Annotated[str, typer.Option(help="marl-eval.")] = "marl-eval",
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A file to write, instead of printing the JSON."),
    ] = None,
) -> None:
    """Print the evaluations of finished runs in another tool's format.

    marl-eval: environment, task, algorithm and seed, then one step per evaluation and the absolute metrics.
    Values are means over an evaluation's episodes.

    Example: shoal export-results runs/ippo-* runs/qmix-* --output results.json

    Example: shoal export-results small=runs/a large=runs/b
    """
    from shoal.baselines.output import say_on_stderr
    from shoal.baselines.results import FORMATS, named_run, read_results
    from shoal.envs.core import UserError
    from shoal.envs.core.errors import nearest

    if format not in FORMATS:
        raise UserError(f"there is no format {format!r}{nearest(format, FORMATS)}")
    values = FORMATS[format](read_results(map(named_run, runs)), say_on_stderr)
    text = json.dumps(values, indent=2, allow_nan=False)
    if output is None:
        return print(text)
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}") from error
    print(output)
