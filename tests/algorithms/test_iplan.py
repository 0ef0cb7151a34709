"""iPLAN: its modules beside plain NumPy, the facts of its specification, and what an update changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.algorithms.blocks.advantages import gae
from shoal.algorithms.blocks.inference.behaviour import Behaviour, forgotten, pushed
from shoal.algorithms.blocks.inference.instant import Instant
from shoal.algorithms.blocks.learner import Group, Setting, hyper_of
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.normalisation import LayerNorm, standardised
from shoal.algorithms.blocks.normed import NormedInput
from shoal.algorithms.iplan import IPLAN, IPLANConfig
from shoal.algorithms.training import Program
from shoal.envs.core import Observation, UserError, make

KEY = jax.random.key(0)
ENVS, STEPS = 8, 13
SMALL = IPLANConfig(
    rollout_length=STEPS,
    epochs=2,
    window=4,
    behaviour_size=3,
    instant_size=6,
    inference_envs=4,
    inference_warmup=0,
)
RATE = jnp.asarray(0.1)


def learner_of(env: Any, config: IPLANConfig, hidden: int = 8, **setting: Any) -> IPLAN:
    group = Group("agents", tuple(range(env.num_agents)))
    return IPLAN(
        config,
        NetworkConfig(hidden_size=hidden),
        Setting(env, group, ENVS, 10, False, sharing="none", **setting),
    )


@pytest.fixture(scope="module")
def easy() -> Any:
    return make("particle/ncnav-easy")


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def gru(p: Any, h: Any, x: Any) -> Any:
    wi, bi, wh = (np.asarray(p[name]) for name in ("wi", "bi", "wh"))
    r, z = (sigmoid(x @ wi[k] + bi[k] + h @ wh[k]) for k in (0, 1))
    n = np.tanh(x @ wi[2] + bi[2] + r * (h @ wh[2] + np.asarray(p["bhn"])))
    return (1 - z) * n + z * h


def dense(p: Any, x: Any) -> Any:
    return x @ np.asarray(p["kernel"]) + np.asarray(p.get("bias", 0.0))


def drawn(module: Any, *sizes: int) -> Any:
    return jax.jit(lambda: module.init(KEY, *sizes))()


# The behavioural incentive ----------------------------------------------------------------------------------


def test_the_soft_update_of_a_constant() -> None:
    """Fact A3 (1): ten updates towards an even distribution over eight kinds."""
    module = Behaviour("soft", 8, 10)
    params = jax.tree.map(jnp.zeros_like, drawn(module, 6, 4))
    history, step = module.start((2,), 6, 4), jax.jit(module.step)
    for _ in range(10):
        history = step(params["encoder"], history, jnp.ones((2, 6, 4)), RATE)
    np.testing.assert_allclose(history.incentive, 0.125 * (1 - 0.9**10), rtol=1e-5)
    np.testing.assert_allclose(history.incentive[0, 0, 0], 0.08141, atol=1e-5)


def test_how_many_windows_are_foretold() -> None:
    """Fact A3 (3)."""
    module = Behaviour("soft", 8, 10)
    assert (module.terms(90), module.terms(50)) == (79, 39)


def test_the_window_ends_with_what_is_seen_now() -> None:
    window = jnp.zeros((1, 3, 2, 1))
    for step in (1.0, 2.0):
        window = pushed(window, jnp.full((1, 2, 1), step))
    assert window[0, :, 0, 0].tolist() == [0.0, 1.0, 2.0]


def test_the_encoder_goes_through_the_window_from_where_it_was_left() -> None:
    module = Behaviour("soft", 3, 4)
    p = drawn(module, 2, 5)["encoder"]
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(6, 1, 2, 5)).astype(np.float32)
    history, window, h = module.start((1,), 2, 5), np.zeros((4, 2, 5)), np.zeros((2, 32))
    beta, step = np.zeros((2, 3)), jax.jit(module.step)
    for now in seen:
        history = step(p, history, jnp.asarray(now), RATE)
        window = np.concatenate([window[1:], now])
        for row in window:
            h = gru(p["params"]["GRU_0"], h, np.maximum(dense(p["params"]["Dense_0"], row), 0))
        scores = np.exp(dense(p["params"]["Dense_1"], h))
        beta = 0.9 * beta + 0.1 * scores / scores.sum(-1, keepdims=True)
    np.testing.assert_allclose(history.incentive[0], beta, atol=1e-5)


def test_hard_incentives_change_with_whole_segments_only() -> None:
    module = Behaviour("hard", 3, 4)
    p, history = drawn(module, 2, 5)["encoder"], module.start((1,), 2, 5)
    changed, step = [], jax.jit(module.step)
    for i in range(9):
        before = history.incentive
        history = step(p, history, jnp.full((1, 2, 5), i / 9), RATE)
        changed.append(bool(jnp.any(history.incentive != before)))
    assert changed == [False, False, False, True] * 2 + [False]
    np.testing.assert_allclose(jnp.sum(history.incentive, -1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("form", ["soft", "hard", "fc"])
def test_what_follows_another_episode_is_not_foretold(form: str) -> None:
    """Steps whose window belongs to the next episode do not count, nor do those that are told not to."""
    module = Behaviour(form, 3, 4)
    params = drawn(module, 2, 5)
    seen = jax.random.normal(KEY, (14, 2, 2, 5))
    keep = jnp.ones((14, 2, 2, module.decoder_width))
    reset = jnp.zeros((14, 2), bool).at[0].set(True)
    counts = jnp.ones((14, 2)).at[:, 1].set(0.0)

    @jax.jit
    def loss(seen: Any, reset: Any) -> Any:
        return module.loss(params, seen, reset, counts, RATE, keep)

    slope = jax.jit(jax.grad(loss))
    grads = slope(seen, reset)
    assert jnp.any(grads[:, 0] != 0) and not jnp.any(grads[:, 1])
    # With a new episode at step 9 nothing that is foretold from the first steps depends on what follows.
    grads = slope(seen, reset.at[9].set(True))
    assert float(loss(seen, jnp.ones_like(reset))) == 0.0  # every step an episode of its own
    assert jnp.any(grads[:9, 0] != 0)


# The instant incentive --------------------------------------------------------------------------------------


def test_attention_beside_numpy() -> None:
    module = Instant(4, 2)
    p = drawn(module, 3, 5, 2)["attention"]
    rng = np.random.default_rng(1)
    memory, seen, noise = (rng.normal(size=shape) for shape in ((3, 4), (3, 7), (3, 2)))
    got = jax.jit(module.step)(
        p, *(jnp.asarray(x[None], jnp.float32) for x in (memory, seen, noise)), jnp.asarray(0.5)
    )
    p = p["params"]
    h = np.maximum(dense(p["Dense_0"], seen), 0)
    query, keys, values = (dense(p[f"Dense_{k}"], h) for k in (2, 3, 4))
    x = np.zeros((3, 4))
    for i in range(3):
        others = [j for j in range(3) if j != i]
        sequence = [np.concatenate([h[i], h[j]]) for j in others]
        forward, backward, state = [], [], np.zeros(4)
        for row in sequence:
            state = gru(p["PairGRU_0"], state, row)
            forward.append(state)
        state = np.zeros(4)
        for row in sequence[::-1]:
            state = gru(p["PairGRU_1"], state, row)
            backward.insert(0, state)
        scores = dense(p["Dense_1"], np.concatenate([forward, backward], axis=-1))
        hard = sigmoid((scores[:, 1] - scores[:, 0] + noise[i]) / 0.5)
        match = np.exp(keys[others] @ query[i] / 2.0)
        x[i] = (hard * match / match.sum()) @ np.maximum(values[others], 0)
    np.testing.assert_allclose(got[0], gru(p["GRU_0"], memory, x), atol=1e-5)


def test_empty_slots_have_incentives_too() -> None:
    """Fact A3 (5): there is no mask of presence."""
    module = Instant(4, 2)
    p = drawn(module, 3, 5, 0)["attention"]
    seen = jnp.zeros((1, 3, 5)).at[0, 0].set(1.0)
    zeta = jax.jit(module.step)(p, jnp.zeros((1, 3, 4)), seen, jnp.zeros((1, 3, 2)), jnp.asarray(0.01))
    assert jnp.any(zeta[0, 1] != 0)


# The learner ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env_id", "options", "behaviour", "instant", "width"),
    [
        ("particle/ncnav-easy", {}, "soft", True, 272),
        ("particle/ncnav-hard", {}, "soft", True, 316),
        ("traffic/highway-mild", {"view": "history"}, "soft", True, 2485),
        ("traffic/highway-mild", {"view": "history"}, "none", False, 285),
    ],
)
def test_what_the_policy_reads(env_id: str, options: Any, behaviour: str, instant: bool, width: int) -> None:
    """Fact A3 (2)."""
    config = IPLANConfig(behaviour=behaviour, instant=instant)
    learner = learner_of(make(env_id, **options), config)
    shapes = jax.eval_shape(lambda key: learner.init(key).params, KEY)
    kernel = shapes["actor"]["params"]["NormedInput_0"]["kernel"]
    assert kernel.shape == (learner.setting.env.num_agents, width, 8)
    assert ("behaviour" in shapes, "instant" in shapes) == (behaviour != "none", instant)


def test_swept_rates_reach_acting(easy: Any) -> None:
    """A member's soft update is its own, in play as in learning."""
    learner = learner_of(easy, replace(SMALL, instant=False))
    hyper = hyper_of(learner.config)

    def incentive(rate: Any) -> Any:
        params = learner.acting(learner.init(KEY, hyper | {"soft_update": rate}).params)
        view, never = jnp.ones((2, 3, 24)), jnp.zeros((2, 3), bool)
        carry, _ = learner.think(
            params, learner.initial_carry((2, 3)), view, never, learner.incentives.silence((2, 3))
        )
        return jnp.sum(carry["behaviour"].incentive, -1)

    sums = jax.jit(jax.vmap(incentive))(jnp.array([0.1, 1.0]))
    np.testing.assert_allclose(sums[0], 0.1, rtol=1e-5)
    np.testing.assert_allclose(sums[1], 1.0, rtol=1e-5)


