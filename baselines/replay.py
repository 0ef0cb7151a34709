"""Recording one episode and drawing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from shoal.envs.core import Environment, Key, Policy, PyTree, Recording, UserError


def record_episode(env: Environment[Any, Any], policy: Policy, key: Key, greedy: bool = True) -> Recording:
    """Plays one episode to its end, step by step, and keeps everything that happened.

    Args:
        env: the environment, reset and stepped as it is, without auto-reset.
        policy: acts for all agents.
        key: decides the level, every step and every drawn action.
        greedy: the most probable actions instead of drawn ones.
    """
    # One compilation for all steps; the end is looked for in Python.
    step = jax.jit(env.step)
    act = jax.jit(
        lambda key, carry, timestep, state: policy.act(
            key,
            carry,
            timestep.observation,
            state if policy.needs_state else None,
            greedy,
            timestep.first,
        )
    )
    reset_key, play_key = jax.random.split(key)
    # All keys in one call: two per step, for acting and for stepping.
    keys = jax.random.split(play_key, (env.max_steps, 2))
    state, timestep = jax.jit(env.reset)(reset_key)
    carry = policy.initial_carry(())
    states, timesteps, actions = [_numpy(state)], [_numpy(timestep)], []
    for act_key, step_key in keys:
        carry, action = act(act_key, carry, timestep, state)
        state, timestep = step(step_key, state, action)
        states.append(_numpy(state))
        timesteps.append(_numpy(timestep))
        actions.append(_numpy(action))
        if timesteps[-1].terminated or timesteps[-1].truncated:
            break
    return Recording(tuple(states), tuple(actions), tuple(keys[: len(actions), 1]), tuple(timesteps))


def save_replay(env: Environment[Any, Any], recording: Recording, paths: list[Path]) -> list[Path]:
    """Draws a recording into files; the ending picks the format: .gif, .html or .png (the first frame).

    Raises:
        UserError: when the environment cannot be drawn or a file cannot be written.
    """
    from shoal.envs.scene import save

    for path in paths:
        if path.suffix.lower() not in (".gif", ".html", ".htm", ".png"):
            raise UserError(f"no format is known for {path.name!r}; end it in .gif, .html or .png")
    try:
        clip = env.scene(recording)
    except NotImplementedError as error:
        raise UserError(str(error)) from error
    try:
        return [save(clip, path) for path in paths]
    except OSError as error:
        raise UserError(f"cannot write the replay: {error}") from error


def _numpy(tree: PyTree) -> PyTree:
    """Returns the leaves as NumPy arrays; keys, which NumPy does not know, as they are."""

    def leaf(x: Any) -> Any:
        return x if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else np.asarray(x)

    return jax.tree.map(leaf, tree)
