"""What agents see, hear and may do: windows, numbers, range, noise, masks, and actions that are none."""

from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_swarms import HEARD, KEY, NUMBERS, WORDS, Game, game, heard, places

from shoal.envs.core.spaces import Discrete, MultiDiscrete
from shoal.envs.swarm.grid import messages
from shoal.envs.swarm.grid.physics import DOWN, PRIMITIVES, RIGHT, STAY, SWITCH, UP
from shoal.envs.swarm.grid.types import Options, Params, Post


@pytest.fixture(scope="module")
def lights() -> Game:
    return game("synchronization", num_agents=3)


# Range ------------------------------------------------------------------------------------------------------


def test_tokens_are_heard_two_cells_away_diagonals_as_one(lights: Game) -> None:
    state = lights.state([(4, 4), (6, 6), (7, 4)])
    _, timestep = lights.play(state, {}, {0: 3, 1: 5})
    expected = np.zeros((3, WORDS))
    expected[0, [3, 5]] = expected[1, [3, 5]] = 1  # their own, too
    expected[2, 5] = 1
    np.testing.assert_allclose(heard(timestep.observation.view), expected, atol=1e-6)


def test_ranges_are_taken_after_the_moves_and_silence_is_not_heard(lights: Game) -> None:
    state = lights.state([(4, 4), (1, 8), (7, 4)])
    state, timestep = lights.play(state, {2: UP}, {0: 3})
    assert heard(timestep.observation.view)[2].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    state, timestep = lights.play(state, {})
    assert not heard(timestep.observation.view).any(), "heard once"
    state, timestep = lights.play(state, {2: DOWN}, {0: 3, 2: 3})
    assert heard(timestep.observation.view)[:, 3].tolist() == [1, 0, 1], "too far away by then"


def test_who_left_in_this_round_is_still_heard_near_the_gap() -> None:
    transport = game("transport")
    gone = np.zeros_like(transport.blank.box)
    state = transport.state({0: (9, 7), 1: (8, 7), 2: (7, 7)}, layout=0, box=gone)
    state, timestep = transport.play(state, {0: DOWN}, {0: 6, 2: 1})
    assert places(state)[0] == (10, 7)
    assert heard(timestep.observation.view)[:3, [1, 6]].tolist() == [[0, 0], [1, 1], [1, 0]]
    _, timestep = transport.play(state, {}, {0: 6})
    assert not heard(timestep.observation.view).any(), "later it says nothing"


@pytest.mark.parametrize("hearing", [0, 1, 4])
def test_the_range_can_be_other_than_that_of_the_view(hearing: int) -> None:
    world = game("synchronization", num_agents=3, message_range=hearing)
    state = world.state([(4, 4), (4, 5), (8, 8)], token=[1, 2, 3])
    expected = {0: [[1, 0, 0], [0, 1, 0], [0, 0, 1]], 1: [[1, 1, 0], [1, 1, 0], [0, 0, 1]], 4: None}
    counts = heard(world.observe(state).view)[:, 1:4]
    np.testing.assert_allclose(counts, expected[hearing] or [[1, 1, 1]] * 3, atol=1e-6)


# Noise ------------------------------------------------------------------------------------------------------

MANY = 20_000
NOISY = Options(num_agents=MANY, noisy_messages=True)


def sent(corruption: float, token: int) -> tuple[Post, Any]:
    """A round in which all of very many agents say the same; the post afterwards, and its noise."""
    noise = messages.draw(NOISY, jax.random.key(5))
    params = Params(corruption=jnp.float32(corruption))
    said = jnp.full(MANY, token, jnp.int32)
    return messages.send(NOISY, params, messages.empty_post(NOISY), said, noise), noise


def test_corruption_replaces_by_any_other_token() -> None:
    post, _ = sent(0.2, 3)
    counts = np.bincount(np.asarray(post.token[0]), minlength=WORDS)
    changed = MANY - counts[3]
    assert counts[0] == 0 and abs(changed - 0.2 * MANY) < 4 * np.sqrt(0.16 * MANY)
    others = np.delete(counts, [0, 3])
    assert (np.abs(others - changed / 6) < 4 * np.sqrt(changed / 6)).all(), "each other one as often"
    assert (np.bincount(sent(1.0, 7)[0].token[0], minlength=WORDS)[[0, 7]] == 0).all()
    assert (np.asarray(sent(0.0, 7)[0].token[0]) == 7).all()


