"""Clean Up: the facts of the specification on the published map, and bots."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.envs.commons.cleanup import dynamics
from shoal.envs.commons.cleanup.types import CLEAN, DIRT, RIVER, SPRAY, SWEEP
from shoal.envs.commons.gridworld.types import APPLE, EMPTY, FIRE, STAY
from shoal.envs.core import make

KEY = jax.random.key(0)
STEPS = 1000


class Table:
    """The environment compiled once: steps from any scene, with draws of one's own."""

    def __init__(self) -> None:
        self.env = make("commons/cleanup")
        self.opening = jax.device_get(
            jax.jit(lambda: self.env.initial_state(self.env.sample_level(KEY, self.env.params)))()
        )
        self.dynamics = jax.jit(self.env.dynamics)
        draws = jax.eval_shape(self.env.draws, KEY, self.opening)
        self.still = draws.replace(
            grow=np.ones(122, np.float32),
            priority=np.arange(7, dtype=np.int32),
            order=np.arange(19, dtype=np.int32),
            heading=np.ones(7, np.int32),
            coin=np.float32(1.0),
            cell=np.int32(0),
        )

    def scene(self, cells: list[tuple[int, int]], heading: int = 2, **entries: Any) -> Any:
        """A state with the first agents on these cells, all with one heading, the rest far off."""
        apart = [(13, 3 * k) for k in range(7)]
        row, column = np.array([*cells, *apart[len(cells) :]], np.int32).T
        places = {"row": row, "column": column, "heading": np.full(7, heading, np.int32)}
        places |= {f"next_{name}": value for name, value in places.items()}
        return self.opening.replace(**places, **entries)

    def step(self, state: Any, *actions: int, **draws: Any) -> Any:
        """The state and outcome; agents without an action stay."""
        action = np.array([*actions, *[STAY] * (7 - len(actions))], np.int32)
        return jax.device_get(self.dynamics(state, action, self.still.replace(**draws)))


@pytest.fixture(scope="module")
def table() -> Table:
    return Table()


def dirty(state: Any) -> int:
    return int((state.items == DIRT).sum())


def test_resets(table: Table) -> None:
    items = table.opening.items
    assert items.shape == (19, 28)
    counts = {code: int((items == code).sum()) for code in (APPLE, RIVER, CLEAN, DIRT)}
    assert counts == {APPLE: 0, RIVER: 20, CLEAN: 68, DIRT: 79}
    clean = (items == CLEAN).sum(axis=1)[:6].tolist(), (items == DIRT).sum(axis=1)[:6].tolist()
    assert clean == ([12, 13, 13, 13, 11, 6], [16, 15, 15, 15, 17, 1])
    assert len(table.env.layout.cells("a")) == 122 and len(table.env.spawns) == 19
    spawns = {tuple(cell) for cell in table.env.spawns.tolist()}
    assert {tuple(c) for c in np.stack([table.opening.row, table.opening.column], 1).tolist()} <= spawns


@pytest.mark.parametrize(
    ("count", "chance"), [(147, 0.0), (79, 0.0), (67, 0.0), (66, 0.000599), (33, 0.0253), (0, 0.05)]
)
def test_growth_falls_with_dirt(table: Table, count: int, chance: float) -> None:
    found = dynamics.growth(jnp.int32(count), table.env.water, table.env.params)
    assert float(found) == pytest.approx(chance, abs=1e-5)
    if count == 0:
        assert 122 * float(found) == pytest.approx(6.1, abs=1e-4)


def test_orchard(table: Table) -> None:
    """All draws are just below the chance of a clean river."""
    items = np.where(table.opening.items == DIRT, CLEAN, table.opening.items).astype(np.int8)
    items[16, 0] = SPRAY
    state, draws = table.scene([(16, 5)], items=items), np.full(122, 0.0499, np.float32)
    after, outcome = table.step(state, grow=draws)
    assert outcome.metrics["apples_left"] == 120, "neither beneath an agent nor beneath a beam"
    assert after.items[16, 5] == after.items[16, 0] == EMPTY
    none, _ = table.step(state, grow=np.full(122, 0.0501, np.float32))
    assert not (none.items == APPLE).any()
    eaten, outcome = table.step(after, 2)
    assert eaten.eaten.tolist() == [1, *[0] * 6] and outcome.reward.tolist() == [7.0, *[0.0] * 6]


def test_dirt_comes_after_a_delay(table: Table) -> None:
    first = int(np.argmax(table.opening.items[0] == CLEAN))
    for t, coin, more in ((50, 0.0, 0), (51, 0.0, 1), (51, 0.499, 1), (51, 0.5, 0)):
        state = table.scene([(10, 10)], t=np.int32(t))
        after, _ = table.step(state, coin=np.float32(coin), cell=np.int32(first))
        assert dirty(after) == 79 + more
    covered = table.scene([(0, first)], t=np.int32(51))
    assert dirty(table.step(covered, coin=np.float32(0.0), cell=np.int32(first))[0]) == 79


