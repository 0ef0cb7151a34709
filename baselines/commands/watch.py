"""``shoal watch``: an episode as a GIF and as a page to scrub through."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Optional

import typer


def watch(
    target: Annotated[
        str, typer.Argument(help="Run folder (RUN@member for one of several), or environment id.")
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
    greedy: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option(
            "--greedy/--sample",
            help="Most probable actions, or drawn ones. By default as the run was judged (eval.greedy), "
            "else the most probable.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Picks the episode.")] = 0,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="A folder, or a file ending in .gif, .html or .png. Default: RUN/replays, or replays."
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: files, return, length.")
    ] = False,
) -> None:
    """Play one episode and write what it looked like: an animated GIF and a self-contained HTML page.

    Example: shoal watch runs/demo --seed 3

    Example: shoal watch combat/smax-2s3z --pretrained

    Example: shoal watch combat/smax-3m --policy random --out battle.gif
    """
    import jax
    import numpy as np

    from shoal.baselines import devices
    from shoal.baselines.output import print_json, stderr_console
    from shoal.baselines.policies import chosen_policy, find_player
    from shoal.baselines.replay import record_episode, save_replay

    devices.start()
    policy = chosen_policy(policy, pretrained)
    player = find_player(target, policy)
    env = player.env()
    with stderr_console().status(f"playing {env.id}"):
        recording = record_episode(
            env, player, jax.random.key(seed), player.greedy if greedy is None else greedy
        )
    folder = Path("replays") if player.folder is None else player.folder / "replays"
    if out is not None and out.suffix:
        paths = [out]
    else:
        folder = folder if out is None else out
        name = f"{re.sub('[/:]', '-', env.id)}-{'' if policy is None else policy + '-'}seed-{seed}"
        paths = [folder / f"{name}.gif", folder / f"{name}.html"]
    with stderr_console().status("drawing"):
        files = save_replay(env, recording, paths)
    rewards = np.sum([timestep.reward for timestep in recording.timesteps], axis=0)
    last = recording.timesteps[-1].metrics
    metrics = {spec.name: float(last[spec.name]) for spec in env.metric_specs}
    if json:
        return print_json(
            {
                "env": env.id,
                "policy": player.name,
                "seed": seed,
                "episode_return": float(np.mean(rewards)),
                "episode_length": len(recording.actions),
                "metrics": metrics,
                "files": [str(file) for file in files],
            }
        )
    told = ", ".join(f"{name} {value:.3g}" for name, value in metrics.items())
    print(
        f"{len(recording.actions)} steps, return {float(np.mean(rewards)):.3f}{', ' + told if told else ''}"
    )
    for file in files:
        print(file)
