"""Commons Harvest: the facts of the specification on the published map, options, and bots."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.envs.commons.gridworld import fields
from shoal.envs.commons.gridworld.bots import Team
from shoal.envs.commons.gridworld.types import APPLE, EMPTY, FIRE, NORTH, SOUTH, STAY, WALL, ZAP
from shoal.envs.commons.harvest.env import growth
from shoal.envs.core import make
from shoal.envs.core.policy import Scripted
from shoal.envs.core.types import Observation

KEY = jax.random.key(0)
APART = [(15, 2 * k) for k in range(7)]  # where agents stand that a fact is not about


class Table:
    """One environment compiled once: steps from any scene, with draws of one's own."""

    def __init__(self, **options: Any) -> None:
        self.env = make("commons/harvest-open", **options)
        self.agents = self.env.num_agents
        self.opening = jax.device_get(
            jax.jit(lambda: self.env.initial_state(self.env.sample_level(KEY, self.env.params)))()
        )
        self.dynamics = jax.jit(self.env.dynamics)
        draws = jax.eval_shape(self.env.draws, KEY, self.opening)
        self.still = draws.replace(
            grow=np.ones(draws.grow.shape, np.float32),  # nothing grows
            priority=np.arange(self.agents, dtype=np.int32),
            order=np.arange(draws.order.shape[0], dtype=np.int32),
            heading=np.ones(self.agents, np.int32),
        )

    def scene(self, cells: list[tuple[int, int]], heading: int = 0, **entries: Any) -> Any:
        """A state with the first agents on these cells, which hold nothing, all with one heading."""
        row, column = np.array([*cells, *APART[len(cells) : self.agents]], np.int32).T
        items = entries.pop("items", self.opening.items).copy()
        items[row, column] = EMPTY
        turned = np.full(self.agents, heading, np.int32)
        places = {"row": row, "column": column, "heading": turned}
        places |= {f"next_{name}": value for name, value in places.items()}
        return self.opening.replace(items=items, **places, **entries)

    def step(self, state: Any, *actions: int, **draws: Any) -> Any:
        """The state and outcome; agents without an action stay."""
        action = np.array([*actions, *[STAY] * (self.agents - len(actions))], np.int32)
        return jax.device_get(self.dynamics(state, action, self.still.replace(**draws)))


@pytest.fixture(scope="module")
def table() -> Table:
    return Table()


def cell(state: Any, agent: int, when: str = "") -> tuple[int, int]:
    return int(getattr(state, f"{when}row")[agent]), int(getattr(state, f"{when}column")[agent])


def test_resets(table: Table) -> None:
    draw = jax.jit(jax.vmap(lambda key: table.env.sample_level(key, table.env.params)))
    levels = jax.device_get(draw(jax.random.split(KEY, 400)))
    assert (table.opening.items == APPLE).sum() == 64 and (table.opening.items <= APPLE).all()
    inside = np.sort(levels.column[:, :2], axis=1)
    assert (levels.row[:, :2] == 6).all() and (inside == [6, 15]).all()
    assert 0.4 < (levels.column[:, 0] == 6).mean() < 0.6
    assert ((levels.row[:, 2:] >= 13) & (levels.row[:, 2:] <= 15)).all()
    places = levels.row * 22 + levels.column
    assert all(len(set(one)) == 7 for one in places.tolist())
    assert set(levels.heading.ravel().tolist()) == {0, 1, 2}


def test_neighbours_of_apples(table: Table) -> None:
    apples = jnp.asarray(table.opening.items == APPLE)
    published, even = (np.asarray(fields.neighbours(apples, edges)) for edges in (False, True))
    wanted = {(0, 0): 5, (2, 7): 12, (7, 19): 12, (0, 7): 4, (1, 6): 7}
    for place, count in wanted.items():
        assert published[place] == even[place] == count
    assert (published[0, 21], even[0, 21]) == (4, 5)


def test_growth(table: Table) -> None:
    chance = growth(jnp.arange(13).reshape(1, 13), table.env.params)
    np.testing.assert_allclose(chance[0], [0.0, 0.001, 0.005, *[0.025] * 10], rtol=1e-6)


