"""Many copies of one environment, with finished episodes reset and episode statistics kept."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Bool, Int, Key

from shoal.envs.core.environment import Environment
from shoal.envs.core.errors import UserError
from shoal.envs.core.types import PyTree, TimeStep, first_timestep, select

MODES = ("same_step", "next_step")


@struct.dataclass
class VectorState:
    """The state of ``E`` environments."""

    env: PyTree  # leading axis E
    keys: Array  # [E] keys, one per environment, never changed
    clock: Array  # [E] i32, steps since `reset`; with the key it decides every draw
    returns: Array  # [E, A] f32, undiscounted sums of the running episodes
    length: Array  # [E] i32, steps of the running episodes
    ended: Array  # [E] bool, finished and waiting for its reset step (next_step mode)


@struct.dataclass
class Episode:
    """What the episodes that finished in this step amounted to; meaningless where not ``done``."""

    done: Array  # [E] bool
    returns: Array  # [E, A] f32
    length: Array  # [E] i32
    metrics: dict[str, Array]  # name -> [E] f32


class VectorEnv:
    """``num_envs`` copies of ``env``; `reset` and `step` are pure and jittable.

    Modes: ``same_step`` replaces a finished state before observing it, for environments whose time limit
    is a termination; ``next_step`` returns the final observation and spends the following step on the
    reset (its action ignored, nothing paid, ``valid`` false), so that the final value is there to
    bootstrap from. Randomness follows `fold_in(key, first_index + i)` for copy ``i``: the same copy draws
    the same numbers whatever the batch or the device layout.
    """

    def __init__(self, env: Environment[Any, Any], num_envs: int, mode: str | None = None) -> None:
        """Batches ``env``; ``mode`` follows its ``time_limit_is_termination`` unless given.

        Raises:
            UserError: for a batch below one or an unknown mode.
        """
        if num_envs < 1:
            raise UserError(f"num_envs={num_envs} must be at least 1")
        default = "same_step" if env.time_limit_is_termination else "next_step"
        self.mode = default if mode is None else mode
        if self.mode not in MODES:
            raise UserError(f"mode={mode!r} is not one of {', '.join(MODES)}")
        self.env = env
        self.num_envs = num_envs

    def reset(
        self,
        key: Key[Array, ""],
        params: Any = None,
        levels: PyTree = None,
        first_index: int | Int[Array, ""] = 0,
    ) -> tuple[VectorState, TimeStep]:
        """Opens an episode in every copy.

        Args:
            key: decides everything that these copies will ever draw.
            params: numbers to play with (unbatched), ``env.params`` by default.
            levels: stored levels to open with, leading axis E, instead of new ones.
            first_index: the global index of copy 0, when this is one part of a larger batch.
        """
        index = jnp.arange(self.num_envs, dtype=jnp.int32) + first_index
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
        clock = jnp.zeros(self.num_envs, jnp.int32)
        _, reset_keys = step_keys(keys, clock)
        params = self.env.params if params is None else params
        in_axes = (0, None, None if levels is None else 0)
        env_state, timestep = jax.vmap(self.env.reset, in_axes)(reset_keys, params, levels)
        state = VectorState(
            env=env_state,
            keys=keys,
            clock=clock + 1,
            returns=jnp.zeros((self.num_envs, self.env.num_agents), jnp.float32),
            length=jnp.zeros(self.num_envs, jnp.int32),
            ended=jnp.zeros(self.num_envs, bool),
        )
        return state, timestep

    def step(
        self, state: VectorState, action: Array, params: Any = None
    ) -> tuple[VectorState, TimeStep, Episode]:
        """Steps every copy once and resets those whose episode is over.

        Args:
            state: from `reset` or `step`.
            action: [E, A] or [E, A, D].
            params: numbers for the episodes that start now, ``env.params`` by default.
        """
        draw_keys, reset_keys = step_keys(state.keys, state.clock)
        params = self.env.params if params is None else params
        if self.mode == "same_step":
            step = jax.vmap(self._same_step, (0, 0, 0, 0, None))
            env_state, timestep = step(draw_keys, reset_keys, state.env, action, params)
        else:
            # Who needs a new episode is known beforehand; where episodes end together it is rarely anybody.
            fresh = jax.lax.cond(
                jnp.any(state.ended),
                lambda: jax.vmap(self._fresh, (0, None))(reset_keys, params),
                lambda: state.env,
            )
            env_state, timestep = jax.vmap(self._next_step)(draw_keys, fresh, state.env, state.ended, action)
        done = (timestep.terminated | timestep.truncated) & timestep.valid
        returns = state.returns + timestep.reward
        length = state.length + timestep.valid.astype(jnp.int32)
        episode = Episode(done=done, returns=returns, length=length, metrics=timestep.metrics)
        state = VectorState(
            env=env_state,
            keys=state.keys,
            clock=state.clock + 1,
            returns=jnp.where(done[:, None], 0.0, returns),
            length=jnp.where(done, 0, length),
            ended=done if self.mode == "next_step" else state.ended,
        )
        return state, timestep, episode

    def global_state(self, state: VectorState) -> PyTree:
        """Returns `Environment.global_state` of every copy, leading axis E."""
        return jax.vmap(self.env.global_state)(state.env)

    def _same_step(
        self, step_key: Any, reset_key: Any, state: PyTree, action: Array, params: Any
    ) -> tuple[PyTree, TimeStep]:
        """Steps one copy; a finished state is replaced before it is observed."""
        state, outcome = self.env.transition(step_key, state, action)
        done = outcome.terminated | outcome.truncated
        state = select(done, self._fresh(reset_key, params), state)
        timestep = self.env.timestep(self.env.observe(state), outcome)
        return state, dataclasses.replace(timestep, first=timestep.first | done)

    def _next_step(
        self, step_key: Any, fresh: PyTree, state: PyTree, ended: Bool[Array, ""], action: Array
    ) -> tuple[PyTree, TimeStep]:
        """Steps one copy, or replaces it by a fresh one when its episode ended in the step before."""
        state, outcome = self.env.transition(step_key, state, action)
        state = select(ended, fresh, state)
        observation = self.env.observe(state)
        opening = first_timestep(observation, self.env.no_metrics())
        opening = dataclasses.replace(opening, valid=jnp.zeros((), bool))
        return state, select(ended, opening, self.env.timestep(observation, outcome))

    def _fresh(self, key: Any, params: Any) -> PyTree:
        """Returns a new episode's state, not observed."""
        return self.env.initial_state(self.env.sample_level(key, params))


def step_keys(keys: Key[Array, " envs"], clock: Int[Array, " envs"]) -> tuple[Array, Array]:
    """Returns the keys of this step's draws and of its reset: pure functions of (copy, clock)."""
    numbers = 2 * clock[:, None] + jnp.arange(2, dtype=jnp.int32)[None]
    pair = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)))(keys, numbers)  # one random call for both
    return pair[:, 0], pair[:, 1]
