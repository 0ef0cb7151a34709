"""``shoal envs``: what there is to play."""

from __future__ import annotations

from typing import Annotated

import typer


def envs(
    pattern: Annotated[str, typer.Argument(help="Show only ids that contain this.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print a list of metadata objects.")] = False,
) -> None:
    """List the environments.

    Example: shoal envs combat
    """
    from shoal.baselines.output import print_json, print_table
    from shoal.envs.core import UserError, list_environments, make
    from shoal.envs.core.errors import nearest

    known = list_environments()
    made = [make(id) for id in known if pattern in id]
    if not made:
        raise UserError(f"no environment id contains {pattern!r}{nearest(pattern, known)}")
    if json:
        return print_json([env.describe() for env in made])
    rows = [
        (
            env.id,
            str(env.num_agents),
            str(env.action_space),
            str(env.max_steps),
            env.metric_specs[0].name if env.metric_specs else "-",
        )
        for env in made
    ]
    title = f"{len(made)} environments; `shoal describe ID` tells more"
    print_table(title, ("id", "agents", "actions", "steps", "headline metric"), rows, right=(1, 3))
