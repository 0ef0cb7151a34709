"""The contract as checks that anyone can run on an environment of their own.

    from shoal.envs.core.conformance import check_environment

    check_environment("combat/smax-3m")

Every check takes an environment (or an id) and raises AssertionError with what is wrong and where. Checks of
one environment share its compiled programs: a reset, a step, and play of a few copies in both modes of
`VectorEnv`, by legal, idle and impossible actions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shoal.envs.core.conformance_harness import Harness
from shoal.envs.core.conformance_play import (
    check_copies,
    check_dead_agents,
    check_determinism,
    check_ends,
    check_finite,
    check_illegal_actions,
    check_jit,
    check_levels,
    check_masks,
    check_metrics,
    check_next_step,
    check_same_step,
    check_spaces,
    check_traced_once,
    check_vmap,
)
from shoal.envs.core.conformance_static import (
    check_describe,
    check_exports,
    check_metadata,
    check_params,
    check_purity,
    check_strict_numerics,
    check_types,
)
from shoal.envs.core.environment import Environment

__all__ = [
    "CHEAP_CHECKS",
    "PLAY_CHECKS",
    "check_copies",
    "check_dead_agents",
    "check_describe",
    "check_determinism",
    "check_ends",
    "check_environment",
    "check_exports",
    "check_finite",
    "check_illegal_actions",
    "check_jit",
    "check_levels",
    "check_masks",
    "check_metadata",
    "check_metrics",
    "check_next_step",
    "check_params",
    "check_purity",
    "check_same_step",
    "check_spaces",
    "check_strict_numerics",
    "check_traced_once",
    "check_types",
    "check_vmap",
]

CHEAP_CHECKS: tuple[Callable[..., None], ...] = (
    check_metadata,
    check_types,
    check_strict_numerics,
    check_describe,
    check_purity,
    check_params,
    check_exports,
)
"""Checks that compile nothing."""

PLAY_CHECKS: tuple[Callable[..., None], ...] = (
    check_spaces,
    check_finite,
    check_masks,
    check_metrics,
    check_ends,
    check_dead_agents,
    check_illegal_actions,
    check_jit,
    check_vmap,
    check_determinism,
    check_levels,
    check_next_step,
    check_same_step,
    check_copies,
    check_traced_once,  # last: it counts what the others made
)
"""Checks that play."""


def check_environment(env_or_id: Environment[Any, Any] | str, seed: int = 0) -> None:
    """Runs every check.

    Args:
        env_or_id: an environment, or the id of a registered one.
        seed: decides all draws of the play.

    Raises:
        AssertionError: for the first check that fails.
    """
    harness = Harness.of(env_or_id, seed)
    for check in (*CHEAP_CHECKS, *PLAY_CHECKS):
        check(harness)
