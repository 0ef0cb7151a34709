"""Every registered environment keeps the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shoal.envs.core import conformance, list_environments, make
from shoal.envs.core.conformance_harness import Harness

IDS = list_environments()
# Played through every check; for the other scenarios, which differ in sizes only, two are left out.
WHOLE = {"combat/smax-3m-v1", "commons/water-v1", "particle/simple-speaker-listener-v1"}
COSTLY = (conformance.check_jit, conformance.check_same_step)
VARIANTS = [
    ("combat/smax-3m-v1", {"control": "both", "use_self_play_reward": True}),
    ("combat/smax-3m-v1", {"view": "entities", "attack_mode": "random"}),
]


def test_one_scenario_of_every_family_is_played_whole() -> None:
    assert {id.partition("/")[0] for id in IDS} == {id.partition("/")[0] for id in WHOLE}
    assert set(IDS) >= WHOLE


@pytest.mark.parametrize("check", conformance.CHEAP_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("env_id", IDS)
def test_cheap(env_id: str, check: Callable[[Any], None]) -> None:
    check(env_id)


@pytest.mark.parametrize("env_id", IDS)
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
