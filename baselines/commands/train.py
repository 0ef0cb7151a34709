"""``shoal train``: train what the configuration says."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any, Optional

import typer

STOPPED = {2: 130, 15: 143}  # signal -> exit status, as shells have it


def train(
    overrides: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help="Hydra overrides: KEY=VALUE.", metavar="KEY=VALUE..."),
    ] = None,
    multirun: Annotated[
        bool, typer.Option("--multirun", "-m", help="One run after the other for KEY=A,B,...")
    ] = False,
) -> None:
    """Train, evaluate as it goes, and keep everything in a run folder, whose name is printed at the end.

    Keys that choose: env, algorithm, network, logger, experiment. Keys that set: seed, num_seeds, num_envs,
    total_env_steps, sharing, opponent (null, self, pool or scripted), swap_sides, devices, deterministic,
    output_dir, log_every, checkpoint_every, and those below eval, sweep, opponent_pool, env, algorithm,
    network and logger, as in algorithm.clip=0.1. resume=RUN goes on with a run that was stopped or killed,
    config=RUN/config.yaml runs it again. Interrupted (Ctrl-C or SIGTERM), it saves, says so, and exits with
    130 or 143.

    Example: shoal train env=combat/smax-3m algorithm=ippo seed=0 num_seeds=4 output_dir=runs/first

    Example: shoal train env=combat/smax-3m env.control=both opponent=self

    Example: shoal train -m env=combat/smax-3m,combat/smax-2s3z algorithm.clip=0.1,0.2
    """
    words = list(overrides or [])
    if multirun:
        raise typer.Exit(_multirun(words))
    from shoal.baselines import composition

    config = composition.resumed(words) or composition.compose(words)
    raise typer.Exit(run(config))


def run(config: Any) -> int:
    """Trains one configuration and returns the exit status."""
    from shoal.baselines import devices

    devices.start(config.deterministic, None if config.devices == "auto" else int(config.devices))
    from shoal.baselines import hosts
    from shoal.baselines.runner import train as start

    hosts.join(config.distributed)
    outcome = start(config)
    if hosts.is_first():
        _report(outcome)
        print(outcome.folder.path)
    return 0 if outcome.signal is None else STOPPED[outcome.signal]


def _report(outcome: Any) -> None:
    """Says on standard error what the run reached."""
    summary = outcome.summary
    seconds = [f"{what} {summary[f'{what}_seconds']:.0f} s" for what in ("compile", "train", "eval")]
    print(
        f"{outcome.status}: {summary['env_steps']:,} env steps in {summary['wall_seconds']:.0f} s "
        f"({', '.join(seconds)}), {summary['steps_per_second'] or 0.0:,.0f} steps/s",
        file=sys.stderr,
    )
    for member in summary["members"]:
        # Return, sum, length, then the environment's metrics with the headline first.
        shown = [cell for i, cell in enumerate((member["absolute"] or {}).items()) if i in (0, 2, 3)]
        cells = [
            f"{name} {cell['mean']:.3f} [{cell['ci95'][0]:.3f}, {cell['ci95'][1]:.3f}]"
            for name, cell in shown
            if cell["mean"] is not None
        ]
        if cells:
            print(
                f"member {member['member']}, seed {member['seed']}, best policy over "
                f"{summary['absolute_episodes']} episodes: {', '.join(cells)}",
                file=sys.stderr,
            )


def _multirun(words: Sequence[str]) -> int:
    """Enters `hydra.main` for a sweep; returns the worst exit status."""
    import hydra
    from hydra.core.hydra_config import HydraConfig

    from shoal.baselines import composition
    from shoal.baselines.config import from_dict
    from shoal.envs.core.errors import UserError

    statuses: list[int] = []

    def job(composed: Any) -> None:
        from omegaconf import OmegaConf, open_dict

        with open_dict(composed):
            composed.hydra = OmegaConf.create(
                {"runtime": {"choices": dict(HydraConfig.get().runtime.choices)}}
            )
        values = composition.composed_values(composed)
        values["output_dir"] = values.get("output_dir") or HydraConfig.get().runtime.output_dir
        try:
            statuses.append(run(from_dict(values)))
        except UserError as error:
            print(f"shoal: {error}", file=sys.stderr)
            statuses.append(2)
        if statuses[-1] in STOPPED.values():
            sys.exit(statuses[-1])

    composition.register_choices()
    sys.argv = ["shoal", "-m", *composition.prepared(words)]
    hydra.main(config_path="pkg://shoal.configs", config_name="train", version_base="1.3")(job)()
    return max(statuses, default=0)
