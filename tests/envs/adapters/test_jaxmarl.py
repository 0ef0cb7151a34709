"""JaxMARL's environments as Shoal's, and Shoal's as JaxMARL's."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxmarl
import numpy as np
import pytest
import shoal_toys as toys
from jaxmarl.wrappers.baselines import LogWrapper

from shoal.baselines.build import build
from shoal.baselines.composition import compose
from shoal.baselines.config import from_dict
from shoal.envs.adapters import BRIDGED, as_jaxmarl, to_jaxmarl
from shoal.envs.adapters.jaxmarl import peer_of
from shoal.envs.core import UserError, VectorEnv, conformance, list_environments, make
from shoal.envs.core.conformance_harness import Harness, expect_same
from shoal.envs.core.registry import resolve

TINY_HANABI = {
    "num_colors": 2,
    "num_ranks": 2,
    "num_cards_of_rank": (2, 1),
    "hand_size": 2,
    "max_info_tokens": 2,
}
ENVIRONMENTS = {
    "jaxmarl/overcooked": {"max_steps": 20},
    "jaxmarl/hanabi": TINY_HANABI,
    "jaxmarl/MPE_simple_speaker_listener_v4": {"max_steps": 3},  # padded views, more actions than one has
}


@pytest.fixture(scope="module", params=ENVIRONMENTS, ids=lambda id: id.partition("/")[2])
def episode(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One episode of random legal actions, in the bridge and in the peer, with the same keys."""
    env = make(request.param, **ENVIRONMENTS[request.param])
    peer = peer_of(env.options.name, env.options.settings).env
    open_both = jax.jit(lambda key: (env.reset(key), peer.reset(key)))

    @jax.jit
    def step_both(key: Any, state: Any, peer_state: Any, action: Any) -> Any:
        played = dict(zip(peer.agents, action, strict=True))
        return env.step(key, state, action), peer.step_env(key, peer_state, played)

    key = jax.random.key(3)
    (state, timestep), (views, peer_state) = open_both(key)
    rng, rows = np.random.default_rng(0), [(state, timestep, None, views, peer_state, None, None)]
    while not (timestep.terminated | timestep.truncated):
        mask = np.asarray(timestep.observation.action_mask)
        action = np.array([rng.choice(np.flatnonzero(row)) for row in mask], np.int32)
        key = jax.random.fold_in(key, len(rows))
        (state, timestep), theirs = step_both(key, state, peer_state, action)
        views, peer_state, rewards, dones, _ = theirs
        rows.append((state, timestep, action, views, peer_state, rewards, dones))
    return {"env": env, "peer": peer, "rows": rows}


def test_an_episode_is_the_peers_own(episode: dict[str, Any]) -> None:
    env, peer, rows = episode["env"], episode["peer"], episode["rows"]
    assert 2 < len(rows) <= env.max_steps + 1
    paid = 0.0
    for state, timestep, _, views, peer_state, rewards, dones in rows:
        expect_same(state.peer, peer_state, "state")
        for i, agent in enumerate(peer.agents):
            shape = env.metadata.observation_spaces[i].shape
            view = np.asarray(timestep.observation.view[i])
            np.testing.assert_array_equal(view[tuple(map(slice, shape))], views[agent])
            assert view.sum(dtype=float) == np.asarray(views[agent]).sum(dtype=float)  # the rest is zero
        if rewards is not None:
            assert timestep.reward.tolist() == [float(rewards[agent]) for agent in peer.agents]
            assert bool(timestep.terminated) == bool(dones["__all__"]) and not timestep.truncated
            paid += float(np.mean(timestep.reward))
            assert float(timestep.metrics["unshaped_return"]) == pytest.approx(paid)
    assert bool(rows[-1][1].terminated)


def test_masks_are_the_peers_own(episode: dict[str, Any]) -> None:
    env, peer, rows = episode["env"], episode["peer"], episode["rows"]
    sizes = [space.n for space in env.metadata.action_spaces]
    legal = jax.jit(lambda state: peer.get_legal_moves(state))
    for state, timestep, *_ in rows[:-1]:
        mask = np.asarray(timestep.observation.action_mask)
        for i, (agent, n) in enumerate(zip(peer.agents, sizes, strict=True)):
            assert not mask[i, n:].any()
            if env.options.name == "hanabi":
                assert mask[i].tolist() == legal(state.peer)[agent].tolist()
            else:
                assert mask[i, :n].all()
        if env.options.name == "hanabi":  # one acts, and who waits can only wait
            acting = ~mask[:, -1]
            assert acting.sum() == 1 and mask[~acting].sum() == 1 and mask[acting].sum() > 1


def test_how_long_hanabi_can_last() -> None:
    assert make("jaxmarl/hanabi").max_steps == 94
    assert make("jaxmarl/hanabi", **TINY_HANABI).max_steps == 2 * (6 - 4 + 3) + 2


@pytest.fixture(scope="module")
def riddle() -> Harness:
    return Harness(make("jaxmarl/switch_riddle"))


