"""GovSim: hand-worked facts, who gets what, options, bots and picture."""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_costs import equations

from shoal.envs.commons.govsim import pool
from shoal.envs.commons.govsim.allocation import share_out
from shoal.envs.core import Recording, UserError, VectorEnv, make

KEY = jax.random.key(0)
FISHERY, TRASH = "commons/govsim-fishery-v1", "commons/govsim-trash-v1"


@pytest.fixture(scope="module")
def fishery() -> Any:
    return make(FISHERY)


@pytest.fixture(scope="module")
def trash() -> Any:
    return make(TRASH)


@lru_cache
def programs(env: Any) -> Any:
    return jax.jit(env.reset), jax.jit(env.step)


def rollout(env: Any, choose: Any, months: int) -> Any:
    """Plays what ``choose`` says of (month, observation), to the end at most; returns NumPy, [T]."""
    reset, step = programs(env)
    state, timestep = reset(KEY)
    rows: list[Any] = []
    for month in range(months):
        action = jnp.asarray(choose(month, timestep.observation), jnp.int32)
        state, timestep = step(jax.random.fold_in(KEY, month), state, action)
        rows.append(jax.device_get((state, timestep)))
        if timestep.terminated or timestep.truncated:
            break
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


def play(env: Any, requests: Any) -> Any:
    """Plays [T, A] requests (or whole actions) and returns states and timesteps, NumPy, [T]."""
    return rollout(env, lambda month, _: requests[month], len(requests))


def script(env: Any, name: str) -> Any:
    """Plays a scripted policy to the end and returns states and timesteps, NumPy, [T]."""
    policy = env.scripted_policies()[name]()
    return rollout(env, lambda _, seen: policy.act(KEY, (), seen)[1], env.max_steps)


def last(timesteps: Any) -> dict[str, float]:
    return {name: float(values[-1]) for name, values in timesteps.metrics.items()}


# The pool -----------------------------------------------------------------------------------------


def test_ten_each_is_sustained(fishery: Any) -> None:
    states, timesteps = play(fishery, [[10] * 5])
    assert timesteps.reward[0].tolist() == [10.0] * 5
    assert not timesteps.terminated[0] and states.stock[0] == 100
    assert int(pool.share(fishery.options, fishery.params, jnp.int32(100), jnp.int32(1))) == 10


def test_twenty_each_empties_the_pool(fishery: Any) -> None:
    states, timesteps = play(fishery, [[20] * 5])
    assert states.stock[0] == 0 and timesteps.terminated[0] and not timesteps.truncated[0]
    assert timesteps.reward[0].tolist() == [20.0] * 5
    assert last(timesteps) == pytest.approx(
        {
            "survival_time": 1.0,
            "survived": 0.0,
            "gain": 20.0,
            "efficiency": 1 / 6,
            "equality": 1.0,
            "over_usage": 1.0,
        },
        rel=1e-7,
    )


@pytest.mark.parametrize(
    ("each", "stock", "share", "ended"),
    [(10, 100, 10, False), (11, 90, 9, False), (19, 10, 1, False), (20, 0, 0, True)],
)
def test_growth_and_the_share_that_follows(each: int, stock: int, share: int, ended: bool) -> None:
    env = make(FISHERY, universalization=True)
    states, timesteps = play(env, [[each] * 5])
    assert (int(states.stock[0]), bool(timesteps.terminated[0])) == (stock, ended)
    np.testing.assert_allclose(timesteps.observation.view[0, :, -1], share / 20, rtol=1e-6)


def test_collapse_is_below_five_not_at_it(fishery: Any) -> None:
    remains = [(play(fishery, [[19, 19, 19, 19, last]]), 24 - last) for last in (19, 20)]
    assert [bool(timesteps.terminated[0]) for (_, timesteps), _ in remains] == [False, True]
    assert [left for _, left in remains] == [5, 4]
    states, timesteps = play(make(FISHERY, collapse_below=6), [[19] * 5])
    assert timesteps.terminated[0] and states.stock[0] == 5


