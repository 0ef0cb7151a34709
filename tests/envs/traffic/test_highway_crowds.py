"""Crowded highways against loops in plain Python: neighbours, decisions in turn, collisions of all pairs."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shoal_highway

from shoal.envs.common.batching import batch_last
from shoal.envs.core import make
from shoal.envs.traffic.highway import collisions, drivers, neighbours, observation
from shoal.envs.traffic.highway.types import Options, Vehicles

COUNT, BOARDS = 70, 24  # more vehicles than two words of bits hold


@pytest.fixture(scope="module")
def options() -> Options:
    options: Options = make("traffic/highway-mild", num_agents=3, drivers=COUNT - 3, observed=9).options
    return options


@pytest.fixture(scope="module")
def crowds(options: Options) -> list[Any]:
    """Roads that are fuller and emptier; on every third one vehicles drive level."""
    rng = np.random.default_rng(5)
    lengths, grids = np.linspace(150, 900, BOARDS), [0.0, 0.0, 2.0] * (BOARDS // 3)
    return [
        shoal_highway.crowded(rng, COUNT, length, options.learners, grid)
        for length, grid in zip(lengths, grids, strict=True)
    ]


@pytest.fixture(scope="module")
def boards(crowds: list[Any]) -> Any:
    """All roads in one batch."""
    return jax.tree.map(lambda *rows: jnp.asarray(np.stack(rows)), *crowds)


# Neighbours ------------------------------------------------------------------------------------------------


def sets_of(members: np.ndarray, order: neighbours.Ranking) -> Any:
    """A set for each vehicle: [N, N], row i what i looks at."""
    rank = jnp.broadcast_to(order.rank[:, None], members.T.shape)
    return neighbours.pack(jnp.asarray(members.T), rank)


@pytest.mark.parametrize("grid", [0.0, 3.0], ids=["scattered", "level"])
def test_who_is_next(grid: float) -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 100, COUNT).astype(np.float32)
    x = np.round(x / 10.0) * np.float32(10.0) if grid else x
    members = rng.uniform(size=(COUNT, COUNT)) < rng.choice([0.0, 0.03, 0.5, 1.0], COUNT)[:, None]
    order = neighbours.ranking(jnp.asarray(x))
    np.testing.assert_array_equal(order.order, np.lexsort((np.arange(COUNT), x)))
    np.testing.assert_array_equal(np.asarray(order.rank)[np.asarray(order.order)], np.arange(COUNT))
    words = sets_of(members, order)
    leader, follower = neighbours.leader(words, order), neighbours.follower(words, order)
    for me in range(COUNT):
        others = [k for k in range(COUNT) if members[me, k] and k != me]
        ahead, behind = [k for k in others if x[k] >= x[me]], [k for k in others if x[k] < x[me]]
        if ahead:
            nearest = min(x[k] for k in ahead)
            assert order.order[leader[me]] == max(k for k in ahead if x[k] == nearest)
        else:
            assert leader[me] >= COUNT
        if behind:
            nearest = max(x[k] for k in behind)
            assert order.order[follower[me]] == min(k for k in behind if x[k] == nearest)
        else:
            assert follower[me] == -1


@pytest.mark.parametrize("count", [1, 2, 7, 8, 13, 55])
def test_ranks_of_places_that_are_computed_on_the_way(count: int) -> None:
    """XLA may compute a place more than once, with different roundings; ranks are a permutation yet."""
    env = make("traffic/highway-mild", num_agents=1, drivers=count - 1)

    def rank(key: jax.Array) -> jax.Array:
        return neighbours.ranking(env.sample_level(key, env.params).traffic.x).rank

    jitted = jax.jit(rank)
    for seed in range(10):
        assert jitted(jax.random.key(seed)).tolist() == list(range(count)), "each is made ahead of the last"


def test_bits() -> None:
    rng = np.random.default_rng(2)
    for share in (0.0, 0.02, 0.5, 1.0):
        member = rng.uniform(size=COUNT) < share
        words = neighbours.pack(jnp.asarray(member), jnp.arange(COUNT, dtype=jnp.int32))
        assert words.shape == (3,) and words.dtype == jnp.uint32
        place = jnp.arange(COUNT + 1, dtype=jnp.int32)
        many = jnp.broadcast_to(words[:, None], (3, COUNT + 1))
        up, down = neighbours.first_from(many, place), neighbours.last_before(many, place)
        for k in range(COUNT + 1):
            above, below = np.flatnonzero(member[k:]), np.flatnonzero(member[:k])
            assert up[k] == (k + above[0] if len(above) else 96)
            assert down[k] == (below[-1] if len(below) else -1)


def test_lanes_overlap_at_their_edges(options: Options, crowds: list[Any]) -> None:
    v = jax.tree.map(jnp.asarray, crowds[0])
    order = neighbours.ranking(v.x)
    sets = np.asarray(drivers.lane_sets(v, order, options.lanes))
    for k in range(COUNT):
        rank = int(order.rank[k])
        found = [lane for lane in range(options.lanes) if sets[rank // 32, lane] >> (rank % 32) & 1]
        assert found == [lane for lane in range(options.lanes) if abs(crowds[0].y[k] - 4 * lane) <= 3]


def test_who_is_seen(options: Options, crowds: list[Any], boards: Any) -> None:
    """Within 200 m and not more than 10 m behind, by distance along the road, those made first in front."""
    look = jax.jit(jax.vmap(batch_last(lambda v: observation.in_view(options, v, neighbours.ranking(v.x)))))
    seen = np.asarray(look(boards))
    for board, v in zip(seen, crowds, strict=True):
        for row, me in zip(board, options.learners, strict=True):
            dx, dy = v.x - v.x[me], v.y - v.y[me]
            others = [k for k in range(COUNT) if k != me and dx[k] > -10 and dx[k] ** 2 + dy[k] ** 2 < 200**2]
            expected = [me, *sorted(others, key=lambda k: (abs(dx[k]), k))][: options.rows]
            assert row.tolist() == [*expected, *[-1] * (options.rows - len(expected))]


# Decisions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("brakes", [False, True], ids=["published", "style_brake"])
def test_decisions_in_turn(options: Options, crowds: list[Any], boards: Any, brakes: bool) -> None:
    """Target lanes and commands as if one decided after another; what rounding can turn is counted apart."""
    env = make("traffic/highway-mild", num_agents=3, drivers=COUNT - 3, style_brake=brakes)

    def decide(params: Any, v: Vehicles) -> Any:
        return drivers.decide(env.options, params, v, neighbours.ranking(v.x))

    params = jax.tree.map(lambda x: jnp.broadcast_to(x, (BOARDS, *jnp.shape(x))), env.params)
    after, wheel, acceleration = jax.device_get(jax.jit(jax.vmap(batch_last(decide)))(params, boards))
    near = given_up = begun = 0
    for k, v in enumerate(crowds):
        target, commands, close = shoal_highway.decide(v, brakes)
        if close:
            near += 1
            continue
        np.testing.assert_array_equal(after.target_lane[k], target, f"road {k}")
        known = ~np.isnan(commands[:, 0])
        np.testing.assert_allclose(wheel[k][known], commands[known, 0], rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(acceleration[k][known], commands[known, 1], rtol=1e-4, atol=1e-4)
        given_up += np.sum((v.target_lane != v.lane) & (target == v.lane))
        begun += np.sum((v.target_lane == v.lane) & (target != v.lane))
    assert near <= 3, "nearly all roads count"
    assert given_up > 100 and begun > 20, "else nothing was tested"


def test_giving_up_in_turn() -> None:
    """Chains of rivals: who is stopped by someone made earlier goes on if that one has just given up."""
    rng = np.random.default_rng(3)
    count, worlds = 40, 50
    order = neighbours.ranking(jnp.asarray(rng.uniform(0, 9, (count, worlds)).astype(np.float32)))
    changing = rng.uniform(size=(count, worlds)) < 0.7
    later = changing & (rng.uniform(size=(count, worlds)) < 0.1)
    stops = rng.uniform(size=(count, count, worlds)) < 0.15  # [other, me]
    stops &= np.tri(count, k=-1, dtype=bool).T[:, :, None]  # those made earlier only
    rank = jnp.broadcast_to(order.rank[:, None], stops.shape)
    earlier = neighbours.pack(jnp.asarray(stops), rank)
    found = drivers.aborting(jnp.asarray(changing), earlier, jnp.asarray(later), order)
    expected = np.zeros((count, worlds), bool)
    for world in range(worlds):
        for me in range(count):
            rivals = stops[:, me, world] & ~expected[:, world]
            expected[me, world] = changing[me, world] and (later[me, world] or rivals.any())
    np.testing.assert_array_equal(found, expected)
    assert expected.any() and (changing & ~later & stops.any(axis=0) & ~expected).any()


# Collisions ------------------------------------------------------------------------------------------------


def test_collisions_of_all_pairs(options: Options, crowds: list[Any], boards: Any) -> None:
    """Who crashes and who is pushed exactly, pushes to 0.1 mm; near things and ties of sides apart."""

    def collide(v: Vehicles) -> Vehicles:
        return collisions.collide(v, neighbours.ranking(v.x), options.frame_seconds)

    after = jax.device_get(jax.jit(jax.vmap(batch_last(collide)))(boards))
    near = ties = met = 0
    for k, v in enumerate(crowds):
        crashed, pushed, push, close = shoal_highway.collide(v)
        sure = ~np.isin(np.arange(COUNT), list(close))
        near += len(close)
        np.testing.assert_array_equal(after.crashed[k][sure], crashed[sure])
        np.testing.assert_array_equal(after.pushed[k][sure], pushed[sure])
        got = np.stack([after.push_x[k], after.push_y[k]], -1)[sure & pushed]
        want = push[sure & pushed]
        wrong = np.abs(got - want).max(axis=-1) > 1e-4
        lengths = np.hypot(*got[wrong].T), np.hypot(*want[wrong].T)
        np.testing.assert_allclose(*lengths, atol=1e-4, err_msg="not even a tie between two sides")
        ties, met = ties + wrong.sum(), met + len(want)
    assert met > 300 and near < 10 and ties < 5


def test_a_batch_is_its_members(options: Options, crowds: list[Any], boards: Any) -> None:
    """One road alone comes to the same as among others, although loops then run as long as any needs."""
    collide = partial(collisions.collide, seconds=options.frame_seconds)
    alone = jax.jit(lambda v: collide(v, neighbours.ranking(v.x)))
    together = jax.jit(jax.vmap(batch_last(lambda v: collide(v, neighbours.ranking(v.x)))))(boards)
    for k in (0, BOARDS - 1):
        one = alone(jax.tree.map(jnp.asarray, crowds[k]))
        np.testing.assert_array_equal(one.crashed, together.crashed[k])
        np.testing.assert_allclose(one.push_y, together.push_y[k], atol=1e-5)
