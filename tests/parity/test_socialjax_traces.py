"""Steps and resets recorded from SocialJax itself: every public step, in five ways to pay, and every view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_traces import Rows, reader

from shoal.envs.commons import social
from shoal.envs.commons.cleanup.types import CLEAN, DIRT
from shoal.envs.core import make

pytestmark = [pytest.mark.parity, pytest.mark.traces]

COUNTS = {"harvest-open": 3500, "harvest-partnership": 2200, "cleanup": 2850}
FILES = {"harvest-open": "harvest_open", "harvest-partnership": "harvest_partnership", "cleanup": "clean_up"}
REWARDS = {
    "common": "reward_common",
    "individual": "reward_individual",
    "svo": "reward_svo",
    "inequity": "reward_inequity",
    "transfer": "reward_interest",
}
AGENTS = 7


def stamped(task: str, state: Any) -> np.ndarray:
    """The board as recorded: agents cover what lies beneath them."""
    grid, rows = np.array(state.items, np.int32), np.arange(len(state.items))[:, None]
    first = 10 if task == "cleanup" else 6
    grid[rows, state.row, state.column] = first + np.arange(AGENTS)
    return grid


def bare(task: str, rows: Rows, env: Any, when: str) -> np.ndarray:
    """What lies on each cell, also beneath agents: they never stand on apples, walls or beams."""
    grid = rows[f"{when}_grid"]
    beneath = np.where(grid >= (10 if task == "cleanup" else 6), 0, grid)
    if task == "cleanup":
        dirt = rows[f"{when}_dirt_mask"]
        beneath[:, *env.area.T] = np.where(dirt, DIRT, CLEAN)
        river = env.layout.cells("~")
        beneath[:, *river.T] = 6
    return beneath.astype(np.int8)


class Played:
    """A game's recorded rows, and what our rules make of them."""

    def __init__(self, traces: Path, task: str) -> None:
        self.task, self.rows = task, reader(traces, "socialjax")(FILES[task])
        self.env, ours = make(f"commons/{task}", compat=("paper",)), make(f"commons/{task}")
        rows, self.count = self.rows, len(self.rows["action"])
        shapes, _ = jax.eval_shape(self.env.reset, jax.random.key(0))
        draws = self.blank(jax.eval_shape(self.env.draws, jax.random.key(0), shapes)).replace(
            grow=rows["draw_regrow_u"],
            priority=rows["draw_move_priority"],
            order=rows["draw_respawn_order"].astype(np.int32),
            heading=rows["draw_respawn_heading"],
        )
        if task == "cleanup":
            cell = rows["draw_dirt_cell"].astype(np.int32)
            draws = draws.replace(coin=rows["draw_dirt_coin"], cell=cell)

        @jax.jit
        @jax.vmap
        def step(before: Any, action: Any, draws: Any, recorded: Any) -> Any:
            default, _ = ours.dynamics(before, action, draws)
            return *self.env.dynamics(before, action, draws), self.env.observe(recorded).view, default

        before, recorded = (self.state(shapes, when) for when in ("before", "after"))
        out = step(before, rows["action"], draws, recorded)
        self.after, self.outcome, self.view, self.default = jax.device_get(out)

    def blank(self, tree: Any) -> Any:
        return jax.tree.map(lambda x: np.zeros((self.count, *x.shape), x.dtype), tree)

    def state(self, shapes: Any, when: str) -> Any:
        """The recorded states before or after the steps (where one was the last: after the reset)."""
        rows = self.rows
        return self.blank(shapes).replace(
            items=bare(self.task, rows, self.env, when),
            eaten=rows[f"{when}_agent_invs"][..., 0],
            t=rows[f"{when}_inner_t"],
            params=jax.tree.map(lambda x: np.broadcast_to(x, self.count), self.env.params),
            **places(rows[f"{when}_agent_locs"]),
            **places(rows[f"{when}_reborn_locs"], "next_"),
        )


@pytest.fixture(scope="module", params=COUNTS)
def played(request: pytest.FixtureRequest, traces_dir: Path) -> Played:
    return Played(traces_dir, request.param)


def places(locs: np.ndarray, prefix: str = "") -> dict[str, np.ndarray]:
    return {prefix + name: locs[..., k] for k, name in enumerate(("row", "column", "heading"))}


def expected(rows: Rows, name: str) -> np.ndarray:
    """What was recorded after the step, without the reset where it was the last one."""
    after = rows[f"after_{name}"].copy()
    after[rows["done_row"]] = rows[f"noreset_{name}"]
    return after


