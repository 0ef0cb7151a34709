"""Our particle worlds with their default options beside those of jaxmarl 0.2.0: both compute in float32."""

from typing import Any

import jax
import jax.numpy as jnp
import jaxmarl
import numpy as np
import pytest
import shoal_mpe2 as mpe2
from jaxmarl.environments.mpe.simple import State

from shoal.envs.core import RandomPolicy, VectorEnv, make

pytestmark = pytest.mark.parity

NAMES = ("spread", "reference", "tag")
STEPS = 2000
# Return of one agent in an episode of 26 steps, uniformly random actions, played by jaxmarl itself: mean and
# standard error over 8,192 episodes (of tag: an adversary; the good agent).
RANDOM = {"spread": (-27.68, 0.09), "reference": (-29.51, 0.12), "tag": (4.72, 0.13)}
RANDOM_PREY = (-16.85, 0.24)


class Pair:
    """One world of ours and of theirs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.env = make(f"particle/simple-{name}")
        self.theirs = jaxmarl.make(f"MPE_simple_{name}_v3")

    def step(self, rows: dict[str, Any], actions: np.ndarray, old_count: int = 3) -> Any:
        """Steps theirs from rows: observations in a row, state, rewards [A], done."""
        agents = self.theirs.agents

        @jax.jit
        @jax.vmap
        def one(row: dict[str, jax.Array], action: jax.Array) -> Any:
            state = State(
                p_pos=jnp.stack([row["x"], row["y"]], axis=1),
                p_vel=jnp.stack([row["vx"], row["vy"]], axis=1),
                c=row.get("message", jnp.zeros((len(agents), self.theirs.dim_c))),
                done=jnp.array(False),
                step=jnp.array(old_count),
                goal=row.get("goal"),
            )
            chosen = {name: action[i] for i, name in enumerate(agents)}
            seen, state, rewards, done, _ = self.theirs.step_env(jax.random.key(0), state, chosen)
            view = jnp.concatenate([seen[name] for name in agents])
            return view, state, jnp.stack([rewards[name] for name in agents]), done["__all__"]

        return jax.device_get(one(rows, jnp.asarray(actions)))


@pytest.fixture(scope="module", params=NAMES)
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(request.param)


def test_single_steps_from_random_states(pair: Pair) -> None:
    env = pair.env
    rows, actions = mpe2.random_states(env, STEPS, seed=11), mpe2.random_actions(env, (STEPS,), seed=12)
    if pair.name == "reference":
        rng = np.random.default_rng(13)
        rows["goal"] = rng.integers(0, 3, (STEPS, 2), np.int32)
        rows["message"] = np.eye(11, 10, dtype=np.float32)[rng.integers(0, 11, (STEPS, 2))]
    _, state, timestep, world = mpe2.stepper(env)(rows, actions)
    view, theirs, reward, done = pair.step(rows, actions)
    assert not done.any() and not timestep.terminated.any()
    x, y = theirs.p_pos[..., 0], theirs.p_pos[..., 1]
    for ours, other, atol in (
        (state.particles.x, x, 1e-6),
        (state.particles.y, y, 1e-6),
        (state.particles.vx, theirs.p_vel[..., 0], 1e-5),
        (state.particles.vy, theirs.p_vel[..., 1], 1e-5),
        (mpe2.true_views(env, timestep.observation.view), view, 1e-5),
        (world, view, 1e-5),
    ):
        np.testing.assert_allclose(ours, other, rtol=1e-6, atol=atol)
    unsure = np.zeros(STEPS, bool) if pair.name == "reference" else mpe2.decided_by_rounding(env, x, y)
    assert unsure.mean() < 0.01
    np.testing.assert_allclose(timestep.reward[~unsure], reward[~unsure], rtol=2e-6, atol=1e-5)


def test_an_episode_has_26_steps(pair: Pair) -> None:
    """Theirs tests its limit of 25 before counting: the step from 24 does not end it, that from 25 does."""
    env = pair.env
    rows, actions = mpe2.random_states(env, 1, seed=14), mpe2.random_actions(env, (1,), seed=15)
    if pair.name == "reference":
        rows["goal"] = np.zeros((1, 2), np.int32)
    for old in (24, 25):
        done = pair.step(rows, actions, old_count=old)[3]
        state = mpe2.set_state(env, {key: value[0] for key, value in rows.items()})
        state = state.replace(t=jnp.int32(old))
        _, timestep = jax.jit(env.step)(jax.random.key(0), state, jnp.asarray(actions[0]))
        assert bool(done[0]) == bool(timestep.terminated) == (old == 25)
    assert env.time_limit_is_termination and env.max_steps == 26


def test_random_play_earns_the_same(pair: Pair) -> None:
    env, count = pair.env, 8192
    vector, policy = VectorEnv(env, count), RandomPolicy(env)

    @jax.jit
    def play() -> Any:
        def one(carry: Any, key: jax.Array) -> Any:
            state, timestep = carry
            _, action = policy.act(key, (), timestep.observation)
            state, timestep, episode = vector.step(state, action)
            return (state, timestep), (episode.done, episode.returns)

        keys = jax.random.split(jax.random.key(1), 26)
        done, returns = jax.lax.scan(one, vector.reset(jax.random.key(2)), keys)[1]
        return done[-1], returns[-1]

    done, returns = jax.device_get(play())
    assert done.all()
    spread = returns.std(axis=0) / np.sqrt(count)
    mean, error = RANDOM[pair.name]
    assert abs(returns[:, 0].mean() - mean) < 4 * np.hypot(spread[0], error)
    if pair.name == "tag":
        assert abs(returns[:, -1].mean() - RANDOM_PREY[0]) < 4 * np.hypot(spread[-1], RANDOM_PREY[1])
    if pair.name == "spread":  # and the published -27.76 +- 0.06
        assert abs(returns.mean() + 27.76) < 4 * np.hypot(spread[0], 0.06)