def test_what_is_eaten_up_never_grows(table: Table) -> None:
    """Every draw is zero, so that all apples grow that can."""
    items = table.opening.items.copy()
    items[0:5, 5:10] = EMPTY  # the whole diamond around (2, 7)
    items[7, 2] = items[0, 20] = EMPTY
    items[0, 1], items[6, 2] = ZAP, EMPTY
    state = table.scene([(6, 2)], items=items)
    after, outcome = table.step(state, grow=np.zeros(64, np.float32))
    assert not (after.items[0:5, 5:10] == APPLE).any()
    assert after.items[7, 2] == after.items[0, 20] == APPLE
    assert after.items[6, 2] == EMPTY, "not beneath an agent"
    assert after.items[0, 1] == EMPTY, "not beneath a beam, which goes now"
    assert outcome.metrics["apples_left"] == 64 - 13 - 2
    again, _ = table.step(after, grow=np.zeros(64, np.float32))
    assert again.items[0, 1] == APPLE


def test_eating(table: Table) -> None:
    after, outcome = table.step(table.scene([(3, 7)], t=np.int32(40)), NORTH)
    assert cell(after, 0) == (2, 7) and after.items[2, 7] == EMPTY
    assert outcome.reward.tolist() == [7.0, *[0.0] * 6]
    assert after.eaten.tolist() == [1, *[0] * 6]
    metrics = {name: float(value) for name, value in outcome.metrics.items()}
    assert metrics == pytest.approx(
        {
            "apples": 1.0,
            "apples_per_agent": 1 / 7,
            "equality": 1 / 7,
            "sustainability": 41.0,
            "apples_left": 62.0,
            "zaps": 0.0,
            "hits": 0.0,
        }
    )


def test_edges_and_unknown_actions(table: Table) -> None:
    state = table.scene([(15, 0), (15, 2), (15, 21)])
    for odd in (8, -1, np.iinfo(np.int32).max):
        after, _ = table.step(state, SOUTH, odd, 2)
        assert [cell(after, k) for k in range(3)] == [(15, 0), (15, 2), (15, 21)]


def test_zaps(table: Table) -> None:
    """Agent 0 at (10, 10) hits four; the one at (12, 10) begins the next step elsewhere and walks there."""
    cells = [(10, 10), (11, 10), (12, 10), (11, 11), (11, 9), (10, 12), (15, 0)]
    after, outcome = table.step(table.scene(cells), FIRE)
    assert not outcome.reward.any() and outcome.metrics["zaps"] == 1 and outcome.metrics["hits"] == 4
    assert [cell(after, k) for k in range(7)] == cells, "all stand where they were until the step is over"
    spawns = [cell(after, k, "next_") for k in range(1, 5)]
    assert spawns == [(13, 2), (13, 3), (13, 4), (13, 5)], "in order of agents, by the order drawn"
    assert after.next_heading.tolist() == [0, 1, 1, 1, 1, 0, 0]
    following, _ = table.step(after, STAY, STAY, NORTH)
    assert cell(following, 2) == (12, 3) and cell(following, 1) == (13, 2)


def test_beams_stand_in_the_way_for_a_step(table: Table) -> None:
    state = table.scene([(10, 10), (11, 12)])
    lit, _ = table.step(state, FIRE)
    beam = [(11, 10), (12, 10), (11, 11), (11, 9)]
    assert all(lit.items[place] == ZAP for place in beam) and (lit.items == ZAP).sum() == 4
    stopped, _ = table.step(lit, STAY, 3)
    assert cell(stopped, 1) == (11, 12) and not (stopped.items == ZAP).any()
    gone, _ = table.step(stopped, STAY, 3)
    assert cell(gone, 1) == (11, 11)


def test_the_last_step_pays_nothing(table: Table) -> None:
    for t, last in ((998, False), (999, True)):
        after, outcome = table.step(table.scene([(3, 7)], t=np.int32(t)), NORTH)
        assert after.eaten[0] == 1 and bool(outcome.terminated) == last
        assert outcome.reward[0] == (0.0 if last else 7.0) and not outcome.truncated


