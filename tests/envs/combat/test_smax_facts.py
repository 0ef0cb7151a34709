"""Facts of the published rules, worked out by hand; both teams are agents."""

import chex
import jax
import numpy as np
import pytest

from shoal.envs.combat.smax.types import Level

NEAR = {"abs": 1e-5}
ATTACK = 5


@pytest.fixture(scope="module")
def marines(arena):
    return arena("3m", control="both")


@pytest.fixture(scope="module")
def mixed(arena):
    return arena("2s3z", control="both")


@pytest.mark.parametrize(
    ("action", "dx", "dy"), [(0, 0, 1.575), (1, 1.575, 0), (2, 0, -1.575), (3, -1.575, 0), (4, 0, 0)]
)
def test_a_marine_walks_1_575_units_per_step(marines, action, dx, dy):
    after, _ = marines.step(marines.state([(16, 16)]), {0: action})
    assert (after.x[0], after.y[0]) == pytest.approx((16 + dx, 16 + dy), **NEAR)


def test_a_stalker_walks_2_065_units_per_step(mixed):
    after, _ = mixed.step(mixed.state([(16, 16)]), {0: 0})
    assert (after.x[0], after.y[0]) == pytest.approx((16, 18.065), **NEAR)


@pytest.mark.parametrize(("jitter", "cooldown"), [(-0.0625, 0.11), (0.125, 0.2975), (0.0, 0.1725)])
def test_a_duel_costs_both_nine_health_points(marines, jitter, cooldown):
    state = marines.units({0: (10, 10), 1: (2, 2), 2: (2, 4), 3: (10, 12), 4: (30, 30), 5: (30, 28)})
    after, outcome = marines.step(state, {0: ATTACK, 3: ATTACK + 2}, jitter)
    np.testing.assert_allclose(after.health, [36, 45, 45, 36, 45, 45])
    np.testing.assert_allclose(outcome.reward, 9 / 45 / 3, rtol=1e-6)
    assert after.cooldown[0] == pytest.approx(cooldown, **NEAR)
    np.testing.assert_allclose(np.asarray(after.cooldown)[[1, 2, 4, 5]], -0.5)
    assert not outcome.terminated


def test_the_reload_time_varies_as_published(marines):
    env = marines.env
    state = marines.state([])
    draws = jax.vmap(env.draws, (0, None))(jax.random.split(jax.random.key(0), 2000), state)
    jitter = np.asarray(draws.reload_jitter)
    assert jitter.min() >= -0.0625 and jitter.max() < 0.125
    assert jitter.mean() == pytest.approx(0.03125, abs=0.002)
    assert jitter.std() == pytest.approx(0.1875 / np.sqrt(12), abs=0.002)


def test_the_last_kill_wins(marines):
    state = marines.units({0: (10, 10), 1: (2, 2), 2: (2, 4), 3: (10, 12)}, health=[45, 45, 45, 9, 45, 45])
    after, outcome = marines.step(state, {0: ATTACK, 3: ATTACK + 2})
    assert outcome.terminated
    assert outcome.agent_done.tolist() == [False, False, False, True, True, True]
    np.testing.assert_allclose(outcome.reward[:3], 1 + 1 / 15, rtol=1e-6)
    # The dying enemy fired in the same world step.
    np.testing.assert_allclose(outcome.reward[3:], 1 / 15, rtol=1e-6)
    assert after.health[0] == 36
    assert (outcome.metrics["win_rate"], outcome.metrics["draw_rate"]) == (1, 0)
    assert outcome.metrics["allies_alive"] == 1 and outcome.metrics["enemies_alive"] == 0


def test_two_last_units_that_kill_each_other_draw(marines):
    state = marines.units({0: (10, 10), 3: (10, 12)}, health=[9, 45, 45, 9, 45, 45])
    after, outcome = marines.step(state, {0: ATTACK, 3: ATTACK + 2})
    assert not after.alive.any() and outcome.terminated
    np.testing.assert_allclose(outcome.reward, 1 / 15, rtol=1e-6)
    assert (outcome.metrics["win_rate"], outcome.metrics["draw_rate"]) == (0, 1)


def test_touching_a_wall_kills(marines):
    state = marines.units({0: (16, 31.9), 1: (2, 2), 2: (2, 4), 3: (28, 2), 4: (30, 2), 5: (30, 6)})
    after, outcome = marines.step(state, {0: 0})
    assert (after.x[0], after.y[0], after.health[0]) == (16, 32, 0)
    np.testing.assert_allclose(outcome.reward[:3], 0)
    np.testing.assert_allclose(outcome.reward[3:], 1 / 3, rtol=1e-6)
    assert not outcome.terminated


