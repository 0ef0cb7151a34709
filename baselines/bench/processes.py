"""Suites of the world before accelerators: NumPy environments in one process per core.

Everything that a step returns goes into a checksum, as in `subjects`. Episodes are as long as ours are by
default, and a finished one is reset at once.
"""

from __future__ import annotations

import importlib
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Protocol, cast

import numpy as np

from shoal.baselines import devices
from shoal.envs.core.registry import make


class Game(Protocol):
    """One environment of a suite, as `play` needs it."""

    def reset(self, seed: int | None) -> None:
        """Opens an episode."""

    def step(self, rng: np.random.Generator) -> tuple[float, bool]:
        """Plays a random step; returns the sum of all that it returned, and whether the episode is over."""


class Mpe2Game:
    """A world of mpe2; the global state is part of what is returned."""

    def __init__(self, name: str, max_cycles: int) -> None:
        """Imports the world called ``name``."""
        self.env = importlib.import_module(f"mpe2.{name}").parallel_env(max_cycles=max_cycles)
        self.sizes = {agent: int(self.env.action_space(agent).n) for agent in self.env.possible_agents}

    def reset(self, seed: int | None) -> None:
        """Opens an episode."""
        self.env.reset(seed=seed)

    def step(self, rng: np.random.Generator) -> tuple[float, bool]:
        """Plays a random step."""
        actions = {agent: int(rng.integers(size)) for agent, size in self.sizes.items()}
        views, rewards, _, _, _ = self.env.step(actions)
        returned = [*(view.sum() for view in views.values()), *rewards.values(), self.env.state().sum()]
        return float(sum(returned)), not self.env.agents


class HighwayEnvGame:
    """A highway of highway-env, whose drivers are its own."""

    def __init__(self, **config: Any) -> None:
        """Makes the road; ``config`` is that package's."""
        import gymnasium
        import highway_env

        gymnasium.register_envs(highway_env)
        self.env = gymnasium.make("highway-v0", config=config, disable_env_checker=True).unwrapped
        self.agents = int(config["controlled_vehicles"])

    def reset(self, seed: int | None) -> None:
        """Opens an episode."""
        self.env.reset(seed=seed)

    def step(self, rng: np.random.Generator) -> tuple[float, bool]:
        """Plays a random step."""
        actions = tuple(int(action) for action in rng.integers(5, size=self.agents))
        views, reward, terminated, truncated, _ = self.env.step(actions)
        return float(sum(view.sum() for view in cast(Any, views))) + float(reward), terminated or truncated


@dataclass(frozen=True)
class HostSuite:
    """A suite of NumPy environments."""

    package: str  # to import
    settings: Mapping[str, Mapping[str, Any]]  # our bare id -> what its game is made with
    game: Callable[..., Game]
    length: str  # the setting that holds the number of steps in an episode
    same_game: bool = True  # whether episodes must end as often as ours
    more: Mapping[str, Any] = field(default_factory=dict)  # settings of all games


_HIGHWAY = {
    "controlled_vehicles": 5,
    "vehicles_count": 50,
    "lanes_count": 8,
    "simulation_frequency": 5,
    "policy_frequency": 1,
    "observation": {
        "type": "MultiAgentObservation",
        "observation_config": {"type": "Kinematics", "vehicles_count": 15},
    },
    "action": {"type": "MultiAgentAction", "action_config": {"type": "DiscreteMetaAction"}},
}
HOST_SUITES = {
    "mpe2": HostSuite(
        "mpe2",
        {
            "particle/simple-reference": {"name": "simple_reference_v3"},
            "particle/simple-speaker-listener": {"name": "simple_speaker_listener_v4"},
            "particle/simple-spread": {"name": "simple_spread_v3"},
            "particle/simple-tag": {"name": "simple_tag_v3"},
        },
        Mpe2Game,
        "max_cycles",
    ),
    # As many vehicles, frames and choices; which drivers there are does not change what a frame costs.
    "highway-env": HostSuite(
        "highway_env",
        {"traffic/highway-mild": {}, "traffic/highway-chaotic": {}},
        HighwayEnvGame,
        "duration",
        same_game=False,
        more=_HIGHWAY,
    ),
}


class HostEnvTask:
    """Times a batch of a host suite's environments; answers what `worker.EnvTask` answers."""

    def __init__(self, suite: str, env: str) -> None:
        """Notes the task; processes start with the first batch."""
        host = HOST_SUITES[suite]
        own = host.settings[env.rpartition("-v")[0]]
        self.suite = suite
        self.settings = {**host.more, **own, host.length: make(env).max_steps}
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
            process = context.Process(
                target=play, args=(there, self.suite, seed, share, self.settings), daemon=True
            )
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


def play(pipe: Connection, suite: str, seed: int, count: int, settings: dict[str, Any]) -> None:
    """Plays ``count`` environments in one process until nobody asks any more."""
    games = [HOST_SUITES[suite].game(**settings) for _ in range(count)]
    rng = np.random.default_rng(seed)
    finished, clock, checksum = np.zeros(count, np.int64), 0, 0.0
    for what, steps in _asked(pipe):
        if what == "restart":
            finished, clock, checksum = np.zeros(count, np.int64), 0, 0.0
            for i, game in enumerate(games):
                game.reset(seed * 1_000_003 + i)
        for _ in range(steps):
            for i, game in enumerate(games):
                returned, over = game.step(rng)
                checksum += returned
                if over:
                    finished[i] += 1
                    game.reset(None)
        clock += steps
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pipe.send({"finished": finished, "clock": clock, "checksum": checksum, "peak_bytes": peak})


def _asked(pipe: Connection) -> Iterable[tuple[str, int]]:
    while True:
        try:
            yield pipe.recv()
        except EOFError:
            return