def test_silence_stays_silent_and_a_lone_token_has_no_other() -> None:
    assert not np.asarray(sent(1.0, 0)[0].token[0]).any()
    two = Options(num_agents=4, vocabulary=2, noisy_messages=True)
    noise = messages.draw(two, KEY)
    said = jnp.asarray([0, 1, 1, 0], jnp.int32)
    post = messages.send(two, Params(corruption=jnp.float32(1.0)), messages.empty_post(two), said, noise)
    assert post.token[0].tolist() == [0, 1, 1, 0]


def test_delays_are_uniform_and_each_token_arrives_once() -> None:
    post, _ = sent(0.0, 3)
    silence, quiet = jnp.zeros(MANY, jnp.int32), messages.draw(NOISY, jax.random.key(6))
    arrivals = []
    for _ in range(8):
        arrivals.append(np.asarray(messages.delivered(post, silence) > 0).sum(axis=0))
        post = messages.send(NOISY, Params(corruption=jnp.float32(0.0)), post, silence, quiet)
    assert (np.sum(arrivals, axis=0) == 1).all(), "each exactly once"
    counts = np.array([arrived.sum() for arrived in arrivals])
    assert not counts[5:].any()
    assert (np.abs(counts[:5] - MANY / 5) < 4 * np.sqrt(MANY * 0.16)).all()


def test_noisy_tokens_reach_the_ears_late_but_all_of_them() -> None:
    """A whole environment: two neighbours say 1 and 2 in ten rounds, then are silent."""
    world = game("synchronization-noisy", num_agents=3, corruption=0.0)
    state = world.opening(KEY)
    cells = world.state([(4, 4), (4, 5), (8, 8)])
    state = state.replace(i=cells.i, j=cells.j)
    total, first = np.zeros((3, WORDS)), 0
    for r in range(15):
        spoken = [1, 2, 0] if r < 10 else [0, 0, 0]
        action = jnp.asarray([[STAY, token] for token in spoken], jnp.int32)
        state, timestep = world.step(jax.random.key(r), state, action)
        total += heard(timestep.observation.view)
        first += r == 0 and int(heard(timestep.observation.view).sum())
    np.testing.assert_allclose(total[:2, 1:3], 10.0, atol=1e-4)
    assert total.sum() == pytest.approx(40.0, abs=1e-3) and first < 4, "and some of them late"


# Views, numbers and state ---------------------------------------------------------------------------------


def test_the_numbers_beside_the_window() -> None:
    hunt = game("pursuit", num_agents=4)
    state = hunt.state(
        [(3, 6), (3, 7), (8, 1), (1, 1)], prey_i=5, prey_j=6, score=5.0, t=25, primitive=[RIGHT, UP, 0, 0]
    )
    view = np.asarray(hunt.observe(state).view)
    assert view.shape == (4, 225 + 5 + 8 + 6 + 4 + 1) == (4, *hunt.env.observation_space.shape)
    np.testing.assert_allclose(view[0, NUMBERS:HEARD], [3 / 9, 6 / 9, 0, 0.25, 0.2], atol=1e-6)
    rest = view[0, HEARD + WORDS :]
    assert rest.tolist() == [0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0], "last primitive, own number, no shape to form"
    window = view[0, :NUMBERS].reshape(5, 5, 9)
    assert np.argwhere(window).tolist() == [[2, 2, 8], [2, 3, 2], [4, 2, 4]], "self, a neighbour, the prey"
    corner = view[3, :NUMBERS].reshape(5, 5, 9)
    assert corner[0, :, 1].tolist() == [1] * 5 and corner[1, :, 0].tolist() == [0, 1, 1, 1, 1]
    assert game("flocking").observe(game("flocking").state([(2, 2)])).view[0, -1] == pytest.approx(0.4)


def test_views_on_a_grid_hold_the_same_numbers(lights: Game) -> None:
    cells, entries = [(4, 4), (4, 5), (8, 8)], {"flag": [True, False, True], "token": [1, 2, 3], "t": 50}
    flat = np.asarray(lights.observe(lights.state(cells, **entries)).view)
    world = game("synchronization", num_agents=3, view="grid")
    grid = np.asarray(world.observe(world.state(cells, **entries)).view)
    assert grid.shape == (3, 5, 5, 9 + flat.shape[1] - NUMBERS)
    np.testing.assert_array_equal(grid[..., :9].reshape(3, -1), flat[:, :NUMBERS])
    np.testing.assert_array_equal(
        grid[..., 9:], np.broadcast_to(flat[:, None, None, NUMBERS:], grid[..., 9:].shape)
    )


