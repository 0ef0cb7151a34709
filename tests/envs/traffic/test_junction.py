"""The traffic junction by hand and beside a plain-Python form: routes, steps, arrivals, views, pay, bots."""

from fractions import Fraction
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_junction import BRAKE, GAS, KEY, Junction, game, places, ways

from shoal.envs.core import RandomPolicy, Recording, UserError, VectorEnv, conformance, make
from shoal.envs.core.conformance_harness import Harness
from shoal.envs.traffic.junction.levels import RATES, curriculum_rate
from shoal.envs.traffic.junction.routes import DIFFICULTIES, network
from shoal.envs.traffic.junction.types import Draws

LENGTHS = {
    "easy": [7, 7],
    "medium": [14, 13, 15] * 4,
    "hard": [
        *[18, 17, 27, 9, 19, 26, 20],
        *[18, 25, 19, 17, 16, 26, 11] * 2,
        *[18, 17, 27, 9, 19, 26, 20],
        *[18, 25, 19, 17, 16, 26, 11],
        *[18, 17, 27, 9, 19, 26, 20] * 2,
        *[18, 25, 19, 17, 16, 26, 11],
    ],
}


# Roads and routes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_routes(difficulty: str) -> None:
    net = network(difficulty)
    assert net.lengths.tolist() == [len(r) for own in ways(difficulty) for r in own] == LENGTHS[difficulty]
    assert net.routes == tuple(tuple(cells) for own in ways(difficulty) for cells in own)
    for route in net.routes:
        assert all(abs(a - c) + abs(b - d) == 1 for (a, b), (c, d) in pairwise(route))
        assert all(0 <= a < net.size and 0 <= b < net.size for a, b in route)
        on_road = [any(t <= a <= d and x <= b <= y for t, d, x, y in net.blocks) for a, b in route]
        assert all(on_road)
        assert {route[-1][0], route[-1][1]} & {0, net.size - 1}  # ends at the edge
    starts = [net.routes[k * net.choices][0] for k in range(net.arrivals)]
    assert len(set(starts)) == len(starts) and (0, 0) not in set().union(*net.routes)
    on_the_way = {cell for route in net.routes for cell in route[1:]}
    assert not on_the_way & set(starts)  # nobody drives over a cell where others come


def test_facts_of_routes() -> None:
    assert network("medium").routes[1] == tuple(
        [(i, 6) for i in range(7)] + [(6, j) for j in reversed(range(6))]
    )
    straight = network("hard").routes[7 * 6]
    assert (straight[0], straight[-1], len(straight)) == ((4, 17), (4, 0), 18)


def test_a_quarter_turn_maps_hard_routes_onto_each_other() -> None:
    routes = network("hard").routes
    follows = {0: 6, 6: 5, 5: 3, 3: 0, 1: 7, 7: 4, 4: 2, 2: 1}
    for arrival, other in follows.items():
        for r in range(7):
            turned = tuple((j, 17 - i) for i, j in routes[7 * arrival + r])
            assert turned == routes[7 * other + r]
    assert [routes[7 * k][0] for k in range(8)] == [
        *[(0, 4), (0, 12), (5, 0), (13, 0)],
        *[(17, 5), (17, 13), (4, 17), (12, 17)],
    ]


def test_road_numbers() -> None:
    easy, medium, hard = map(network, DIFFICULTIES)
    assert easy.ids[3].tolist() == [0, 1, 2, 10, 4, 5, 6] and easy.ids[:, 3].tolist() == list(range(7, 14))
    assert (int(easy.ids[5, 3]), int(easy.ids[6, 3]), easy.outside) == (12, 13, 12)  # the published quirk
    assert medium.ids[6, 0] == 0 and medium.ids[7, 0] == 14 and medium.ids[0, 6] == 28
    assert medium.ids[6, 7] == 28 + 13 and medium.ids[13, 7] == 55
    assert hard.ids[12, 0] == 36 and hard.ids[0, 4] == 72 and hard.ids[17, 13] == 143
    assert [int((net.ids != net.outside).sum()) for net in (easy, medium, hard)] == [12, 52, 128]
    assert [int(net.merges.sum()) for net in (easy, medium, hard)] == [1, 4, 16]


# One step by hand -------------------------------------------------------------------------------------------


