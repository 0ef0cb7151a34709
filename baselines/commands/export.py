"""``shoal export``: a trained policy as tensors and a card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer


def export(
    run: Annotated[str, typer.Argument(help="Run folder, or RUN@member for one of several.")],
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A folder. Default: RUN/export, or RUN/export-N for RUN@N."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the card.")] = False,
) -> None:
    """Write a run's best policy as policy.safetensors and card.json, and print their folder.

    The two files are enough to play it, by shoal evaluate, shoal watch and load_policy; no pickle is in them.

    Example: shoal export runs/first@2 --output policies/first

    Example: shoal evaluate policies/first
    """
    from shoal.baselines import devices
    from shoal.baselines.export import export_policy, read_card
    from shoal.baselines.output import print_json

    devices.start()
    folder = export_policy(run, output)
    if json:
        return print_json(read_card(folder))
    print(folder)