def test_one_takes_all(fishery: Any) -> None:
    _, timesteps = play(fishery, [[100, 0, 0, 0, 0]])
    assert timesteps.reward[0].tolist() == [100.0, 0, 0, 0, 0]
    assert last(timesteps)["equality"] == pytest.approx(0.2, rel=1e-6)
    assert last(timesteps)["over_usage"] == pytest.approx(0.2, rel=1e-6)


def test_restraint_lasts(fishery: Any) -> None:
    states, timesteps = play(fishery, [[10] * 5] * 12)
    assert timesteps.terminated.tolist() == [False] * 11 + [True]
    assert states.stock.tolist() == [100] * 11 + [50]
    assert last(timesteps) == {
        "survival_time": 12.0,
        "survived": 100.0,
        "gain": 120.0,
        "efficiency": 1.0,
        "equality": 1.0,
        "over_usage": 0.0,
    }


def test_nobody_punishes_the_last_month(fishery: Any) -> None:
    states, timesteps = play(fishery, [[10] * 5] * 11 + [[20] * 5])
    assert timesteps.terminated.tolist() == [False] * 11 + [True]
    assert states.stock[-1] == 0
    assert last(timesteps) == pytest.approx(
        {
            "survival_time": 12.0,
            "survived": 100.0,
            "gain": 130.0,
            "efficiency": 1.0,
            "equality": 1.0,
            "over_usage": 1 / 12,
        },
        rel=1e-6,
    )


def test_equality_of_four_who_share(fishery: Any) -> None:
    _, timesteps = play(fishery, [[20, 20, 20, 20, 0]])
    assert last(timesteps)["equality"] == pytest.approx(0.8, rel=1e-6)


def test_nothing_taken_is_equal(fishery: Any) -> None:
    _, timesteps = play(fishery, [[0] * 5])
    assert last(timesteps)["equality"] == 1.0 and last(timesteps)["efficiency"] == 0.0


@pytest.mark.parametrize(("stock", "each", "following"), [(80, 10, 60), (100, 21, 0), (100, 3, 100)])
def test_next_pool(fishery: Any, stock: int, each: int, following: int) -> None:
    """max(0, min(100, 2 (N - 5 M)))."""
    reset, step = programs(fishery)
    state = reset(KEY)[0].replace(stock=jnp.int32(stock))
    state, _ = step(KEY, state, jnp.full(5, each, jnp.int32))
    assert int(state.stock) == following == max(0, min(100, 2 * (stock - 5 * each)))


def test_over_usage_counts_what_was_asked_for(fishery: Any) -> None:
    """Eleven of 100, then shares of nine: three who ask for ten, and two for nine."""
    states, timesteps = play(fishery, [[11] * 5, [10, 10, 10, 9, 9]])
    assert last(timesteps)["over_usage"] == pytest.approx(8 / 10, rel=1e-6)
    assert states.kept[-1].tolist() == [0, 0, 0, 1, 1]
    # What is not got counts as well: nobody gets 60 of 100.
    _, timesteps = play(fishery, [[60] * 5])
    assert last(timesteps)["over_usage"] == 1.0


@pytest.mark.parametrize("growth", [1, 2, 3, 7])
def test_threshold_is_the_most_that_grows_back(growth: int) -> None:
    params = make(FISHERY, growth=growth).params
    stock = np.arange(0, 101)
    most = [max(x for x in range(h + 1) if growth * (h - x) >= h) for h in stock]
    assert pool.threshold(params, jnp.asarray(stock, jnp.int32)).tolist() == most


def test_the_words_change_no_rule(fishery: Any) -> None:
    others = {"pasture": "shepherd_4", "pollution": "factory_4"}
    requests = [[9, 8, 7, 12, 11], [60, 60, 0, 3, 50]]
    expected = play(fishery, requests)
    assert fishery.agents[4] == "fisher_4"
    for name, agent in others.items():
        env = make(f"commons/govsim-{name}")
        assert env.agents[4] == agent
        jax.tree.map(np.testing.assert_array_equal, expected, play(env, requests))


# Who gets what ------------------------------------------------------------------------------------


