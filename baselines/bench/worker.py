"""The process that one suite is timed in, and how the benchmark talks to it: one JSON object per line.

A process per suite keeps devices, thread pools and memory of the suites apart. Nothing is read from or
written to the cache of compiled programs, so that compile times are cold.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shoal.envs.core.errors import UserError


class Worker:
    """The benchmark's end: starts a process and asks it things."""

    def __init__(self, **task: Any) -> None:
        """Starts the process; ``task`` says what it will time (see `main`)."""
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        variables = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false", "WANDB_MODE": "disabled"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "shoal.baselines.bench.worker", json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,  # a file: nobody reads a pipe while the process works
            text=True,
            env=variables,
        )
        self.name = str(task["suite"])
        try:
            self.ask(ask="ready")  # while one process imports, another's compile time would suffer
        except UserError:
            self.close()
            raise

    def ask(self, **question: Any) -> dict[str, Any]:
        """Sends one question and waits for the answer.

        Raises:
            UserError: with the last line that the process wrote when it failed.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                if line.startswith(ANSWER):  # libraries print to standard output too
                    return json.loads(line.removeprefix(ANSWER))
        except BrokenPipeError:
            pass
        self.process.wait()
        self.errors.seek(0)
        lines = [line for line in self.errors.read().splitlines() if line.strip()]
        last = lines[-1] if lines else "it said nothing"
        raise UserError(f"the process that times {self.name} failed: {last}")

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def __enter__(self) -> Worker:
        """Is used as a context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the process."""
        self.close()


ANSWER = "shoal-bench-answer "


class EnvTask:
    """Times an environment batch."""

    def __init__(self, suite: str, env: str, effort: str | None = None) -> None:
        """Starts the backend the suite's own way: ours with a device per core on CPU.

        Args:
            suite: whose environments they are.
            env: an id.
            effort: how hard a CPU's compiler tries, of ``EFFORTS``; None: as it does by itself.
        """
        if suite == "shoal":
            from shoal.baselines import devices

            devices.start()
        self.suite, self.env, self.effort = suite, env, effort
        self.num_envs = 0
        self.prepared: dict[str, Any] = {}
        self.stand: Any = None
        self.opened: Any = None
        self.stepped: Any = None

    def prepare(self, num_envs: int) -> dict[str, Any]:
        """Makes the batch and compiles it, cold, unless it is the one at hand; it stands opened anew."""
        import jax

        from shoal.baselines.bench.compiling import programs
        from shoal.baselines.bench.costs import counted
        from shoal.baselines.bench.subjects import SUBJECTS

        if num_envs == self.num_envs:
            self.restart()
            return self.prepared
        self.stand = self.opened = self.stepped = None  # room for the next batch
        jax.clear_caches()
        subject = SUBJECTS[self.suite](self.env, num_envs)  # imports libraries, so it is not timed
        began = time.perf_counter()
        with programs() as parts:
            self.opened, self.stepped, equations = subject.compile(self._options())
        seconds = time.perf_counter() - began
        self.num_envs = num_envs
        self.restart()
        self.run(1)
        devices = len(subject.devices)
        each = num_envs / devices  # a device's program is what is counted
        costs = counted(self.stepped)
        self.prepared = {
            "compile_seconds": seconds,
            "programs": parts.rows(),
            "peak_bytes": peak_bytes([self.opened, self.stepped]),
            "devices": devices,
            "equations": equations,
            "step_flops": None if costs is None else costs[0] / each,
            "step_bytes": None if costs is None else costs[1] / each,
        }
        return self.prepared

    def _options(self) -> dict[str, Any] | None:
        import jax

        from shoal.algorithms.blocks.effort import EFFORTS, compiler_options

        if self.effort is None:
            return None
        return compiler_options(EFFORTS[self.effort], jax.default_backend())

    def restart(self) -> dict[str, Any]:
        """Opens the batch anew."""
        import jax

        self.stand = jax.block_until_ready(self.opened(jax.random.key(1)))
        return {}

    def run(self, steps: int) -> dict[str, Any]:
        """Plays ``steps`` steps per environment on from where the batch stands."""
        import jax
        import jax.numpy as jnp
        import numpy as np

        count = jnp.asarray(steps, jnp.int32)
        began = time.perf_counter()
        self.stand = jax.block_until_ready(self.stepped(self.stand, count))
        seconds = time.perf_counter() - began
        finished = np.asarray(self.stand.finished, np.float64)
        return {
            "steps": steps * self.num_envs,
            "seconds": seconds,
            "checksum": float(np.sum(np.asarray(self.stand.checksum), dtype=np.float64)),
            "steps_each": int(self.stand.clock),
            "finished_mean": float(np.mean(finished)),
            "finished_error": float(np.std(finished) / np.sqrt(len(finished))),
        }


class TrainTask:
    """Times our training."""

    def __init__(self, suite: str, overrides: list[str]) -> None:
        """Composes the configuration."""
        from shoal.baselines import devices
        from shoal.baselines.composition import compose

        devices.start()
        self.config = compose(overrides)

    def prepare(self, updates: int) -> dict[str, Any]:
        """Builds and compiles, cold; the opening state is made, too."""
        import jax
        import jax.numpy as jnp

        from shoal.baselines.bench.compiling import programs
        from shoal.baselines.build import build

        jax.block_until_ready(jnp.zeros(()))  # starting the backend is not compiling
        began = time.perf_counter()
        with programs() as parts:
            built = build(self.config)
            self.state, self.compiled = jax.block_until_ready(built.prepare())
        seconds = time.perf_counter() - began
        self.updates = jnp.asarray(updates, jnp.int32)
        self.steps = updates * built.config.steps_per_update
        # Rollouts that only fill a replay are not what is timed.
        waits = max(getattr(learner, "first_learning_update", 0) for _, learner in built.learners.values())
        if waits:
            self.state, *_ = self.compiled(self.state, jnp.asarray(waits, jnp.int32))
            jax.block_until_ready(self.state)
        return {
            "compile_seconds": seconds,
            "programs": parts.rows(),
            "peak_bytes": peak_bytes([self.compiled]),
            "devices": len(built.devices),
            "num_envs": built.config.num_envs,
            "compile_effort": built.program.effort,
        }

    def run(self) -> dict[str, Any]:
        """Runs the updates on from where training stands."""
        import jax

        began = time.perf_counter()
        self.state, *rest = self.compiled(self.state, self.updates)
        jax.block_until_ready((self.state, rest))
        return {"steps": self.steps, "seconds": time.perf_counter() - began}


class PeerTrainTask:
    """Times a peer's training script, unmodified.

    Its program runs from the start to the end. Where the first updates only fill a replay, a second program
    of just these is timed as well, and the difference counts.
    """

    def __init__(self, suite: str, repo: str, algorithm: str, settings: dict[str, Any]) -> None:
        """Imports the script."""
        from shoal.baselines.bench.peers import SCRIPTS, jaxmarl_training

        self.make, self.settings = jaxmarl_training(Path(repo), algorithm), settings
        self.waits = SCRIPTS[algorithm].updates_before_learning(settings)

    def prepare(self, updates: int) -> dict[str, Any]:
        """Compiles, cold."""
        import jax

        from shoal.baselines.bench.compiling import programs

        self.key = jax.random.PRNGKey(0)
        self.steps = updates * self.settings["NUM_ENVS"] * self.settings["NUM_STEPS"]
        self.filling = self._compiled(self.waits) if self.waits else None
        began = time.perf_counter()
        with programs() as parts:
            self.compiled = self._compiled(self.waits + updates)
        seconds = time.perf_counter() - began
        return {
            "compile_seconds": seconds,
            "programs": parts.rows(),
            "peak_bytes": peak_bytes([self.compiled]),
            "devices": 1,
        }

    def _compiled(self, updates: int) -> Any:
        import jax

        settings = dict(self.settings)
        settings["TOTAL_TIMESTEPS"] = updates * settings["NUM_ENVS"] * settings["NUM_STEPS"]
        return jax.jit(self.make(settings)).lower(self.key).compile()

    def run(self) -> dict[str, Any]:
        """Runs the whole of it from the start: that is what it compiles to."""
        import jax

        def seconds(program: Any) -> float:
            began = time.perf_counter()
            jax.block_until_ready(program(self.key))
            return time.perf_counter() - began

        filling = 0.0 if self.filling is None else seconds(self.filling)
        return {"steps": self.steps, "seconds": seconds(self.compiled) - filling}


def peak_bytes(programs: list[Any]) -> int | None:
    """Returns the device's own peak where it counts, else what the largest program needs by its compiler."""
    import jax

    from shoal.baselines.build import program_bytes

    stats = jax.local_devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return int(stats["peak_bytes_in_use"])
    sizes = [size for program in programs if (size := program_bytes(program)) is not None]
    return max(sizes, default=None)


class LimitsTask:
    """Measures what the machine can do at most, with all its cores."""

    def __init__(self, suite: str) -> None:
        """Has nothing to set up."""

    def limits(self) -> dict[str, float]:
        """Measures."""
        from shoal.baselines.bench import costs

        return costs.limits()


def env_task(suite: str, env: str, effort: str | None = None) -> Any:
    """Returns what times a suite's environments: compiled, or in processes of their own."""
    from shoal.baselines.bench.processes import HOST_SUITES, HostEnvTask

    return HostEnvTask(suite, env) if suite in HOST_SUITES else EnvTask(suite, env, effort)


TASKS: dict[str, Callable[..., Any]] = {
    "limits": LimitsTask,
    "env": env_task,
    "train": TrainTask,
    "peer-train": PeerTrainTask,
}


def main() -> None:
    """Makes the task named on the command line, then answers questions until standard input ends."""
    settings = json.loads(sys.argv[1])
    task = TASKS[settings.pop("task")](**settings)
    for line in sys.stdin:
        question = json.loads(line)
        asked = question.pop("ask")
        answer = {} if asked == "ready" else getattr(task, asked)(**question)
        print(ANSWER + json.dumps(answer), flush=True)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
