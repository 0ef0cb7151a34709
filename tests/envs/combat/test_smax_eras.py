"""The rules of era B, worked out by hand: ghosts, raw views, where teams start."""

import jax
import numpy as np
import pytest

from shoal.envs.core import UserError, make

UP, RIGHT, ATTACK = 0, 1, 5
NEAR = {"abs": 1e-4}
STEP = 1.575  # how far a marine walks in a step


@pytest.fixture
def both(arena):
    return arena("3m", control="both", legacy="B")


@pytest.fixture
def scripted(arena):
    return arena("3m", legacy="B")


def with_a_dead_enemy(battle, place, goal):
    """Everybody far apart; enemy 0 is dead."""
    places = [(2, 2), (6, 2), (10, 2), place, (28, 2), (30, 8)]
    alive = [True, True, True, False, True, True]
    return battle.state(places, alive=alive, enemy_goal_x=[goal[0]] * 3, enemy_goal_y=[goal[1]] * 3)


@pytest.mark.parametrize(
    ("place", "goal", "reached"),
    [
        ((24, 16), (8, 16), (24, 16 + STEP)),  # it believes that it stands at the origin, and 16 > 8
        ((24, 16), (16, 8), (24 + STEP, 16)),
        ((24, 31.9), (8, 16), (24, 32)),
    ],
)
def test_a_dead_enemy_walks_as_if_from_the_origin(scripted, place, goal, reached):
    after, _ = scripted.step(with_a_dead_enemy(scripted, place, goal), {})
    assert (after.x[3], after.y[3]) == pytest.approx(reached, **NEAR)
    assert after.health[3] == 0 and after.enemy.target[0] == -1


def test_the_dead_push_and_are_pushed(both):
    places = [(10, 10), (10.5, 10)]
    after, _ = both.step(both.state(places, alive=[True, False, True, True, True, True]), {})
    assert (after.x[0], after.x[1]) == pytest.approx((9.875, 10.625), **NEAR)
    assert after.health.tolist() == [45, 0, 45, 45, 45, 45]


def test_a_ghost_shoves_the_living_into_the_wall(scripted):
    state = with_a_dead_enemy(scripted, (24, 30.8), (8, 16))
    state = state.replace(x=state.x.at[0].set(24.0), y=state.y.at[0].set(31.6))
    after, outcome = scripted.step(state, {})
    assert after.health.tolist() == [0, 45, 45, 0, 45, 45] and outcome.agent_done.tolist() == [
        True,
        False,
        False,
    ]


def test_a_dead_agent_does_not_steer_its_ghost(both):
    state = both.state([], alive=[True, False, True, True, False, True])
    after, _ = both.step(state, {1: UP, 4: RIGHT})
    for i in (1, 4):
        assert (after.x[i], after.y[i], after.move_x[i], after.move_y[i]) == (state.x[i], state.y[i], 0, 0)


def test_who_dies_within_a_step_walks_on_to_its_end(both):
    state = both.state([(10, 10), (2, 2), (6, 2), (10, 12)], health=[9, 45, 45, 45, 45, 45])
    after, _ = both.step(state, {0: RIGHT, 3: ATTACK + 2})
    assert after.health[0] == 0 and after.x[0] == pytest.approx(10 + STEP, **NEAR)


def test_views_hold_cooldowns_in_seconds_below_zero_too(both):
    state = both.units({0: (8, 16), 1: (9, 17 - STEP)}, cooldown=[0.8, 0, 0, 0, 0, 0])
    after, _ = both.step(state, {1: UP})
    view = np.asarray(both.look(after).view)[0]
    assert view[:13] == pytest.approx([1, 1 / 9, 1 / 9, 0, 1, 0, -0.5, 1, 0, 0, 0, 0, 0], **NEAR)
    assert view[-10:] == pytest.approx([1, 0.25, 0.5, 0.3, 1, 0, 0, 0, 0, 0], **NEAR)
    assert not np.asarray(both.look(after).view)[2:].any(), "the dead see and show nothing"


def test_views_hold_the_index_of_the_last_attack(arena):
    battle = arena("5m_vs_6m", control="both", legacy="B")
    state = battle.units({0: (8, 16), 1: (9, 17), 5: (12, 16)}, attack=[10] + [0] * 4 + [9] + [0] * 5)
    slots = np.asarray(battle.look(state).view)[1, :-10].reshape(10, 13)
    assert slots[0, 5] == 10 and slots[4, 5] == 9  # ally 0 at the last enemy, enemy 0 at ally 0


def test_where_teams_start():
    def opening(legacy):
        env = make("combat/smax-3m", legacy=legacy, map_width=40.0, map_height=24.0)
        level = env.sample_level(jax.random.key(0), env.params)
        return np.stack([level.x, level.y])

    now, later, at_first = (opening(legacy) for legacy in ("none", "B", "B-pre"))
    np.testing.assert_array_equal(now, later)
    # Around (10, 12) and (30, 12); at first around (8, 16) and (24, 16) on maps of any size.
    np.testing.assert_allclose(later - at_first, [[2, 2, 2, 6, 6, 6], [-4] * 6], atol=1e-5)


def test_metadata_declare_what_differs():
    now, old = (make("combat/smax-3m", legacy=legacy).metadata for legacy in ("none", "B"))
    assert "dead scripted enemies walk on" in old.extras["dead_units"] and "dead_units" not in now.extras
    assert now.observation_space.low == -2 and old.observation_space.low == -np.inf
    entities = make("combat/smax-3m", legacy="B", view="entities").observation_space
    assert entities.entities.high == np.inf and entities.own.low == -np.inf


def test_an_era_that_is_not_there_is_refused():
    with pytest.raises(UserError) as error:
        make("combat/smax-3m", legacy="A")
    assert str(error.value).endswith("legacy='A' is not one of 'none', 'B', 'B-pre'")