def shared(allocation: str, stock: int, requests: list[int], worlds: int = 4096) -> np.ndarray:
    """Returns [A, worlds], what each got in so many worlds with their own draws."""
    asked = jnp.broadcast_to(jnp.asarray(requests, jnp.int32)[:, None], (len(requests), worlds))
    who = jax.random.uniform(jax.random.key(7), (max(stock, 1), worlds))
    got = jax.jit(share_out, static_argnums=0)(allocation, jnp.full(worlds, stock, jnp.int32), asked, who)
    return np.asarray(got)


@pytest.mark.parametrize("allocation", ["stochastic", "proportional"])
def test_enough_for_all_is_given_exactly(allocation: str) -> None:
    got = shared(allocation, 100, [60, 40, 0], worlds=64)
    assert (got == [[60], [40], [0]]).all()


@pytest.mark.parametrize("allocation", ["stochastic", "proportional"])
def test_scarce_units_all_go_to_those_who_want_them(allocation: str) -> None:
    for requests in ([60, 60, 0, 0, 0], [100] * 5, [1, 2, 3, 97, 0], [101, 0, 0, 0, 0]):
        got = shared(allocation, 100, requests)
        assert (got.sum(axis=0) == 100).all()
        assert (got >= 0).all() and (got <= np.asarray(requests)[:, None]).all()


def test_two_who_want_sixty() -> None:
    got = shared("stochastic", 100, [60, 60, 0, 0, 0])
    assert (got[:2] >= 40).all() and not got[2:].any()
    # A share's standard deviation is below 5, so the mean of 4096 has one below 0.08.
    assert abs(got[0].mean() - 50.0) < 0.4
    assert got[0].std() > 3.0


def test_units_go_by_agent_not_by_demand() -> None:
    """Of 3 units, one who wants 1 goes empty with 1/8; drawn by units of demand it would with 1/4."""
    got = shared("stochastic", 3, [1, 3], worlds=20_000)
    assert abs(got[0].mean() - 7 / 8) < 0.015  # 6 standard deviations
    # Who wants 20 against 100 is served first for certain; by demand it would get 17 of 100.
    got = shared("stochastic", 100, [20, 100])
    assert abs(got[0].mean() - 20.0) < 0.01
    assert abs(shared("stochastic", 100, [70, 100])[0].mean() - 50.0) < 0.4  # by demand 41


def test_all_agents_are_alike_in_the_draw() -> None:
    got = shared("stochastic", 100, [100] * 5)
    np.testing.assert_allclose(got.mean(axis=1), 20.0, atol=0.4)
    np.testing.assert_allclose(got.var(axis=1), 100 * 0.2 * 0.8, rtol=0.15)


def test_units_are_handed_out_one_by_one() -> None:
    """The same as a loop over single units that picks from the list of those still wanting."""
    rng = np.random.default_rng(3)
    shares = jax.jit(share_out, static_argnums=0)
    for _ in range(20):
        requests, stock = rng.integers(0, 40, 6), int(rng.integers(5, 60))
        who = rng.random(60, np.float32)
        wants, expected = requests.copy(), np.zeros(6, int)
        for u in who[:stock] if requests.sum() > stock else []:
            wanting = np.flatnonzero(wants)
            one = wanting[int(u * np.float32(len(wanting)))]
            wants[one], expected[one] = wants[one] - 1, expected[one] + 1
        if requests.sum() <= stock:
            expected = requests
        asked = jnp.asarray(requests, jnp.int32)
        got = shares("stochastic", jnp.int32(stock), asked, jnp.asarray(who))
        assert got.tolist() == expected.tolist()


def test_proportional_shares() -> None:
    assert (shared("proportional", 100, [60, 60, 30]) == [[40], [40], [20]]).all()
    got = shared("proportional", 100, [50, 50, 50])
    assert (got >= 33).all() and (got <= 34).all()
    np.testing.assert_allclose(got.mean(axis=1), 100 / 3, atol=0.05)
    # 90 and 9 are sure; the last unit goes to who wants 10 more rather than 1 more, ten to one.
    got = shared("proportional", 100, [100, 10])
    assert set(got[0].tolist()) == {90, 91}
    assert abs((got[0] == 91).mean() - 10 / 11) < 0.03


