"""The policies that need no learning."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shoal_toys as toys

from shoal.envs.core import IdlePolicy, Observation, Policy, RandomPolicy, VectorEnv, is_legal

KEY = jax.random.key(0)


@pytest.mark.parametrize("actions", ["discrete", "multi", "box"])
@pytest.mark.parametrize("kind", [RandomPolicy, IdlePolicy])
def test_actions_are_legal_in_any_batch(kind: Any, actions: str) -> None:
    env = toys.chain(actions=actions)
    policy = kind(env)
    assert isinstance(policy, Policy)
    assert not policy.needs_state
    for lead in ((), (3,), (2, 3)):
        _, timestep = jax.vmap(env.reset)(jax.random.split(KEY, int(np.prod(lead, dtype=int))))
        seen = jax.tree.map(lambda x, lead=lead: x.reshape(*lead, *x.shape[1:]), timestep.observation)
        carry, action = policy.act(KEY, policy.initial_carry(lead), seen)
        assert carry == ()
        assert action.shape == (*lead, 2, *env.action_space.shape)
        assert action.dtype == env.action_space.dtype
        assert bool(jnp.all(is_legal(env.action_space, action, seen.action_mask)))


def test_random_covers_what_is_legal_and_nothing_else() -> None:
    mask = jnp.broadcast_to(jnp.array([True, False, True]), (4000, 2, 3))
    seen = Observation(view=jnp.zeros((4000, 2, 3)), action_mask=mask, alive=jnp.ones((4000, 2), bool))
    _, action = RandomPolicy(toys.chain()).act(KEY, (), seen)
    counts = np.bincount(np.asarray(action).ravel(), minlength=3)
    assert counts[1] == 0
    assert abs(counts[0] - 4000) < 4 * np.sqrt(2000)
    _, again = RandomPolicy(toys.chain()).act(KEY, (), seen)
    np.testing.assert_array_equal(action, again)


def test_idle_is_the_named_action_or_the_first_legal_one() -> None:
    env = toys.chain()
    mask = jnp.array([[True, True, True], [False, False, True]])
    seen = Observation(view=jnp.zeros((2, 3)), action_mask=mask, alive=jnp.ones(2, bool))
    assert IdlePolicy(env).act(KEY, (), seen)[1].tolist() == [0, 2]
    policy = IdlePolicy(env)
    policy.idle = 1
    assert policy.act(KEY, (), seen)[1].tolist() == [1, 2]


def test_idle_in_the_middle_of_a_box() -> None:
    env = toys.chain(actions="box")
    _, timestep = env.reset(KEY)
    _, action = IdlePolicy(env).act(KEY, (), timestep.observation)
    assert action.tolist() == [[0.0], [0.0]]


def test_policies_play_in_a_compiled_loop() -> None:
    env = toys.chain(random_start=False)
    vector = VectorEnv(env, 4)
    policy = RandomPolicy(env)

    @jax.jit
    def play(key: Any) -> Any:
        state, timestep = vector.reset(key)

        def body(carry: Any, key: Any) -> Any:
            state, timestep, memory = carry
            memory, action = policy.act(key, memory, timestep.observation)
            state, timestep, episode = vector.step(state, action)
            return (state, timestep, memory), episode.done

        return jax.lax.scan(body, (state, timestep, policy.initial_carry((4,))), jax.random.split(key, 30))[1]

    assert np.asarray(play(KEY)).sum() >= 4 * 3