@pytest.mark.parametrize("check", conformance.CHEAP_CHECKS, ids=lambda check: check.__name__)
def test_contract(riddle: Harness, check: Any) -> None:
    check(riddle)


def test_contract_in_play(riddle: Harness) -> None:
    costly = (conformance.check_jit, conformance.check_same_step)
    for check in conformance.PLAY_CHECKS:
        if check not in costly:
            check(riddle)


def test_agents_of_two_teams_keep_their_sizes() -> None:
    m = make("jaxmarl/MPE_simple_tag_v3").metadata
    assert m.agents == ("adversary_0", "adversary_1", "adversary_2", "agent_0")
    assert m.teams == (1, 1, 1, 0) and m.groups == {"adversary": (0, 1, 2), "agent": (3,)}
    assert [space.shape for space in m.observation_spaces] == [(16,)] * 3 + [(14,)]
    assert m.observation_space.shape == (16,) and m.max_steps == 26


def test_shaping_is_paid_and_fades() -> None:
    env = make("jaxmarl/overcooked-coord_ring", shaping=0.5, shaping_horizon=0.25)
    assert env.observation_space.shape == (5, 5, 26)
    told = {"shaped_reward": {"agent_0": jnp.float32(3), "agent_1": jnp.float32(5)}}
    paid = env.pay(env.params, jnp.full(2, 20.0), told)  # type: ignore[attr-defined]
    assert paid.tolist() == [21.5, 22.5]
    weights = [float(env.curriculum(jnp.float32(x)).shaping) for x in (0.0, 0.125, 0.25, 0.5, 1.0)]
    assert weights == [1.0, 0.5, 0.0, 0.0, 0.0]
    assert float(make("jaxmarl/overcooked").params.shaping) == 0.0  # evaluations are played without it


def test_ids() -> None:
    assert make("jaxmarl/hanabi").id == make("jaxmarl/hanabi-v1").id == "jaxmarl/hanabi-v1"
    assert make("jaxmarl/SMAX-3m").metadata.groups == {"ally": (0, 1, 2), "enemy": (3, 4, 5)}
    assert not {id.partition("/")[0] for id in list_environments()} & {"jaxmarl", "jumanji"}
    for id in BRIDGED:
        if id.startswith("jaxmarl/"):
            assert resolve(id) == resolve(id.removesuffix("-v1")) == id


@pytest.mark.parametrize(
    ("id", "overrides", "message"),
    [
        ("jaxmarl/overcook", {}, "has no environment 'overcook'; did you mean 'overcooked'"),
        ("jaxmarl/overcooked-coordring", {}, "did you mean 'coord_ring'"),
        ("jaxmarl/SMAX-3mm", {}, "scenario='3mm' is not known to JaxMARL; did you mean"),
        ("jaxmarl/hanabi-5", {}, "did you mean 'jaxmarl/hanabi'"),
        ("jaxmarl/hanabi", {"hand": 3}, "has no option 'hand'; did you mean 'hand_size'"),
        ("jaxmarl/hanabi", {"num_agents": 9}, "between 2 and 5"),
        ("jaxmarl/storm", {}, "observations are not by agent"),
        ("jaxmarl/LearnedPolicyEnemySMAX", {}, "missing 2 required"),
        ("jaxmarl/overcooked", {"shaping": -1.0}, "must be at least 0"),
    ],
)
def test_errors(id: str, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(id, **overrides)


def test_a_suite_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs jaxmarl, which is not installed: pip install jaxmarl"):
        make("jaxmarl/hanabi")


def test_making_one_prints_nothing() -> None:
    code = "import sys; before = sys.stdout; from shoal.envs.core import make; make('jaxmarl/switch_riddle')"
    code += "; assert sys.stdout is before and 'jaxmarl' in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_presets() -> None:
    config = compose(["experiment=bridge-overcooked-ippo"])
    assert config.env_id == "jaxmarl/overcooked-coord_ring-v1" and config.curriculum
    assert compose(["experiment=bridge-hanabi-ippo"]).env_id == "jaxmarl/hanabi-v1"
    assert compose(["env=jaxmarl/MPE_simple_tag_v3"]).env_id == "jaxmarl/MPE_simple_tag_v3-v1"


def test_ippo_learns_through_the_bridge() -> None:
    config = {
        "env": {"id": "jaxmarl/switch_riddle"},
        "algorithm": {"name": "ippo", "rollout_length": 8, "epochs": 1, "minibatches": 1},
        "network": {"name": "mlp", "hidden_size": 4},
        "num_envs": 2,
        "total_env_steps": 64,
        "devices": 1,
    }
    built = build(from_dict(config))
    state = built.init()
    before = jax.device_get(built.policy_params(state))
    one = jax.tree.map(lambda x: x[0], state)
    after, totals, _ = jax.jit(built.program.update)(one)
    moved = jax.tree.map(lambda x, y: np.any(x[0] != y), before, jax.device_get(built.policy_params(after)))
    assert all(jax.tree.leaves(moved)) and float(totals.episodes) > 0


# The other way ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning:jaxmarl")
def test_there_and_back_is_the_original() -> None:
    original = jaxmarl.make("switch_riddle")
    back = to_jaxmarl("jaxmarl/switch_riddle")
    step, other_step = jax.jit(original.step_env), jax.jit(back.step_env)
    for seed in range(3):
        key = jax.random.key(seed)
        (views, state), (other_views, other_state) = original.reset(key), back.reset(key)
        over = False
        while not over:
            for agent in original.agents:
                np.testing.assert_array_equal(views[agent], other_views[agent])
            key, action_key = jax.random.split(key)
            draws = jax.random.randint(action_key, (3,), 0, 2)  # nobody tells before the limit
            actions = dict(zip(original.agents, draws, strict=True))
            views, state, rewards, dones, _ = step(key, state, actions)
            other_views, other_state, other_rewards, other_dones, _ = other_step(key, other_state, actions)
            assert rewards == other_rewards and dones == other_dones
            over = bool(dones["__all__"])
        assert int(state.step) == int(other_state.step) == 6
        assert bool(other_state.done)


def test_jaxmarls_wrapper_counts_the_returns_of_our_own_environment() -> None:
    """A loop as in JaxMARL's scripts, raw keys and automatic resets included."""
    env = toys.chain(random_start=False, limit_terminates=True)
    logged = LogWrapper(to_jaxmarl(env))

    def body(carry: Any, key: Any) -> Any:
        views, state = carry
        draw, go = jax.random.split(key)
        actions = jax.random.randint(draw, (2, 5), 0, 3)
        by_agent = {agent: actions[i] for i, agent in enumerate(logged.agents)}
        views, state, reward, done, info = jax.vmap(logged.step)(jax.random.split(go, 5), state, by_agent)
        return (views, state), (actions, reward, done["__all__"], info, views)

    opening = jax.vmap(logged.reset)(jax.random.split(jax.random.PRNGKey(0), 5))
    keys = jax.random.split(jax.random.PRNGKey(1), 40)
    _, (actions, _, done, info, views) = jax.jit(lambda c, k: jax.lax.scan(body, c, k))(opening, keys)
    assert done.sum() > 10 and views["walker_1"].shape == (40, 5, 3)
    vector = VectorEnv(env, 5)  # the chain draws nothing here, so its keys do not matter
    state, _ = vector.reset(jax.random.key(0))
    step = jax.jit(vector.step)
    for t in range(40):
        state, _, episode = step(state, actions[t].T)
        assert episode.done.tolist() == done[t].tolist()
        mine, theirs = episode.returns[episode.done], info["returned_episode_returns"][t][episode.done]
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)
    assert info["returned_episode"].shape == info["truncated"].shape == (40, 5, 2)


