"""mpe2 as the world before accelerators steps it: NumPy environments in one process per core.

Everything that a step returns, the global state included, goes into a checksum, as in `subjects`. Episodes
are as long as ours are by default, and a finished one is reset at once.
"""

from __future__ import annotations

import importlib
import multiprocessing
import resource
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from shoal.baselines import devices
from shoal.envs.core.registry import make

MPE2_NAMES = {
    "particle/simple-reference": "simple_reference_v3",
    "particle/simple-speaker-listener": "simple_speaker_listener_v4",
    "particle/simple-spread": "simple_spread_v3",
    "particle/simple-tag": "simple_tag_v3",
}


class HostEnvTask:
    """Times a batch of mpe2's environments; answers what `worker.EnvTask` answers."""

    def __init__(self, suite: str, env: str) -> None:
        """Notes the task; processes start with the first batch."""
        bare = env.rpartition("-v")[0]
        self.settings = {"name": MPE2_NAMES[bare], "max_cycles": make(env).max_steps}
        self.num_envs = 0
        self.prepared: dict[str, Any] = {}
        self.players: list[tuple[Any, Connection]] = []

    def prepare(self, num_envs: int) -> dict[str, Any]:
        """Starts a process per core, each with its share of the batch; nothing is compiled."""
        if num_envs == self.num_envs:
            self.restart()
            return self.prepared
        for process, _ in self.players:
            process.kill()
        count = min(num_envs, devices.core_count())
        shares = [len(part) for part in np.array_split(np.arange(num_envs), count)]
        context = multiprocessing.get_context("spawn")
        self.players = []
        for seed, share in enumerate(shares):
            here, there = context.Pipe()
            process = context.Process(target=play, args=(there, seed, share, self.settings), daemon=True)
            process.start()
            self.players.append((process, here))
        self.num_envs = num_envs
        sizes = self._ask("restart", 0)
        self.prepared = {
            "compile_seconds": 0.0,
            "peak_bytes": sum(int(answer["peak_bytes"]) for answer in sizes),
            "devices": count,
        }
        return self.prepared

    def restart(self) -> dict[str, Any]:
        """Opens all episodes anew."""
        self._ask("restart", 0)
        return {}

    def run(self, steps: int) -> dict[str, Any]:
        """Plays ``steps`` steps per environment."""
        began = time.perf_counter()
        answers = self._ask("run", steps)
        seconds = time.perf_counter() - began
        finished = np.concatenate([answer["finished"] for answer in answers]).astype(np.float64)
        return {
            "steps": steps * self.num_envs,
            "seconds": seconds,
            "checksum": float(sum(answer["checksum"] for answer in answers)),
            "steps_each": int(answers[0]["clock"]),
            "finished_mean": float(np.mean(finished)),
            "finished_error": float(np.std(finished) / np.sqrt(len(finished))),
        }

    def _ask(self, what: str, steps: int) -> list[dict[str, Any]]:
        for _, pipe in self.players:
            pipe.send((what, steps))
        return [pipe.recv() for _, pipe in self.players]


def play(pipe: Connection, seed: int, count: int, settings: dict[str, Any]) -> None:
    """Plays ``count`` environments in one process until nobody asks any more."""
    module = importlib.import_module(f"mpe2.{settings['name']}")
    envs = [module.parallel_env(max_cycles=settings["max_cycles"]) for _ in range(count)]
    rng = np.random.default_rng(seed)
    sizes = {agent: int(envs[0].action_space(agent).n) for agent in envs[0].possible_agents}
    finished, clock, checksum = np.zeros(count, np.int64), 0, 0.0
    while True:
        try:
            what, steps = pipe.recv()
        except EOFError:
            return
        if what == "restart":
            finished, clock, checksum = np.zeros(count, np.int64), 0, 0.0
            for i, env in enumerate(envs):
                env.reset(seed=seed * 1_000_003 + i)
        for _ in range(steps):
            for i, env in enumerate(envs):
                actions = {agent: int(rng.integers(size)) for agent, size in sizes.items()}
                views, rewards, _, _, _ = env.step(actions)
                checksum += sum(float(view.sum()) for view in views.values()) + sum(rewards.values())
                checksum += float(env.state().sum())
                if not env.agents:
                    finished[i] += 1
                    env.reset()
        clock += steps
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pipe.send({"finished": finished, "clock": clock, "checksum": checksum, "peak_bytes": peak})
