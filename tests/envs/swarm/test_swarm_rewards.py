"""What is paid: growth of the score, to all or to who earned it, and shaping that adds up to nothing new."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_swarms import KEY, Cell, Game, game

from shoal.envs.core import UserError, make
from shoal.envs.swarm.flocking.dynamics import ring
from shoal.envs.swarm.grid.physics import DOWN, RIGHT, SWITCH
from shoal.envs.swarm.transport import reward

SHAPED = {
    "pursuit": {"num_agents": 4},
    "synchronization": {"num_agents": 3},
    "foraging": {"num_agents": 4},
    "flocking": {},
    "transport": {},
}
ROUNDS, GAMMA = 24, 0.9


def shaped(task: str, **more: Any) -> Game:
    return game(task, reward="shaped", discount=GAMMA, **SHAPED[task], **more)


@pytest.mark.parametrize(
    ("task", "more"),
    [*((task, {}) for task in SHAPED), ("foraging", {"credit": "agent"})],
    ids=str,
)
def test_shaping_adds_up_to_the_difference_of_two_potentials(task: str, more: dict[str, Any]) -> None:
    """Discounted, what is paid beside the score is gamma^T times the last potential less the first one."""
    world = shaped(task, **more)
    env = world.env

    @jax.jit
    def play(opening: Any, actions: jax.Array) -> Any:
        def one(state: Any, action: jax.Array) -> Any:
            after, outcome = env.transition(KEY, state, action)
            growth = after.score - state.score
            earned = env.individual(state, after) if env.credits_agents() else growth
            return after, (outcome.reward - earned, env.shaped(state, after), after.potential)

        return jax.lax.scan(one, opening, actions)[1]

    opening = world.opening(jax.random.key(1))
    actions = np.random.default_rng(0).integers(0, 6, (ROUNDS, world.agents, 2)).astype(np.int32)
    extra, paid, potential = jax.device_get(play(opening, actions))
    assert paid.all(), "no capture in this short a play"
    added = np.sum(GAMMA ** np.arange(ROUNDS)[:, None] * extra, axis=0)
    expected = GAMMA**ROUNDS * potential[-1] - np.asarray(opening.potential)
    np.testing.assert_allclose(added, expected, atol=2e-5)
    assert np.ptp(potential) > 1e-3, "a potential that never moves shapes nothing"
    assert (np.ptp(potential, axis=1).max() > 0) == ("credit" in more)


# Potentials by hand ---------------------------------------------------------------------------------------


def potential(world: Game, state: Any) -> Any:
    return np.asarray(jax.jit(world.env.potential)(state))


def test_potential_of_pursuit() -> None:
    """A quarter of the blocked share of the prey's neighbours, less a quarter of the nearest agents' way."""
    hunt = shaped("pursuit")
    state = hunt.state([(7, 8), (5, 8), (1, 1), (8, 5)], prey_i=8, prey_j=8)
    way = np.mean([1, 3, 14, 3]) / 20
    assert potential(hunt, state) == pytest.approx(0.25 * 3 / 4 - 0.25 * way, abs=1e-6)


def test_a_capture_is_paid_without_shaping() -> None:
    hunt = shaped("pursuit")
    state = hunt.state([(7, 8), (8, 7), (1, 1), (1, 2)], prey_i=8, prey_j=8, potential=[0.2] * 4)
    after, outcome = hunt.advance(state, {})
    assert outcome.reward.tolist() == [1.0] * 4, "the prey is elsewhere now"
    assert after.potential[0] == pytest.approx(float(potential(hunt, jax.tree.map(jnp.asarray, after))))


@pytest.mark.parametrize(("last", "on"), [(-1, 2), (0, 2), (1, 1)])
def test_potential_of_synchronization(last: int, on: int) -> None:
    """A tenth of the share of lights that are as they should be: here two of three if on, one if off."""
    lights = shaped("synchronization")
    state = lights.state([(2, 2), (5, 5), (7, 7)], flag=[True, True, False], last_sync=last)
    assert potential(lights, state) == pytest.approx(0.1 * on / 3, abs=1e-6)


def forage_state(world: Game, cells: list[Cell], flags: list[bool]) -> Any:
    boards = world.env.layouts
    number = next(n for n, b in enumerate(boards) if b[1, 1] == 3 and b[7, 1] == 2)  # food above, nest below
    state = world.state(cells, board=boards[number], distance=world.env.distances[number], flag=flags)
    return state.replace(potential=jnp.broadcast_to(potential(world, state), (4,)))


def test_potential_of_foraging() -> None:
    """Half a point for a load, less half of the way to go over the longest one, around the wall."""
    own = shaped("foraging", credit="agent")
    state = forage_state(own, [(2, 3), (3, 3), (3, 1), (5, 1)], [False, False, True, True])
    longest = own.env.longest
    # At the food; a step away; with a load 6 + 2 + 6 steps away, and a step away from beside the nest.
    expected = [0.0, -0.5 / longest, 0.5 - 0.5 * 14 / longest, 0.5 - 0.5 * 1 / longest]
    np.testing.assert_allclose(potential(own, state), expected, atol=1e-6)
    team = shaped("foraging")
    assert potential(team, state) == pytest.approx(np.mean(expected), abs=1e-6)


def test_picking_up_is_not_punished() -> None:
    """The way ahead grows by a load's half point at most: only the discount takes from it."""
    own = shaped("foraging", credit="agent")
    for layout, distance in zip(own.env.layouts, own.env.distances, strict=True):
        beside = (distance[0] == 0) & (layout == 0)
        assert (0.5 - 0.5 * distance[1][beside] / own.env.longest >= 0.0).all()