def test_all_rows_are_there(played: Played) -> None:
    rows, layout = played.rows, played.env.layout
    assert played.count == COUNTS[played.task]
    for name, marks in (
        ("apple", "a"),
        ("spawn", "P"),
        ("inside_spawn", "Q"),
        ("dirt", "dc"),
        ("river", "~"),
    ):
        if f"static_{name}_cells" in rows:
            np.testing.assert_array_equal(layout.cells(marks), rows[f"static_{name}_cells"])
    np.testing.assert_array_equal(layout.where("#"), rows["static_wall_mask"])


def test_steps(played: Played) -> None:
    """Everything in a step is a whole number, so all must be the same."""
    rows, after, outcome = played.rows, played.after, played.outcome
    np.testing.assert_array_equal(stamped(played.task, after), expected(rows, "grid"))
    for prefix, locs in (("", "agent_locs"), ("next_", "reborn_locs")):
        for name, value in places(expected(rows, locs), prefix).items():
            np.testing.assert_array_equal(getattr(after, name), value, err_msg=name)
    wrapped = after.eaten.astype(np.int8)
    for column in range(2):
        np.testing.assert_array_equal(wrapped, expected(rows, "agent_invs")[..., column])
    np.testing.assert_array_equal(after.t, expected(rows, "inner_t"))
    np.testing.assert_array_equal(outcome.terminated, rows["done"])
    assert not outcome.truncated.any()
    if played.task == "cleanup":
        dirt = after.items[:, *played.env.area.T] == DIRT
        np.testing.assert_array_equal(dirt, expected(rows, "dirt_mask"))
        np.testing.assert_array_equal(after.clean_time, rows["info_cleaned_water"])
    else:
        np.testing.assert_array_equal(outcome.metrics["apples_left"], rows["info_apple_count"])


def test_rewards(played: Played) -> None:
    rows, done = played.rows, played.rows["done_row"]
    np.testing.assert_array_equal(played.outcome.reward, rows["reward_individual"])
    assert not rows["reward_individual"][done].any() and rows["noreset_reward_individual"].any()
    own = (played.after.eaten - rows["before_agent_invs"][..., 0]).astype(np.float32)
    np.testing.assert_array_equal(AGENTS * own[done], rows["noreset_reward_individual"])
    for mode, name in REWARDS.items():
        paid = np.array(social.mix(mode, jnp.asarray(own.T), played.env.params).T)
        paid[done] = 0.0
        np.testing.assert_allclose(paid, rows[name], rtol=1e-6, atol=1e-6, err_msg=mode)


def test_views(played: Played) -> None:
    """Of the recorded states after each step, or after the reset that followed the last one."""
    np.testing.assert_array_equal(played.view, played.rows["obs"])


def test_beams_that_do_not_collide(played: Played) -> None:
    """Our default form is another one only where the recorded one hangs on the order of colliding writes."""
    rows = played.rows
    other = (played.default.items != played.after.items).any(axis=(1, 2))
    flagged = rows["flag_sprite_order"] | rows.get("flag_clean_order", False)
    np.testing.assert_array_equal(other, flagged)
    assert flagged.sum() > 20
    for name in ("row", "column", "heading", "next_row", "next_column", "next_heading", "eaten"):
        np.testing.assert_array_equal(getattr(played.default, name), getattr(played.after, name))


def test_resets(played: Played, traces_dir: Path) -> None:
    """What lies where is the same; agents open on the same cells, as often, within four standard errors."""
    env, first = played.env, 10 if played.task == "cleanup" else 6
    with np.load(traces_dir / "socialjax" / "resets.npz") as file:
        grid, locs = (file[f"{FILES[played.task]}_{name}"].astype(int) for name in ("grid", "agent_locs"))
    lying = env.opening_items()
    assert (np.where(grid >= first, lying, grid) == lying).all()
    draw = jax.jit(jax.vmap(lambda key: env.sample_level(key, env.params)))
    levels = jax.device_get(draw(jax.random.split(jax.random.key(5), 4000)))
    ours = np.stack([levels.row, levels.column, levels.heading], axis=-1)
    size = lying.size
    for agents in (slice(0, 1), slice(1, 2), slice(2, None)):  # the first two may have cells of their own
        found = []
        for x in (ours, locs):
            cell = (x[:, agents, 0] * lying.shape[1] + x[:, agents, 1]).ravel()
            found.append(
                (np.bincount(cell, minlength=size), np.bincount(x[:, agents, 2].ravel(), minlength=4))
            )
        for mine, theirs in zip(*found, strict=True):
            share = (mine + theirs) / (mine.sum() + theirs.sum())
            error = np.sqrt(share * (1 - share) * (1 / mine.sum() + 1 / theirs.sum()))
            assert (np.abs(mine / mine.sum() - theirs / theirs.sum()) <= 4.0 * error).all()
            assert ((mine > 0) == (theirs > 0)).all()