def test_memory_is_lost_with_the_episode(easy: Any) -> None:
    learner = learner_of(easy, SMALL)
    carry = jax.tree.map(jnp.ones_like, learner.initial_carry((2, 3)))
    kept = forgotten(carry, jnp.array([[True, False, False]] * 2))
    assert all(not jnp.any(leaf[:, 0]) and jnp.all(leaf[:, 1:] == 1) for leaf in jax.tree.leaves(kept))


def test_where_bootstraps_stop(easy: Any) -> None:
    """Fact A3 (4), and one step early as published."""
    one = jnp.ones((2, 1))
    never = jnp.zeros((2, 1), bool)
    numbers = jnp.zeros((2, 1)), jnp.full(1, 5.0), never, never, jnp.asarray(0.99), jnp.asarray(0.95)
    np.testing.assert_allclose(gae(one, *numbers)[0][:, 0], [6.59598, 5.95], rtol=1e-5)
    done = jnp.array([False, False, True, False])[:, None]
    early = learner_of(easy, replace(SMALL, compat=("off-by-one",)))
    assert early.ends(done, done)[0][:, 0].tolist() == [False, True, True, False]
    assert learner_of(easy, SMALL).ends(done, done)[0][:, 0].tolist() == [False, False, True, False]


@pytest.mark.parametrize(("compat", "cost"), [((), 45.0), (("one-sided-huber",), 0.0)])
def test_the_critics_loss(easy: Any, compat: Any, cost: float) -> None:
    """Linear beyond the tenth unit (4 - 3: 0.5; 14 off: 90; and so on), of one sign only in the original."""
    learner = learner_of(easy, replace(SMALL, compat=compat))
    hyper = {"huber_delta": jnp.asarray(10.0), "clip": jnp.asarray(100.0)}

    def loss(error: float) -> float:
        one = jnp.ones((1, 1, 1))
        batch = {"value": 0 * one, "target": error * one, "weight": one}
        return float(learner.value_loss(0 * one, batch, hyper))

    assert [loss(1.0), loss(-1.0), loss(14.0)] == [0.5, 0.5, 90.0]
    assert loss(-9.5) == 45.125 and loss(-14.0) == 2 * cost


