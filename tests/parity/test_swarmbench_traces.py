"""Steps and resets recorded from SwarmBench itself: every public step, view and pushing board, exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_traces import reader

from shoal.envs.common.batching import batch_last
from shoal.envs.core import make
from shoal.envs.swarm.flocking.dynamics import distance, ring
from shoal.envs.swarm.grid import physics
from shoal.envs.swarm.grid.physics import MARGIN

pytestmark = [pytest.mark.parity, pytest.mark.traces]

COUNTS = {"pursuit": 1660, "synchronization": 1620, "foraging": 1620, "flocking": 1890, "transport": 2157}
AGENTS, SIDE, VIEW, VOCABULARY = 12, 10, 5, 8
# Column of each recorded view code among the nine layers of a window; agents have codes of their own.
LAYERS = {1: 0, 6: 1, 3: 4, 4: 5, 5: 6, 2: 7}
PLAIN, DOLLAR, ALL_CODES = 32, 64, 128
Rows = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def recorded(traces_dir: Path) -> Callable[[str], Rows]:
    return reader(traces_dir, "swarmbench")


@pytest.fixture(scope="module", params=COUNTS)
def played(request: pytest.FixtureRequest, recorded: Callable[[str], Rows]) -> Any:
    """Task, its recorded rows, our states before and after each step, outcomes, and both observations."""
    task = request.param
    rows = recorded(task)
    env = make(f"swarm/{task}")
    count = len(rows["state_r"])

    def blank(shapes: Any) -> Any:
        return jax.tree.map(lambda x: jnp.zeros((count, *x.shape), x.dtype), shapes)

    key = jax.random.key(0)
    shapes, _ = jax.eval_shape(env.reset, key)
    params = jax.tree.map(lambda x: jnp.broadcast_to(x, count), env.params)
    before = blank(shapes).replace(params=params, **entries(task, rows))
    draws = blank(jax.eval_shape(env.draws, key, shapes))  # only a capture in pursuit draws anything
    if task == "pursuit":
        cells = rows["draw_respawn"]
        draws = draws._replace(task=type(draws.task)(i=cells[..., 0], j=cells[..., 1]))
    action = np.stack([rows["action"], rows["token"]], axis=-1)
    after, outcome = jax.jit(jax.vmap(env.dynamics))(before, action, draws)
    observe = jax.jit(jax.vmap(env.observe))
    seen = observe(before), observe(after)
    return task, rows, *jax.device_get((before, after, outcome, seen))


def entries(task: str, rows: Rows) -> dict[str, Any]:
    """What the recorded rows say of a state, by our names."""
    found: dict[str, Any] = {
        "i": rows["state_pos"][..., 0],
        "j": rows["state_pos"][..., 1],
        "alive": rows["state_alive"],
        "flag": rows["state_flag"],
        "token": rows["state_msg"],
        "t": rows["state_r"],
        "score": points(task, rows["state_score"]),
    }
    if task == "pursuit":
        prey = rows["state_prey"]
        found |= {"prey_i": prey[:, 0], "prey_j": prey[:, 1], "prey_static": rows["state_prey_static"]}
    if task == "synchronization":
        found["last_sync"] = rows["state_last_sync"]
    if task == "flocking":
        names = {"distance": "dist", "start_distance": "d0", "best": "best"}
        found |= {ours: rows[f"state_{theirs}"].astype(np.float32) for ours, theirs in names.items()}
    if task in ("foraging", "transport"):
        found["board"] = rows["state_static"].astype(np.int8)
    if task == "transport":
        down, right = rows["state_box_off"].T
        found |= {"box": boxes(rows["state_box_mask0"], down, right), "box_i": down, "box_j": right}
    return {name: jnp.asarray(value) for name, value in found.items()}


def points(task: str, score: np.ndarray) -> np.ndarray:
    """Scores in our units: the paper counts half a point for a cell in flocking, its code a whole one."""
    return (score * (0.5 if task == "flocking" else 1.0)).astype(np.float32)


def boxes(start: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Boxes moved from their start, on boards with a margin; one that is further away is gone."""
    found = np.pad(start, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    for row, (i, j) in enumerate(zip(down, right, strict=True)):
        found[row] = np.roll(found[row], (i, j), (0, 1)) if max(abs(i), abs(j)) <= MARGIN else False
    return found


def test_all_rows_are_there(played: Any) -> None:
    task, rows, *_ = played
    assert len(rows["state_r"]) == COUNTS[task]


def test_steps(played: Any) -> None:
    """Integers and booleans exactly, floats to 1e-6."""
    task, rows, _, after, outcome, _ = played
    exact = {
        "i": rows["next_pos"][..., 0],
        "j": rows["next_pos"][..., 1],
        "alive": rows["next_alive"],
        "flag": rows["next_flag"],
        "token": rows["next_msg"],
        "t": rows["next_r"],
    }
    if task == "pursuit":
        prey = rows["next_prey"]
        exact |= {"prey_i": prey[:, 0], "prey_j": prey[:, 1], "prey_static": rows["next_prey_static"]}
    if task == "synchronization":
        exact["last_sync"] = rows["next_last_sync"]
    if task == "flocking":
        exact |= {"distance": rows["next_dist"], "start_distance": rows["next_d0"], "best": rows["next_best"]}
    if task == "transport":
        down, right = rows["next_box_off"].T
        exact |= {"box_i": down, "box_j": right}
    for name, expected in exact.items():
        np.testing.assert_array_equal(getattr(after, name), expected, err_msg=name)
    np.testing.assert_array_equal(outcome.terminated, rows["terminated"])
    np.testing.assert_array_equal(outcome.truncated, rows["truncated"])
    left = rows["state_alive"] & ~rows["next_alive"]
    np.testing.assert_array_equal(outcome.agent_done, left)
    np.testing.assert_allclose(after.score, points(task, rows["next_score"]), rtol=0, atol=1e-6)
    np.testing.assert_allclose(outcome.reward, points(task, rows["reward"]), rtol=0, atol=1e-6)
    assert rows["reward"].any(), "some steps score"


@pytest.mark.parametrize("when", ["obs", "next_obs"])
def test_views(played: Any, when: str) -> None:
    task, rows, before, after, _, seen = played
    state, observation = (before, seen[0]) if when == "obs" else (after, seen[1])
    cells = VIEW * VIEW * 9
    windows = observation.view[..., :cells].reshape(-1, AGENTS, VIEW, VIEW, 9)
    expected = layers(rows[f"{when}_view"], task in ("synchronization", "foraging"))
    present = state.alive
    np.testing.assert_array_equal(windows[present], expected[present])
    assert not observation.view[~present].any(), "those who have left see nothing"
    audible = rows[f"{when}_heard"]
    words = [(audible & (state.token == word)[:, None, :]).sum(axis=-1) for word in range(1, VOCABULARY)]
    heard = np.stack([np.zeros_like(words[0]), *words], axis=-1) / AGENTS
    first = cells + 5
    np.testing.assert_allclose(
        observation.view[..., first : first + VOCABULARY][present], heard[present], rtol=0, atol=1e-6
    )


def layers(codes: np.ndarray, shows_flags: bool) -> np.ndarray:
    """Recorded codes as nine layers of ones and zeros; others' flags only where they can be seen."""
    found = np.zeros((*codes.shape, 9), np.float32)
    for code, layer in LAYERS.items():
        found[..., layer] = codes == code
    agent, plain = codes >= PLAIN, (codes >= PLAIN) & (codes < DOLLAR)
    found[..., 2] = plain if shows_flags else agent
    found[..., 3] = agent & ~plain & shows_flags
    found[:, :, VIEW // 2, VIEW // 2] = np.eye(9)[8]
    return found


def test_pushing_boards(recorded: Callable[[str], Rows]) -> None:
    """Crowded boards, with and without a box, some of it beyond the edge: where all end after four passes."""
    rows = recorded("physics")
    boards, most = rows["action"].shape
    assert boards > 1000
    present = np.arange(most) < rows["n_agents"][:, None]
    start, end = rows["pos_pass"][:, 0], rows["pos_pass"][:, -1]
    mask = np.zeros((boards, SIDE + 2 * MARGIN, SIDE + 2 * MARGIN), bool)
    used = np.arange(rows["box_cells"].shape[1]) < rows["box_n"][:, None]
    board, cell = np.nonzero(used)
    i, j = rows["box_cells"][board, cell].T
    mask[board, i + MARGIN, j + MARGIN] = True
    bodies = physics.Bodies(
        jnp.asarray(start[..., 0]),
        jnp.asarray(start[..., 1]),
        jnp.asarray(present),
        jnp.asarray(np.maximum(rows["action"], 0)),
    )
    zeros = jnp.zeros(boards, jnp.int32)
    program = jax.jit(jax.vmap(batch_last(physics.push_with_box)))
    after, crate = program(
        bodies, jnp.asarray(rows["static"] > 0), physics.Crate(jnp.asarray(mask), zeros, zeros)
    )
    np.testing.assert_array_equal(np.stack([after.i, after.j], axis=-1)[present], end[present])
    np.testing.assert_array_equal(np.stack([crate.i, crate.j], axis=-1), rows["box_off_pass"][:, -1])
    assert rows["offmap_contact"].sum() > 5, "boards where the box beyond the edge matters are among them"


# Resets ---------------------------------------------------------------------------------------------------

RESETS = 2048


@pytest.fixture(scope="module")
def resets(recorded: Callable[[str], Rows]) -> Callable[[str], tuple[Rows, Any]]:
    """The recorded resets, and as many levels of ours as the test takes."""
    rows = recorded("resets")

    def draw(scenario: str) -> tuple[Rows, Any]:
        env = make(f"swarm/{scenario}")
        keys = jax.random.split(jax.random.key(7), RESETS)
        levels = jax.jit(jax.vmap(lambda key: env.sample_level(key, env.params)))(keys)
        return rows, jax.device_get(levels)

    return draw


def occupancy(i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, int]:
    """How often each cell was occupied, [10, 10], and out of how many resets."""
    counts = np.zeros((SIDE, SIDE), int)
    np.add.at(counts, (np.ravel(i), np.ravel(j)), 1)
    return counts, len(i)


def expect_alike(ours: tuple[np.ndarray, int], theirs: tuple[np.ndarray, int]) -> None:
    """Two counts of how often each of several events happened: within four standard errors."""
    (a, n), (b, m) = ours, theirs
    assert not a[b == 0].any() and not b[a == 0].any(), "what one never has, the other never has"
    share = (a + b) / (n + m)
    error = np.sqrt(share * (1 - share) * (1 / n + 1 / m))
    off = np.abs(a / n - b / m) > 4.0 * error
    assert not off.any(), (np.argwhere(off).tolist(), (a / n)[off], (b / m)[off])


def positions(rows: Rows, task: str) -> tuple[np.ndarray, np.ndarray]:
    return rows[f"{task}_pos"][..., 0], rows[f"{task}_pos"][..., 1]


def test_pursuit_resets(resets: Any) -> None:
    rows, ours = resets("pursuit")
    expect_alike(occupancy(ours.i, ours.j), occupancy(*positions(rows, "pursuit")))
    prey = rows["pursuit_prey"]
    expect_alike(occupancy(ours.prey_i, ours.prey_j), occupancy(prey[:, 0], prey[:, 1]))


def test_synchronization_resets(resets: Any) -> None:
    rows, ours = resets("synchronization")
    expect_alike(occupancy(ours.i, ours.j), occupancy(*positions(rows, "synchronization")))
    lit = rows["synchronization_flag"]
    expect_alike((ours.light.sum(axis=0), RESETS), (lit.sum(axis=0), len(lit)))
    # Lights are drawn one by one: the number that is lit spreads as much.
    many = np.arange(13)[:, None]
    alike = [((x.sum(axis=1) == many).sum(axis=1)[2:11], len(x)) for x in (ours.light, lit)]
    expect_alike(*alike)


def test_flocking_resets(resets: Any) -> None:
    rows, ours = resets("flocking-random")
    expect_alike(occupancy(ours.i, ours.j), occupancy(*positions(rows, "flocking")))
    program = jax.jit(jax.vmap(batch_last(lambda i, j: distance(i, j, ring(AGENTS), True))))
    np.testing.assert_array_equal(program(*positions(rows, "flocking")), rows["flocking_d0"])
    d0, found = rows["flocking_d0"], np.asarray(program(ours.i[:700], ours.j[:700]))
    error = np.hypot(d0.std() / np.sqrt(len(d0)), found.std() / np.sqrt(len(found)))
    assert abs(d0.mean() - found.mean()) < 4.0 * error


def test_the_start_of_all_published_flocking_runs(recorded: Callable[[str], Rows]) -> None:
    rows = recorded("resets")
    env = make("swarm/flocking")
    level = env.sample_level(jax.random.key(3), env.params)
    np.testing.assert_array_equal(np.stack([level.i, level.j], axis=1), rows["flocking_fixed_pos"])


@pytest.mark.parametrize("task", ["foraging", "transport"])
def test_resets_with_walls(resets: Any, task: str) -> None:
    """Layouts are the same set, as often, and agents stand anywhere free in each."""
    rows, ours = resets(task)
    theirs, mine = [rows[f"{task}_static"]], [ours.board.astype(np.int32)]
    if task == "transport":
        theirs.append(rows["transport_box_mask0"])
        mine.append(ours.box[:, MARGIN:-MARGIN, MARGIN:-MARGIN])
        assert ours.box.sum(axis=(1, 2)).tolist() == [13] * RESETS, "no cell of a box opens outside"
    number: dict[bytes, int] = {}
    kinds = []
    for parts in (theirs, mine):
        whole = np.stack([np.asarray(part, np.int8) for part in parts], axis=1)
        kinds.append(np.array([number.setdefault(one.tobytes(), len(number)) for one in whole]))
    layouts = {"foraging": 4, "transport": 8}[task]
    assert len(number) == layouts == len(set(kinds[0])) == len(set(kinds[1]))
    expect_alike(*[(np.bincount(kind, minlength=layouts), len(kind)) for kind in reversed(kinds)])
    i, j = positions(rows, task)
    for layout in range(layouts):
        was, is_ = kinds[0] == layout, kinds[1] == layout
        expect_alike(occupancy(ours.i[is_], ours.j[is_]), occupancy(i[was], j[was]))