def test_options() -> None:
    """Common rewards, an end by truncation that pays, and another map."""
    little = Table(
        map="small",
        num_agents=3,
        reward="common",
        max_steps=9,
        last_step_pays=True,
        time_limit_is_termination=False,
    )
    state = little.scene([(1, 1), (5, 0), (5, 1)], t=np.int32(8))
    _, outcome = little.step(state, 3)
    assert outcome.reward.tolist() == [1.0, 1.0, 1.0]
    assert outcome.truncated and not outcome.terminated


def test_draws(table: Table) -> None:
    """Everybody wins a cell as often; headings are of three kinds; growth is uniform."""
    draw = jax.jit(jax.vmap(lambda key: table.env.draws(key, table.opening)))
    drawn = jax.device_get(draw(jax.random.split(KEY, 4000)))
    first = np.bincount(drawn.priority.argmax(axis=1), minlength=7) / 4000
    assert (np.abs(first - 1 / 7) < 0.03).all()
    assert abs((drawn.priority[:, 0] > drawn.priority[:, 1]).mean() - 0.5) < 0.04
    heading = np.bincount(drawn.heading.ravel(), minlength=3) / 28_000
    assert (np.abs(heading - 1 / 3) < 0.01).all()
    assert abs((drawn.grow < 0.025).mean() - 0.025) < 0.002 and drawn.grow.min() >= 0 and drawn.grow.max() < 1
    filled = np.bincount(drawn.order.argmin(axis=1), minlength=60) / 4000
    assert (np.abs(filled - 1 / 60) < 0.01).all()


def test_published_maps() -> None:
    closed, partnership = (make(f"commons/harvest-{name}") for name in ("closed", "partnership"))
    for env in (closed, partnership):
        items = env.opening_items()
        assert items.shape == (16, 22) and (items == APPLE).sum() == 64 and len(env.spawns) == 19
    walls = closed.opening_items() == WALL
    assert walls[:10, 10:12].all() and not walls[10, [9, 12]].any() and walls[12, 2:20].all()
    assert not (partnership.opening_items()[:6, 10:12] == WALL).any()


# Bots -----------------------------------------------------------------------------------------------------


class Always(Scripted):
    def __init__(self, action: int) -> None:
        self.action = action

    def choose(self, key: Any, observation: Any, state: Any) -> Any:
        return jnp.full(observation.alive.shape, self.action, jnp.int32)


def test_teams(table: Table) -> None:
    seen = Observation(view=(), action_mask=(), alive=jnp.ones((2, 5), bool))
    assert Team(Always(3), Always(6), 2).choose(KEY, seen, None).tolist() == [[3, 3, 6, 6, 6]] * 2
    named = table.env.scripted_policies()
    assert set(named) == {"scripted", "greedy", "restrained", *(f"restrained-{k}" for k in range(1, 7))}
    assert named["restrained-2"]().count == 2 and named["scripted"]() is not named["greedy"]()


def test_restraint_pays_if_all_show_it() -> None:
    """Three on the small map, four episodes each; one that does not refrain takes most of little."""
    env = make("commons/harvest-open", map="small", num_agents=3, view_ahead=5, view_side=3)
    policies = [env.scripted_policies()[name]() for name in ("restrained", "greedy")]

    @jax.jit
    @jax.vmap
    def play(restrained: Any, key: Any) -> Any:
        def one(carry: Any, key: Any) -> Any:
            state, seen = carry
            both = [policy.act(key, (), seen)[1] for policy in policies]
            state, timestep = env.step(key, state, jnp.where(restrained, *both))
            return (state, timestep.observation), None

        state, timestep = env.reset(key)
        (state, _), _ = jax.lax.scan(one, (state, timestep.observation), jax.random.split(key, 300))
        return state.eaten

    kinds = np.array([[True, True, True], [False, False, False], [False, True, True]])
    eaten = np.asarray(play(np.repeat(kinds, 4, axis=0), jax.random.split(KEY, 12)))
    everyone, nobody, one_greedy = eaten.reshape(3, 4, 3).sum(axis=1)
    assert everyone.sum() > 1.7 * nobody.sum() > 0
    assert one_greedy[0] > 1.5 * one_greedy[1:].max() and one_greedy.sum() < 0.6 * everyone.sum()
