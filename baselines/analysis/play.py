"""Whole episodes, agent by agent: what each held back and what it was paid, compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from shoal.envs.core import Environment, PyTree, TimeStep, UserError
from shoal.envs.core.types import select

Act = Callable[[Array, PyTree, TimeStep, PyTree], tuple[PyTree, Array]]
"""(key, memory, timesteps, states) -> memory, actions [E, A, ...], of ``E`` environments."""


@dataclass(frozen=True)
class Terms:
    """How everything is played."""

    episodes: int = 20  # of each model, and of each number of cooperators
    steps: int = 100  # records are cut here
    greedy: bool = False  # the most probable actions instead of drawn ones
    seed: int = 0  # decides everything that is drawn

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be.

        Raises:
            UserError: for numbers below 1.
        """
        for name in ("episodes", "steps"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)} must be at least 1")


@struct.dataclass
class Conduct:
    """How the agents of ``E`` episodes behaved and fared, [E, A] f32 each."""

    restraint: Array  # NaN where the environment does not say what it is
    payoff: Array


@struct.dataclass
class _Play:
    state: PyTree  # the last one that was lived, leaves [E, ...]
    timestep: TimeStep
    carry: PyTree
    payoff: Array  # [E, A] f32
    over: Array  # [E] bool
    clock: Array  # [] i32


def play(
    env: Environment[Any, Any], act: Act, carry: PyTree, key: Array, episodes: int, steps: int, params: Any
) -> Conduct:
    """Plays one episode in each of ``episodes`` environments, and of each the first ``steps`` steps.

    Args:
        env: with raw rewards.
        act: who plays.
        carry: its memory at the start.
        key: decides everything that is drawn.
        episodes: ``E``.
        steps: records are cut here.
        params: numbers to play with, the same in all environments.
    """
    act_key, world_key = jax.random.split(key)
    keys = jax.random.split(world_key, episodes)

    def at(clock: Array) -> Array:
        return jax.vmap(jax.random.fold_in, (0, None))(keys, clock)

    def running(now: _Play) -> Array:
        return (now.clock < steps) & jnp.any(~now.over)

    def body(now: _Play) -> _Play:
        clock = now.clock + 1
        carry, action = act(jax.random.fold_in(act_key, clock), now.carry, now.timestep, now.state)
        stepped = jax.vmap(env.step)(at(clock), now.state, action)
        state, timestep = jax.vmap(select)(now.over, (now.state, now.timestep), stepped)
        return _Play(
            state=state,
            timestep=timestep,
            carry=carry,
            payoff=now.payoff + jnp.where(now.over[:, None], 0.0, timestep.reward),
            over=timestep.terminated | timestep.truncated,
            clock=clock,
        )

    clock = jnp.zeros((), jnp.int32)
    state, timestep = jax.vmap(env.reset, (0, None))(at(clock), params)
    unpaid = jnp.zeros((episodes, env.num_agents), jnp.float32)
    start = _Play(state, timestep, carry, unpaid, timestep.terminated, clock)
    end = jax.lax.while_loop(running, body, start)
    unknown = jnp.full_like(end.payoff, jnp.nan)
    return Conduct(jax.vmap(env.restraint)(end.state) if knows_restraint(env) else unknown, end.payoff)


def knows_restraint(env: Environment[Any, Any]) -> bool:
    """Returns whether the environment says what restraint is."""
    return type(env).restraint is not Environment.restraint
