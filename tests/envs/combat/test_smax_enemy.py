"""The scripted enemy, decided from the state, does what its definition says of its observation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.envs.combat.smax import enemy
from shoal.envs.combat.smax.bots import HeuristicPolicy, Memory
from shoal.envs.combat.smax.levels import state_from_arrays
from shoal.envs.combat.smax.types import Draws
from shoal.envs.core import make

MOVES = np.asarray([(0, 1), (1, 0), (0, -1), (-1, 0)], np.float32)


def published(options, params, view, team_size, memory, goal_u, target_u):
    """One unit's decision by the definition: numpy, from its own flat view. Returns action and memory."""
    own, slots = view[-10:], view[:-10].reshape(-1, 13)[team_size - 1 :]
    kind = int(own[4:].argmax())
    here = own[1:3] * np.asarray([params.map_width, params.map_height])
    offset = slots[:, 1:3] * params.sight[kind]
    visible = slots[:, 0] > 0
    distance = np.linalg.norm(offset, axis=1)
    shootable = visible & (distance < params.range[kind])
    goal, target = memory
    if target >= 0 and shootable[target]:
        chosen = target
    elif not shootable.any():
        chosen = -1
    elif options.attack_mode == "closest":
        chosen = int(np.where(shootable, distance, np.inf).argmin())
    else:
        candidates = np.flatnonzero(shootable)
        chosen = int(candidates[int(target_u * len(candidates))])
    if goal == (0.0, 0.0) and target == -1:
        goal = (float(params.map_width - here[0]), float(params.map_height - here[1]))
    if visible.any():
        candidates = np.flatnonzero(visible)
        towards = offset[candidates[int(goal_u * len(candidates))]]
    else:
        towards = np.asarray(goal) - here
    action = 5 + chosen if chosen >= 0 and options.enemy_shoots else int((MOVES @ towards).argmax())
    return action, (goal, chosen)


def crowded(rng, env, both):
    """A close fight in any state, for both ways of control; coordinates on a grid, so that ties occur."""
    options = env.options
    n, n_e = options.num_units, options.num_enemies
    centre = rng.uniform(8, 24, 2)
    x, y = (np.round(2 * rng.normal(c, 4, n)) / 2 for c in centre)
    memory = {
        "enemy_goal_x": np.where(rng.random(n_e) < 0.5, 0.0, rng.uniform(1, 31, n_e)),
        "enemy_goal_y": np.zeros(n_e),
        "enemy_target": rng.integers(-1, options.num_allies, n_e),
    }
    given = {
        "x": np.clip(x, 0.5, 31.5),
        "y": np.clip(y, 0.5, 31.5),
        "unit_types": rng.integers(0, 6, n),
        "alive": rng.random(n) < 0.8,
    }
    state = state_from_arrays(env.params, options, **given, **memory)
    return state, state_from_arrays(both.params, both.options, **given)


@pytest.mark.parametrize("mode", ["closest", "random"])
@pytest.mark.parametrize("shoots", [True, False])
def test_from_state_is_from_observation(mode, shoots):
    sides = {"allies": "4m", "enemies": "5m", "attack_mode": mode, "enemy_shoots": shoots}
    env, both = (make("combat/smax-custom", control=c, **sides) for c in ("allies", "both"))
    options = env.options
    rng = np.random.default_rng(3)
    pairs = [crowded(rng, env, both) for _ in range(100)]
    state, twin = (
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *part) for part in zip(*pairs, strict=True)
    )
    goal_u, target_u = rng.random((2, 100, 5)).astype(np.float32)
    draws = Draws(
        reload_jitter=jnp.zeros((100, 1, 9)),
        goal_choice=jnp.asarray(goal_u),
        target_choice=jnp.asarray(target_u) if mode == "random" else None,
    )
    batch_in_front = jax.vmap(lambda s, d: enemy.act(options, s, d))
    action, memory = jax.jit(batch_in_front)(state, draws)
    view = np.asarray(jax.jit(jax.vmap(both.observe))(twin).view)
    attacks = 0
    for b in range(100):
        for i in range(5):
            before = (float(state.enemy.goal_x[b, i]), float(state.enemy.goal_y[b, i]))
            wanted, (goal, target) = published(
                options, env.params, view[b, 4 + i], 5, (before, int(state.enemy.target[b, i])),
                goal_u[b, i], target_u[b, i],
            )  # fmt: skip
            if not state.alive[b, 4 + i]:
                # The dead believe that they stand at the origin; nobody sees what they do.
                continue
            assert action[b, i] == wanted, (b, i)
            assert memory.target[b, i] == target
            assert (memory.goal_x[b, i], memory.goal_y[b, i]) == pytest.approx(goal, abs=1e-4)
            attacks += wanted >= 5
    assert attacks > 100 or not shoots


