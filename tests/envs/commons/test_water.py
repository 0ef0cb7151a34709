"""The water commons: hand-worked facts, steps recorded from the original, bots and picture."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_traces import public_folder

from shoal.envs.commons.water import reward
from shoal.envs.commons.water.types import Params, State
from shoal.envs.core import Recording, UserError, VectorEnv, make

RATES = ("0.1", "0.088", "0.077", "0.065", "0.055", "0.053", "0.042", "0.03")
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def env() -> Any:
    return make("commons/water-v1")


@pytest.fixture(scope="module")
def play(env: Any) -> Any:
    """Plays fixed actions for 100 steps and returns all timesteps (after the end: undefined)."""

    @jax.jit
    def run(actions: jax.Array, params: Params) -> Any:
        state, _ = env.reset(KEY, params)

        def one(state: State, _: None) -> Any:
            state, timestep = env.step(KEY, state, actions)
            return state, (state, timestep)

        return jax.lax.scan(one, state, None, length=100)[1]

    def call(actions: list[int], **numbers: float) -> Any:
        numbers = {name: jnp.float32(value) for name, value in numbers.items()}
        states, timesteps = run(jnp.asarray(actions, jnp.int32), env.params.replace(**numbers))
        return jax.device_get((states, timesteps))

    return call


def test_everybody_waits(play: Any) -> None:
    states, timesteps = play([0, 0, 0, 0], regeneration=0.03)
    assert states.resource[0] == pytest.approx(0.53, abs=1e-6)
    assert not timesteps.reward[0].any()
    np.testing.assert_allclose(timesteps.observation.view[0], [[0.53, 0.0]] * 4, atol=1e-6)


def test_taking_what_flows_back_lasts_for_ever(play: Any) -> None:
    states, timesteps = play([1, 1, 1, 1], regeneration=0.1)
    np.testing.assert_allclose(timesteps.reward, np.full((100, 4), 0.025), atol=1e-7)
    np.testing.assert_allclose(states.resource, 0.5, atol=1e-5)
    np.testing.assert_allclose(states.total_taken[-1], 2.5, atol=1e-5)
    assert timesteps.terminated[-1] and not timesteps.terminated[:-1].any()


def test_the_emptying_step_pays_nobody(play: Any) -> None:
    states, timesteps = play([1, 1, 1, 1], start=0.1)
    assert states.resource[0] == 0.0
    assert timesteps.terminated[0] and not timesteps.truncated[0]
    assert not timesteps.reward[0].any() and not states.total_taken[0].any()
    assert timesteps.metrics["depleted"][0] == 1.0


def test_the_pool_is_capped(play: Any) -> None:
    assert play([0, 0, 0, 0], start=0.95, regeneration=0.1)[0].resource[0] == 1.0


@pytest.mark.parametrize(
    ("actions", "rate", "last", "each"),
    [
        ([1, 1, 1, 1], 0.055, 10, 0.225),
        ([1, 1, 1, 1], 0.03, 7, 0.150),
        ([1, 1, 1, 0], 0.055, 23, 0.55),
    ],
)
def test_when_the_pool_is_emptied(play: Any, actions: list[int], rate: float, last: int, each: float) -> None:
    states, timesteps = play(actions, regeneration=rate)
    assert int(np.argmax(timesteps.terminated)) + 1 == last
    assert (timesteps.reward[: last - 1] > 0).all(axis=0).tolist() == [a == 1 for a in actions]
    np.testing.assert_allclose(states.total_taken[last - 1], each * np.asarray(actions), atol=1e-5)


def test_two_takers_are_sustained(play: Any) -> None:
    states, timesteps = play([1, 1, 0, 0])
    np.testing.assert_allclose(states.resource, 0.5 + 0.005 * np.arange(1, 101), atol=1e-5)
    np.testing.assert_allclose(states.total_taken[-1], [2.5, 2.5, 0, 0], atol=1e-5)
    assert int(np.argmax(timesteps.terminated)) == 99
    metrics = {name: values[-1] for name, values in timesteps.metrics.items()}
    assert metrics == pytest.approx(
        {
            "utilitarian": 0.05,
            "equality": 0.5,
            "sustainability": 50.0,
            "restraint": 0.5,
            "cooperators": 0.5,
            "defectors": 0.5,
            "depleted": 0.0,
        },
        abs=1e-5,
    )


@pytest.mark.parametrize(
    ("gamma", "norm", "expected"),
    [
        (0.0, 1.0, [0.025, 0.0, 0.0, 0.0]),
        (0.1, 1.0, [0.025, 0.0025, 0.0025, 0.0025]),
        (0.1, 0.0325, [0.7692, 0.0769, 0.0769, 0.0769]),
        (1.0, 0.1, [0.25] * 4),
        (-1.0, 0.1, [0.25] * 4),
    ],
)
def test_rewards_are_mixed_over_the_graph(
    play: Any, gamma: float, norm: float, expected: list[float]
) -> None:
    states, timesteps = play([1, 0, 0, 0], coop_gamma=gamma, reward_norm=norm)
    np.testing.assert_allclose(timesteps.reward[0], expected, atol=5e-5)
    np.testing.assert_allclose(states.total_taken[0], [0.025, 0, 0, 0], atol=1e-7)


@pytest.mark.parametrize(("rate", "bound"), [(0.088, 0.12), (0.065, 0.35), (0.055, 0.45), (0.03, 0.70)])
def test_restraint_needed_in_the_long_run(env: Any, rate: float, bound: float) -> None:
    """Playing as greedily as survival allows, the mean restraint settles at 1 - 10 x the rate."""
    long = make("commons/water-v1", max_steps=2000, regeneration=rate)
    policy = long.scripted_policies()["cooperator"]()

    @jax.jit
    def run() -> Any:
        def one(carry: Any, _: None) -> Any:
            state, observation = carry
            state, timestep = long.step(KEY, state, policy.act(KEY, (), observation)[1])
            return (state, timestep.observation), timestep.metrics["restraint"]

        state, timestep = long.reset(KEY)
        return jax.lax.scan(one, (state, timestep.observation), None, length=2000)[1]

    # The starting pool and the threshold are worth at most 0.5 / 0.1 / 2000 of restraint.
    assert float(run()[-1]) == pytest.approx(bound, abs=0.0026)


@pytest.mark.parametrize(
    ("takes", "steps", "expected"), [(30, 100, 0.7), (80, 100, 0.2), (7, 10, 0.3), (6, 6, 0.0)]
)
def test_restraint_counts_lived_steps(takes: int, steps: int, expected: float) -> None:
    waited = reward.restraint(jnp.asarray([takes], jnp.int32), jnp.int32(steps))
    assert waited.tolist() == pytest.approx([expected], abs=1e-6)


@pytest.mark.parametrize(
    ("takes", "steps", "cooperators", "defectors"),
    [(30, 100, 1, 0), (80, 100, 0, 1), (7, 10, 0, 0), (6, 6, 0, 1)],
)
def test_classes_by_restraint(env: Any, takes: int, steps: int, cooperators: int, defectors: int) -> None:
    state, _ = env.reset(KEY)
    state = state.replace(takes=jnp.full(4, takes, jnp.int32), t=jnp.int32(steps))
    metrics = reward.metrics(state, 100)
    assert (float(metrics["cooperators"]), float(metrics["defectors"])) == (cooperators, defectors)


def test_published_metric_examples() -> None:
    """Two agents, five steps of rewards (1, 2), then of (1, 1)."""
    unequal, equal = jnp.asarray([5.0, 10.0]), jnp.asarray([5.0, 5.0])
    assert float(reward.utilitarian(unequal, 5)) == 3.0
    assert float(reward.equality(unequal)) == pytest.approx(5 / 6, abs=1e-6)
    assert float(reward.equality(equal)) == 1.0
    assert float(reward.equality(jnp.zeros(2))) == 1.0
    assert float(reward.sustainability(jnp.int32(10), 2)) == 5.0


def test_other_actions_wait(play: Any) -> None:
    odd = play([2, -1, np.iinfo(np.int32).max, np.iinfo(np.int32).min])
    jax.tree.map(np.testing.assert_array_equal, odd, play([0, 0, 0, 0]))


def test_time_limit_may_be_a_truncation() -> None:
    env = make("commons/water-v1", max_steps=2, time_limit_is_termination=False)
    state, _ = env.reset(KEY)
    wait = jnp.zeros(4, jnp.int32)
    for expected in (False, True):
        state, timestep = env.step(KEY, state, wait)
        assert (bool(timestep.truncated), bool(timestep.terminated)) == (expected, False)
    emptied = state.replace(resource=jnp.float32(0.05), t=jnp.int32(1))
    _, timestep = env.step(KEY, emptied, wait + 1)
    assert (bool(timestep.truncated), bool(timestep.terminated)) == (False, True)
    assert VectorEnv(env, 1).mode == "next_step"
    assert VectorEnv(make("commons/water-v1"), 1).mode == "same_step"


def test_global_state(env: Any) -> None:
    state, _ = env.reset(KEY)
    state, _ = env.step(KEY, state, jnp.asarray([1, 0, 0, 0], jnp.int32))
    np.testing.assert_allclose(env.global_state(state), [0.53, 0.025, 0, 0, 0, 0.01], atol=1e-6)


def test_one_take_is_a_share_of_a_fixed_total() -> None:
    env = make("commons/water-v1", num_agents=8)
    state, _ = env.reset(KEY)
    _, timestep = env.step(KEY, state, jnp.ones(8, jnp.int32))
    np.testing.assert_allclose(timestep.reward, np.full(8, 0.0125), atol=1e-7)


def test_strict(env: Any, strict_numerics: None) -> None:
    state, _ = jax.jit(env.reset)(KEY)
    state, timestep = jax.jit(env.step)(KEY, state, jnp.ones(4, jnp.int32))
    env.global_state(state)
    policies = {name: policy() for name, policy in env.scripted_policies().items()}
    actions = {name: p.act(KEY, (), timestep.observation)[1].tolist() for name, p in policies.items()}
    assert actions == {"scripted": [1] * 4, "cooperator": [1] * 4, "defector": [1] * 4}
    low = timestep.observation.replace(view=jnp.full((4, 2), 0.19))
    assert {name: p.act(KEY, (), low)[1].tolist() for name, p in policies.items()} == actions | {
        "scripted": [0] * 4,
        "cooperator": [0] * 4,
    }


@pytest.mark.parametrize(
    "overrides", [{"regeneration": -0.1}, {"num_agents": 0}, {"reward_norm": 0.0}, {"regenration": 0.1}]
)
def test_wrong_settings_are_refused(overrides: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        make("commons/water-v1", **overrides)


def test_picture(env: Any) -> None:
    key_states = [env.reset(KEY)]
    take_one = jnp.asarray([1, 0, 0, 0], jnp.int32)
    key_states.append(env.step(KEY, key_states[0][0], take_one))
    states, timesteps = zip(*jax.device_get(key_states), strict=True)
    clip = env.scene(Recording(states, (np.asarray(take_one),), (KEY,), timesteps))
    assert len(clip.frames) == 2
    lit = [sum(getattr(item, "fill", "") == "#f0e442" for item in frame.items) for frame in clip.frames]
    assert lit == [1, 0]
    assert "pool 0.530" in clip.frames[1].subtitle


# Steps recorded from the original ------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(traces_dir: Path) -> dict[str, np.ndarray]:
    """All recorded rows of all rates, one after another."""
    folder = public_folder(traces_dir, "water")
    parts = []
    for rate in RATES:
        with np.load(folder / f"water_regen{rate}.npz") as file:
            part = dict(file)
        part["regen_rate"] = np.full(len(part["action"]), part["regen_rate"], np.float32)
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.traces
@pytest.mark.parametrize(("horizon", "count"), [(100, 10313), (30, 887)])
def test_recorded_steps(recorded: dict[str, np.ndarray], horizon: int, count: int) -> None:
    """Every row: integers and booleans exactly, floats to 1e-6."""
    rows = {name: values[recorded["horizon"] == horizon] for name, values in recorded.items()}
    env = make("commons/water-v1", max_steps=horizon)
    assert len(rows["action"]) == count, "the rows of both horizons are all there are"

    @jax.jit
    @jax.vmap
    def step(
        rate: jax.Array, resource: jax.Array, total_taken: jax.Array, t: jax.Array, action: jax.Array
    ) -> Any:
        state, _ = env.reset(KEY, env.params.replace(regeneration=rate))
        state = state.replace(resource=resource, total_taken=total_taken, t=t)
        return env.step(KEY, state, action)

    state, timestep = jax.device_get(
        step(
            rows["regen_rate"],
            rows["state_resource"],
            rows["state_total_taken"],
            rows["state_t"].astype(np.int32),
            rows["action"].astype(np.int32),
        )
    )
    np.testing.assert_array_equal(state.t, rows["next_t"])
    np.testing.assert_array_equal(timestep.metrics["depleted"] == 1.0, rows["depleted"])
    np.testing.assert_array_equal(timestep.terminated | timestep.truncated, rows["done"])
    np.testing.assert_array_equal(timestep.reward > 0, rows["reward"] > 0)
    for ours, theirs in (
        (state.resource, rows["next_resource"]),
        (state.total_taken, rows["next_total_taken"]),
        (timestep.reward, rows["reward"]),
        (timestep.observation.view, rows["obs"]),
        (timestep.reward.sum(axis=1), rows["global_reward"]),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.traces
def test_recorded_resets(env: Any, traces_dir: Path, recorded: dict[str, np.ndarray]) -> None:
    with np.load(traces_dir / "water" / "public" / "resets.npz") as file:
        resource, total_taken, obs = file["resource"], file["total_taken"], file["obs"]
    state, timestep = env.reset(KEY)
    assert (resource == np.asarray(state.resource)).all()
    assert (total_taken == np.asarray(state.total_taken)).all()
    assert (obs == np.asarray(timestep.observation.view)).all()