def test_time_and_number_can_be_hidden() -> None:
    hard = game("synchronization-hard", num_agents=3)
    view = np.asarray(hard.observe(hard.state([(2, 2), (5, 5), (8, 8)], t=50)).view)
    assert view.shape == (3, 225 + 5 + 8 + 6 + 1) and view[0, NUMBERS + 3] == 0


def test_global_state() -> None:
    hunt = game("pursuit", num_agents=4)
    state = hunt.state(
        {0: (3, 6), 2: (8, 1)},
        prey_i=5,
        prey_j=6,
        flag=[True] * 4,
        token=[7, 1, 0, 0],
        t=25,
        prey_static=True,
    )
    whole = np.asarray(jax.jit(hunt.env.global_state)(state))
    assert whole.shape == hunt.env.state_space.shape == (800 + 20 + 1 + 1,)
    cells = whole[:800].reshape(10, 10, 8)
    assert cells[..., 0].sum() == 36 and cells[3, 6].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert np.argwhere(cells[..., 4]).tolist() == [[5, 6]] and not cells[..., [1, 3, 5, 6, 7]].any()
    agents = whole[800:820].reshape(4, 5)
    np.testing.assert_allclose(agents[0], [3 / 9, 6 / 9, 1, 1, 1], atol=1e-6)
    assert not agents[1].any() and whole[820:].tolist() == [0.25, 1.0]


# Actions --------------------------------------------------------------------------------------------------


def test_masks_and_spaces(lights: Game) -> None:
    hunt = game("pursuit", num_agents=4)
    moving, talking = hunt.observe(hunt.state({0: (2, 2)})).action_mask
    assert moving.tolist() == [[True] * 5 + [False]] + [[True] + [False] * 5] * 3
    assert talking.sum(axis=1).tolist() == [8, 1, 1, 1] and talking[:, 0].all()
    assert lights.observe(lights.state([(2, 2)])).action_mask[0][0].all(), "lights can be switched"
    assert hunt.env.action_space == MultiDiscrete((PRIMITIVES, WORDS))
    silent = game("pursuit", num_agents=4, vocabulary=0)
    assert silent.env.action_space == Discrete(6)
    assert silent.env.observation_space.shape == (225 + 5 + 6 + 4 + 1,)
    assert silent.observe(silent.state({0: (2, 2)})).action_mask.shape == (4, 6)


LARGEST, SMALLEST = 2**31 - 1, -(2**31)


@pytest.mark.parametrize(
    ("primitive", "token"), [(SWITCH, 8), (6, 9), (-1, -1), (LARGEST, LARGEST), (SMALLEST, SMALLEST)]
)
def test_actions_that_are_none_stay_and_are_silent(primitive: int, token: int) -> None:
    hunt = game("pursuit", num_agents=4)
    state = hunt.state([(3, 3), (5, 5)], prey_i=8, prey_j=8)
    after, _ = hunt.play(state, {0: primitive, 1: RIGHT, 2: RIGHT}, {0: 4, 1: token, 2: 4})
    assert places(after)[:2] == [(3, 3), (5, 6)], "each half of an action by itself"
    assert after.primitive.tolist() == [STAY, RIGHT, STAY, STAY] and after.token.tolist() == [4, 0, 0, 0]


def test_joint_actions() -> None:
    both = game("synchronization", num_agents=3, joint_actions=True)
    assert both.env.action_space == Discrete(PRIMITIVES * WORDS)
    mask = both.observe(both.state({0: (4, 4), 1: (6, 6)})).action_mask
    assert mask.sum(axis=1).tolist() == [48, 48, 1] and mask[2, 0]
    state = both.state([(4, 4), (6, 6), (8, 8)])
    for action, primitive, token in (
        ([RIGHT * 8 + 3, SWITCH * 8 + 7, 5], [RIGHT, SWITCH, STAY], [3, 7, 5]),
        ([48, -1, 2**31 - 1], [STAY] * 3, [0] * 3),
    ):
        after, _ = both.transition(KEY, state, jnp.asarray(action, jnp.int32))
        assert after.primitive.tolist() == primitive and after.token.tolist() == token
    assert Counter(both.env.metadata.action_spaces) == {Discrete(48): 3}