def test_the_bot_plays_the_enemies_as_the_scripted_enemy_does():
    """With at most one visible opponent there is nothing to draw, so both agree in a whole battle."""
    env, both = (make("combat/smax-custom", allies="1s", enemies="3m", control=c) for c in ("allies", "both"))
    bot = HeuristicPolicy(both.options, both.params)

    @jax.jit
    def episode(key):
        state, _ = env.reset(key)
        twin = state.replace(enemy=None)
        memory = bot.initial_carry(rows=3)

        def step(carry, _):
            state, twin, memory = carry
            seen = both.observe(twin)
            theirs = jax.tree.map(lambda leaf: leaf[1:], seen)
            memory, enemy_action = bot.act(key, memory, theirs)
            draws = env.draws(key, state)
            ours = jnp.asarray([1], jnp.int32)
            state, _ = env.dynamics(state, ours, draws)
            twin, _ = both.dynamics(
                twin, jnp.concatenate([ours, enemy_action]), Draws(draws.reload_jitter, None, None)
            )
            return (state, twin, memory), (state, twin)

        return jax.lax.scan(step, (state, twin, memory), None, 12)[1]

    state, twin = episode(jax.random.key(1))
    np.testing.assert_allclose(state.x, twin.x, atol=1e-4)
    np.testing.assert_array_equal(state.health, twin.health)
    assert state.health[-1, 0] < 160 and (state.enemy.target == 0).any()


def test_a_lone_enemy_heads_for_the_mirrored_place(arena):
    battle = arena("3m")
    state = battle.units({0: (2, 2), 3: (24, 16)})
    after, _ = battle.step(state, {})
    assert (after.enemy.goal_x[0], after.enemy.goal_y[0]) == (8, 16)
    assert after.move_x[3] == -1 and after.move_y[3] == 0 and after.enemy.target[0] == -1


def test_heading_breaks_ties_up_right_down_left():
    dx = jnp.asarray([0.0, 1.0, -1.0, 1.0, -1.0, 0.0, 1.0, 0.0, -1.0])
    dy = jnp.asarray([0.0, 1.0, 1.0, -1.0, -1.0, 1.0, 0.0, -1.0, 0.0])
    assert enemy.heading(dx, dy).tolist() == [0, 0, 0, 1, 2, 0, 1, 2, 3]


@pytest.mark.parametrize(("remembered", "attacked"), [(2, 2), (-1, 0), (1, 0)])
def test_the_remembered_target_is_kept_while_it_can_be_shot(arena, remembered, attacked):
    battle = arena("3m")
    # Slot 0 is ally 2, the nearest; slot 2 is ally 0, in range too; slot 1 is dead.
    state = battle.units({0: (10, 10), 2: (11, 12), 3: (10, 12)}, enemy_target=[remembered, -1, -1])
    after, _ = battle.step(state, {})
    assert after.attack[3] == 5 + attacked and after.enemy.target[0] == attacked


def test_the_bot_starts_afresh_where_told():
    env = make("combat/smax-3m")
    bot = env.scripted_policies()["scripted"]()
    _, timestep = env.reset(jax.random.key(0))
    used = Memory(goal_x=jnp.full(3, 5.0), goal_y=jnp.full(3, 6.0), target=jnp.zeros(3, jnp.int32))
    first = jnp.asarray([True, False, True])
    carry, action = bot.act(jax.random.key(0), used, timestep.observation, first=first)
    assert carry.goal_x[1] == 5 and carry.goal_x[0] > 20 and carry.goal_x[2] > 20
    assert np.asarray(timestep.observation.action_mask)[np.arange(3), np.asarray(action)].all()


@pytest.mark.slow
def test_mirror_matches_end_as_published():
    """3m: the win rate is 0.52 with one draw in fifty, battles take about 14 steps."""
    env = make("combat/smax-3m")
    bot = env.scripted_policies()["scripted"]()

    def episode(key):
        state, timestep = env.reset(key)

        def step(carry, key):
            state, seen, memory, done, length, won = carry
            bot_key, step_key = jax.random.split(key)
            memory, action = bot.act(bot_key, memory, seen)
            state, timestep = env.step(step_key, state, action)
            won = jnp.where(done, won, timestep.metrics["win_rate"])
            length = length + (~done).astype(jnp.int32)
            return (state, timestep.observation, memory, done | timestep.terminated, length, won), None

        start = (state, timestep.observation, bot.initial_carry(), jnp.bool_(False), 0, 0.0)
        carry, _ = jax.lax.scan(step, start, jax.random.split(key, 101))
        return carry[3:]

    done, length, won = jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(5), 1024))
    assert done.all()
    assert won.mean() == pytest.approx(0.52, abs=3 * np.hypot(0.035, 0.5 / np.sqrt(1024)))
    assert length.mean() == pytest.approx(13.8, abs=0.8)
