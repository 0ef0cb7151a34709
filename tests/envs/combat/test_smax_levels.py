"""What a reset draws, what options are refused, and what the metadata say."""

import jax
import numpy as np
import pytest

from shoal.envs.combat.smax.scenarios import SCENARIOS
from shoal.envs.combat.smax.types import parse_units
from shoal.envs.core import UserError, make

SIZES = {  # map: allies, enemies, ally actions, observation, world state
    "3m": (3, 3, 8, 75, 72),
    "8m": (8, 8, 13, 205, 192),
    "25m": (25, 25, 30, 647, 600),
    "2s3z": (5, 5, 10, 127, 120),
    "3s5z": (8, 8, 13, 205, 192),
    "5m_vs_6m": (5, 6, 11, 140, 132),
    "10m_vs_11m": (10, 11, 16, 270, 252),
    "27m_vs_30m": (27, 30, 35, 738, 684),
    "3s5z_vs_3s6z": (8, 9, 14, 218, 204),
    "3s_vs_5z": (3, 5, 10, 101, 96),
    "6h_vs_8z": (6, 8, 13, 179, 168),
    "smacv2_5_units": (5, 5, 10, 127, 120),
    "smacv2_10_units": (10, 10, 15, 257, 240),
    "smacv2_20_units": (20, 20, 25, 517, 480),
}


def many(env, count=4096, seed=0):
    levels = jax.jit(jax.vmap(lambda key: env.sample_level(key, env.params)))
    return jax.tree.map(np.asarray, levels(jax.random.split(jax.random.key(seed), count)))


@pytest.mark.parametrize("name", SCENARIOS)
def test_sizes_are_the_published_ones(name):
    env = make(f"combat/smax-{name}")
    allies, enemies, actions, view, world = SIZES[name]
    assert (env.options.num_allies, env.options.num_enemies) == (allies, enemies)
    assert env.num_agents == allies and env.action_space.n == actions
    assert env.observation_space.shape == (view,) and env.state_space.shape == (world,)


def test_unit_types_are_the_published_ones():
    assert parse_units(SCENARIOS["2s3z"]["allies"]) == (2, 2, 3, 3, 3)
    assert parse_units(SCENARIOS["6h_vs_8z"]["allies"]) == (5,) * 6
    assert parse_units(SCENARIOS["6h_vs_8z"]["enemies"]) == (3,) * 8
    assert parse_units("mM2z") == (0, 1, 4, 4)
    assert parse_units(("stalker", "z", "hydralisk")) == (2, 4, 5)


def test_facing_teams_start_in_squares_left_and_right():
    levels = many(make("combat/smax-5m_vs_6m"))
    for x, y, centre in ((levels.x[:, :5], levels.y[:, :5], 8), (levels.x[:, 5:], levels.y[:, 5:], 24)):
        assert np.abs(x - centre).max() <= 2 and np.abs(y - 16).max() <= 2
        assert x.mean() == pytest.approx(centre, abs=0.04) and y.mean() == pytest.approx(16, abs=0.04)
        assert x.std() == pytest.approx(4 / np.sqrt(12), abs=0.02)
    assert abs(np.corrcoef(levels.x[:, 0], levels.y[:, 0])[0, 1]) < 0.05


def test_a_battle_opens_fresh_and_pushed_apart():
    env = make("combat/smax-2s3z")
    level = env.sample_level(jax.random.key(0), env.params)
    level = level.replace(x=level.x.at[1].set(level.x[0] + 0.1), y=level.y.at[1].set(level.y[0]))
    state = env.initial_state(level)
    assert state.health.tolist() == [160, 160, 150, 150, 150] * 2
    assert not np.asarray(state.cooldown).any() and not np.asarray(state.attack).any() and state.step == 0
    assert state.x[1] - state.x[0] > 0.5, "units that overlap are pushed once"
    assert state.enemy.target.tolist() == [-1] * 5


@pytest.fixture(scope="module")
def smacv2():
    return many(make("combat/smax-smacv2_5_units"), 16384)


def is_reflected(levels):
    mirrored = np.abs(levels.x[:, :5] + levels.x[:, 5:] - 32).max(1) < 1e-4
    return mirrored & (np.abs(levels.y[:, :5] - levels.y[:, 5:]).max(1) < 1e-4)


def test_smacv2_reflects_half_of_the_time(smacv2):
    reflected = is_reflected(smacv2)
    assert reflected.mean() == pytest.approx(0.5, abs=0.02)
    x, y = smacv2.x[reflected][:, :5], smacv2.y[reflected][:, :5]
    assert x.min() >= 0 and x.max() <= 16 and y.max() <= 32
    assert x.mean() == pytest.approx(8, abs=0.1) and y.mean() == pytest.approx(16, abs=0.15)


