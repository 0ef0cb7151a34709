"""The rules of the five tasks by hand: flight, lights, loads, shapes, the box, and group measures."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_swarms import Cell, Game, box_at, game, places

from shoal.envs.core import make
from shoal.envs.swarm.flocking.dynamics import ring
from shoal.envs.swarm.grid.physics import (
    COLUMN_STEP,
    DOWN,
    LEFT,
    MARGIN,
    RIGHT,
    ROW_STEP,
    STAY,
    SWITCH,
    UP,
)
from shoal.envs.swarm.pursuit import dynamics
from shoal.envs.swarm.pursuit.types import Draws

WALLS = np.pad(np.zeros((8, 8), bool), 1, constant_values=True)


# Pursuit ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pursuit() -> Game:
    return game("pursuit", num_agents=4)


def hunt(pursuit: Game, agents: list[Cell], prey: Cell, **entries: Any) -> Any:
    return pursuit.state(agents, prey_i=prey[0], prey_j=prey[1], **entries)


def test_threat_without_agents() -> None:
    threat = np.asarray(dynamics.threat(jnp.zeros((10, 10), bool), jnp.asarray(WALLS))) / 10
    assert [threat[cell] for cell in ((5, 5), (1, 1), (4, 4), (8, 8), (1, 5))] == [0, 8.1, 13.5, 9.9, 7.2]
    assert [threat[5, j] for j in (1, 2, 3, 4, 6, 7, 8)] == [7.2] * 7


def test_threat_of_many_agents() -> None:
    agents = np.random.default_rng(0).random((10, 10)) < 0.3
    agents &= ~WALLS
    threat = dynamics.threat(jnp.asarray(agents), jnp.asarray(WALLS))
    for i, j in np.ndindex(10, 10):
        square = np.s_[max(i - 4, 0) : i + 4, max(j - 4, 0) : j + 4]
        assert threat[i, j] == 10 * agents[square].sum() + 9 * WALLS[square].sum()


@pytest.mark.parametrize(
    ("prey", "agents", "reached"),
    [
        ((6, 6), [(1, 1)], (5, 5)),
        ((1, 1), [(8, 8)], (1, 1)),
        ((2, 2), [(6, 6), (6, 7), (7, 6)], (1, 1)),
        ((8, 8), [(7, 8)], (8, 8)),
    ],
)
def test_flight(pursuit: Game, prey: Cell, agents: list[Cell], reached: Cell) -> None:
    after, timestep = pursuit.play(hunt(pursuit, agents, prey), {})
    assert (after.prey_i, after.prey_j) == reached
    assert after.score == 0 and not timestep.reward.any() and not after.prey_static


@pytest.mark.parametrize(("prey", "published", "own"), [((1, 5), (3, 5), (1, 5)), ((1, 6), (1, 6), (2, 5))])
def test_whose_threat_a_flight_must_undercut(prey: Cell, published: Cell, own: Cell) -> None:
    """The published threshold is that of the cell to the left: the prey then runs, or stays, without need."""
    agents = np.zeros((10, 10), bool)
    agents[4, 4] = True
    state = game("pursuit", num_agents=4).state([(4, 4)], prey_i=prey[0], prey_j=prey[1])
    empty = ~WALLS & ~agents
    empty[prey] = False
    threats = dynamics.threat(jnp.asarray(agents), jnp.asarray(WALLS))
    for itself, reached in ((False, published), (True, own)):
        i, j = dynamics.flight(jnp.asarray(empty), threats, state, itself)
        assert (int(i), int(j)) == reached
    assert game("pursuit-easy", num_agents=4).env.options.threshold == "own"


def test_walls_help_to_catch(pursuit: Game) -> None:
    after, timestep = pursuit.play(hunt(pursuit, [(7, 8), (8, 7)], (8, 8)), {})
    assert after.score == 1 and after.prey_static
    assert timestep.reward.tolist() == [1.0] * 4 and timestep.metrics["score_ratio"] == pytest.approx(1 / 25)
    assert (int(after.prey_i), int(after.prey_j)) not in {(7, 8), (8, 7)} and not WALLS[
        after.prey_i, after.prey_j
    ]
    again, timestep = pursuit.play(after, {})
    assert again.score == 1 and again.prey_static, "one point for one capture"


def test_the_next_prey_appears_in_the_first_cell_of_least_threat() -> None:
    empty, threats = np.ones((6, 6), bool), np.full((6, 6), 50)
    empty[2, 2], threats[2, 2], threats[3, 3], threats[4, 1], threats[1, 1] = False, 0, 20, 20, 10

    program = jax.jit(dynamics.respawn)

    def drawn(cells: list[Cell]) -> Cell:
        i, j = np.array(cells + [(-1, -1)] * (40 - len(cells)), np.int32).T  # padding ends the list
        draws = Draws(i=jnp.asarray(i), j=jnp.asarray(j))
        found = program(jnp.asarray(empty), jnp.asarray(threats, jnp.int32), draws)
        return int(found[0]), int(found[1])

    assert drawn([(4, 4), (2, 2), (3, 3), (4, 1)]) == (3, 3), "not an occupied one, and the first of two"
    assert drawn([(4, 4), (4, 1)]) == (4, 1)
    assert drawn([(3, 4)] * 35 + [(1, 1)]) == (1, 1)
    assert drawn([(3, 4)] * 36 + [(1, 1)]) == (3, 4), "no more count than the map has cells"


def test_only_the_first_prey_can_be_pushed(pursuit: Game) -> None:
    move = jax.jit(pursuit.env.move)
    primitive = jnp.asarray([RIGHT, STAY, STAY, STAY], jnp.int32)
    for fixed, agent, prey in ((False, (5, 5), (5, 6)), (True, (5, 4), (5, 5))):
        after = move(hunt(pursuit, [(5, 4)], (5, 5), prey_static=fixed), primitive)
        assert places(after)[0] == agent and (int(after.prey_i), int(after.prey_j)) == prey
    assert bool(game("pursuit-hard").opening(jax.random.key(0)).prey_static)


def test_group_measures(pursuit: Game) -> None:
    state = hunt(pursuit, [(3, 3), (3, 5), (5, 3), (7, 7)], (1, 1))
    _, timestep = pursuit.play(state, {0: UP, 1: UP, 2: LEFT}, {0: 1, 1: 1, 2: 2, 3: 2})
    expected = {
        "directional_entropy": 0.918,
        "stillness": 0.25,
        "dominant_action": 0.5,
        "polarization": 0.559,
        "moving_distance": 0.75,
        "exploration": 4.0,  # cells occupied after the round: this state does not count its start
        "preserved_pairs": 0.0,
        "push_events": 0.0,
        "first_score": 0.0,
        "token_entropy": 1.0,
        "token_action_information": 1.0,  # UP with 1, others with 2
    }
    found = {name: float(timestep.metrics[name]) for name in expected}
    assert found == pytest.approx(expected, abs=1e-3)


def test_measures_of_neighbours_and_time(pursuit: Game) -> None:
    """A pusher and who is pushed stay a pair; measures are means over rounds, distance adds up."""
    state = hunt(pursuit, [(5, 3), (5, 4), (7, 3), (7, 4)], (1, 1))
    state, timestep = pursuit.play(state, {0: RIGHT, 2: LEFT, 3: DOWN})
    assert places(state) == [(5, 4), (5, 5), (7, 2), (8, 4)]
    names = ("preserved_pairs", "push_events", "moving_distance")
    assert [float(timestep.metrics[name]) for name in names] == [1.0, 1.0, 1.0]
    state, timestep = pursuit.play(state, {})
    assert [float(timestep.metrics[name]) for name in names] == [1.0, 0.5, 1.0]
    assert float(timestep.metrics["exploration"]) == 4.0


# Synchronization ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lights() -> Game:
    return game("synchronization", num_agents=3)


APART = [(2, 2), (5, 5), (7, 7)]


def test_lights_score_when_alike_in_turn(lights: Game) -> None:
    state = lights.state(APART, flag=[True, True, False], last_sync=-1)
    rewards = []
    for switched in ([2], [], [0, 1, 2], [0], [0], [0, 1, 2]):
        state, outcome = lights.advance(state, dict.fromkeys(switched, SWITCH))
        rewards.append(outcome.reward.tolist())
    assert rewards == [[1.0] * 3, [0.0] * 3, [1.0] * 3, [0.0] * 3, [0.0] * 3, [1.0] * 3]
    assert state.score == 3 and state.last_sync == 1 and places(state) == APART


def test_the_clock_rule_scores_in_every_round(lights: Game) -> None:
    state = lights.state(APART, flag=[False, True, False], last_sync=-1)
    for _ in range(100):
        switched = np.nonzero(~np.asarray(state.flag))[0] if state.t == 0 else range(3)
        state, outcome = lights.advance(state, dict.fromkeys(map(int, switched), SWITCH))
    assert state.score == 100 and outcome.metrics["score_ratio"] == 1.0
    assert outcome.truncated and not outcome.terminated
    assert outcome.metrics["first_score"] == 1.0


def test_late_starters_wait_and_lights_flip_by_themselves() -> None:
    hard = game("synchronization-hard", num_agents=3, flips=1.0)
    state = hard.state(APART, flag=[False, True, True], last_sync=-1, wakes=[0, 1, 3])
    mask = np.asarray(hard.observe(state).action_mask[0])
    assert mask.sum(axis=1).tolist() == [6, 1, 1] and mask[:, STAY].all()
    state, _ = hard.play(state, dict.fromkeys(range(3), SWITCH), dict.fromkeys(range(3), 4))
    assert state.flag.tolist() == [False, False, False], "0 switched and flipped back, 1 and 2 flipped only"
    assert state.token.tolist() == [4, 0, 0] and state.score == 1
    assert np.asarray(hard.observe(state).action_mask[1]).sum(axis=1).tolist() == [8, 8, 1]
    wakes = [int(hard.env.sample_level(jax.random.key(k), hard.env.params).wakes.max()) for k in range(8)]
    assert 5 < max(wakes) <= 9


def test_the_curriculum_of_lights_ends_in_the_task_itself() -> None:
    plain = make("swarm/synchronization-hard")
    eased = make("swarm/synchronization-hard", fewest=1, closest=4, early_flips=0.05)

    def levels(world: Any, progress: float) -> Any:
        params = world.curriculum(jnp.asarray(progress))
        return jax.vmap(lambda key: world.sample_level(key, params))(jax.random.split(jax.random.key(0), 64))

    def sides(level: Any) -> np.ndarray:
        return np.max([np.ptp(np.asarray(place), axis=1) + 1 for place in (level.i, level.j)], axis=0)

    flips = [float(eased.curriculum(jnp.asarray(progress)).flips) for progress in (0.4, 0.625, 0.85, 1.0)]
    assert flips == pytest.approx([0.05, 0.03, 0.01, 0.01])
    first, later, last = (levels(eased, progress) for progress in (0.4, 0.7, 0.85))
    counts = [np.asarray(level.present).sum(axis=1) for level in (first, later, last)]
    assert counts[0].min() <= 2 and counts[0].max() == 12 and counts[1].min() in (8, 9)
    assert sides(first).min() == 4 and 6 <= sides(later).min() <= 7 and sides(first).max() <= 8
    itself = levels(plain, 1.0)
    for part in ("i", "j", "light", "wakes", "present"):
        np.testing.assert_array_equal(getattr(last, part), getattr(itself, part))


# Foraging -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forage() -> Game:
    return game("foraging", num_agents=4)


def layout(forage: Game, food: Cell, nest: Cell) -> int:
    """The number of the layout with horizontal walls and food and nest here."""
    for number, board in enumerate(forage.env.layouts):
        if board[food] == 3 and board[nest] == 2 and board[4, 1:7].all():
            return number
    raise AssertionError("no such layout")


def test_loads_are_picked_up_beside_the_food(forage: Game) -> None:
    state = forage.state([(2, 3), (3, 3), (3, 2), (2, 4)], layout=layout(forage, (1, 1), (7, 1)))
    after, outcome = forage.advance(state, {})
    assert after.flag.tolist() == [True, False, True, False] and not outcome.reward.any()
    assert outcome.metrics["carrying"] == 0.5
    after, _ = forage.advance(state, {0: RIGHT})
    assert places(after)[0] == (2, 4)
    assert after.flag.tolist() == [False, False, True, False], "where the round ends counts"


def test_loads_are_delivered_beside_the_nest(forage: Game) -> None:
    state = forage.state(
        [(6, 2), (7, 3), (6, 3), (6, 1)],
        layout=layout(forage, (1, 1), (7, 1)),
        flag=[True, True, True, False],
    )
    after, outcome = forage.advance(state, {})
    assert after.flag.tolist() == [False, False, True, False] and after.score == 2
    assert after.delivered.tolist() == [True, True, False, False] and outcome.reward.tolist() == [2.0] * 4


def test_there_are_four_layouts(forage: Game) -> None:
    boards = {board.tobytes(): board for board in forage.env.layouts}
    assert len(boards) == 4
    assert {np.transpose(board).tobytes() for board in boards.values()} == set(boards)
    for board in boards.values():
        assert (board == 3).sum() == (board == 2).sum() == 4
    one = forage.env.layouts[layout(forage, (1, 1), (7, 1))]
    assert one[4].tolist() == [1] * 7 + [0, 0, 1] and one[1:3, 1:3].tolist() == [[3, 3]] * 2


# Flocking ---------------------------------------------------------------------------------------------------


def displaced(**moved: Cell) -> list[Cell]:
    """The hollow square of twelve with its upper left corner in (3, 3), some of it elsewhere."""
    cells = [(int(i) + 3, int(j) + 3) for i, j in ring(12)]
    return [moved.get(f"a{number}", cell) for number, cell in enumerate(cells)]


TEN = displaced(a0=(1, 1), a11=(8, 8), a3=(2, 7))
FOURTEEN = displaced(a0=(1, 1), a11=(8, 8), a3=(1, 8), a8=(7, 2))


def test_the_score_is_the_best_that_ever_was() -> None:
    flock = game("flocking")
    state = flock.opening(jax.random.key(0))
    assert state.start_distance == 24 and state.distance == 24
    totals = []
    for cells in (TEN, FOURTEEN, displaced(), TEN):
        i, j = np.array(cells, np.int32).T
        state, outcome = flock.advance(state.replace(i=jnp.asarray(i), j=jnp.asarray(j)), {})
        totals.append(
            (float(state.distance), float(state.score), float(outcome.reward[3]), bool(outcome.terminated))
        )
    assert totals == [(10, 7, 7, False), (14, 7, 0, False), (0, 12, 5, True), (10, 12, 0, False)]
    assert outcome.metrics["score_ratio"] == 1.0 and outcome.metrics["distance"] == 10.0


# Transport --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def transport() -> Game:
    return game("transport")


def test_the_box_goes_aside_once_and_out_four_times(transport: Game) -> None:
    """Variant A: the gap is in the lower wall up to the right corner."""
    left = [(i, j) for j in (4, 3) for i in (6, 7, 8)]
    above = [(i, j) for i in (5, 4) for j in (5, 6, 7)]
    state = transport.state([*left, *above], layout=0)
    assert box_at(state) == {(i, j) for i in (6, 7, 8) for j in (5, 6, 7)} | {(9, j) for j in (6, 7, 8, 9)}
    assert state.board[9].tolist() == [1] * 6 + [0] * 4 and state.plan.tolist() == [RIGHT, DOWN]
    downward = dict.fromkeys(range(6, 12), DOWN)
    after, _ = transport.play(state, downward)
    assert (after.box_i, after.box_j) == (0, 0), "the wall below holds it"
    state, _ = transport.play(state, dict.fromkeys(range(5), RIGHT))
    assert (state.box_i, state.box_j) == (0, 1)
    after, _ = transport.play(state, dict.fromkeys(range(6), RIGHT))
    assert (after.box_i, after.box_j) == (0, 1), "the wall on the right holds it"
    i, j = np.array([(1, k) for k in range(1, 7)] + [(i, j + 1) for i, j in above], np.int32).T
    state = state.replace(i=jnp.asarray(i), j=jnp.asarray(j))
    for push in range(1, 5):
        state, timestep = transport.play(state, downward)
        assert (state.box_i, state.box_j) == (push, 1)
    assert all(i > 9 or j > 9 for i, j in box_at(state)) and timestep.metrics["box_moves"] == 5
    fewer = transport.state(left[:4], layout=0)
    assert transport.play(fewer, dict.fromkeys(range(4), RIGHT))[0].box_j == 0, "four are too few"


def test_an_exit_adds_the_share_of_rounds_left(transport: Game) -> None:
    gone = np.zeros_like(transport.blank.box)
    state = transport.state({0: (9, 7), 1: (9, 8), 2: (5, 5)}, layout=0, box=gone, t=20)
    after, timestep = transport.play(state, {0: DOWN}, {0: 3})
    assert after.score == pytest.approx(0.8) and timestep.reward.tolist() == pytest.approx([0.8] * 12)
    assert np.nonzero(timestep.agent_done)[0].tolist() == [0] and not timestep.terminated
    assert after.alive.tolist()[:3] == [False, True, True] and (after.i[0], after.j[0]) == (10, 7)
    seen = timestep.observation
    assert not seen.view[0].any() and seen.alive.tolist() == after.alive.tolist()
    assert [np.nonzero(part[0])[0].tolist() for part in seen.action_mask] == [[0], [0]]
    assert timestep.metrics["left"] == pytest.approx(10 / 12)  # nine were never there
    state, timestep = transport.play(after, {0: UP, 1: DOWN, 2: DOWN}, {0: 5})
    assert (state.i[0], state.token[0]) == (10, 0), "who has left does and says no more"
    assert state.score == pytest.approx(0.8 + 0.79) and not timestep.terminated
    state, timestep = transport.play(transport.state({2: (9, 6)}, layout=0, box=gone), {2: DOWN})
    assert timestep.terminated and not timestep.truncated and timestep.metrics["all_left"] == 1.0


def test_the_last_round_is_a_truncation(transport: Game) -> None:
    gone = np.zeros_like(transport.blank.box)
    state = transport.state({0: (5, 5)}, layout=0, box=gone, t=99)
    _, timestep = transport.play(state, {})
    assert timestep.truncated and not timestep.terminated
    _, timestep = transport.play(transport.state({0: (9, 7)}, layout=0, box=gone, t=99), {0: DOWN})
    assert timestep.terminated and not timestep.truncated
    assert timestep.reward[0] == pytest.approx(0.01)


def test_transport_layouts(transport: Game) -> None:
    """Eight hooked boxes; square ones in every place of each side; every plan leads out."""
    hooked, square = transport.env.layouts, game("transport-easy").env.layouts
    assert len({board.tobytes() for board in hooked.board}) == 8
    assert len({board.tobytes() for board in square.board}) == len(square.board) == 4 * 5
    for layouts, cells in ((hooked, 13), (square, 16)):
        for board, box, (aside, outward) in zip(*layouts, strict=True):
            walls, start = np.pad(board > 0, MARGIN), {tuple(cell) for cell in np.argwhere(box).tolist()}
            assert len(start) == cells and not walls[box].any()
            ways = [[aside] * int(aside != STAY) + [outward] * 4]
            if aside != STAY:
                ways.append([outward])
            reached = [moved(start, way, walls) for way in ways]
            assert all(not (MARGIN <= i < 10 + MARGIN and MARGIN <= j < 10 + MARGIN) for i, j in reached[0])
            assert not any(reached[1:]), "outward at once, walls hold it"


def moved(box: set[Cell], way: list[int], walls: np.ndarray) -> set[Cell]:
    """A box after these pushes; nothing where a wall is in its way."""
    for direction in way:
        box = {(i + ROW_STEP[direction], j + COLUMN_STEP[direction]) for i, j in box}
        if any(walls[cell] for cell in box):
            return set()
    return box
