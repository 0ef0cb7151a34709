"""Drives jaxmarl 0.2.0's SMAX in batches and works out every random number that one of its steps consumes.

The peer takes one key per step and splits it as it goes. `heuristic_draws` and `deviations` follow the same
splits, so that our dynamics, which take their random numbers as an argument, can be given the very same ones.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxmarl.environments.smax import SMAX, HeuristicEnemySMAX, Scenario, map_name_to_scenario
from jaxmarl.environments.smax.heuristic_enemy import (
    HeuristicPolicyState,
    create_heuristic_policy,
    get_heuristic_policy_initial_state,
)
from jaxmarl.environments.smax.heuristic_enemy_smax_env import State as WrappedState
from jaxmarl.environments.smax.smax_env import State as PeerState
from shoal_jit import jit_to_run

SLOT = 13  # features of one observed unit


class Choice(NamedTuple):
    """The peer's uniform choice among the true entries of ``mask`` [..., K]; -1 where there was none."""

    mask: Array
    index: Array

    @property
    def quantile(self) -> Array:
        """The middle of the interval of uniforms that select the chosen entry."""
        count = jnp.sum(self.mask, axis=-1)
        before = jnp.arange(self.mask.shape[-1]) < self.index[..., None]
        rank = jnp.sum(self.mask & before, axis=-1)
        return jnp.where(count > 0, (rank + 0.5) / jnp.maximum(count, 1), 0.5).astype(jnp.float32)


class PeerDraws(NamedTuple):
    """What one step of the peer draws; choices are in the order of the unit's own observation slots."""

    deviation: Array  # [T, N] f32 in [-dt, 2 dt), what a shot adds to the weapon's cooldown
    goal: Choice | None  # [n_e], the visible opponent that is followed
    target: Choice | None  # [n_e], the opponent that is shot at in mode "random"


class PeerStep(NamedTuple):
    """One step of the peer without its auto-reset, agents stacked on an axis A."""

    state: Any  # WrappedState, or PeerState in self-play
    draws: PeerDraws
    observation: Array  # [A, F]
    world_state: Array  # [12 N]
    reward: Array  # [A]
    agent_done: Array  # [A] bool
    over: Array  # [] bool
    mask: Array  # [A, M] bool, false where an agent has fewer actions


def deviations(env: Any, key: Array) -> Array:
    """Returns the cooldown deviations [T, N] of a step whose world steps start from ``key``."""

    def world_step(step_key: Array, _: None) -> tuple[Array, Array]:
        step_key, world_key = jax.random.split(step_key)
        keys = jax.random.split(world_key, env.num_allies + env.num_enemies)
        dt = env.time_per_step
        return step_key, jax.vmap(lambda k: jax.random.uniform(k, minval=-dt, maxval=2 * dt))(keys)

    return jax.lax.scan(world_step, key, None, env.world_steps_per_env_step)[1]


def heuristic_draws(env: Any, keys: Array, team: int, obs: Array) -> tuple[Choice, Choice]:
    """Returns the goals and targets that the heuristic draws, given ``keys`` [n] and ``obs`` [n, F]."""
    size = (env.num_allies, env.num_enemies)[team]
    others = (env.num_allies, env.num_enemies)[1 - team]
    slots = obs[:, (size - 1) * SLOT : -10].reshape(size, others, SLOT)
    unit_type = jnp.argmax(obs[:, -env.unit_type_bits :], axis=-1)
    visible = slots[..., 0] > 0
    distance = jnp.linalg.norm(
        slots[..., 1:3] * env.unit_type_sight_ranges[unit_type][:, None, None], axis=-1
    )
    shootable = visible & (distance < env.unit_type_attack_ranges[unit_type][:, None])

    def choose(key: Array, mask: Array) -> Array:
        index = jax.random.choice(key, jnp.arange(others), p=mask / jnp.sum(mask))
        return jnp.where(jnp.any(mask), index, -1)

    goal_key, target_key = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    goal = Choice(visible, jax.vmap(choose)(goal_key, visible))
    return goal, Choice(shootable, jax.vmap(choose)(target_key, shootable))


def _padded(masks: list[Array]) -> Array:
    width = max(len(mask) for mask in masks)
    return jnp.stack([jnp.pad(mask, (0, width - len(mask))) for mask in masks]).astype(bool)


