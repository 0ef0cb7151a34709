"""Jumanji's level-based foraging and robot warehouse as Shoal's."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from shoal.baselines.composition import compose
from shoal.envs.adapters import BRIDGED
from shoal.envs.core import UserError, conformance, make
from shoal.envs.core.conformance_harness import Harness, expect_same
from shoal.envs.core.registry import resolve

SMALL = {
    "jumanji/lbf-2s-5x5-2p-1f": {"time_limit": 6},
    "jumanji/rware-tiny-4ag": {"column_height": 1, "requests": 1, "time_limit": 30},
}


@pytest.fixture(scope="module", params=SMALL, ids=["lbf", "rware"])
def episodes(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Episodes of random legal actions, in the bridge and in the peer, from the same keys."""
    env = make(request.param, **SMALL[request.param])
    peer = env.make_peer(env.options)  # type: ignore[attr-defined]
    open_both = jax.jit(lambda key: (env.reset(key), peer.reset(key)))

    @jax.jit
    def step_both(key: Any, state: Any, peer_state: Any, action: Any) -> Any:
        return env.step(key, state, action), peer.step(peer_state, action)

    rng, played = np.random.default_rng(0), []
    for seed in range(6):
        key = jax.random.key(seed)
        ours, theirs = open_both(key)
        rows = [(ours, theirs, None)]
        while not (ours[1].terminated | ours[1].truncated):
            mask = np.asarray(ours[1].observation.action_mask)
            action = np.array([rng.choice(np.flatnonzero(row)) for row in mask], np.int32)
            ours, theirs = step_both(key, ours[0], theirs[0], action)
            rows.append((ours, theirs, action))
        played.append(rows)
    return {"env": env, "played": played}


def test_an_episode_is_the_peers_own(episodes: dict[str, Any]) -> None:
    env = episodes["env"]
    for rows in episodes["played"]:
        assert len(rows) <= env.max_steps + 1
        for (state, timestep), (peer_state, theirs), action in rows:
            expect_same(jax.tree.leaves(state.peer), jax.tree.leaves(peer_state), "state")
            seen = timestep.observation
            np.testing.assert_array_equal(seen.view, theirs.observation.agents_view)
            np.testing.assert_array_equal(seen.action_mask, theirs.observation.action_mask)
            assert seen.alive.all()
            if action is not None:
                paid = np.broadcast_to(theirs.reward, env.num_agents)
                np.testing.assert_array_equal(timestep.reward, paid)
                last, goes_on = bool(theirs.last()), bool(np.any(theirs.discount > 0))
                assert bool(timestep.terminated) == (last and not goes_on)
                assert bool(timestep.truncated) == (last and goes_on)


def test_ends(episodes: dict[str, Any]) -> None:
    """A time limit truncates foraging; the warehouse reports it as a termination, as Jumanji does."""
    env = episodes["env"]
    ends = [(len(rows) - 1, rows[-1][0][1]) for rows in episodes["played"]]
    at_limit = [bool(t.truncated) for steps, t in ends if steps == env.max_steps]
    assert at_limit and all(at_limit) is not env.time_limit_is_termination
    if env.id.startswith("jumanji/rware"):
        early = [t for steps, t in ends if steps < env.max_steps]  # by a collision
        assert early and all(bool(t.terminated) for t in early)


@pytest.fixture(scope="module")
def foraging() -> Harness:
    return Harness(make("jumanji/lbf-2s-5x5-2p-1f", time_limit=6))


@pytest.mark.parametrize("check", conformance.CHEAP_CHECKS, ids=lambda check: check.__name__)
def test_contract(foraging: Harness, check: Any) -> None:
    check(foraging)


def test_contract_in_play(foraging: Harness) -> None:
    costly = (conformance.check_jit, conformance.check_same_step)
    for check in conformance.PLAY_CHECKS:
        if check not in costly:
            check(foraging)


def test_a_team_is_paid_the_sum() -> None:
    own, team = (make("jumanji/lbf-8x8-2p-2f-coop", reward=kind) for kind in ("own", "team"))
    paid = jax.numpy.asarray([0.25, 0.5])
    assert own.pay(paid).tolist() == [0.25, 0.5] and team.pay(paid).tolist() == [0.75, 0.75]  # type: ignore[attr-defined]
    assert (own.team_reward, team.team_reward) == ("sum", "shared")


def test_names_are_those_of_the_original_suites() -> None:
    options = make("jumanji/lbf-2s-10x10-3p-4f").options
    assert (options.sight, options.grid_size, options.num_agents, options.num_food) == (2, 10, 3, 4)
    assert not options.coop and make("jumanji/lbf-8x8-2p-2f-coop").options.sight == 8
    sizes = {"tiny-2ag": (1, 3, 2), "small-4ag-easy": (2, 3, 8), "large-6ag-hard": (3, 5, 3)}
    for name, size in sizes.items():
        options = make(f"jumanji/rware-{name}").options
        assert (options.shelf_rows, options.shelf_columns, options.requests) == size
    for id in BRIDGED:
        if id.startswith("jumanji/"):
            assert resolve(id) == resolve(id.removesuffix("-v1")) == id


@pytest.mark.parametrize(
    ("id", "overrides", "message"),
    [
        ("jumanji/lbf-8x9-2p-2f", {}, "square"),
        ("jumanji/rware-huge-2ag", {}, "names look like"),
        ("jumanji/lbf-8x8-2p-2f", {"sight": 9}, "at most grid_size=8"),
        ("jumanji/lbf-5x5-9p-9f", {}, "Jumanji refuses num_food=9"),
        ("jumanji/rware-tiny-2ag", {"shelf_columns": 2}, "must be odd"),
        ("jumanji/rware-tiny-4ag", {"column_height": 1}, "less than the number of shelves, 4"),
        ("jumanji/lbf-8x8-2p-2f", {"force_coop": True}, "has no option 'force_coop'"),
    ],
)
def test_errors(id: str, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(id, **overrides)


def test_presets() -> None:
    assert compose(["experiment=bridge-lbf-ippo"]).env_id == "jumanji/lbf-2s-8x8-2p-2f-coop-v1"
    assert compose(["experiment=bridge-rware-ippo"]).env_id == "jumanji/rware-tiny-4ag-v1"