def test_walls_can_be_harmless(arena):
    harmless = arena("3m", control="both", walls_cause_death=False)
    after, outcome = harmless.step(harmless.state([(16, 31.9)]), {0: 0})
    assert (after.x[0], after.y[0], after.health[0]) == (16, 32, 45)
    np.testing.assert_allclose(outcome.reward, 0)


def test_overlapping_units_are_pushed_apart(marines, mixed):
    def pushed(arena, first, second):
        n = arena.env.options.num_units
        x = np.asarray([first, second, *(3.0 * np.arange(n - 2) + 1)], np.float32)
        y = np.asarray([10, 10, *[30] * (n - 2)], np.float32)
        types = np.asarray([2, 3, *[0] * (n - 2)] if arena is mixed else [0] * n, np.uint8)
        level = Level(x=x, y=y, unit_type=types, params=arena.env.params)
        return arena.env.initial_state(level).x[:2]

    assert pushed(marines, 10.0, 10.5) == pytest.approx([9.875001, 10.624999], **NEAR)
    assert pushed(mixed, 10.0, 10.5) == pytest.approx([9.687501, 10.812499], **NEAR)


@pytest.mark.parametrize(("distance", "legal"), [(5.0, False), (4.999, True)])
def test_the_mask_allows_attacks_within_range(marines, distance, legal):
    state = marines.units(
        {0: (10, 10), 1: (2, 2), 2: (2, 4), 3: (10, 10 + distance), 4: (30, 30), 5: (30, 28)}
    )
    mask = marines.look(state).action_mask
    assert mask[0].tolist() == [True] * 5 + [legal, False, False]
    # Enemies number the allies from the last to the first.
    assert mask[3].tolist() == [True] * 5 + [False, False, legal]


def test_the_dead_see_nothing_and_may_only_stop(marines):
    state = marines.units({1: (10, 10), 3: (10, 12), 4: (11, 12), 5: (12, 12)})
    seen = marines.look(state)
    assert seen.action_mask[0].tolist() == [False] * 4 + [True] + [False] * 3
    assert seen.alive.tolist() == [False, True, False, True, True, True]
    assert not seen.view[0].any() and not seen.view[2].any()
    # Nor are they seen: both of ally 1's comrades are dead.
    assert not seen.view[1][:26].any() and seen.view[1][26:].any()


def test_a_slot_shows_health_offset_last_move_last_attack_cooldown_and_type(marines):
    before = marines.state([(8, 16), (9, 15.425)])
    after, _ = marines.step(before, {1: 0})
    assert after.y[1] == pytest.approx(17, **NEAR)
    slot = marines.look(after).view[0][:13]
    assert slot == pytest.approx([1, 1 / 9, 1 / 9, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0], **NEAR)


def test_the_own_block_ends_the_view(marines):
    state = marines.state([(8, 20)], health=[9, 45, 45, 45, 45, 45], cooldown=[0.305, 0, 0, 0, 0, 0])
    assert marines.look(state).view[0][-10:] == pytest.approx(
        [0.2, 0.25, 0.625, 0.5, 1, 0, 0, 0, 0, 0], **NEAR
    )


def test_the_last_attack_is_shown_as_a_share_of_the_action_numbers(arena):
    battle = arena("5m_vs_6m", control="both")
    attack = np.zeros(11, np.int32)
    attack[1], attack[5] = 10, 9
    state = battle.state([(10, 10), (11, 10), (9, 10), (10, 9), (10, 8), (10, 11)], attack=attack)
    view = battle.look(state).view
    assert view[0][5] == 1  # slot 0 is ally 1, who attacked enemy 5
    assert view[0][4 * 13 + 5] == 1  # slot 4 is enemy 0, who attacked ally 0
    hidden = arena("5m_vs_6m", control="both", see_enemy_actions=False)
    view = hidden.look(state).view
    assert view[0][5] == 1 and view[0][4 * 13 + 5] == 0
    assert view[0][4 * 13] == 1, "only the actions are hidden"


def test_enemies_see_everybody_in_descending_order(marines):
    x = [10.0, 10.5, 11.0, 11.5, 12.0, 12.5]
    state = marines.units({i: (x[i], 10.0 + i) for i in range(6)})
    offsets = np.asarray(marines.look(state).view[4][:-10]).reshape(5, 13)[:, 1] * 9
    assert offsets == pytest.approx([x[j] - x[4] for j in (5, 3, 2, 1, 0)], **NEAR)
    offsets = np.asarray(marines.look(state).view[1][:-10]).reshape(5, 13)[:, 1] * 9
    assert offsets == pytest.approx([x[j] - x[1] for j in (0, 2, 3, 4, 5)], **NEAR)


@pytest.mark.parametrize(("step", "over"), [(99, False), (100, True)])
def test_the_limit_fires_on_step_101(marines, step, over):
    _, outcome = marines.step(marines.state([], step=step), {})
    assert bool(outcome.terminated) == over and not outcome.truncated
    assert outcome.metrics["timeout_rate"] == over
    assert marines.env.max_steps == 101 and marines.env.time_limit_is_termination