def test_a_car_pays_for_every_step_and_leaves() -> None:
    g = game("easy")
    state, outcome = g.step(g.empty, come={0: 0.0})
    assert outcome.joined.tolist() == [True] + [False] * 4 and not np.any(outcome.reward)
    paid = []
    for _ in range(7):
        assert bool(state.cars.alive[0])
        state, outcome = g.step(state, GAS)
        paid.append(float(outcome.reward[0]))
    np.testing.assert_allclose(paid, [-0.01, -0.02, -0.03, -0.04, -0.05, -0.06, 0], atol=1e-6)
    assert sum(paid) == pytest.approx(-0.21)
    assert outcome.agent_done.tolist() == [True] + [False] * 4 and not bool(state.cars.alive[0])
    assert [int(x[0]) for x in (state.cars.cell, state.cars.wait, state.cars.route)] == [0, 0, -1]
    metrics = {name: float(value) for name, value in outcome.metrics.items()}
    assert metrics == {"success": 1, "collisions": 0, "cars_passed": 1, "mean_wait": 3}


def test_a_crash_is_paid_by_both_and_not_forgotten() -> None:
    g = game("easy")
    state, outcome = g.step(g.state({0: (0, 2, 2), 3: (1, 2, 2)}), GAS, BRAKE, BRAKE, GAS)
    np.testing.assert_allclose(outcome.reward, [-10.03, 0, 0, -10.03, 0], atol=1e-6)
    assert bool(state.failed) and bool(state.cars.alive[0] & state.cars.alive[3])
    assert float(outcome.metrics["collisions"]) == 2 and float(outcome.metrics["success"]) == 0
    state, outcome = g.step(state, GAS, BRAKE, BRAKE, BRAKE)
    np.testing.assert_allclose(outcome.reward, [-0.04, 0, 0, -0.04, 0], atol=1e-6)
    assert bool(state.failed) and not bool(outcome.terminated) and float(outcome.metrics["success"]) == 0


def test_brakes() -> None:
    g = game("easy")
    state, _ = g.step(g.empty, come={0: 0.0})
    for action, braked in ((BRAKE, True), (BRAKE, True), (GAS, False)):
        state, _ = g.step(state, action)
        assert bool(state.cars.braked[0]) == braked
    assert int(state.cars.progress[0]) == 1 and int(state.cars.wait[0]) == 3
    for strange in (2, -1, 2**31 - 1):
        other, _ = g.step(state, strange)
        assert int(other.cars.progress[0]) == 1 and bool(other.cars.braked[0])


def test_who_comes_does_not_look() -> None:
    g = game("easy")
    state, _ = g.step(g.empty, come={0: 0.0})
    state, outcome = g.step(state, BRAKE, come={0: 0.0})
    np.testing.assert_allclose(outcome.reward, [-10.01, -10, 0, 0, 0], atol=1e-6)
    assert bool(state.failed) and g.env.metadata.dead_agents_earn


def test_a_slot_can_be_left_and_taken_in_one_step_and_keeps_the_last_action() -> None:
    g = game("easy", num_agents=1)
    state, _ = g.step(g.state({0: (0, 6, 9)}), BRAKE)
    state, outcome = g.step(state, GAS, come={1: 0.0})
    assert bool(outcome.agent_done[0]) and bool(outcome.joined[0]) and float(outcome.reward[0]) == 0
    assert int(state.cars.route[0]) == 1 and int(state.cars.wait[0]) == 0
    assert bool(state.cars.braked[0]) and float(g.observe(state).view[0, 0]) == 1.0


# Arrivals ---------------------------------------------------------------------------------------------------


def test_cars_come_in_order_until_it_is_full() -> None:
    g = game("hard", num_agents=11)
    everywhere = dict.fromkeys(range(8), 0.999)
    order = np.random.default_rng(0).permutation(11) / 11
    actions = jnp.full(11, BRAKE, jnp.int32)
    state, outcome = g.dynamics(g.empty, actions, g.draws(everywhere, order))
    rank = np.argsort(order)
    assert np.flatnonzero(outcome.joined).tolist() == sorted(rank[:8].tolist())
    assert [int(state.cars.route[i]) for i in rank[:8]] == [7 * k + 6 for k in range(8)]
    state, outcome = g.dynamics(state, actions, g.draws(everywhere, order))
    assert [int(state.cars.route[i]) for i in rank[8:]] == [6, 13, 20] and np.all(state.cars.alive)
    assert int(outcome.joined.sum()) == 3
    _, outcome = g.dynamics(state, actions, g.draws(everywhere, order))
    assert not np.any(outcome.joined)


