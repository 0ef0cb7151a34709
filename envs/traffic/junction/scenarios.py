"""The three published junctions."""

from __future__ import annotations

from typing import Any

from shoal.envs.traffic.junction.levels import RATES

_ENTRY = "shoal.envs.traffic.junction.env:TrafficJunction"
_SIZES = {"easy": (5, 20), "medium": (10, 40), "hard": (20, 80)}
"""Slots for cars, and steps in an episode."""


def scenarios() -> dict[str, tuple[str, dict[str, Any]]]:
    """Returns name -> (entry point, overrides)."""
    return {
        f"junction-{difficulty}": (
            _ENTRY,
            {
                "difficulty": difficulty,
                "num_agents": cars,
                "max_steps": steps,
                "add_rate": RATES[difficulty].most / 100,
            },
        )
        for difficulty, (cars, steps) in _SIZES.items()
    }