def test_potential_of_flocking() -> None:
    flock = shaped("flocking")
    state = flock.opening(KEY)
    assert potential(flock, state) == pytest.approx(-0.25)
    assert potential(flock, state.replace(distance=jnp.float32(6.0))) == pytest.approx(-0.0625)


def test_potential_of_transport() -> None:
    """A twentieth for each of five in place, one if it pushed, a fifth for each push done; less the way."""
    world, own = shaped("transport"), shaped("transport", credit="agent")
    lanes = {0: (7, 4), 1: (6, 3), 2: (8, 2), 3: (5, 4), 4: (7, 1)}  # three in the lanes within three cells
    state = world.state(lanes, layout=0)
    assert potential(world, state) == pytest.approx(0.15 - 0.5 * (1 + 1) / 12 / 20, abs=1e-6)
    np.testing.assert_allclose(
        potential(own, state)[:5], 0.15 - 0.5 * np.array([0, 0, 0, 1, 1]) / 20, atol=1e-6
    )
    six = world.state([(6, 4), (7, 4), (8, 4), (6, 3), (7, 3), (8, 3)], layout=0)
    assert potential(world, six) == pytest.approx(0.25), "a sixth adds nothing"
    pushed = jnp.full(12, RIGHT, jnp.int32)
    assert potential(world, six.replace(primitive=pushed)) == pytest.approx(0.5)
    assert potential(world, six.replace(primitive=pushed.at[:2].set(DOWN))) == pytest.approx(0.45)
    gone = np.zeros_like(six.box)
    out = world.state({0: (8, 8), 1: (5, 6)}, layout=0, box=gone, box_i=4, box_j=1)
    # One step and four steps from the nearest cells of the gap; nothing for those who have left.
    assert potential(world, out) == pytest.approx(1.5 - 0.5 * (1 + 4) / 12 / 20, abs=1e-6)


@pytest.mark.parametrize(
    ("down", "right", "part"),
    [(0, 0, 0.0), (0, 1, 0.2), (2, 1, 0.6), (4, 1, 1.0), (5, 2, 1.0), (-1, -1, 0.0)],
)
def test_progress_of_the_box(down: int, right: int, part: float) -> None:
    """The first layout needs one push to the right and four down; a square box four down."""
    state = game("transport").state([(2, 2)], layout=0, box_i=down, box_j=right)
    assert float(reward.progress(state)) == pytest.approx(part)
    easy = game("transport-easy").state([(2, 2)], plan=[0, DOWN], box_i=down, box_j=right)
    assert float(reward.progress(easy)) == pytest.approx(np.clip(down, 0, 4) / 4)