def test_equal_draws_fill_slots_one_by_one() -> None:
    g = game("hard", num_agents=11)
    draws = g.draws(dict.fromkeys(range(4), 0.0), np.zeros(11))
    state, _ = g.dynamics(g.empty, jnp.zeros(11, jnp.int32), draws)
    assert state.cars.route.tolist() == [0, 7, 14, 21] + [-1] * 7


def test_arrivals_are_as_often_as_they_should_be() -> None:
    g = game("hard", add_rate=0.25)
    many = 20_000
    step = jax.jit(
        jax.vmap(lambda key: g.env.transition(key, g.empty, jnp.zeros(20, jnp.int32))[0].cars.route)
    )
    routes = np.asarray(step(jax.random.split(KEY, many)))
    chosen, count = np.unique(routes[routes >= 0], return_counts=True)
    assert chosen.tolist() == list(range(56))
    np.testing.assert_allclose(count / many, 0.25 / 7, atol=5 * (0.25 / 7 / many) ** 0.5)
    np.testing.assert_allclose((routes >= 0).mean(axis=0), 8 * 0.25 / 20, atol=0.012)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_rates_at_the_ends(rate: float) -> None:
    g = game("easy", add_rate=rate)
    come = jax.jit(jax.vmap(lambda key: g.env.transition(key, g.empty, jnp.zeros(5, jnp.int32))[1].joined))
    assert set(np.asarray(come(jax.random.split(KEY, 64))).sum(axis=1).tolist()) == {int(2 * rate)}


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_curriculum(difficulty: str) -> None:
    epochs = np.arange(2000, dtype=np.int32)
    rates = jax.jit(curriculum_rate, static_argnums=0)(difficulty, epochs)
    least, most = RATES[difficulty]
    exact, expected = Fraction(least, 100), []
    for epoch in epochs.tolist():
        if 250 <= epoch < 1250:
            exact += Fraction(most - least, 100) / 1000
        expected.append(np.float32(int(exact * 100)) / np.float32(100))
    np.testing.assert_array_equal(np.asarray(rates), np.asarray(expected))
    assert float(rates[0]) == np.float32(least / 100) and float(rates[1249]) == np.float32(most / 100)
    assert make(f"traffic/junction-{difficulty}").params.add_rate == np.float32(most / 100)


def test_curriculum_of_a_run() -> None:
    env = make("traffic/junction-easy", crash_cost=7.0)
    rates = [float(env.curriculum(jnp.asarray(part)).add_rate) for part in (0.0, 0.1249, 0.375, 0.7, 1.0)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.2, 0.3, 0.3], atol=1e-6)
    assert float(env.curriculum(jnp.asarray(0.5)).crash_cost) == 7.0


def test_curriculum_of_other_lengths() -> None:
    rates = curriculum_rate("easy", jnp.asarray([0, 2, 3, 7, 9]), start=3, end=8)
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.14, 0.3, 0.3])


# Views ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("difficulty", "blind", "seeing"), [("easy", 17, 137), ("medium", 61, 533), ("hard", 149, 1325)]
)
def test_sizes(difficulty: str, blind: int, seeing: int) -> None:
    env = make(f"traffic/junction-{difficulty}")
    assert env.observation_space.shape == (blind,)
    assert make(f"traffic/junction-{difficulty}", vision=1).observation_space.shape == (seeing,)
    cars, steps, state = {"easy": (5, 20, 30), "medium": (10, 40, 160), "hard": (20, 80, 1200)}[difficulty]
    assert (env.num_agents, env.max_steps, env.state_space.shape) == (cars, steps, (state,))
    assert env.metadata.slots_refilled and not env.time_limit_is_termination


def test_views_of_the_easy_junction() -> None:
    g = game("easy")
    seen = g.observe(g.empty)
    assert not np.any(seen.view) and not np.any(seen.alive)
    assert seen.action_mask.tolist() == [[False, True]] * 5
    seen = g.observe(g.state({2: (0, 0, 0)}))
    assert np.flatnonzero(seen.view[2]).tolist() == [2 + 7, 2 + 14] and not np.any(
        seen.view[jnp.array([0, 1])]
    )
    assert seen.action_mask.tolist()[2] == [True, True] and seen.action_mask.tolist()[0] == [False, True]
    state = g.state({0: (1, 3, 0), 1: (0, 3, 0), 4: (0, 5, 0)})
    view = g.observe(g.step(state, BRAKE, BRAKE, BRAKE, BRAKE, BRAKE)[0]).view
    assert view[0, :2].tolist() == [1, 1] and float(view[0, 2 + 10]) == 1 and float(view[0, 2 + 14]) == 2
    assert np.flatnonzero(view[4]).tolist() == [0, 2 + 12, 2 + 14]  # as if it stood outside


