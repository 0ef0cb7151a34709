"""The engine of social dilemmas on the grid: walking, beams, respawning, growth, windows, maps."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.envs.commons.gridworld import beams, fields, maps, movement, respawn, views
from shoal.envs.commons.gridworld.types import EAST, NORTH, SOUTH, STAY, WEST, ZAP
from shoal.envs.core import Recording, UserError, make

BOARD = (16, 22)
KEY = jax.random.key(0)


@jax.jit
def moved(row: Any, column: Any, action: Any, priority: Any) -> Any:
    to_row, to_column = movement.aimed(row, column, action, BOARD)
    here, target = row * BOARD[1] + column, to_row * BOARD[1] + to_column
    goes = movement.resolve(here, target, priority)
    return jnp.where(goes, to_row, row), jnp.where(goes, to_column, column)


def walk(cells: list[tuple[int, int]], actions: list[int], priority: list[int] | None = None) -> list[Any]:
    """Where everybody stands after a step on a board without anything on it; up to four agents."""
    spare = 4 - len(cells)  # out of the way: one program serves all
    row, column = np.array([*cells, *[(0, 10 + k) for k in range(spare)]], np.int32).T
    order = [*(range(len(cells)) if priority is None else priority), *[0] * spare]
    action = np.array([*actions, *[STAY] * spare], np.int32)
    after = moved(row, column, action, np.array(order, np.int32))
    return list(zip(*(x[: len(cells)].tolist() for x in after), strict=True))


def test_edges_stop() -> None:
    assert walk([(15, 0), (0, 21)], [SOUTH, EAST]) == [(15, 0), (0, 21)]
    assert walk([(15, 0), (0, 21)], [WEST, NORTH]) == [(15, 0), (0, 21)]


def test_nobody_swaps() -> None:
    assert walk([(10, 5), (10, 6)], [EAST, WEST]) == [(10, 5), (10, 6)]


def test_trains_and_rings_go() -> None:
    assert walk([(10, 5), (10, 6), (10, 7)], [EAST] * 3) == [(10, 6), (10, 7), (10, 8)]
    ring = [(5, 5), (5, 6), (6, 6), (6, 5)]
    assert walk(ring, [EAST, SOUTH, WEST, NORTH]) == [(5, 6), (6, 6), (6, 5), (5, 5)]


def test_who_stops_stops_those_behind() -> None:
    assert walk([(10, 5), (10, 6), (10, 7)], [EAST, EAST, STAY]) == [(10, 5), (10, 6), (10, 7)]
    # The second loses the cell to the fourth, so the first, which goes to the second's cell, stays too.
    cells, actions = [(10, 5), (10, 6), (9, 7)], [EAST, EAST, SOUTH]
    assert walk(cells, actions, [0, 1, 2]) == [(10, 5), (10, 6), (10, 7)]
    assert walk(cells, actions, [0, 2, 1]) == [(10, 6), (10, 7), (9, 7)]


def test_one_of_several_gets_a_free_cell() -> None:
    for first in (0, 1):
        found = walk([(10, 5), (10, 7)], [EAST, WEST], [1 - first, first])
        assert found[first] == (10, 6) and found[1 - first] == [(10, 5), (10, 7)][1 - first]


def test_crowds_never_share_a_cell() -> None:
    """Nine agents in a corner, random actions, 200 worlds in the last axis, and one of them alone."""
    rng = np.random.default_rng(0)
    cells = np.stack([rng.permutation(16)[:9] for _ in range(200)], axis=1).astype(np.int32)
    actions = rng.integers(2, 7, (9, 200)).astype(np.int32)
    priority = np.stack([rng.permutation(9) for _ in range(200)], axis=1).astype(np.int32)
    row, column = (np.asarray(x) for x in moved(cells // 4, cells % 4, actions, priority))
    after = np.sort(row * BOARD[1] + column, axis=0)
    assert (after[1:] != after[:-1]).all()
    went = (row != cells // 4) | (column != cells % 4)
    assert 0.2 < went.mean() < 0.6
    alone = moved(*(x[:, 3] for x in (cells // 4, cells % 4, actions, priority)))
    np.testing.assert_array_equal(np.stack(alone), np.stack([row[:, 3], column[:, 3]]))


@jax.jit
def reach(row: Any, column: Any, heading: Any) -> Any:
    return beams.reach(row, column, heading, BOARD)


def reach_of(row: int, column: int, heading: int) -> Any:
    return reach(*(np.array([x], np.int32) for x in (row, column, heading)))


def cells_of(reach: Any) -> set[tuple[int, int]]:
    row, column = (np.asarray(x).ravel().tolist() for x in reach.read(BOARD))
    return set(zip(row, column, strict=True))


def test_beams_reach_four_cells() -> None:
    assert cells_of(reach_of(10, 10, 0)) == {(11, 10), (12, 10), (11, 11), (11, 9)}
    assert cells_of(reach_of(5, 16, 2)) == {(4, 16), (3, 16), (4, 15), (4, 17)}


def test_beams_at_edges() -> None:
    """As published: before the first row they come in at the last; out of the last one they hit who fires."""
    assert cells_of(reach_of(0, 10, 2)) == {(15, 10), (14, 10)}
    for row, column, heading in ((15, 10, 0), (10, 21, 1)):
        reach = reach_of(row, column, heading)
        place = jnp.asarray([row], jnp.int32), jnp.asarray([column], jnp.int32)
        assert beams.hit(reach, jnp.asarray([True]), *place, BOARD).tolist() == [True]
        assert not np.asarray(reach.written(BOARD)).any()
    assert beams.hit(reach_of(5, 5, 0), jnp.asarray([True]), *(jnp.asarray([5]),) * 2, BOARD).tolist() == [
        False
    ]


def test_whoever_writes_last_counts_only_as_published() -> None:
    """Agents 0 and 1 face the same cell; only agent 0 fires."""
    there = (np.array(x, np.int32) for x in ([10, 12], [10, 10], [0, 2]))
    reached, firing = reach(*there), np.array([True, False])
    program = jax.jit(lambda: [beams.lasting(reached, jnp.asarray(firing), BOARD, order) for order in orders])
    orders = ("none", "agents", "all")
    fired = {order: np.asarray(x) for order, x in zip(orders, program(), strict=True)}
    assert all(not x[:, 1].any() for x in fired.values())
    assert fired["none"][:, 0].all()
    assert fired["agents"][:, 0].tolist() == [False, True, True, True], "one ahead is the same cell for both"
    assert fired["all"][:, 0].tolist() == [False, True, False, True], "also left of one, right of the other"


def test_the_hit_take_the_first_free_cells() -> None:
    cells = np.array([[0, 0], [0, 1], [0, 2], [0, 3]], np.int32)
    row, column = jnp.zeros(3, jnp.int32), jnp.asarray([1, 3, 2], jnp.int32)
    hit = jnp.asarray([True, False, True])
    program = jax.jit(lambda order: respawn.relocate(cells, hit, row, column, order))
    new = program(np.array([3, 1, 2, 0], np.int32))
    # The last is taken by a survivor; the cells of the hit are free.
    assert np.stack(new, axis=1).tolist() == [[0, 1], [0, 3], [0, 2]]


def test_openings() -> None:
    inside, outside = (
        np.array([[9, 9], [8, 8]], np.int32),
        np.argwhere(np.ones((2, 3), bool)).astype(np.int32),
    )
    draw = jax.jit(jax.vmap(lambda key: respawn.opening(key, inside, outside, 5)))
    row, column, heading = map(np.asarray, draw(jax.random.split(KEY, 500)))
    assert set(row[:, :2].ravel().tolist()) == {8, 9} and (row[:, 0] != row[:, 1]).all()
    cell = row[:, 2:] * 3 + column[:, 2:]
    assert (cell < 6).all() and all(len(set(one)) == 3 for one in cell.tolist())
    assert (np.abs(np.bincount(cell.ravel(), minlength=6) / 1500 - 1 / 6) < 0.04).all()
    assert (np.abs(np.bincount(heading.ravel(), minlength=4) / 2500 - [1 / 3, 1 / 3, 1 / 3, 0]) < 0.04).all()


def test_neighbours() -> None:
    there = jnp.asarray(np.pad([[True]], 2))
    count = jax.jit(fields.neighbours, static_argnums=1)
    far = np.abs(np.arange(5)[:, None] - 2) + np.abs(np.arange(5)[None] - 2)
    np.testing.assert_array_equal(count(there, True), (far > 0) & (far <= 2))
    corner = np.zeros((5, 5), bool)
    corner[3, 3] = True
    both = [count(jnp.asarray(corner), even)[2, 4] for even in (True, False)]
    assert [int(x) for x in both] == [1, 0], "the last column misses its lower left neighbour"


# Windows --------------------------------------------------------------------------------------------------


class Small:
    """A little map, two agents: its opening state, and its views compiled."""

    def __init__(self) -> None:
        self.env = make("commons/harvest-open", map="......P/.a..a.P/......P/###...P", num_agents=2)
        self.opening = jax.jit(lambda: self.env.initial_state(self.env.sample_level(KEY, self.env.params)))()
        self.observe = jax.jit(lambda state: self.env.observe(state).view)

    def seen(self, heading: int, eaten: int = 0) -> np.ndarray:
        """What agent 0 sees from (1, 2), agent 1 at (1, 3) looking down."""
        found = {"row": [1, 1], "column": [2, 3], "heading": [heading, 0], "eaten": [eaten, 0]}
        state = self.opening.replace(**{name: np.array(x, np.int32) for name, x in found.items()})
        return np.asarray(self.observe(state)[0])


@pytest.fixture(scope="module")
def small() -> Small:
    return Small()


@pytest.mark.parametrize("heading", range(4))
def test_windows_turn_with_their_agents(small: Small, heading: int) -> None:
    """Layers: 0 wall, 2 apple, 5 self, 6 other, 7-10 heading, 11 has eaten, 12 and 13 apples."""
    view = small.seen(heading, eaten=3)
    assert view.shape == (11, 11, 15)
    assert np.argwhere(view[..., 5]).tolist() == [[9, 5]] and view[9, 5, 12:14].tolist() == [3, 3]
    # Apples lie one cell to the west and two to the east, agent 1 one to the east.
    steps = {0: ((0, 1), (0, -2), (0, -1)), 1: ((1, 0), (-2, 0), (-1, 0))}
    steps |= {2: ((0, -1), (0, 2), (0, 1)), 3: ((-1, 0), (2, 0), (1, 0))}
    west, east, other = (tuple(np.add((9, 5), step)) for step in steps[heading])
    apples = {cell for cell in (west, east) if cell[0] < 11}
    assert {tuple(x) for x in np.argwhere(view[..., 2])} == apples
    assert [tuple(x) for x in np.argwhere(view[..., 6])] == [other]
    assert view[9, 5, 7:12].tolist() == [*np.eye(4, dtype=int)[heading], 1], "its own heading on the map"
    assert view[other][7:12].tolist() == [*np.eye(4, dtype=int)[-heading % 4], 0]


def test_beyond_the_map_is_wall(small: Small) -> None:
    view = small.seen(2)
    inside = np.zeros((11, 11), bool)
    inside[8:, 3:10] = True  # rows 0 to 2 of the map; a fourth is not seen
    np.testing.assert_array_equal(view[..., 0] == 1, ~inside)
    down = small.seen(0)
    assert down[7, 5, 0] == 1 and down[7, 4, 0] == 0, "walls on the map: (3, 2) but not (3, 3)"


def test_views_of_other_sizes() -> None:
    env = make("commons/harvest-open", map="small", num_agents=3, view_ahead=3, view_behind=2, view_side=1)
    view = jax.jit(lambda: env.reset(KEY)[1].observation.view)()
    assert view.shape == (3, 6, 3, 15) == (3, *views.shape(env.options, 5))
    assert view[:, 3, 1, 5].tolist() == [1, 1, 1]


# Maps and options -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"map": "opne"}, "did you mean 'open'"),
        ({"map": "aa./P"}, "not of one length"),
        ({"map": "aa./PPX/..."}, "'X'"),
        ({"map": "small", "num_agents": 9}, "at most 8"),
        ({"map": "..P/PPP/PPP"}, "no apple cell"),
        ({"compat": ("veiw",)}, "did you mean 'view'"),
        ({"reward": "comon"}, "'common'"),
        ({"regrow_1": 2.0}, "between"),
    ],
)
def test_wrong_settings_are_refused(overrides: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make("commons/harvest-open", **overrides)


def test_names_of_published_forms() -> None:
    assert make("commons/harvest-open").compat == frozenset()
    assert make("commons/harvest-open", compat=["paper"]).compat == {"view", "beam-order"}
    assert make("commons/cleanup", compat="paper").compat == {"view", "beam-order", "one-key"}
    assert make("commons/harvest-open", compat=("view",)).scripted_policies() == {}


def test_maps_are_read_by_rows() -> None:
    layout = maps.read("a.P/.a./P.a", {}, ".aP")
    assert layout.shape == (3, 3) and layout.cells("P").tolist() == [[0, 2], [2, 0]]
    assert layout.apple_number.tolist() == [[0, 3, 3], [3, 1, 3], [3, 3, 2]]


def test_pictures(small: Small) -> None:
    first = jax.device_get(small.opening)
    items = first.items.copy()
    items[0, 0] = ZAP
    states = (first, first.replace(items=items, zaps=np.int32(1)))
    clip = small.env.scene(Recording(states, (np.array([7, 6]),), (KEY,), ()))
    yellow = [sum(getattr(item, "fill", "") == "#f0e442" for item in frame.items) for frame in clip.frames]
    assert yellow[0] + 1 == yellow[1], "a beam shows"
    assert "zaps 1" in clip.frames[1].subtitle
