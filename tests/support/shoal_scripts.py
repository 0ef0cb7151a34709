"""Whole episodes that a script plays, many side by side."""

from __future__ import annotations

from typing import Any

import jax

from shoal.envs.core import Episode, VectorEnv

KEY = jax.random.key(0)


def played_by_script(env: Any, num_envs: int = 256) -> Episode:
    """The records of ``num_envs`` episodes of full length, played by the policy ``scripted``."""
    vector = VectorEnv(env, num_envs)

    @jax.jit
    def play() -> Any:
        policy = env.scripted_policies()["scripted"]()

        def one(carry: Any, _: Any) -> Any:
            state, timestep = carry
            _, action = policy.act(KEY, (), timestep.observation)
            state, timestep, episode = vector.step(state, action)
            return (state, timestep), episode

        episodes = jax.lax.scan(one, vector.reset(KEY), None, length=env.max_steps)[1]
        return jax.tree.map(lambda x: x[-1], episodes)

    episode: Episode = jax.device_get(play())
    return episode
