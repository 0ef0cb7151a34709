"""The training loop around the compiled program: rows, evaluation, checkpoints, signals."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from shoal.baselines import build, hosts
from shoal.baselines import config as configuration
from shoal.baselines.checkpoints import Checkpoint, Checkpoints, Flat, flatten, unflatten
from shoal.baselines.config import RunConfig
from shoal.baselines.evaluation import Evaluator, learned_policy
from shoal.baselines.folder import RunFolder, versions
from shoal.baselines.loggers import Display, JsonLines, RunInfo, Sink, copies
from shoal.baselines.rows import Row, episode_fields, headline, identity, mean_row, training_row
from shoal.baselines.statistics import summarise
from shoal.envs.core import PyTree, UserError

ABSOLUTE_FACTOR = 10  # times the episodes of an evaluation


@dataclass
class Progress:
    """What the host counts; saved with every checkpoint."""

    update: int = 0
    env_steps: list[int] = field(default_factory=list)  # per member
    wall_seconds: float = 0.0  # all of the below and what lies between
    compile_seconds: float = 0.0
    train_seconds: float = 0.0
    eval_seconds: float = 0.0
    metrics_bytes: int = 0
    best: list[dict[str, Any]] = field(default_factory=list)  # per member: update, env_steps, score, metrics
    last: list[Row] = field(default_factory=list)  # the newest rows


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    folder: RunFolder
    status: str  # finished or stopped
    signal: int | None  # what stopped it
    summary: dict[str, Any]


def train(config: RunConfig) -> Outcome:
    """Trains what the configuration says, or goes on where ``config.resume`` stopped.

    Raises:
        UserError: for everything that a user can repair.
    """
    run = Run(build.build(config))
    with Stop() as stop, run.display:
        return run.go(stop)


class Stop:
    """Turns SIGINT and SIGTERM into a wish to stop; a second one interrupts at once."""

    def __init__(self) -> None:
        """Listens to nothing yet."""
        self.signal: int | None = None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        """Starts listening, where this is the main thread."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # only the main thread may
                self.before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Puts things back."""
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: Any) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        # Not through the display, which may be in the middle of a line.
        os.write(2, b"\nstopping after this chunk of updates, then saving; once more stops at once\n")


class Run:
    """One run: its folder, its compiled functions and what it counts."""

    def __init__(self, built: build.Built) -> None:
        """Opens the folder; a fresh one unless the run is resumed."""
        self.built = built
        self.config = built.config
        self.first = hosts.is_first()  # of several processes, the one that writes and speaks
        self.display = Display(
            self.config.total_updates * self.config.steps_per_update,
            self.config.logger.console and self.first,
        )
        self.progress = Progress(env_steps=[0] * len(built.members))
        self.best: Flat = {}  # policy parameters, each member's best
        self.copies = copies(self.config.logger)  # refuses what is not installed before anything is written
        self.folder = self._folder()
        self.checkpoints = Checkpoints(self.folder.checkpoints, keeper=self.first)
        self.saved_update = -1
        self.saved_at = self.ticked_at = time.monotonic()

    def _folder(self) -> RunFolder:
        """Opens the run's folder; the first process makes it and names it to the others."""
        resume = self.config.resume
        if not self.first:
            return RunFolder(Path(hosts.from_first("")))
        folder = RunFolder.create(self.config) if resume is None else RunFolder(Path(resume))
        configuration.write_yaml(self.config, folder.config)
        if not folder.versions.exists():
            folder.write_json(folder.versions, versions(self.built.devices))
        return RunFolder(Path(hosts.from_first(str(folder.path))))

    # The whole ------------------------------------------------------------------------------------

    def go(self, stop: Stop) -> Outcome:
        """Trains to the end or until asked to stop."""
        state = self._open()
        self.sinks: list[Sink] = []
        members = tuple(identity(i, member) for i, member in enumerate(self.built.members))
        begun = tuple(self.progress.env_steps)
        info = RunInfo(self.folder.path, self.config.to_dict(), members, begun)
        if self.first:
            self.sinks.append(JsonLines(self.folder.metrics, self.progress.metrics_bytes))
            self.sinks += [opened(info, self.display.say) for opened in self.copies]
        try:
            state = self._train(state, stop)
            if stop.signal is None:
                summary = self._finish(state)
            else:
                summary = self._summary("stopped", [])
                name, steps = signal.Signals(stop.signal).name, self.progress.env_steps[0]
                self.display.say(
                    f"stopped by {name} after {steps:,} steps; shoal train resume={self.folder.path} goes on"
                )
            if self.first:
                self.folder.write_json(self.folder.summary, summary)
        finally:
            self.checkpoints.wait()
            for sink in self.sinks:
                sink.close()
        return Outcome(self.folder, summary["status"], stop.signal, summary)

    def _open(self) -> PyTree:
        """Says what is about to happen, compiles, and returns the state to begin with."""
        built, say = self.built, self.display.say
        resuming = self.config.resume is not None
        checkpoint = self.checkpoints.newest(say) if resuming else None
        held, rollout = build.memory_bytes(built)
        say(
            f"{built.env.id}, {self.config.algorithm_name}: {len(built.members)} x {self.config.num_envs} "
            f"environments on {len(built.devices)} {built.devices[0].platform} device(s), run folder "
            f"{self.folder.path}"
        )
        replay = build.replay_bytes(built)
        part = f" ({_bytes(replay)} of it replay)" if replay else ""
        say(f"memory: {_bytes(held)} of state{part}, {_bytes(rollout)} per rollout, and what learning takes")
        for note in built.notes:
            say(note)
        with self.display.waiting("compiling") as waiting:
            if checkpoint is None:
                state, self.run_chunk = built.prepare()
            else:
                state = self._restore(checkpoint)
                self.run_chunk = built.program.compile(state)
            self.evaluator = Evaluator(
                built.env,
                learned_policy(built.env, built.learners, built.judges),
                self.config.eval.episodes,
                self.config.eval.num_envs,
                self.config.eval.greedy,
                built.learning,
                devices=list(built.devices),
            )
            self.evaluator.compile(built.policy_params(state), built.keys("evaluation"), built.env_params)
        self.progress.compile_seconds += waiting.seconds
        need = build.program_bytes(self.run_chunk)
        whole = "" if need is None else f"; an update needs {_bytes(need)} in all"
        say(f"compiled in {waiting.seconds:.1f} s{whole}")
        if resuming:
            say(f"going on after update {self.progress.update} of {self.config.total_updates}")
        return state

    def _restore(self, checkpoint: Checkpoint) -> PyTree:
        """Takes over what a checkpoint holds and returns the training state, on the devices."""
        try:
            state = unflatten(jax.eval_shape(self.built.init), checkpoint.state)
        except ValueError as error:
            raise UserError(f"{self.folder.checkpoints} was written by another version: {error}") from error
        self.progress = Progress(**checkpoint.progress)
        self.saved_update = checkpoint.update
        self.best = checkpoint.best
        if self.best:  # what lies in best/ may be newer than this checkpoint
            self._save_best()
        return hosts.placed(state, self.built.program.shardings)

    def _train(self, state: PyTree, stop: Stop) -> PyTree:
        """Runs chunks of ``log_every`` updates, each followed by its rows."""
        progress, total = self.progress, self.config.total_updates
        interval = int(self.config.log_every or 1)
        while progress.update < total and not self._stopping(stop):
            # Rows fall on multiples of the interval, also after a resume that made the run longer.
            count = min(interval - progress.update % interval, total - progress.update)
            clock = time.monotonic()
            state, totals, metrics = self.run_chunk(state, jnp.asarray(count, jnp.int32))
            totals, metrics = jax.device_get((totals, metrics))
            seconds = max(time.monotonic() - clock, 1e-9)
            progress.update += count
            progress.train_seconds += seconds
            played = zip(progress.env_steps, totals.env_steps, strict=True)
            progress.env_steps = [before + int(new) for before, new in played]
            evaluated = self._evaluate(state) if self._evaluation_is_due() else None
            self._write(totals, metrics, seconds, evaluated)
            self._show(float(np.sum(totals.env_steps)) / seconds)
            late = time.monotonic() - self.saved_at >= self.config.checkpoint_every
            if hosts.any_of(self.first and late and not self.checkpoints.busy):
                self._save(state)
        if self.saved_update != progress.update:
            self._save(state)
        return state

    def _stopping(self, stop: Stop) -> bool:
        """Whether this process or another was asked to stop."""
        stopping = hosts.any_of(stop.signal is not None)
        if stopping and stop.signal is None:
            stop.signal = signal.SIGTERM
        return stopping

    def _finish(self, state: PyTree) -> dict[str, Any]:
        """Evaluates the best parameters with ten times the episodes, on keys of their own."""
        if not self.best:
            self._evaluate(state)
            self._save(state)
        clock = time.monotonic()
        with self.display.waiting("final evaluation"):
            params = unflatten(jax.eval_shape(self.built.policy_params, state), self.best)
            keys = self.built.keys("absolute")
            fold = jax.vmap(jax.random.fold_in, (0, None))
            rounds = [
                jax.device_get(self.evaluator(params, fold(keys, number), self.built.env_params))
                for number in range(ABSOLUTE_FACTOR)
            ]
        self.progress.eval_seconds += time.monotonic() - clock
        absolute = [
            {
                name: summarise(np.concatenate([records[name][i] for records in rounds]))
                for name in episode_fields(self.built.env)
            }
            for i in range(len(self.built.members))
        ]
        return self._summary("finished", absolute)

    # The parts ------------------------------------------------------------------------------------

    def _evaluation_is_due(self) -> bool:
        every, update = self.config.eval.every, self.progress.update
        if not every:
            return False
        return update % (every // self.config.steps_per_update) == 0 or update == self.config.total_updates

    def _evaluate(self, state: PyTree) -> list[dict[str, float]]:
        """Plays the held-out episodes with the present parameters; keeps each member's best so far."""
        progress, clock = self.progress, time.monotonic()
        params = self.built.policy_params(state)
        records = jax.device_get(self.evaluator(params, self.built.keys("evaluation"), self.built.env_params))
        present, best = flatten(params), progress.best
        everything: list[dict[str, Any]] = []
        for i in range(len(self.built.members)):
            means = {name: float(np.mean(records[name][i])) for name in episode_fields(self.built.env)}
            everything.append(
                {
                    "update": progress.update,
                    "env_steps": progress.env_steps[i],
                    "score": list(headline(self.built.env, means)),
                    "metrics": means,
                }
            )
        # Against teams that learn as well, the newest counts as the best.
        newest = not best or not self.built.judged_alike
        better = [i for i, entry in enumerate(everything) if newest or entry["score"] > best[i]["score"]]
        if not best:
            self.best, progress.best = present, list(everything)
        for i in better:
            progress.best[i] = everything[i]
            for name, value in self.best.items():
                value[i] = present[name][i]
        if better:
            self._save_best()
        progress.eval_seconds += time.monotonic() - clock
        return [entry["metrics"] for entry in everything]

    def _best_member(self) -> int:
        """Returns the member that played best in its best evaluation; the first of equals."""
        scores = [entry["score"] for entry in self.progress.best]
        return scores.index(max(scores)) if scores else 0

    def _save_best(self) -> None:
        best = self.progress.best
        note = {"members": list(best), "member": self._best_member()}
        self.checkpoints.save_best(max(entry["update"] for entry in best), _copy(self.best), note)

    def _save(self, state: PyTree) -> None:
        """Saves everything; writing goes on in the background."""
        flat = flatten(hosts.gathered(state))  # all processes take part
        progress = dataclasses.asdict(self.progress)
        self.checkpoints.save(self.progress.update, flat, _copy(self.best), progress)
        self.saved_update, self.saved_at = self.progress.update, time.monotonic()

    def _write(
        self, totals: Any, metrics: Any, seconds: float, evaluated: list[dict[str, float]] | None
    ) -> None:
        """Writes the rows of the chunk that just ended."""
        self._tick()
        progress = self.progress
        progress.last = [
            {
                **identity(i, member),
                "update": progress.update,
                "env_steps": progress.env_steps[i],
                "wall_seconds": round(progress.wall_seconds, 3),
                "steps_per_second": round(float(totals.env_steps[i]) / seconds, 1),
                **training_row(self.built.env, i, totals, metrics),
                **({f"eval/{name}": value for name, value in evaluated[i].items()} if evaluated else {}),
            }
            for i, member in enumerate(self.built.members)
        ]
        for sink in self.sinks:
            sink.write(progress.last)
        if self.first:
            assert isinstance(self.sinks[0], JsonLines)
            progress.metrics_bytes = self.sinks[0].position

    def _show(self, rate: float) -> None:
        progress = self.progress
        done = progress.update / self.config.total_updates
        spent = progress.train_seconds + progress.eval_seconds
        steps = progress.update * self.config.steps_per_update
        self.display.training(mean_row(progress.last), steps, rate, spent / done - spent)

    def _tick(self) -> None:
        """Brings the wall clock up to date."""
        now = time.monotonic()
        self.progress.wall_seconds += now - self.ticked_at
        self.ticked_at = now

    def _summary(self, status: str, absolute: list[dict[str, Any]]) -> dict[str, Any]:
        self._tick()
        progress = self.progress
        members = [
            {
                **identity(i, member),
                "env_steps": progress.env_steps[i],
                "last": progress.last[i] if progress.last else None,
                "best": progress.best[i] if progress.best else None,
                "absolute": absolute[i] if absolute else None,
            }
            for i, member in enumerate(self.built.members)
        ]
        steps = sum(progress.env_steps)
        return {
            "status": status,
            "env": self.built.env.id,
            "algorithm": self.config.algorithm_name,
            "updates": progress.update,
            "env_steps": steps,
            "wall_seconds": progress.wall_seconds,
            "compile_seconds": progress.compile_seconds,
            "train_seconds": progress.train_seconds,
            "eval_seconds": progress.eval_seconds,
            "steps_per_second": steps / progress.train_seconds if progress.train_seconds else None,
            "best_member": self._best_member(),
            "absolute_episodes": ABSOLUTE_FACTOR * self.evaluator.episodes if absolute else None,
            "members": members,
        }


def _copy(flat: Flat) -> Flat:
    return {name: value.copy() for name, value in flat.items()}


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 2**10:.1f} KiB"