def test_proportional_as_option() -> None:
    env = make(FISHERY, allocation="proportional")
    _, timesteps = play(env, [[60, 60, 80, 0, 0]])
    assert timesteps.reward[0].tolist() == [30.0, 30.0, 40.0, 0.0, 0.0]


# Trash --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requests", "stock", "ended"),
    [
        ([10] * 5, 100, False),
        ([0] * 5, None, True),
        ([5, 0, 0, 0, 0], 100, False),
        ([4, 0, 0, 0, 0], None, True),
        ([100, 0, 0, 0, 0], 50, False),
        ([20, 20, 20, 0, 0], 90, False),
    ],
)
def test_the_house(trash: Any, requests: list[int], stock: int | None, ended: bool) -> None:
    states, timesteps = play(trash, [requests])
    assert bool(timesteps.terminated[0]) == ended
    assert stock is None or states.stock[0] == stock
    living = 0.0 if ended else 10.0
    assert timesteps.reward[0].tolist() == [living - x for x in requests]


@pytest.mark.parametrize(("each", "total"), [(10, 0.0), (1, 108.0)])
def test_twelve_months_in_the_house(trash: Any, each: int, total: float) -> None:
    _, timesteps = play(trash, [[each] * 5] * 12)
    assert timesteps.terminated.tolist() == [False] * 11 + [True]
    assert timesteps.reward.sum(axis=0).tolist() == [total] * 5
    assert last(timesteps) == {
        "survival_time": 12.0,
        "survived": 100.0,
        "removed": 12.0 * each,
        "equality": 1.0,
        "contribution": float(each >= 10),
    }


