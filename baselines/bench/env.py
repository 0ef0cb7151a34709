"""Steps per second of environments, ours and a peer's in turns.

Method: each suite at its own best batch of 64 to 4096 (doubling; all are tried, since rates dip and rise
again), or both at given batches; then timed repeats in turns, of which the median counts. Suites that run on
the host have no batch of their own: it is one environment to a core. That both play the same game is checked
by the rate of finished episodes over equally many steps from a reset, unless the peer's is another one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from shoal.algorithms.blocks.effort import EFFORTS
from shoal.baselines.bench.processes import HOST_SUITES
from shoal.baselines.bench.report import envelope, side
from shoal.baselines.bench.subjects import has_peer, plays_the_same
from shoal.baselines.bench.worker import Worker
from shoal.baselines.devices import core_count
from shoal.baselines.output import say_on_stderr
from shoal.envs.core.errors import UserError, nearest
from shoal.envs.core.registry import make, resolve

BATCHES = (64, 128, 256, 512, 1024, 2048, 4096)
SIGMAS = 3.0  # how far apart the rates of finished episodes may be
RATE_BATCH = 64
Say = Callable[[str], None]


@dataclass
class Timed:
    """One suite's batch, compiled, with what was measured so far."""

    worker: Worker
    num_envs: int
    prepared: dict[str, Any]
    steps_each: int = 1  # steps per environment of a timed repeat
    rates: list[float] = field(default_factory=list)  # environment steps per second

    def calibrate(self, seconds: float) -> float:
        """Finds how many steps fill a repeat; returns the rate seen."""
        steps, rate = 1, 0.0
        while True:
            answer = self.worker.ask(ask="run", steps=steps)
            rate = answer["steps"] / max(answer["seconds"], 1e-6)
            if answer["seconds"] >= seconds / 10 or steps >= 2**24:
                self.steps_each = max(1, round(rate * seconds / self.num_envs))
                return rate
            steps *= 4

    def repeat(self) -> float:
        """Times one repeat and notes its rate."""
        answer = self.worker.ask(ask="run", steps=self.steps_each)
        if not math.isfinite(answer["checksum"]):
            raise UserError(f"{self.worker.name} returned a NaN or an infinity")
        self.rates.append(answer["steps"] / answer["seconds"])
        return self.rates[-1]


def bench_envs(
    env_ids: Sequence[str],
    sizes: Sequence[int] | None,
    against: str | None,
    seconds: float = 5.0,
    repeats: int = 5,
    say: Say = say_on_stderr,
    effort: str = "full",
) -> dict[str, Any]:
    """Measures environments and returns what ``--json`` prints.

    Args:
        env_ids: environments to step.
        sizes: batches, a row for each; None: each suite's own best.
        against: a peer, or None.
        seconds: length of a timed repeat, about.
        repeats: timed repeats of each suite.
        say: takes a line about what goes on.
        effort: how hard a CPU's compiler tries for ours, of ``EFFORTS``; for a peer it tries as it does by
            itself.

    Raises:
        UserError: for unknown names and efforts, a peer that is absent, a suite that fails.
    """
    if repeats < 1 or not seconds > 0:
        raise UserError("repeats must be at least 1 and seconds above 0")
    if effort not in EFFORTS:
        raise UserError(f"effort={effort!r} is not one of {', '.join(EFFORTS)}{nearest(effort, EFFORTS)}")
    ids = [resolve(id) for id in env_ids]
    rows = []
    for id in ids:
        peer = against if against is not None and has_peer(against, id) else None
        if against is not None and peer is None:
            say(f"{id}: {against} has no such task, so it is measured alone")
        for size in [None] if sizes is None else sizes:
            rows.append(_row(id, size, peer, seconds, repeats, say, effort))
    with Worker(task="limits", suite="shoal") as worker:
        say("measuring how fast this machine copies and multiplies")
        return envelope(rows, worker.ask(ask="limits"))


