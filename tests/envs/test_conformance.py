"""Every registered environment keeps the contract; one that is another in another size, its forms."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from shoal_sweeps import SWEEPS

from shoal.envs.core import conformance, list_environments, make
from shoal.envs.core.conformance_harness import Harness

IDS = [id for id in list_environments() if id not in SWEEPS]
# Played through every check; for the other scenarios, which differ in sizes only, two are left out.
WHOLE = {
    "combat/smax-3m-v1",
    "commons/water-v1",
    "particle/simple-speaker-listener-v1",
    "swarm/foraging-v1",
    "traffic/junction-easy-v1",
}
# Not played, and traced less: they differ from others in sizes, one number, words, or one drawn layout.
ALIKE = {
    *(f"combat/smax-{name}-v1" for name in ("8m", "25m", "5m_vs_6m", "10m_vs_11m", "3s5z", "3s_vs_5z")),
    *(f"combat/smax-{name}-v1" for name in ("3s5z_vs_3s6z", "6h_vs_8z", "smacv2_5_units", "smacv2_10_units")),
    "commons/govsim-pasture-v1",
    "commons/govsim-pollution-v1",
    # Long and large; played on a small map for a few steps among the variants.
    "commons/cleanup-v1",
    "commons/harvest-closed-v1",
    "commons/harvest-open-v1",
    "commons/harvest-partnership-v1",
    "particle/ncnav-easy-v1",
    "swarm/pursuit-easy-v1",
    "swarm/pursuit-hard-v1",
    "swarm/foraging-hard-v1",
    "swarm/flocking-hard-v1",
    "swarm/flocking-random-v1",
    "swarm/synchronization-hard-v1",  # played among the variants
    "swarm/transport-easy-v1",
    "traffic/highway-chaotic-v1",
    "traffic/junction-medium-v1",
}
COSTLY = (conformance.check_jit, conformance.check_same_step)
SHARED = (conformance.check_purity, conformance.check_params)  # they ask about code, which the alike share
VARIANTS = [
    ("combat/smax-3m-v1", {"control": "both", "use_self_play_reward": True}),
    ("combat/smax-3m-v1", {"view": "entities", "attack_mode": "random", "legacy": "B"}),
    (
        "swarm/transport-v1",
        {
            "noisy_messages": True,
            "joint_actions": True,
            "view": "grid",
            "reward": "shaped",
            "credit": "agent",
        },
    ),
    # Some are not there at all.
    ("swarm/synchronization-hard-v1", {"fewest": 2, "num_agents": 6, "closest": 3, "ease": 0.5}),
    (
        "commons/cleanup-v1",
        {
            "map": "small",
            "num_agents": 4,
            "max_steps": 30,
            "dirt_delay": 5,
            "reward": "inequity",
            "smoothing": 0.5,
        },
    ),
    (
        "commons/harvest-open-v1",
        {"map": "small", "num_agents": 3, "max_steps": 30, "compat": ("paper",), "reward": "svo"},
    ),
    (
        "commons/govsim-fishery-v1",
        {
            "newcomer": True,
            "newcomer_month": 1,
            "messages": 2,
            "universalization": True,
            "largest_request": 15,
            "time_limit_is_termination": False,
        },
    ),
    (
        "commons/govsim-trash-v1",
        {"newcomer": True, "allocation": "proportional", "reward": "common", "num_agents": 3},
    ),
    (
        "traffic/highway-mild-v1",
        {
            "num_agents": 2,
            "drivers": 6,
            "view": "history",
            "wrecks": "steer",
            "metrics": "iplan",
            "max_steps": 20,
        },
    ),
]


def test_one_scenario_of_every_family_is_played_whole() -> None:
    assert {id.partition("/")[0] for id in IDS} == {id.partition("/")[0] for id in WHOLE}
    assert set(IDS) >= WHOLE | ALIKE


def test_sweeps_are_registered() -> None:
    assert set(list_environments()) >= SWEEPS and len(SWEEPS) > 40


@pytest.mark.parametrize("env_id", sorted(SWEEPS))
def test_forms(env_id: str) -> None:
    """A reset and a step are only traced; policies, some of which plan for long on large boards, not made."""
    harness = Harness(make(env_id))
    conformance.check_metadata(harness)
    conformance.check_types(harness)
    assert json.loads(json.dumps(harness.env.describe()))["id"] == env_id


@pytest.mark.parametrize(
    ("env_id", "check"),
    [
        pytest.param(id, check, id=f"{id}-{check.__name__}")
        for id in IDS
        for check in conformance.CHEAP_CHECKS
        if id not in ALIKE or check not in SHARED
    ],
)
def test_cheap(env_id: str, check: Callable[[Any], None]) -> None:
    check(env_id)


@pytest.mark.parametrize("env_id", [id for id in IDS if id not in ALIKE])
def test_play(env_id: str) -> None:
    harness = Harness(make(env_id))
    for check in conformance.PLAY_CHECKS:
        if env_id in WHOLE or check not in COSTLY:
            check(harness)


@pytest.mark.slow
@pytest.mark.parametrize(("env_id", "overrides"), VARIANTS, ids=str)
def test_variants(env_id: str, overrides: dict[str, Any]) -> None:
    harness = Harness(make(env_id, **overrides))
    for check in (*conformance.CHEAP_CHECKS, *conformance.PLAY_CHECKS):
        if check not in COSTLY:
            check(harness)