def test_windows_of_the_medium_junction() -> None:
    g = game("medium", vision=1)
    view = np.asarray(g.observe(g.state({0: (3, 0, 0), 1: (4, 1, 0)})).view[0])
    assert view[:2] == pytest.approx([0, 3 / 11])
    window = view[2:].reshape(3, 3, 59)  # around (13, 7)
    assert np.argmax(window, axis=2).tolist() == [[52, 53, 56], [54, 55, 56], [56, 56, 56]]
    assert window[..., 58].tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_global_state() -> None:
    g = game("medium")
    whole = np.asarray(g.whole(g.state({1: (4, 9, 0)})))
    alive, place, route, progress = np.split(whole, [10, 30, 150])
    assert np.flatnonzero(alive).tolist() == [1] and np.flatnonzero(route).tolist() == [12 + 4]
    np.testing.assert_allclose(place.reshape(10, 2)[1], [7 / 13, 10 / 13], atol=1e-6)
    assert progress[1] == pytest.approx(9 / 13) and np.count_nonzero(progress) == 1


# All of it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("difficulty", "vision", "rate"),
    [
        ("easy", 0, 0.3),
        ("easy", 3, 0.8),
        ("medium", 1, 0.2),
        ("medium", 0, 0.7),
        ("hard", 0, 0.05),
        ("hard", 1, 0.4),
    ],
)
def test_beside_the_plain_form(difficulty: str, vision: int, rate: float) -> None:
    g = game(difficulty, vision=vision, add_rate=rate)
    slots, arrivals, size = g.env.num_agents, g.env.options.network.arrivals, g.env.options.network.size
    rng = np.random.default_rng(7)
    plain, state = Junction(difficulty, slots, vision, rate), g.empty
    came = left = crashes = full = 0
    for t in range(250):
        gas = rng.random() < 0.8  # moods: jams grow and dissolve
        action = np.where(rng.random(slots) < (0.95 if gas else 0.4), GAS, rng.integers(1, 4, slots))
        u = rng.random(2 * arrivals + slots).astype(np.float32)
        arrive, way, order = np.split(u, [arrivals, 2 * arrivals])
        before = list(plain.alive)
        reward = plain.step(action.tolist(), arrive.tolist(), way.tolist(), order.tolist())
        state, outcome = g.dynamics(state, jnp.asarray(action, jnp.int32), Draws(arrive, way, order))
        cars = jax.device_get(state.cars)
        alive = np.array(plain.alive)
        assert cars.alive.tolist() == plain.alive and places(state, size) == plain.loc
        assert cars.wait.tolist() == plain.wait and cars.braked.astype(int).tolist() == plain.last_act
        assert cars.route[alive].tolist() == np.array(plain.route)[alive].tolist()
        assert cars.progress[alive].tolist() == np.array(plain.progress)[alive].tolist()
        assert bool(state.failed) == plain.failed and int(state.t) == t + 1
        np.testing.assert_allclose(outcome.reward, reward, rtol=1e-6, atol=1e-6)
        done, joined = np.asarray(outcome.agent_done), np.asarray(outcome.joined)
        np.testing.assert_array_equal((np.array(before) & ~done) | joined, alive)
        seen = np.asarray(g.observe(state).view)
        np.testing.assert_allclose(seen, np.stack([plain.view(i) for i in range(slots)]), atol=1e-6)
        came, left, full = came + int(joined.sum()), left + int(done.sum()), full + alive.all()
        crashes += min(reward) < -9
    assert came >= left > 10 and crashes > 0 and (full > 0 or rate < 0.1)
    assert int(state.tally.passed) == left


@pytest.mark.slow
def test_the_contract_with_windows() -> None:
    harness = Harness(make("traffic/junction-medium", vision=2, num_agents=3, max_steps=15, add_rate=0.9))
    for check in (*conformance.CHEAP_CHECKS, *conformance.PLAY_CHECKS):
        if check not in (conformance.check_jit, conformance.check_same_step, conformance.check_copies):
            check(harness)