class Peer:
    """The peer's battle against its scripted enemy, compiled once for batches of one size.

    Everything takes and returns a leading batch axis.
    """

    def __init__(self, scenario: str | Scenario, **options: Any) -> None:
        scenario = map_name_to_scenario(scenario) if isinstance(scenario, str) else scenario
        self.env = HeuristicEnemySMAX(scenario=scenario, **options)
        self.inner = self.env._env
        self.n_allies, self.n_enemies = self.inner.num_allies, self.inner.num_enemies

    @cached_property
    def reset(self) -> Any:
        """Keys [B] -> WrappedState."""
        return jit_to_run(jax.vmap(lambda key: self.env.reset(key)[1]))

    @cached_property
    def step(self) -> Any:
        """Keys [B], state, ally actions [B, n_a] -> PeerStep."""
        return jit_to_run(jax.vmap(self._step))

    @cached_property
    def look(self) -> Any:
        """State -> the allies' observations [B, n_a, F] and masks [B, n_a, 5 + n_e]."""

        def look(state: WrappedState) -> tuple[Array, Array]:
            obs, mask = self.env.get_obs(state), self.env.get_avail_actions(state)
            agents = self.env.agents
            return jnp.stack([obs[a] for a in agents]), _padded([mask[a] for a in agents])

        return jit_to_run(jax.vmap(look))

    @cached_property
    def bot(self) -> Any:
        """Keys [B], memory, the allies' observations -> the heuristic's actions, and memory."""
        policy = create_heuristic_policy(self.inner, 0)

        def act(key: Array, memory: HeuristicPolicyState, obs: Array) -> tuple[Array, HeuristicPolicyState]:
            return jax.vmap(policy)(jax.random.split(key, self.n_allies), memory, obs)

        return jit_to_run(jax.vmap(act))

    def bot_memory(self, batch: int) -> HeuristicPolicyState:
        """The memory with which `bot` opens an episode."""
        return jax.tree.map(
            lambda x: jnp.broadcast_to(x, (batch, self.n_allies, *jnp.shape(x))),
            get_heuristic_policy_initial_state(),
        )

    def _step(self, key: Array, state: WrappedState, actions: Array) -> PeerStep:
        agents = self.env.agents
        obs, after, reward, done, _ = self.env.step_env(
            key, state, {agent: actions[i] for i, agent in enumerate(agents)}
        )
        mask = self.env.get_avail_actions(after)
        world_key, enemy_key = jax.random.split(key)
        seen = self.inner.get_obs_unit_list(state.state)
        enemy_obs = jnp.stack([seen[agent] for agent in self.env.enemy_agents])
        goal, target = heuristic_draws(self.inner, jax.random.split(enemy_key, self.n_enemies), 1, enemy_obs)
        return PeerStep(
            state=after,
            draws=PeerDraws(deviations(self.inner, world_key), goal, target),
            observation=jnp.stack([obs[agent] for agent in agents]),
            world_state=obs["world_state"],
            reward=jnp.stack([reward[agent] for agent in agents]),
            agent_done=jnp.stack([done[agent] for agent in agents]),
            over=done["__all__"],
            mask=_padded([mask[agent] for agent in agents]),
        )


class SelfPlayPeer:
    """The peer's battle with both teams controlled, compiled once for batches of one size."""

    def __init__(self, scenario: str, **options: Any) -> None:
        self.env = SMAX(scenario=map_name_to_scenario(scenario), **options)
        self.inner = self.env
        self.n_allies, self.n_enemies = self.env.num_allies, self.env.num_enemies

    @cached_property
    def look(self) -> Any:
        """State -> everybody's observations [B, N, F] and masks [B, N, M]."""

        def look(state: PeerState) -> tuple[Array, Array]:
            obs, mask = self.env.get_obs(state), self.env.get_avail_actions(state)
            agents = self.env.agents
            return jnp.stack([obs[a] for a in agents]), _padded([mask[a] for a in agents])

        return jit_to_run(jax.vmap(look))

    @cached_property
    def step(self) -> Any:
        """Keys [B], state, actions [B, N] -> PeerStep."""
        return jit_to_run(jax.vmap(self._step))

    def _step(self, key: Array, state: PeerState, actions: Array) -> PeerStep:
        agents = self.env.agents
        obs, after, reward, done, _ = self.env.step_env(key, state, dict(zip(agents, actions, strict=True)))
        mask = self.env.get_avail_actions(after)
        return PeerStep(
            state=after,
            draws=PeerDraws(deviations(self.env, jax.random.split(key)[0]), None, None),
            observation=jnp.stack([obs[agent] for agent in agents]),
            world_state=obs["world_state"],
            reward=jnp.stack([reward[agent] for agent in agents]),
            agent_done=jnp.stack([done[agent] for agent in agents]),
            over=done["__all__"],
            mask=_padded([mask[agent] for agent in agents]),
        )