def test_unlike_agents_keep_their_own_spaces_where_asked() -> None:
    ours = make("particle/simple-speaker-listener")
    padded, true = to_jaxmarl(ours), to_jaxmarl(ours, padded=False)
    assert padded.action_space("speaker_0").n == padded.action_space("listener_0").n == 8
    assert (true.action_space("speaker_0").n, true.action_space("listener_0").n) == (3, 5)
    key = jax.random.PRNGKey(0)
    (views, state), (other_views, other) = true.reset(key), padded.reset(key)
    assert {a: v.shape for a, v in views.items()} == {
        "speaker_0": (3,),
        "listener_0": (11,),
        "world_state": (true.state_size,),
    }
    assert other_views["speaker_0"].shape == other_views["listener_0"].shape == (14,)
    for agent in true.agents:
        legal, wide = true.get_avail_actions(state)[agent], padded.get_avail_actions(other)[agent]
        assert legal.tolist() == [1] * true.action_space(agent).n and wide.sum() == len(legal)
    columns = ours.metadata.action_columns
    assert columns is not None
    actions = {"speaker_0": jnp.int32(2), "listener_0": jnp.int32(3)}
    wide_actions = {"speaker_0": jnp.int32(columns[0][2]), "listener_0": jnp.int32(columns[1][3])}
    views, state, rewards, dones, _ = true.step_env(key, state, actions)
    other_views, other, other_rewards, _, _ = padded.step_env(key, other, wide_actions)
    expect_same(state, other, "state")
    assert rewards == other_rewards and not any(dones.values())
    own = ours.metadata.observation_columns
    assert own is not None
    np.testing.assert_array_equal(views["listener_0"], other_views["listener_0"][np.asarray(own[1])])


def test_scripts_make_our_environments_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys, jaxmarl\nprint(sys.argv[1:], jaxmarl.make(sys.argv[1]).name)\n")
    monkeypatch.setattr(jaxmarl, "make", jaxmarl.make)  # put back afterwards
    for name, made in (
        ("particle.simple-spread", "particle/simple-spread-v1"),
        ("switch_riddle", "SwitchRiddle"),
    ):
        monkeypatch.setattr(sys, "argv", ["as_jaxmarl", str(script), name])
        as_jaxmarl.main()
        assert capsys.readouterr().out.strip() == f"['{name}'] {made}"
    monkeypatch.setattr(sys, "argv", ["as_jaxmarl"])
    with pytest.raises(SystemExit, match="name a script"):
        as_jaxmarl.main()