def test_the_end_is_the_time_limit() -> None:
    g = game("easy", max_steps=2)
    state, outcome = g.step(g.empty)
    assert not bool(outcome.truncated)
    _, outcome = g.step(state)
    assert bool(outcome.truncated) and not bool(outcome.terminated)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"difficulty": "harder"}, "difficulty='harder' is not one of 'easy', 'medium', 'hard'"),
        ({"vision": -1}, "vision=-1 is out of range"),
        ({"num_agents": 0}, "num_agents=0 is out of range"),
        ({"add_rate": 1.5}, "add_rate=1.5 is out of range"),
        ({"add_rates": 0.2}, "no option 'add_rates'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make("traffic/junction-easy", **options)


def test_strict(strict_numerics: None) -> None:
    env = make("traffic/junction-medium", vision=1)
    vector, policy = VectorEnv(env, 3), env.scripted_policies()["scripted"]()
    state, timestep = jax.eval_shape(vector.reset, KEY)
    _, action = jax.eval_shape(
        lambda seen, env: policy.act(KEY, (), seen, env), timestep.observation, state.env
    )
    jax.eval_shape(vector.step, state, action)
    jax.eval_shape(vector.global_state, state)


# Drivers and pictures ---------------------------------------------------------------------------------------


@pytest.fixture(
    scope="module",
    params=["easy", *(pytest.param(name, marks=pytest.mark.slow) for name in ("medium", "hard"))],
)
def results(request: pytest.FixtureRequest) -> dict[str, dict[str, float]]:
    """Metrics at the end of 256 episodes, by who drives; all play side by side."""
    env = make(f"traffic/junction-{request.param}")
    drivers = {name: make_policy() for name, make_policy in env.scripted_policies().items()}
    drivers["random"] = RandomPolicy(env)
    vector = VectorEnv(env, 256 * len(drivers))

    @jax.jit
    def one(carry: Any, key: jax.Array) -> Any:
        state, timestep = carry
        acts = [policy.act(key, (), timestep.observation, state.env)[1] for policy in drivers.values()]
        action = jnp.concatenate([act[256 * k : 256 * (k + 1)] for k, act in enumerate(acts)])
        state, timestep, episode = vector.step(state, action)
        return (state, timestep), episode.metrics

    keys = jax.random.split(jax.random.key(1), env.max_steps)
    metrics = jax.lax.scan(one, vector.reset(KEY), keys)[1]
    means = {name: np.asarray(rows[-1]).reshape(-1, 256).mean(axis=1) for name, rows in metrics.items()}
    return {who: {name: float(row[k]) for name, row in means.items()} for k, who in enumerate(drivers)}


def test_the_script_gives_way_and_is_not_slow(results: dict[str, dict[str, float]]) -> None:
    assert results["scripted"]["success"] == 1.0 and results["scripted"]["collisions"] == 0.0
    assert results["gas"]["success"] < 0.5 and results["random"]["success"] < 0.1
    assert results["scripted"]["cars_passed"] > 0.95 * results["gas"]["cars_passed"]


def test_the_script_never_locks_a_full_junction() -> None:
    g = game("medium")
    policy = g.env.scripted_policies()["scripted"]()
    # Four cars turn left on the junction's four cells, each onto the next one's cell; a fifth wants to enter.
    state = g.state({0: (0, 5, 9), 3: (2, 6, 9), 4: (8, 6, 9), 5: (5, 6, 9), 6: (11, 6, 9)})
    assert places(state, 14)[3:7] == [(6, 6), (7, 6), (7, 7), (6, 7)]
    _, action = policy.act(KEY, (), g.observe(state), state)
    assert action.tolist() == [BRAKE] * 3 + [GAS] * 4 + [BRAKE] * 3


def test_the_script_lets_the_longer_queue_go() -> None:
    g = game("easy")
    policy = g.env.scripted_policies()["scripted"]()
    state = g.state({0: (1, 2, 2), 1: (0, 2, 5), 2: (0, 1, 3), 4: (0, 0, 0)})
    _, action = policy.act(KEY, (), g.observe(state), state)
    assert action.tolist() == [BRAKE, GAS, GAS, BRAKE, GAS]


def test_picture() -> None:
    g = game("easy")
    crash, _ = g.step(g.state({0: (0, 2, 2), 3: (1, 2, 2)}), GAS, BRAKE, BRAKE, GAS, come={0: 0.0})
    states = tuple(jax.device_get((g.empty, crash)))
    clip = g.env.scene(Recording(states, (np.zeros(5, np.int32),), (KEY,), ()))
    assert [frame.subtitle for frame in clip.frames] == ["step 0   cars 0", "step 1   cars 3   failed"]
    cars = clip.frames[1].items[len(clip.frames[0].items) :]
    drawn = [(box.fill, label.text) for box, label in zip(cars[::2], cars[1::2], strict=True)]
    assert drawn == [("#009e73", "1"), ("#d55e00", "0+3")]