def test_cleaning(table: Table) -> None:
    """From (5, 16), which is dirty and stays so, looking up."""
    reach = [(4, 16), (3, 16), (4, 15), (4, 17)]
    items = table.opening.items.copy()
    for place in reach:
        items[place] = DIRT
    before = dirty(table.opening.replace(items=items))
    after, outcome = table.step(table.scene([(5, 16)], items=items), SWEEP)
    assert all(after.items[place] == CLEAN for place in reach)
    assert after.items[5, 16] == DIRT and dirty(after) == before - 4
    assert after.sweeps.tolist() == [1, *[0] * 6]
    assert outcome.metrics["cells_cleaned"] == 4 and outcome.metrics["cleaning_actions"] == 1
    again, outcome = table.step(after, SWEEP)
    assert (again.items == after.items).all() and outcome.metrics["cells_cleaned"] == 4
    # An agent that stands on dirt keeps it, and one that only looks on changes nothing.
    shielded, _ = table.step(table.scene([(5, 16), (4, 16), (3, 15)], items=items), SWEEP)
    assert [shielded.items[place] == CLEAN for place in reach] == [False, True, True, True]


def test_beams_pass_where_nothing_grows(table: Table) -> None:
    state = table.scene([(9, 15)], heading=1)
    swept, _ = table.step(state, SWEEP)
    assert (swept.items == SPRAY).sum() == 4
    zapped, _ = table.step(swept, FIRE)
    assert not (zapped.items == SPRAY).any()
    through, _ = table.step(zapped, 2)
    assert (through.row[0], through.column[0]) == (9, 16), "beams do not stand in the way here"


@pytest.fixture(scope="module")
def idle(table: Table) -> Any:
    """Everybody stays for a whole episode."""
    env = table.env

    @jax.jit
    def play() -> Any:
        def one(state: Any, key: Any) -> Any:
            state, outcome = env.transition(key, state, jnp.full(7, STAY, jnp.int32))
            return state, (dynamics.dirty_cells(state.items), outcome)

        return jax.lax.scan(one, table.opening, jax.random.split(KEY, STEPS))[1]

    return jax.device_get(play())


def test_nobody_cleans(idle: Any) -> None:
    dirt, outcome = idle
    assert not outcome.reward.any() and not outcome.metrics["apples"].any()
    assert dirt[-1] == 147 and (dirt[:51] == 79).all()
    more = np.diff(dirt)
    assert set(more.tolist()) == {0, 1} and abs(more[50:130].mean() - 0.5) < 0.2
    assert outcome.terminated[-1] and not outcome.terminated[:-1].any()
    assert outcome.metrics["clean_water"][:51].tolist() == [68.0] * 51


def test_draws(table: Table) -> None:
    """The cell is any clean one; as published, the coin is the draw of the first apple cell."""
    published = make("commons/cleanup", compat=("one-key",))
    opening = jax.tree.map(jnp.asarray, table.opening)

    @jax.jit
    @jax.vmap
    def draw(key: Any) -> Any:
        return table.env.draws(key, opening), published.draws(key, opening)

    ours, theirs = jax.device_get(draw(jax.random.split(KEY, 4000)))
    number, count = np.unique(ours.cell, return_counts=True)
    assert (table.opening.items[tuple(table.env.area[number].T)] == CLEAN).all() and len(number) == 68
    assert (np.abs(count / 4000 - 1 / 68) < 0.01).all()
    assert abs(ours.coin.mean() - 0.5) < 0.02 and abs(np.corrcoef(ours.coin, ours.grow[:, 0])[0, 1]) < 0.06
    np.testing.assert_array_equal(theirs.coin, theirs.grow[:, 0])


def test_cleaners_make_harvests() -> None:
    """Four on the small map for 300 steps: without a cleaner nothing is harvested; volunteers do both."""
    env = make("commons/cleanup", map="small", num_agents=4, view_ahead=5, view_side=3)
    policies = [env.scripted_policies()[name]() for name in ("cleaner", "harvester", "volunteer")]

    @jax.jit
    @jax.vmap
    def play(kinds: Any) -> Any:
        def one(carry: Any, key: Any) -> Any:
            state, seen = carry
            each = [policy.act(key, (), seen)[1] for policy in policies]
            state, timestep = env.step(key, state, jnp.select([kinds == k for k in range(3)], each))
            return (state, timestep.observation), None

        state, timestep = env.reset(KEY)
        (state, _), _ = jax.lax.scan(one, (state, timestep.observation), jax.random.split(KEY, 300))
        return state.eaten, state.cleaned

    teams = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0], [2, 2, 2, 2]])
    eaten, cleaned = (np.asarray(x) for x in play(teams))
    assert eaten[0].sum() == cleaned[0] == 0
    assert eaten[1, 1:].min() > 20 and cleaned[1] > 50
    assert eaten[2].sum() < eaten[1].sum()
    assert eaten[3].sum() > 20 and cleaned[3] > 50
    assert set(env.scripted_policies()) >= {"scripted", "cleaner-1", "cleaner-3"}
