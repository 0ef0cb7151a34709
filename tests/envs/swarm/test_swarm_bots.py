"""The scripted swarms: what they score, that actions are legal in every form, and the ways they walk."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.envs.core import UserError, make
from shoal.envs.swarm.foraging import lanes, levels
from shoal.envs.swarm.grid import paths, types
from shoal.envs.swarm.grid.bots import acted
from shoal.envs.swarm.grid.physics import DOWN, LEFT, RIGHT, STAY, UP, Bodies, push
from shoal.envs.swarm.grid.types import FOOD, NEST
from shoal.envs.swarm.synchronization import bots as lights

POLICIES = {
    "swarm/pursuit": ("slots", "greedy"),
    "swarm/synchronization": ("clock", "vote"),
    "swarm/foraging": ("conveyor",),
    "swarm/flocking": ("assign", "slot"),
    "swarm/transport": ("two-team",),
}
EACH = [(id, name) for id, names in POLICIES.items() for name in names]
FORMS: dict[str, dict[str, Any]] = {
    "two": {},
    "joint": {"joint_actions": True},
    "silent": {"vocabulary": 0},
}
LOCAL = ("clock", "vote", "slot")  # they read views, the others the state
WORLDS = 48


@functools.cache
def step_of(id: str) -> tuple[Any, Callable[..., Any]]:
    """Returns an environment and its step for a batch of worlds, compiled once for all policies."""
    env = make(id)
    return env, jax.jit(jax.vmap(env.step))


def play(id: str, name: str, opens: str | None = None) -> dict[str, np.ndarray]:
    """Plays whole episodes and returns their metrics; every action must be legal.

    Args:
        id: whose step is taken.
        name: of the policy.
        opens: whose levels are played, where the step does not depend on them.
    """
    env, step = step_of(id)
    policy = env.scripted_policies()[name]()
    start = make(opens) if opens else env

    @jax.jit
    def act(key: jax.Array, timestep: Any, state: Any) -> tuple[jax.Array, jax.Array]:
        given = state if policy.needs_state else None
        _, action = policy.act(key, (), timestep.observation, given)
        legal = [
            jnp.all(jnp.take_along_axis(mask, action[..., k : k + 1], axis=-1))
            for k, mask in enumerate(timestep.observation.action_mask)
        ]
        return action, jnp.all(jnp.stack(legal))

    @jax.jit
    @jax.vmap
    def reset(key: jax.Array) -> tuple[Any, Any]:
        return env.reset(key, level=start.sample_level(key, start.params))

    keys = jax.random.split(jax.random.key(7), WORLDS)
    state, timestep = reset(keys)
    done, found = np.zeros(WORLDS, bool), {}
    for t in range(env.options.max_steps):
        action, legal = act(jax.random.fold_in(jax.random.key(8), t), timestep, state)
        assert legal
        state, timestep = step(jax.vmap(jax.random.fold_in, (0, None))(keys, t), state, action)
        ends = np.asarray(timestep.terminated | timestep.truncated) & ~done
        for metric, value in timestep.metrics.items():
            found[metric] = np.where(ends, np.asarray(value), found.get(metric, np.nan))
        done |= ends
        if done.all():
            break
    assert done.all()
    return found


def test_four_around_the_prey_and_the_rest_apart() -> None:
    assert play("swarm/pursuit", "slots")["score"].mean() > 50  # 66 +- 14; all twelve around it: 23
    greedy = play("swarm/pursuit", "greedy")["score"].mean()
    assert 3 < greedy < 10  # 6 +- 6, in the spec's measurement 5.7 +- 4.9


def test_the_clock_scores_every_round() -> None:
    # In the hard task's view, which shows neither time nor number.
    found = play("swarm/synchronization-hard", "clock", "swarm/synchronization")
    assert (found["score"] == 100).all()


def test_votes_stand_flips_and_late_starts() -> None:
    score = play("swarm/synchronization-hard", "vote")["score"]
    assert score.mean() > 60  # 65 +- 6; the clock scores 0
    assert score.min() > 40


def test_the_conveyor_never_stops() -> None:
    score = play("swarm/foraging", "conveyor")["score"]
    assert score.min() >= 35  # 37.4 +- 0.5 over all four layouts


def test_every_square_is_formed() -> None:
    found = play("swarm/flocking-random", "assign")
    assert (found["score_ratio"] == 1).all() and (found["distance"] == 0).all()
    published = play("swarm/flocking-random", "assign", "swarm/flocking")
    assert (published["score"] == 12).all()
    slot = play("swarm/flocking-random", "slot", "swarm/flocking")["score"].mean()
    assert 9.5 < slot < 12  # 10.5 +- 1, in the spec's measurement 10.8


def test_two_teams_push_the_box_out_and_leave() -> None:
    for opens, least in (("swarm/transport", 10.0), ("swarm/transport-easy", 10.5)):
        found = play("swarm/transport", "two-team", opens)
        assert (found["all_left"] == 1).all()
        assert found["score"].mean() > least  # 10.4 and 10.9, +- 0.2


@functools.cache
def opening_of(id: str, form: str, view: str) -> tuple[Any, Any, Any]:
    """Returns an environment and the shapes of what its reset returns."""
    env = make(id, view=view, **FORMS[form])
    return env, *jax.eval_shape(env.reset, jax.random.key(0))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("batch", [(), (3, 2)])
@pytest.mark.parametrize(("id", "name"), EACH)
def test_actions_fit_every_form_and_batch(id: str, name: str, batch: tuple[int, ...], form: str) -> None:
    for view in ("flat", "grid") if name in LOCAL and form == "two" else ("flat",):
        env, *opening = opening_of(id, form, view)
        state, timestep = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((*batch, *leaf.shape), leaf.dtype), tuple(opening)
        )
        policy = env.scripted_policies()[name]()
        given = state if policy.needs_state else None
        assert policy.needs_state != (name in LOCAL)
        action = jax.eval_shape(policy.choose, jax.random.key(0), timestep.observation, given)
        assert action.shape == (*batch, env.num_agents, *env.action_space.shape)
        assert action.dtype == jnp.int32


@pytest.mark.parametrize("form", FORMS)
def test_forms_say_the_same_and_the_dead_stay(form: str, strict_numerics: None) -> None:
    options = types.Options(**FORMS[form])
    alive = jnp.array([True, False, True])
    legal = alive[:, None] | (jnp.arange(6) == 0)[None]
    words = alive[:, None] | (jnp.arange(8) == 0)[None]
    masks = {
        "two": (legal, words),
        "joint": (legal[:, :, None] & words[:, None]).reshape(3, 48),
        "silent": legal,
    }
    action = acted(options, jnp.array([4, 3, 1], jnp.int32), masks[form])
    expected = {"two": [[4, 0], [0, 0], [1, 0]], "joint": [32, 0, 8], "silent": [4, 0, 1]}
    assert action.tolist() == expected[form]


def test_steps_are_those_of_a_breadth_first_search(strict_numerics: None) -> None:
    for board in levels.layouts(15, 15):
        near = [
            np.logical_or.reduce([np.roll(board == kind, s, a) for s in (1, -1) for a in (0, 1)])
            for kind in (FOOD, NEST)
        ]
        goals = np.stack(near) & (board == 0)[None]
        steps = np.asarray(paths.steps_to(jnp.asarray(goals), jnp.asarray(board == 0)))
        expected = levels.distances(board)
        walked = expected < levels.FAR
        assert (steps[walked] == expected[walked]).all() and (steps[~walked] == paths.FAR).all()


def test_lines_move_up_together_and_nobody_is_pushed(strict_numerics: None) -> None:
    i, j = jnp.array([4, 4, 4, 2], jnp.int32), jnp.array([2, 3, 4, 5], jnp.int32)
    cost = jnp.full((4, paths.MOVES), jnp.inf).at[:3, RIGHT].set(0.0).at[3, DOWN].set(0.0)
    order = jnp.array([0, 1, 2, 3], jnp.int32)
    everybody = jnp.ones(4, bool)
    # In two sweeps, rear first, the front moves, then the next; front first all do.
    assert paths.claim(i, j, everybody, cost, order).tolist() == [STAY, RIGHT, RIGHT, DOWN]
    front_first = jnp.array([2, 1, 0, 3], jnp.int32)
    assert paths.claim(i, j, everybody, cost, front_first).tolist() == [RIGHT, RIGHT, RIGHT, DOWN]
    # Two want one cell: the first has it.
    cost = jnp.full((4, paths.MOVES), jnp.inf).at[2, UP].set(0.0).at[3, LEFT].set(0.0)
    two = (jnp.array([4, 4, 3, 2], jnp.int32), jnp.array([2, 3, 4, 5], jnp.int32))
    assert paths.claim(*two, everybody, cost, order).tolist() == [STAY, STAY, UP, STAY]
    # Whoever leaves in a later pass is still there.
    cost = jnp.full((4, paths.MOVES), jnp.inf).at[0, RIGHT].set(0.0).at[1, UP].set(0.0)
    assert paths.claim(i, j, everybody, cost, order).tolist() == [RIGHT, UP, STAY, STAY]
    column = (jnp.array([5, 4, 8, 8], jnp.int32), jnp.array([3, 3, 2, 5], jnp.int32))
    cost = jnp.full((4, paths.MOVES), jnp.inf).at[0, UP].set(0.0).at[1, RIGHT].set(0.0)
    assert paths.claim(*column, everybody, cost, order).tolist() == [STAY, RIGHT, STAY, STAY]


def test_claims_come_true() -> None:
    """On crowded boards everybody ends where it chose to go."""
    walls = np.ones((8, 8), np.int32)
    walls[1:-1, 1:-1] = 0
    board = jnp.asarray(walls)

    @jax.jit
    @jax.vmap
    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        cell = jax.random.permutation(key, 36)[:20].astype(jnp.int32)
        i, j = 1 + cell // 6, 1 + cell % 6
        everybody = jnp.ones(20, bool)
        cost = jax.random.uniform(key, (20, paths.MOVES)).at[:, STAY].set(1.0)
        cost = jnp.where(paths.around(board, i, j, 1) > 0, jnp.inf, cost)
        chosen = paths.claim(i, j, everybody, cost, jnp.arange(20, dtype=jnp.int32))
        after = push(Bodies(i, j, everybody, chosen), board > 0)
        down = (chosen == DOWN).astype(jnp.int32) - (chosen == UP)
        right = (chosen == RIGHT).astype(jnp.int32) - (chosen == LEFT)
        return jnp.all((after.i == i + down) & (after.j == j + right)), jnp.mean(chosen > 0)

    true, moving = one(jax.random.split(jax.random.key(0), 500))
    assert true.all() and moving.mean() > 0.5


@pytest.mark.parametrize(("side", "length"), [(10, 28), (20, 116)])
def test_lanes_touch_food_and_nest_and_share_their_ends(side: int, length: int) -> None:
    for board in levels.layouts(side, side):
        circuit = lanes.circuit(board)
        assert circuit is not None
        out, back = circuit
        assert out[0] == back[-1] and out[-1] == back[0]
        cells = out[1:-1] + back
        assert len(set(cells)) == len(cells) == length
        assert all(board[cell] == 0 for cell in cells)
        for way in circuit:
            steps = np.abs(np.diff(np.array(way), axis=0)).sum(axis=1)
            assert (steps == 1).all()
        for end, kind in ((out[0], FOOD), (out[-1], NEST)):
            around = [board[end[0] + di, end[1] + dj] for di, dj in ((1, 0), (-1, 0), (0, 1), (0, -1))]
            assert kind in around


def test_policies_say_what_they_cannot_do() -> None:
    with pytest.raises(UserError, match="no room for two lanes"):
        make("swarm/foraging", height=9, width=9).scripted_policies()["conveyor"]()
    with pytest.raises(UserError, match="agent_id"):
        make("swarm/flocking", agent_id=False).scripted_policies()["slot"]()


def test_blocks_hold_everybody_and_hearts_see_all() -> None:
    assert lights.block(12, 8, 8, 2) == (3, 4) or lights.block(12, 8, 8, 2) == (4, 3)
    assert lights.block(8, 8, 8, 2) == (3, 3)
    assert (
        lights.heart(3, 4, 2).sum() == 6 and lights.heart(3, 3, 2).all() and not lights.heart(3, 4, 1).any()
    )