@pytest.mark.parametrize("action", [-1, 8, 9, 2**31 - 1, -(2**31)])
def test_actions_outside_the_numbering_stop(marines, action):
    state = marines.state([(10, 10)], cooldown=[0.3] * 6)
    after, _ = marines.step(state, {0: action})
    stopped, _ = marines.step(state, {0: 4})
    chex.assert_trees_all_equal(after, stopped)


def test_an_attack_out_of_range_does_nothing_but_is_remembered(marines):
    state = marines.units({i: (4.0 * i + 4, 16) for i in range(6)})
    after, _ = marines.step(state, {0: ATTACK + 2})
    np.testing.assert_array_equal(after.health, state.health)
    assert after.x[0] == 4 and after.attack[0] == ATTACK + 2 and after.cooldown[0] == -0.5


def test_a_reloading_unit_does_not_fire_until_ready(marines):
    # 0.3 s of reload are used up after five world steps, so the shot falls in the sixth.
    state = marines.units({0: (10, 10), 3: (10, 12)}, cooldown=[0.3, 0, 0, 0.6, 0, 0])
    after, _ = marines.step(state, {0: ATTACK})
    assert after.health[3] == 36
    assert after.cooldown[0] == pytest.approx(0.61 - 2 * 0.0625, **NEAR)
    after, _ = marines.step(state, {3: ATTACK + 2})
    assert after.health[0] == 45


def test_the_dead_stay_put_and_push_nobody(marines):
    state = marines.units({0: (10, 10), 3: (20, 20)}, health=[45, 45, 45, 45, 45, 45])
    state = state.replace(x=state.x.at[1].set(10.2), y=state.y.at[1].set(10.0))
    after, _ = marines.step(state, {1: 0})
    assert (after.x[0], after.y[0]) == (10, 10)
    assert after.x[1] == pytest.approx(10.2) and after.y[1] == 10
    # Alive, the same unit walks away and is shoved.
    alive = state.replace(health=state.health.at[1].set(45))
    after, _ = marines.step(alive, {1: 0})
    assert after.y[1] > 11 and after.x[0] < 10


def test_self_play_reward_is_zero_sum(arena):
    marines = arena("3m", control="both", use_self_play_reward=True)
    quiet = marines.units({0: (10, 10), 1: (2, 2), 3: (10, 12), 4: (30, 30)})
    _, outcome = marines.step(quiet, {0: ATTACK})
    np.testing.assert_array_equal(outcome.reward, 0)
    last = marines.units({0: (10, 10), 3: (10, 12)}, health=[45, 45, 45, 9, 45, 45])
    _, outcome = marines.step(last, {0: ATTACK})
    np.testing.assert_array_equal(outcome.reward, [1, 1, 1, -1, -1, -1])
    draw = marines.units({0: (10, 10), 3: (10, 12)}, health=[9, 45, 45, 9, 45, 45])
    _, outcome = marines.step(draw, {0: ATTACK, 3: ATTACK + 2})
    np.testing.assert_array_equal(outcome.reward, 0)


def test_the_whole_state_is_raw_as_published_or_normalised(arena, marines):
    state = marines.units({0: (8, 16), 3: (24, 12)}, cooldown=[-0.5, 0, 0, 0.305, 0, 0])
    raw = np.asarray(marines.env.global_state(state))
    assert raw.shape == (72,)
    assert raw[:10] == pytest.approx([1, 8, 16, -0.5, 1, 0, 0, 0, 0, 0])
    assert not raw[10:30].any(), "the dead are zero"
    assert raw[60:66].tolist() == [0, 0, 0, 1, 1, 1] and not raw[66:].any()
    tidy = np.asarray(arena("3m", control="both", global_view="normalised").env.global_state(state))
    assert tidy[:4] == pytest.approx([1, 0.25, 0.5, 0])
    assert tidy[30:34] == pytest.approx([1, 0.75, 0.375, 0.5])


def test_entities_are_the_flat_vector_cut_up(arena, marines):
    entities = arena("3m", control="both", view="entities")
    state = marines.units({0: (8, 16), 2: (9, 17), 3: (12, 12), 5: (30, 30)})
    flat, cut = marines.look(state).view, entities.look(state).view
    np.testing.assert_array_equal(flat[:, -10:], cut.own)
    np.testing.assert_array_equal(flat[:, :-10].reshape(6, 5, 13), cut.entities)
    np.testing.assert_array_equal(cut.entity_mask, np.asarray(cut.entities).any(-1))
    assert cut.entity_mask[0].tolist() == [False, True, True, False, False]
    assert entities.env.metadata.entity_actions == (-1, -1, 5, 6, 7)