def _row(
    id: str, size: int | None, peer: str | None, seconds: float, repeats: int, say: Say, effort: str
) -> dict[str, Any]:
    """Measures one row: each suite prepared, then repeats in turns."""
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(task="env", suite="shoal", env=id, effort=effort))]
        if peer is not None:
            workers.append(stack.enter_context(Worker(task="env", suite=peer, env=id)))
        rates = _finished_rates(workers, id, say) if peer is not None and plays_the_same(peer) else None
        sides = [
            _best(worker, id, seconds, say) if size is None else _prepared(worker, id, size, seconds, say)
            for worker in workers
        ]
        for _ in range(repeats):
            for timed in sides:
                rate = timed.repeat()
                say(f"{id}: {timed.worker.name} x {timed.num_envs}: {rate:,.0f} steps/s")
        ours, theirs = sides[0], sides[1] if peer is not None else None
        speed = statistics.median(ours.rates)
        row: dict[str, Any] = {"kind": "env", "env": id, "algorithm": None, "num_envs": ours.num_envs}
        row |= {"compile_effort": effort}
        row |= side(speed, ours.prepared, ours.rates)
        row |= {"peer": None, "ratio": None}
        if theirs is not None:
            their_speed = statistics.median(theirs.rates)
            row["peer"] = {"name": peer, "num_envs": theirs.num_envs}
            row["peer"] |= side(their_speed, theirs.prepared, theirs.rates)
            row |= {"ratio": speed / their_speed, "finished_episodes": rates}
        return row


def _prepared(worker: Worker, id: str, size: int, seconds: float, say: Say) -> Timed:
    """Compiles a batch and finds the length of its repeats."""
    say(f"{id}: {worker.name} x {size}: compiling")
    timed = Timed(worker, size, worker.ask(ask="prepare", num_envs=size))
    rate = timed.calibrate(seconds)
    compiled = timed.prepared["compile_seconds"]
    say(f"{id}: {worker.name} x {size}: {rate:,.0f} steps/s, compiled in {compiled:.1f} s")
    return timed


def _best(worker: Worker, id: str, seconds: float, say: Say) -> Timed:
    """Tries every batch and returns the fastest, compiled and ready to be timed."""
    if worker.name in HOST_SUITES:
        return _prepared(worker, id, core_count(), seconds, say)
    tried: list[tuple[float, Timed]] = []
    for size in BATCHES:
        timed = _prepared(worker, id, size, seconds, say)
        tried.append((timed.repeat(), timed))
        timed.rates.clear()  # the search decides nothing but the batch
    best = max(tried, key=lambda pair: pair[0])[1]
    if best.num_envs != BATCHES[-1]:
        # The process holds one batch at a time; compile times are those of the search.
        worker.ask(ask="prepare", num_envs=best.num_envs)
    return best


def _finished_rates(workers: Sequence[Worker], id: str, say: Say) -> dict[str, Any]:
    """Counts the episodes that finish in equally many steps from a reset, and says how far apart they are."""
    steps = 4 * make(id).max_steps
    answers = []
    for worker in workers:
        worker.ask(ask="prepare", num_envs=RATE_BATCH)
        worker.ask(ask="restart")
        answers.append(worker.ask(ask="run", steps=steps))
    apart = abs(answers[0]["finished_mean"] - answers[1]["finished_mean"])
    error = math.hypot(answers[0]["finished_error"], answers[1]["finished_error"])
    sigmas = 0.0 if apart == 0 else apart / error if error else math.inf
    rates = [answer["finished_mean"] / answer["steps_each"] for answer in answers]
    say(f"{id}: episodes finished per step: {rates[0]:.5f} and {rates[1]:.5f}, {sigmas:.1f} sigma apart")
    return {
        "per_step": rates[0],
        "peer_per_step": rates[1],
        "sigmas": sigmas if math.isfinite(sigmas) else None,
        "equal": sigmas <= SIGMAS,
    }
