"""SMAX with legacy=B beside steps recorded from jaxmarl 0.1.0 (record_smax_era_b.py says how)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from smax_bridge import TOLERANCE, Bridge, Difference
from smax_cases import Battle
from smax_match import Comparison
from smax_peer import Choice, Peer, PeerDraws, PeerStep

pytestmark = pytest.mark.parity

FILE = Path(__file__).with_name("smax_era_b.npz")
MOMENT = ("position", "health", "types", "cooldown", "last_move", "last_attack", "step", "goal", "target")
OUTCOME = ("observation", "world_state", "reward", "agent_done", "over", "mask")


class Recorded(NamedTuple):
    """Steps of one scenario, as `Bridge.compare` and `Comparison` take them."""

    before: Any
    action: np.ndarray
    after: PeerStep


def recorded(arrays: Mapping[str, np.ndarray], scenario: str) -> Recorded:
    """Puts the arrays named ``scenario.field`` together again."""

    def get(name: str) -> np.ndarray:
        array = arrays[f"{scenario}.{name}"]
        return array.astype(np.int32) if array.dtype in (np.int8, np.int16) else array

    action = get("action")

    def state(when: str) -> Any:
        return Battle(*(get(f"{when}_{name}") for name in MOMENT), n_allies=action.shape[1]).to_peer()

    draws = PeerDraws(get("deviation"), Choice(get("goal_mask"), get("goal_index")), None)
    after = PeerStep(state=state("after"), draws=draws, **{name: get(name) for name in OUTCOME})
    return Recorded(state("before"), action, after)


def compare(steps: Recorded, scenario: str, legacy: str) -> Difference:
    bridge = Bridge(f"combat/smax-{scenario}", legacy=legacy)
    return jax.tree.map(np.asarray, bridge.compare(bridge.env.params, *steps))


@pytest.fixture(scope="module")
def arrays() -> Mapping[str, np.ndarray]:
    with np.load(FILE) as file:
        return dict(file)


@pytest.mark.parametrize("scenario", ["3m", "2s3z", "5m_vs_6m", "smacv2_10_units"])
def test_steps_with_ghosts(arrays: Mapping[str, np.ndarray], scenario: str) -> None:
    steps = recorded(arrays, scenario)
    result = Comparison(Peer(scenario), ghosts=True)
    result.add(steps.before, steps.after, compare(steps, scenario, "B"))
    result.check()
    assert result.excused == 0, "none of the steps kept needs an excuse"
    moved = np.abs(steps.after.state.state.unit_positions - steps.before.state.unit_positions).max(-1) > 1e-3
    ghosts = np.sum(np.any(moved & ~steps.before.state.unit_alive, axis=1))
    assert ghosts >= 25 and result.events["kills"] >= 5, (ghosts, result.events)


def test_today_s_rules_take_the_same_steps_otherwise(arrays: Mapping[str, np.ndarray]) -> None:
    gaps = compare(recorded(arrays, "3m"), "3m", "none")
    assert np.sum(gaps.position > TOLERANCE) >= 25
    assert np.mean(gaps.observation > TOLERANCE) > 0.75, "a cooldown below zero shows while any ally lives"
