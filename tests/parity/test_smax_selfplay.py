"""SMAX with both teams controlled, beside jaxmarl 0.2.0's class of that kind."""

from __future__ import annotations

from functools import cache

import jax
import numpy as np
import pytest
from smax_bridge import Bridge
from smax_cases import battles, mixed_actions
from smax_match import Comparison
from smax_peer import SelfPlayPeer

pytestmark = [pytest.mark.parity, pytest.mark.slow]

SCENARIO = "5m_vs_6m"  # teams of unequal size, so that padding and slot order show
BATCH = 256
STOP = 4


@cache
def peer_of(self_play_reward: bool) -> SelfPlayPeer:
    return SelfPlayPeer(SCENARIO, use_self_play_reward=self_play_reward)


@pytest.mark.parametrize("self_play_reward", [False, True], ids=["shaped", "zero_sum"])
def test_steps_with_both_teams_controlled(self_play_reward: bool) -> None:
    peer = peer_of(self_play_reward)
    bridge = Bridge(f"combat/smax-{SCENARIO}", control="both", use_self_play_reward=self_play_reward)
    sizes = np.array([space.n for space in bridge.env.metadata.action_spaces])
    rng = np.random.default_rng(9)
    result = Comparison(peer)
    state = battles(rng, peer.inner, BATCH).to_peer().state
    mask = np.asarray(peer.look(state)[1])
    for i in range(24):
        # Past its own numbering an action stops in ours; in the peer it hits some other unit.
        action = mixed_actions(rng, mask, i)
        action = np.where(action < sizes, action, STOP)
        theirs = peer.step(jax.random.split(jax.random.key(rng.integers(2**31)), BATCH), state, action)
        if self_play_reward:
            total = np.asarray(theirs.reward)
            assert np.allclose(total[:, 0] + total[:, -1], 0)
        result.add(state, theirs, bridge.compare(bridge.env.params, state, action, theirs))
        # Two more steps of the same battles, then new ones.
        state, mask = theirs.state, np.asarray(theirs.mask)
        if i % 3 == 2:
            state = battles(rng, peer.inner, BATCH).to_peer().state
            mask = np.asarray(peer.look(state)[1])
    result.check()
    assert result.events["kills"] >= 500 and result.events["draws"] >= 20, result.events