def test_numbers_of_the_house() -> None:
    env = make(TRASH, living=3.0, effort=0.5, refill=20, overfull_above=99)
    states, timesteps = play(env, [[1, 0, 2, 0, 0], [40, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    assert states.stock.tolist() == [100, 80, 100]
    assert timesteps.reward[:2].tolist() == [[2.5, 3, 2, 3, 3], [-17, 3, 3, 3, 3]]


# Options ------------------------------------------------------------------------------------------


def test_what_is_seen(fishery: Any) -> None:
    _, timesteps = play(fishery, [[11, 12, 13, 14, 0]])
    view = timesteps.observation.view[0]
    assert view.shape == (5, 8)
    np.testing.assert_allclose(view[1], [1.0, 1 / 12, 0.12, 0.12, 0.13, 0.14, 0.0, 0.11], rtol=1e-6)
    np.testing.assert_allclose(
        fishery.global_state(play_state(fishery, [[11, 12, 13, 14, 0]])),
        [1.0, 1 / 12, 0.11, 0.12, 0.13, 0.14, 0, 11 / 120, 12 / 120, 13 / 120, 14 / 120, 0],
        rtol=1e-6,
    )


def play_state(env: Any, requests: Any) -> Any:
    return jax.tree.map(lambda x: jnp.asarray(x[-1]), play(env, requests)[0])


def test_report_off_shows_only_the_own_catch() -> None:
    _, timesteps = play(make(FISHERY, report=False), [[11, 12, 13, 14, 0]])
    np.testing.assert_allclose(
        timesteps.observation.view[0, 1], [1.0, 1 / 12, 0.12, 0, 0, 0, 0, 0], rtol=1e-6
    )


def test_common_reward() -> None:
    env = make(FISHERY, reward="common")
    _, timesteps = play(env, [[11, 12, 13, 14, 0]])
    assert timesteps.reward[0].tolist() == [50.0] * 5
    assert env.team_reward == "shared" and make(FISHERY).team_reward == "sum"
    assert last(timesteps)["equality"] < 0.8


def test_largest_request_bounds_the_actions() -> None:
    env = make(FISHERY, largest_request=20)
    assert env.action_space.n == 21
    _, timesteps = play(env, [[20, 21, -1, np.iinfo(np.int32).max, np.iinfo(np.int32).min]])
    assert timesteps.reward[0].tolist() == [20.0, 0, 0, 0, 0]


def test_messages_are_heard_by_the_others_next_month() -> None:
    env = make(FISHERY, messages=2)
    assert env.action_space.nvec == (101, 3)
    said = [[10, 1], [10, 0], [10, 2], [10, 3], [10, -1]]
    states, timesteps = play(env, [said, [[10, 0]] * 5])
    assert states.words[0].tolist() == [1, 0, 2, 0, 0]  # what is no word says nothing
    heard = timesteps.observation.view[0, :, 8:].reshape(5, 4, 2)
    assert heard[1].tolist() == [[0, 1], [0, 0], [0, 0], [1, 0]]  # of 2, 3, 4 and 0
    assert heard[0].tolist() == [[0, 0], [0, 1], [0, 0], [0, 0]]
    assert not timesteps.observation.view[1, :, 8:].any()
    assert timesteps.reward.tolist() == [[10.0] * 5] * 2
    whole = env.global_state(jax.tree.map(lambda x: jnp.asarray(x[0]), states))
    assert whole[12:].reshape(5, 2).tolist() == [[1, 0], [0, 0], [0, 1], [0, 0], [0, 0]]


def test_newcomer_joins_in_the_fourth_month() -> None:
    env = make(FISHERY, newcomer=True, universalization=True)
    assert env.max_steps == 15 and env.metadata.slots_refilled
    _, opening = env.reset(KEY)
    assert opening.observation.alive.tolist() == [True] * 4 + [False]
    states, timesteps = play(env, [[12] * 4 + [50]] * 3 + [[10] * 5] * 12)
    seen = timesteps.observation
    assert seen.alive.tolist() == [[True] * 4 + [False]] * 2 + [[True] * 5] * 13
    assert timesteps.first.tolist() == [[False] * 5] * 2 + [[False] * 4 + [True]] + [[False] * 5] * 12
    assert not seen.view[:2, 4].any() and seen.action_mask[:2, 4].sum(axis=-1).tolist() == [1, 1]
    assert states.gain[2].tolist() == [36] * 4 + [0]
    np.testing.assert_allclose(seen.view[:3, 0, -1], [12 / 20, 12 / 20, 10 / 20], rtol=1e-6)
    assert timesteps.terminated.tolist() == [False] * 14 + [True]
    assert last(timesteps) == pytest.approx(
        {
            "survival_time": 15.0,
            "survived": 100.0,
            "gain": (4 * 156 + 120) / 5,
            "efficiency": 744 / 750,
            "equality": 1 - 8 * 36 / (2 * 5 * 744),
            "over_usage": 0.0,
        },
        rel=1e-6,
    )
    # Its months count from its joining: one of 4 + 4 + 4 + 5 months was over the share.
    _, timesteps = play(env, [[12] * 4 + [0]] * 3 + [[10] * 4 + [11]])
    assert last(timesteps)["over_usage"] == pytest.approx(1 / 17, rel=1e-6)


def test_time_limit_may_be_a_truncation() -> None:
    env = make(FISHERY, max_steps=2, time_limit_is_termination=False)
    _, timesteps = play(env, [[10] * 5] * 2)
    assert timesteps.truncated.tolist() == [False, True] and not timesteps.terminated.any()
    _, timesteps = play(env, [[10] * 5, [20] * 5])
    assert timesteps.terminated.tolist() == [False, True] and not timesteps.truncated.any()
    assert VectorEnv(env, 1).mode == "next_step"
    assert VectorEnv(make(FISHERY), 1).mode == "same_step"


def test_numbers_can_be_swept(fishery: Any) -> None:
    growth = jnp.asarray([1, 2, 3], jnp.int32)

    def after(growth: jax.Array) -> jax.Array:
        state, _ = fishery.reset(KEY, fishery.params.replace(growth=growth))
        return fishery.step(KEY, state, jnp.full(5, 14, jnp.int32))[0].stock

    assert jax.jit(jax.vmap(after))(growth).tolist() == [30, 60, 90]


def test_programs_do_not_grow_with_the_team() -> None:
    def traced(agents: int) -> int:
        env = make(FISHERY, num_agents=agents, messages=3, universalization=True)
        state = jax.eval_shape(env.reset, KEY)[0]
        action = jax.ShapeDtypeStruct((agents, 2), jnp.int32)
        return equations(env.step, jax.eval_shape(lambda: KEY), state, action)

    assert traced(3) == traced(30)


@pytest.mark.parametrize(
    "overrides",
    [
        {"num_agents": 0},
        {"num_agents": 1, "newcomer": True},
        {"growth": 0},
        {"allocation": "fair"},
        {"setting": "trash"},
        {"refill": 50},
    ],
)
def test_wrong_settings_are_refused(overrides: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        make(FISHERY, **overrides)


# Bots and picture ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("scripted", (12.0, 100.0, 120.0, 1.0, 1.0, 0.0)),
        ("restrained", (12.0, 100.0, 120.0, 1.0, 1.0, 0.0)),
        ("endgame", (12.0, 100.0, 130.0, 1.0, 1.0, 1 / 12)),
        ("greedy", (1.0, 0.0, 20.0, 1 / 6, 1.0, 1.0)),
    ],
)
def test_scripted_fishers(fishery: Any, name: str, metrics: tuple[float, ...]) -> None:
    _, timesteps = script(fishery, name)
    names = ("survival_time", "survived", "gain", "efficiency", "equality", "over_usage")
    assert last(timesteps) == pytest.approx(dict(zip(names, metrics, strict=True)), rel=1e-6)


def test_one_selfish_fisher_ruins_all(fishery: Any) -> None:
    """140 are asked for: all is over in a month, and the four still get their ten."""
    _, timesteps = script(fishery, "one-selfish")
    assert last(timesteps)["survival_time"] == 1.0 and last(timesteps)["gain"] == 20.0
    assert timesteps.reward[0].tolist() == [10.0] * 4 + [60.0]
    assert last(timesteps)["equality"] == pytest.approx(0.6, rel=1e-6)


def test_selfish_newcomer() -> None:
    states, timesteps = script(make(FISHERY, newcomer=True), "one-selfish")
    assert last(timesteps)["survival_time"] == 4.0
    assert states.gain[2].tolist() == [36] * 4 + [0]


@pytest.mark.parametrize(
    ("name", "returns", "removed"),
    [
        ("scripted", [108.0] * 5, 12.0),
        ("sparing", [108.0] * 5, 12.0),
        ("fair", [0.0] * 5, 120.0),
        ("one-volunteer", [60.0] + [120.0] * 4, 12.0),
    ],
)
def test_scripted_housemates(trash: Any, name: str, returns: list[float], removed: float) -> None:
    _, timesteps = script(trash, name)
    assert timesteps.reward.sum(axis=0).tolist() == returns
    assert last(timesteps)["survived"] == 100.0 and last(timesteps)["removed"] == removed


def test_strict(strict_numerics: None) -> None:
    for env in (make(FISHERY, messages=2, newcomer=True, universalization=True), make(TRASH, messages=2)):
        state, timestep = jax.jit(env.reset)(KEY)
        for name, maker in env.scripted_policies().items():
            action = maker().act(KEY, (), timestep.observation)[1]
            assert action.shape == (5, 2) and not action[:, 1].any(), name
            assert bool(jnp.all((action[:, 0] >= 0) & (action[:, 0] <= 100)))
        env.global_state(jax.jit(env.step)(KEY, state, action)[0])


@pytest.mark.parametrize("id", [FISHERY, TRASH])
def test_picture(id: str) -> None:
    env = make(id, messages=2)
    opened = env.reset(KEY)
    action = jnp.asarray([[10, 0], [12, 1], [0, 0], [7, 2], [3, 0]], jnp.int32)
    states, timesteps = zip(*jax.device_get([opened, env.step(KEY, opened[0], action)]), strict=True)
    clip = env.scene(Recording(states, (np.asarray(action),), (KEY,), timesteps))
    before, after = clip.frames
    assert len(after.items) - len(before.items) == 4 + 1  # a block for each who got something, and their sum
    assert f"{states[1].stock} " in after.subtitle and "month 1" in after.subtitle
    texts = [item.text for item in after.items if hasattr(item, "text")]
    assert "32" in texts and '12 "1"' in texts and "0" in texts
