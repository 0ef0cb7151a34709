"""The named grid swarms: the published main runs, their sweeps, and harder and easier forms."""

from __future__ import annotations

from typing import Any

TASKS = {
    "pursuit": "shoal.envs.swarm.pursuit.env:Pursuit",
    "synchronization": "shoal.envs.swarm.synchronization.env:Synchronization",
    "foraging": "shoal.envs.swarm.foraging.env:Foraging",
    "flocking": "shoal.envs.swarm.flocking.env:Flocking",
    "transport": "shoal.envs.swarm.transport.env:Transport",
}
_SIZES = {f"n{n}": {"num_agents": n} for n in (8, 16)}
_VIEWS = {f"k{k}": {"view_size": k} for k in (3, 7)}
_LARGE = {
    f"{side}x{side}-n{n}": {"height": side, "width": side, "num_agents": n}
    for side in (15, 20)
    for n in (20, 30)
}
SWEEPS: dict[str, dict[str, Any]] = {
    **_SIZES,
    **_VIEWS,
    **_LARGE,
    "noisy": {"noisy_messages": True, "max_delay": 4},
}
"""Figure 8, Table S.4 and Table S.6 of the benchmark: for every task, and for flocking from any start."""

HARD: dict[str, tuple[str, dict[str, Any]]] = {
    "pursuit-easy": ("pursuit", {"threshold": "own"}),
    "pursuit-hard": ("pursuit", {"static_prey": "all"}),
    "synchronization-hard": (
        "synchronization",
        {"show_time": False, "agent_id": False, "flips": 0.01, "start_delay": 9},
    ),
    "foraging-hard": ("foraging", {"height": 20, "width": 20, "num_agents": 30}),
    "flocking-random": ("flocking", {"start": "random"}),
    "flocking-hard": ("flocking", {"start": "random", "num_agents": 14}),
    "transport-easy": ("transport", {"box": "square"}),
}

CROWDS: dict[str, tuple[str, dict[str, Any]]] = {
    f"{task}-{name}": (
        task,
        {
            "height": side,
            "width": side,
            "num_agents": agents,
            "vocabulary": 0,
            "agent_id": False,
            "show_place": False,
            **({"tiles": side // 10} if task == "foraging" else {}),
        },
    )
    for task in ("foraging", "pursuit")
    for name, side, agents in (("1k", 100, 1_000), ("10k", 320, 10_000), ("100k", 1_000, 100_000))
}
"""Swarms of up to a hundred thousand on a tenth of the cells; there is food and a nest in every 10 x 10."""


def scenarios() -> dict[str, tuple[str, dict[str, Any]]]:
    """Returns name -> (entry point, overrides)."""
    found: dict[str, tuple[str, dict[str, Any]]] = {name: (entry, {}) for name, entry in TASKS.items()}
    for name, (task, overrides) in (HARD | CROWDS).items():
        found[name] = (TASKS[task], overrides)
    for task, entry in TASKS.items():
        for name, overrides in SWEEPS.items():
            other_board = task == "flocking" and (name in _SIZES or name in _LARGE)
            anywhere = {"start": "random"} if other_board else {}
            found[f"{task}-{name}"] = (entry, {**overrides, **anywhere})
    return found
