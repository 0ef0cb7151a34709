"""Simple tag by hand: teams, layout, motion, catches, fines, end, bots and picture."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pettingzoo.test import parallel_api_test

from shoal.envs.adapters import to_pettingzoo
from shoal.envs.core import RandomPolicy, Recording, UserError, VectorEnv, conformance, make
from shoal.envs.core.conformance_harness import Harness
from shoal.envs.particle.common import Level
from shoal.envs.particle.tag.reward import fine

KEY = jax.random.key(0)
STAY, LEFT, RIGHT, DOWN, UP = range(5)


@pytest.fixture(scope="module")
def env() -> Any:
    return make("particle/simple-tag-v1")


@pytest.fixture(scope="module")
def step(env: Any) -> Any:
    jitted = jax.jit(env.step)
    return lambda state, *moves: jitted(KEY, state, jnp.asarray(moves, jnp.int32))


@pytest.fixture(scope="module")
def opening(env: Any) -> Any:
    """Adversaries at (-0.5, 0), (0, 0.5), (0, -0.5), the good one at (0.5, 0), obstacles far away."""
    x = jnp.asarray([-0.5, 0.0, 0.0, 0.5, 3.0, -3.0])
    y = jnp.asarray([0.0, 0.5, -0.5, 0.0, 3.0, 3.0])
    return env.reset(KEY, level=Level(x=x, y=y, params=env.params))


def at(state: Any, **places: dict[int, float]) -> Any:
    changed = {}
    for name, values in places.items():
        array = getattr(state.particles, name)
        for i, value in values.items():
            array = array.at[i].set(value)
        changed[name] = array
    return state.replace(particles=state.particles.replace(**changed))


def test_two_teams_of_unlike_agents(env: Any) -> None:
    m = env.metadata
    assert m.agents == ("adversary_0", "adversary_1", "adversary_2", "agent_0")
    assert m.teams == m.agent_types == (0, 0, 0, 1)
    assert m.groups == {"adversaries": (0, 1, 2), "good": (3,)}
    assert [space.shape for space in m.observation_spaces] == [(16,)] * 3 + [(14,)]
    assert env.observation_space.shape == (16,) and env.state_space.shape == (62,)
    assert (m.max_steps, m.time_limit_is_termination) == (26, True)


def test_views_at_the_start(env: Any, opening: Any) -> None:
    state = at(opening[0], vx={3: 0.3}, vy={3: -0.2, 1: 0.1})
    view = env.observe(state).view
    first = [0, 0, -0.5, 0, 3.5, 3, -2.5, 3, 0.5, 0.5, 0.5, -0.5, 1, 0, 0.3, -0.2]
    good = [0.3, -0.2, 0.5, 0, 2.5, 3, -3.5, 3, -1, 0, -0.5, 0.5, -0.5, -0.5, 0, 0]
    np.testing.assert_allclose(view[0], first, atol=1e-6)
    np.testing.assert_allclose(view[3], good, atol=1e-6)
    np.testing.assert_allclose(env.global_state(state), np.ravel(view)[:62], atol=1e-6)


def test_good_agents_are_faster(opening: Any, step: Any) -> None:
    state, _ = step(opening[0], RIGHT, UP, STAY, LEFT)
    np.testing.assert_allclose(state.particles.vx[:4], [0.3, 0, 0, -0.4], atol=1e-6)
    for _ in range(12):
        state = at(state, x={0: -0.5, 1: 0.0, 3: 0.5}, y={1: 5.0})
        state, _ = step(state, RIGHT, UP, STAY, LEFT)
    np.testing.assert_allclose(state.particles.vx[:4], [1.0, 0, 0, -1.3], atol=1e-5)


def test_a_catch_pays_every_adversary_and_costs_the_caught(opening: Any, step: Any) -> None:
    state = at(opening[0], x={1: 0.5, 2: 0.5}, y={1: 0.1, 2: -0.1})  # two touch: 0.1 < 0.125
    state, timestep = step(state, STAY, STAY, STAY, STAY)
    np.testing.assert_allclose(timestep.reward, [20, 20, 20, -20], atol=1e-5)
    assert float(timestep.metrics["catches"]) == 2.0
    _, timestep = step(at(state, x={0: 0.6, 1: -3.0, 2: -3.2}), STAY, STAY, STAY, STAY)
    np.testing.assert_allclose(timestep.reward, [10, 10, 10, -10], atol=1e-5)
    assert float(timestep.metrics["catches"]) == 3.0


@pytest.mark.parametrize(("x", "cost"), [(0.89, 0), (0.95, 0.5), (1.0, 1.0), (1.5, np.e), (3.0, 10.0)])
def test_leaving_costs_good_agents_only(opening: Any, step: Any, x: float, cost: float) -> None:
    _, timestep = step(at(opening[0], x={0: -5.0, 3: -x}), STAY, STAY, STAY, STAY)
    np.testing.assert_allclose(timestep.reward, [0, 0, 0, -cost], atol=1e-5)
    assert float(timestep.metrics["prey_outside"]) == (x > 1.0)


def test_the_fine_is_finite_wherever() -> None:
    assert fine(jnp.asarray([1e30, 3.4e38], jnp.float32)).tolist() == [10.0, 10.0]


def test_obstacles_push_back(opening: Any, step: Any) -> None:
    state = at(opening[0], x={4: 0.65}, y={4: 0.0})  # overlaps the good agent by 0.1
    state, _ = step(state, STAY, STAY, STAY, STAY)
    assert float(state.particles.vx[3]) == pytest.approx(-1.0, abs=1e-3)
    assert float(state.particles.x[4]) == pytest.approx(0.65) and float(state.particles.vx[4]) == 0.0


def test_obstacles_lie_where_they_are_told() -> None:
    keys = jax.random.split(jax.random.key(3), 2048)
    env = make("particle/simple-tag", obstacle_spread=0.9)
    level = jax.jit(jax.vmap(env.sample_level, (0, None)))(keys, env.params)
    most = np.abs(np.asarray(level.x)).max(axis=0)
    assert (most[:4] > 0.99).all() and (most[4:] < 0.9).all() and (most[4:] > 0.89).all()


def test_several_good_agents_see_each_others_velocities() -> None:
    env = make("particle/simple-tag", num_adversaries=2, num_good=3, num_obstacles=0)
    assert [space.shape[0] for space in env.metadata.observation_spaces] == [18, 18, 16, 16, 16]
    state, _ = env.reset(KEY)
    state = at(state, vx={i: 0.1 * i for i in range(5)}, vy={i: -0.1 * i for i in range(5)})
    view = np.asarray(env.observe(state).view)
    np.testing.assert_allclose(view[0, 12:], [0.2, -0.2, 0.3, -0.3, 0.4, -0.4], atol=1e-6)
    np.testing.assert_allclose(view[3, 12:], [0.2, -0.2, 0.4, -0.4, 0, 0], atol=1e-6)


def test_the_contract_with_other_teams() -> None:
    """Even teams, no obstacles, real pushes, a truncating limit; the registered one is checked elsewhere."""
    sizes = {"num_adversaries": 2, "num_good": 2, "num_obstacles": 0}
    rules = {"continuous_actions": True, "max_steps": 25, "time_limit_is_termination": False}
    harness = Harness(make("particle/simple-tag", **sizes, **rules))
    for check in (*conformance.CHEAP_CHECKS, *conformance.PLAY_CHECKS):
        if check not in (conformance.check_jit, conformance.check_same_step, conformance.check_copies):
            check(harness)


@pytest.mark.parametrize("name", ["spread", "reference", "tag"])
def test_upstream_checks(name: str) -> None:
    parallel_api_test(to_pettingzoo(f"particle/simple-{name}", seed=1), num_cycles=60)


def test_adapters_show_true_sizes() -> None:
    parallel = to_pettingzoo("particle/simple-tag", seed=1)
    seen, _ = parallel.reset()
    assert [row.shape for row in seen.values()] == [(16,), (16,), (16,), (14,)]


@pytest.fixture(scope="module", params=[False, True], ids=["moves", "pushes"])
def results(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Mean returns of an adversary and a good agent, by who is scripted; all others play at random."""
    env = make("particle/simple-tag", continuous_actions=request.param)
    vector, script = VectorEnv(env, 256), env.scripted_policies()["scripted"]()
    randoms = RandomPolicy(env)

    @jax.jit
    def play(is_scripted: jax.Array) -> Any:
        def one(carry: Any, key: jax.Array) -> Any:
            state, timestep = carry
            chosen, drawn = (p.act(key, (), timestep.observation)[1] for p in (script, randoms))
            mask = is_scripted.reshape(1, -1, *[1] * len(env.action_space.shape))
            state, timestep, episode = vector.step(state, jnp.where(mask, chosen, drawn))
            return (state, timestep), episode.returns

        keys = jax.random.split(jax.random.key(1), 26)
        return jax.lax.scan(one, vector.reset(KEY), keys)[1][-1].mean(axis=0)

    teams = {"nobody": [0, 0, 0, 0], "hunters": [1, 1, 1, 0], "prey": [0, 0, 0, 1]}
    return {name: play(jnp.asarray(rows, bool)) for name, rows in teams.items()}