def test_layer_normalisation() -> None:
    """The gradient by hand is the derived one, and the first layer's folded normalisation is one."""
    x = jax.random.normal(KEY, (5, 7)) * 3 + 1

    def plain(x: Any) -> Any:
        mean = jnp.mean(x, -1, keepdims=True)
        return (x - mean) / jnp.sqrt(jnp.mean((x - mean) ** 2, -1, keepdims=True) + 1e-6)

    for function in (plain, standardised):
        np.testing.assert_allclose(function(x), plain(x), atol=1e-6)
    weigh = jnp.arange(35.0).reshape(5, 7)
    got, want = (jax.grad(lambda x, f=f: jnp.sum(weigh * f(x) ** 2))(x) for f in (standardised, plain))
    np.testing.assert_allclose(got, want, atol=1e-4)
    layer = NormedInput(3)
    p = jax.tree.map(lambda leaf: leaf + 0.1, jax.jit(layer.init)(KEY, x))
    inner = {"scale": p["params"]["scale"], "shift": p["params"]["shift"]}
    normed = LayerNorm().apply({"params": inner}, x)
    np.testing.assert_allclose(
        layer.apply(p, standardised(x)), dense(p["params"], np.asarray(normed)), atol=1e-5
    )


@pytest.fixture(scope="module")
def updated(easy: Any) -> Any:
    """A learner, its parameters before, after one update and after twenty more, and the metrics of both.

    Minibatches are of single steps; inference begins with the second update.
    """
    config = replace(SMALL, behaviour_learning_rate=1e-2, minibatches=2, inference_warmup=ENVS * STEPS)
    learner = learner_of(easy, config)
    program = Program(easy, {"agents": (learner.setting.group, learner)}, ENVS, STEPS)
    state, run = program.prepare(jax.random.split(KEY, 1))
    params, metrics = [jax.tree.map(np.array, state.learners["agents"].params)], []
    for updates in (1, 20):
        state, _, watched = run(state, jnp.asarray(updates, jnp.int32))
        params.append(jax.tree.map(np.array, state.learners["agents"].params))
        metrics.append(jax.device_get(watched["agents"]))
    return learner, params, metrics