def test_smacv2_surrounds_one_team_by_up_to_four_groups(smacv2):
    surround = ~is_reflected(smacv2)
    x, y = smacv2.x[surround] - 16, smacv2.y[surround] - 16
    spread = np.maximum(np.abs(x), np.abs(y))
    inside = np.stack([spread[:, :5].max(1) <= 2, spread[:, 5:].max(1) <= 2], 1)
    assert inside.any(1).all()
    one = inside.sum(1) == 1
    assert inside[one].mean(0) == pytest.approx([0.5, 0.5], abs=0.03)
    # The others stand within 2 of a diagonal, in every corner equally often.
    outside = np.where(
        inside[:, :1], np.abs(np.abs(x) - np.abs(y))[:, 5:], np.abs(np.abs(x) - np.abs(y))[:, :5]
    )
    assert outside[one].max() <= 4
    out_x, out_y = (np.where(inside[one][:, :1], v[one][:, 5:], v[one][:, :5]) for v in (x, y))
    corner = (out_x > 0) * 2 + (out_y > 0)
    assert np.bincount(corner.ravel(), minlength=4) / corner.size == pytest.approx([0.25] * 4, abs=0.02)
    # On the way between centre and corner at t ~ U(0, 1): the distance along it is uniform on 0..16.
    along = (np.abs(out_x) + np.abs(out_y)) / 2
    assert along.mean() == pytest.approx(8.1, abs=0.3)


def test_smacv2_starts_on_the_walls_as_published_unless_clamped(smacv2):
    def on_wall(levels):
        return (levels.x <= 0) | (levels.y <= 0) | (levels.x >= 32) | (levels.y >= 32)

    surround = ~is_reflected(smacv2)
    outside = 5 * surround.sum()
    assert on_wall(smacv2)[surround].sum() / outside == pytest.approx(0.052, abs=0.006)
    clamped = many(make("combat/smax-smacv2_5_units", clamp_spawns=True))
    assert not on_wall(clamped).any() and clamped.x.min() >= 0.625


def test_smacv2_types_are_uniform_and_mirrored(smacv2):
    types = smacv2.unit_type
    np.testing.assert_array_equal(types[:, :5], types[:, 5:])
    share = np.bincount(types[:, :5].ravel(), minlength=6) / types[:, :5].size
    assert share == pytest.approx([1 / 6] * 6, abs=0.01)
    uneven = many(make("combat/smax-custom", allies="2m", enemies="4m", unit_types="random", starts="smacv2"))
    assert not uneven.unit_type[:, 4:].any(), "surplus enemies are marines"
    assert uneven.unit_type[:, :2].max() == 5


def test_numbers_can_be_changed_without_recompiling():
    env = make("combat/smax-3m")
    traces = []

    @jax.jit
    def reset(key, params):
        traces.append(1)
        return env.reset(key, params)[0]

    state = reset(jax.random.key(0), env.params)
    fast = reset(jax.random.key(0), env.params.replace(speed=np.full(6, 9.0, np.float32)))
    assert state.speed[0] == np.float32(3.15) and fast.speed.tolist() == [9] * 6 and len(traces) == 1


def test_a_custom_battle_mixes_units():
    env = make("combat/smax-custom", allies=["stalker", "zealot"], enemies="2m1M")
    assert env.options.ally_types == (2, 3) and env.options.enemy_types == (0, 0, 1)
    assert env.metadata.extras["units"] == ("stalker", "zealot")
    assert env.agents == ("ally_0", "ally_1") and env.action_space.n == 8
    both = make("combat/smax-custom", allies="1s", enemies="3Z", control="both")
    assert [space.n for space in both.metadata.action_spaces] == [8, 6, 6, 6] and both.action_space.n == 8
    assert both.groups == {"allies": (0,), "enemies": (1, 2, 3)} and both.teams.tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"allies": "2s3q"}, "Z zealot"),
        ({"allies": ""}, "must look like '2s3Z'"),
        ({"allies": "0m"}, "at least one unit"),
        ({"enemies": ("zealott",)}, "did you mean 'zealot'"),
        ({"enemies": ()}, "at least one unit"),
        ({"control": "enemies"}, "'allies', 'both'"),
        ({"attack_mode": "nearest"}, "'closest', 'random'"),
        ({"max_steps": 0}, "max_steps=0"),
        ({"speed": (1.0, 2.0)}, "must be 6 numbers"),
        ({"speed": "fast"}, "must be 6 numbers"),
        ({"sight": (9, 10, 10, 9, -8, 9)}, "at least 0.01"),
        ({"map_width": float("nan")}, "not finite"),
        ({"alies": "3m"}, "did you mean 'allies'"),
    ],
)
def test_errors_say_what_would_be_right(overrides, words):
    with pytest.raises(UserError) as error:
        make("combat/smax-custom", **overrides)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_unit_never_pushes_itself():
    """XLA may compute a position twice and round it two ways; a unit's distance to itself is zero even so."""
    env = make("combat/smax-smacv2_10_units", map_width=31.679, map_height=31.679)
    # The numbers are arguments, as in a sweep: as constants they would be folded.
    whole = jax.jit(lambda key, params: env.reset(key, params)[0])
    level, opened = jax.jit(env.sample_level), jax.jit(env.initial_state)
    for seed in range(12):
        key = jax.random.key(seed)
        fused, apart = whole(key, env.params), opened(level(key, env.params))
        np.testing.assert_allclose(fused.x, apart.x, atol=1e-4)
        np.testing.assert_allclose(fused.y, apart.y, atol=1e-4)