def test_the_scripts_hunt_and_flee(results: dict[str, Any]) -> None:
    assert float(results["hunters"][0]) > 10 * float(results["nobody"][0])
    assert float(results["prey"][3]) > 0.4 * float(results["nobody"][3])
    assert float(results["prey"][0]) < 0.5 * float(results["nobody"][0])


def test_the_script_plays_either_team(env: Any, opening: Any) -> None:
    policy, seen = env.scripted_policies()["scripted"](), opening[1].observation
    both = policy.act(KEY, (), seen)[1]
    assert both.tolist() == [RIGHT, RIGHT, RIGHT, RIGHT]
    for team in (slice(0, 3), slice(3, 4)):
        alone = jax.tree.map(lambda x, team=team: x[team], seen)
        np.testing.assert_array_equal(policy.act(KEY, (), alone)[1], both[team])
    with pytest.raises(UserError, match="2 agents are no team"):
        policy.act(KEY, (), jax.tree.map(lambda x: x[:2], seen))


def test_strict(env: Any, strict_numerics: None) -> None:
    state, timestep = jax.jit(env.reset)(KEY)
    _, action = env.scripted_policies()["scripted"]().act(KEY, (), timestep.observation)
    state, _ = jax.jit(env.step)(KEY, state, action)
    env.global_state(state)
    vector = VectorEnv(env, 3)
    vector.step(vector.reset(KEY)[0], jnp.zeros((3, 4), jnp.int32))


def test_picture(env: Any, opening: Any, step: Any) -> None:
    caught = at(opening[0], x={0: 0.5}, y={0: 0.1})
    played = jax.device_get([opening, step(caught, STAY, STAY, STAY, STAY)])
    states, timesteps = zip(*played, strict=True)
    clip = env.scene(Recording(states, (np.zeros(4, np.int32),), (KEY,), timesteps))
    assert [frame.subtitle for frame in clip.frames] == ["step 0   catches 0", "step 1   catches 1"]
    assert len(clip.frames[1].items) == len(clip.frames[0].items) + 1  # the ring of the caught
