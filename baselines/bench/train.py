"""Environment steps per second of training: ours and a peer's own script in turns, same hyperparameters."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from shoal.baselines.bench.env import Say
from shoal.baselines.bench.peers import jaxmarl_settings, our_overrides
from shoal.baselines.bench.processes import HOST_SUITES
from shoal.baselines.bench.report import envelope, side
from shoal.baselines.bench.subjects import has_peer
from shoal.baselines.bench.worker import Worker
from shoal.baselines.output import say_on_stderr
from shoal.envs.core.errors import UserError
from shoal.envs.core.registry import resolve

OURS = "compile_effort="
"""What says nothing of the work, so that it may be set beside a peer."""


def bench_training(
    env: str,
    algorithm: str,
    overrides: Sequence[str],
    sizes: Sequence[int] | None,
    against: str | None,
    peer_repo: Path | None,
    updates: int = 2,
    repeats: int = 3,
    say: Say = say_on_stderr,
) -> dict[str, Any]:
    """Measures training and returns what ``--json`` prints.

    Args:
        env: environment id.
        algorithm: the algorithm's name.
        overrides: Hydra overrides for ours; where the peer's hyperparameters rule, only ``OURS``.
        sizes: numbers of environments, a row for each; None: as configured.
        against: a peer, or None.
        peer_repo: a checkout of the peer's repository; without it the row says that the peer was skipped.
        updates: updates in a timed repeat.
        repeats: timed repeats of each.
        say: takes a line about what goes on.

    Raises:
        UserError: for unknown names, an incomplete checkout, a process that fails.
    """
    if updates < 1 or repeats < 1:
        raise UserError("updates and repeats must be at least 1")
    id = resolve(env)
    settings, skipped = None, None
    if against is not None:
        if against in HOST_SUITES:
            raise UserError(f"{against} has environments only; measure training against jaxmarl")
        if not has_peer(against, id):
            raise UserError(f"{against} has no task like {id}")
        if peer_repo is None:
            skipped = f"{against} was not measured: its training scripts need --peer-repo PATH"
            say(skipped)
        elif any(not word.startswith(OURS) for word in overrides):
            raise UserError(f"the peer's hyperparameters rule with --against; only {OURS} can be set")
        else:
            settings = jaxmarl_settings(peer_repo, algorithm, id)
    rows = []
    for size in [None] if sizes is None else sizes:
        theirs = None if settings is None else settings | ({} if size is None else {"NUM_ENVS": size})
        words = [*([] if theirs is None else our_overrides(algorithm, theirs)), *overrides]
        words = [f"env={id}", f"algorithm={algorithm}", *words]
        if theirs is None and size is not None:
            words.append(f"num_envs={size}")
        row = _row(id, algorithm, words, theirs, peer_repo, updates, repeats, say)
        rows.append(row if skipped is None else row | {"skipped": skipped})
    return envelope(rows)


def _row(
    id: str,
    algorithm: str,
    words: list[str],
    settings: dict[str, Any] | None,
    repo: Path | None,
    updates: int,
    repeats: int,
    say: Say,
) -> dict[str, Any]:
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(task="train", suite="shoal", overrides=words))]
        if settings is not None:
            peer = Worker(
                task="peer-train", suite="jaxmarl", repo=str(repo), algorithm=algorithm, settings=settings
            )
            workers.append(stack.enter_context(peer))
        prepared = []
        for worker in workers:
            say(f"{id}, {algorithm}: {worker.name}: compiling")
            prepared.append(worker.ask(ask="prepare", updates=updates))
            say(f"{id}, {algorithm}: {worker.name}: compiled in {prepared[-1]['compile_seconds']:.1f} s")
        rates: list[list[float]] = [[] for _ in workers]
        for _ in range(repeats):
            for worker, seen in zip(workers, rates, strict=True):
                answer = worker.ask(ask="run")
                seen.append(answer["steps"] / answer["seconds"])
                say(f"{id}, {algorithm}: {worker.name}: {seen[-1]:,.0f} env steps/s")
        speeds = [statistics.median(seen) for seen in rates]
        row: dict[str, Any] = {"kind": "train", "env": id, "algorithm": algorithm}
        row |= {name: prepared[0][name] for name in ("num_envs", "compile_effort")}
        row |= side(speeds[0], prepared[0], rates[0])
        row |= {"peer": None, "ratio": None}
        if settings is not None:
            row["peer"] = {"name": "jaxmarl", "num_envs": settings["NUM_ENVS"]}
            row["peer"] |= side(speeds[1], prepared[1], rates[1])
            row["ratio"] = speeds[0] / speeds[1]
        return row