INFERENCE = [
    ("behaviour", "encoder"),
    ("behaviour", "decoder"),
    ("instant", "attention"),
    ("instant", "predictor"),
]


def test_an_update_moves_every_network(updated: Any) -> None:
    """What infers only after its warm-up."""
    _, (before, between, after), _ = updated
    assert moved(before["actor"], between["actor"]) and moved(before["critic"], between["critic"])
    for name, net in INFERENCE:
        assert not moved(before[name][net], between[name][net]), (name, net)
        assert moved(between[name][net], after[name][net]), (name, net)


def moved(before: Any, after: Any) -> bool:
    return any(bool(jnp.any(a != b)) for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True))


def test_foretelling_gets_better(updated: Any) -> None:
    *_, (first, later) = updated
    assert float(later["behaviour_loss"][0]) < 0.95 * float(first["behaviour_loss"][0])
    assert np.isfinite([float(x[0]) for x in later.values()]).all()


def test_agents_have_networks_of_their_own(updated: Any) -> None:
    _, (*_, after), _ = updated
    kernels = jax.tree.leaves(after["behaviour"]["encoder"])
    assert all(leaf.shape[1] == 3 and bool(np.any(leaf[:, 0] != leaf[:, 1])) for leaf in kernels)


def test_the_instant_incentive_reads_the_old_behavioural_one(updated: Any) -> None:
    learner, (*_, after), _ = updated
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), after)
    carry = learner.initial_carry((ENVS, 3))
    view = jax.random.normal(KEY, (ENVS, 3, 24))
    never, noise = jnp.zeros((ENVS, 3), bool), jnp.zeros((ENVS, 3, 6, 5))
    think = jax.jit(learner.think)
    once, inputs = think(params, carry, view, never, noise)
    twice, _ = think(params, once, view, never, noise)
    slots = inputs[..., : 6 * learner.incentives.slot_size].reshape(ENVS, 3, 6, -1)
    np.testing.assert_array_equal(slots[..., :4], view.reshape(ENVS, 3, 6, 4))
    np.testing.assert_array_equal(slots[..., 4:10], once["instant"])
    np.testing.assert_array_equal(slots[..., 10:], once["behaviour"].incentive)
    own = jax.tree.map(lambda leaf: leaf[1], params["instant"]["attention"])
    for before, after in ((carry, once), (once, twice)):
        known = jnp.concatenate([view.reshape(ENVS, 3, 6, 4), before["behaviour"].incentive], -1)[:, 1]
        temperature = params["rates"]["temperature"]
        want = learner.incentives.instant.step(own, before["instant"][:, 1], known, noise[:, 1], temperature)
        np.testing.assert_allclose(after["instant"][:, 1], want, atol=1e-6)


def test_the_policy_plays(updated: Any, easy: Any) -> None:
    learner, (*_, after), _ = updated
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), learner.acting(after))
    policy = learner.policy(params)
    assert "critic" not in policy.initial_carry((2,)) and not policy.needs_state
    observation = Observation(
        view=jax.random.normal(KEY, (2, 3, 24)),
        action_mask=jnp.ones((2, 3, 5), bool),
        alive=jnp.ones((2, 3), bool),
    )
    act = jax.jit(policy.act, static_argnames="greedy")
    carry, action = act(KEY, policy.initial_carry((2,)), observation, first=jnp.ones((2, 3), bool))
    assert action.shape == (2, 3) and float(jnp.sum(carry["last"])) == 6.0
    again = act(jax.random.key(5), policy.initial_carry((2,)), observation, first=jnp.ones((2, 3), bool))[1]
    np.testing.assert_array_equal(action, again)  # greedy: no draw has a say


@pytest.mark.parametrize(
    ("env_id", "config", "words"),
    [
        ("particle/simple-spread", {}, "views made of slots"),
        ("particle/ncnav-easy", {"inference_envs": 3}, "does not divide"),
    ],
)
def test_where_it_cannot_learn(env_id: str, config: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        learner_of(make(env_id), replace(SMALL, **config))


@pytest.mark.parametrize("config", [{"behaviour": "sort"}, {"rollout_length": 5}, {"dropout": 1.5}])
def test_bad_numbers(config: Any) -> None:
    with pytest.raises(UserError, match=next(iter(config))):
        replace(SMALL, **config)