def test_the_end_has_no_potential() -> None:
    flock = shaped("flocking")
    cells = [(int(i) + 3, int(j) + 3) for i, j in ring(12)]
    i, j = np.array(cells, np.int32).T
    state = flock.opening(KEY)
    after, outcome = flock.advance(state.replace(i=jnp.asarray(i), j=jnp.asarray(j)), {})
    assert outcome.terminated and not after.potential.any()
    np.testing.assert_allclose(outcome.reward, 12.0 + 0.25, atol=1e-6)


# Who is paid ---------------------------------------------------------------------------------------------


def test_a_delivery_can_be_paid_to_who_makes_it() -> None:
    own = game("foraging", num_agents=4, credit="agent", reward_scale=3.0)
    state = own.state([(6, 2), (7, 3), (6, 3), (1, 5)], board=own.env.layouts[0], flag=[True] * 4)
    board = np.asarray(state.board)
    at_nest = [
        bool((board[[i - 1, i + 1, i, i], [j, j, j - 1, j + 1]] == 2).any()) for i, j in [(6, 2), (7, 3)]
    ]
    after, outcome = own.advance(state, {})
    assert outcome.reward.tolist() == [3.0 * at for at in at_nest] + [0.0, 0.0]
    assert any(at_nest) and after.score == sum(at_nest)
    assert (
        own.env.metadata.team_reward == "sum"
        and game("foraging", num_agents=4).env.metadata.team_reward == "shared"
    )


def test_an_exit_can_be_paid_to_who_leaves() -> None:
    own = game("transport", credit="agent")
    gone = np.zeros_like(own.blank.box)
    state = own.state({0: (9, 7), 1: (9, 8), 2: (5, 5)}, layout=0, box=gone, t=20)
    _, outcome = own.advance(state, {0: DOWN, 1: DOWN, 2: RIGHT})
    np.testing.assert_allclose(outcome.reward, [0.8, 0.8] + [0.0] * 10, atol=1e-6)
    assert float(outcome.metrics["score"]) == pytest.approx(1.6)


def test_points_can_weigh_otherwise() -> None:
    lights = game("synchronization", num_agents=3, reward_scale=0.1)
    state = lights.state([(2, 2), (5, 5), (7, 7)], flag=[True, True, False], last_sync=-1)
    after, outcome = lights.advance(state, {2: SWITCH})
    np.testing.assert_allclose(outcome.reward, 0.1)
    assert after.score == 1


# Settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "overrides", "says"),
    [
        ("pursuit", {"view_size": 4}, "odd"),
        ("pursuit", {"num_agents": 26}, "at most 25"),
        ("synchronization", {"num_agents": 65}, "at most 64"),
        ("synchronization", {"closest": 3}, "at most 9: they open in a square of closest=3"),
        ("foraging", {"num_agents": 51}, "at most 50"),
        ("flocking", {"num_agents": 8}, "start='random'"),
        ("flocking", {"num_agents": 3, "start": "random"}, "at least 4"),
        ("transport", {"num_agents": 56}, "at most 55"),
        ("transport", {"box": "round"}, "square"),
        ("pursuit", {"thresold": "own"}, "threshold"),
        ("pursuit", {"vocabulary": -1}, "vocabulary"),
        ("foraging", {"corruption": 1.5}, "corruption"),
        ("pursuit", {"height": 5}, "height"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused_in_one_line(task: str, overrides: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        make(f"swarm/{task}", **overrides)
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("id", ["swarm/pursuit-20x20-n30", "swarm/foraging-hard", "swarm/flocking-hard"])
def test_larger_worlds_open_within_their_walls(id: str) -> None:
    world = make(id)
    level = jax.device_get(world.sample_level(jax.random.key(0), world.params))
    cells = set(zip(level.i.tolist(), level.j.tolist(), strict=True))
    side = world.options.height
    assert len(cells) == world.num_agents
    assert all(0 < i < side - 1 and 0 < j < side - 1 for i, j in cells)
