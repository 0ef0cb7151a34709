"""Who plays the agents that nobody learns for: a learner's present or past parameters, or a script."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from shoal.algorithms.blocks.learner import Group
from shoal.envs.core import (
    Environment,
    Episode,
    Observation,
    Policy,
    PyTree,
    TimeStep,
    UserError,
    VectorEnv,
    VectorState,
)

PRESENT = -1  # stands where a snapshot's number could


@dataclass(frozen=True)
class Opponent:
    """Agents that act and are not learned from. They draw their actions."""

    group: Group
    policy_of: Callable[[PyTree], Policy]  # parameters -> the group's policy
    learner: str | None = None  # whose parameters it plays with; None: it has none
    # Not None: the parameters have a leading axis of this length, and environment i is played with those of
    # block i % blocks. (Counted so, neighbours stay on one device.)
    blocks: int | None = None

    def initial_carry(self, params: PyTree, num_envs: int) -> PyTree:
        """Returns fresh memory, leaves [E, ...]; its form is the same whatever the parameters are."""
        return self._any_policy(params).initial_carry((num_envs,))

    def needs_state(self, params: PyTree) -> bool:
        """Returns whether `act` must be given the environments' whole state."""
        return self._any_policy(params).needs_state

    def act(self, params: PyTree, key: Array, carry: PyTree, timestep: TimeStep, state: PyTree) -> Any:
        """Chooses the group's actions.

        Args:
            params: what `policy_of` takes, with a leading axis of blocks where there are some.
            key: decides drawn actions.
            carry: leaves [E, ...].
            timestep: of all agents, leaves [E, ...].
            state: the environments' whole state where `needs_state`, else None.

        Returns:
            The carry for the next call and actions [E, G, ...].
        """
        rows = self.group.rows((timestep.observation, timestep.first), timestep.reward.shape[1])
        if self.blocks is None:
            return self.policy_of(params).act(key, carry, rows[0], state, greedy=False, first=rows[1])

        def one(params: PyTree, key: Array, given: PyTree) -> Any:
            carry, (observation, first), state = given
            return self.policy_of(params).act(key, carry, observation, state, greedy=False, first=first)

        given = jax.tree.map(
            lambda leaf: leaf.reshape(-1, self.blocks, *leaf.shape[1:]), (carry, rows, state)
        )
        keys = jax.random.split(key, self.blocks)
        played = jax.vmap(one, in_axes=(0, 0, 1), out_axes=1)(params, keys, given)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), played)

    def reopened(self, params: PyTree, carry: PyTree, changed: Array, num_envs: int) -> PyTree:
        """Forgets what was remembered in the blocks [blocks] where another policy plays now."""
        where = jnp.tile(changed, num_envs // changed.shape[0])

        def choose(new: Array, old: Array) -> Array:
            return jnp.where(where.reshape(-1, *(1,) * (old.ndim - 1)), new, old)

        return jax.tree.map(choose, self.initial_carry(params, num_envs), carry)

    def _any_policy(self, params: PyTree) -> Policy:
        return self.policy_of(params if self.blocks is None else jax.tree.map(lambda leaf: leaf[0], params))


@dataclass(frozen=True)
class ScriptedTeam:
    """A script for all agents of an environment, playing one group; it sees the others as dead."""

    script: Policy
    group: Group
    num_agents: int

    @property
    def needs_state(self) -> bool:
        """Whether `act` must be given the environment's whole state."""
        return self.script.needs_state

    def initial_carry(self, batch: tuple[int, ...] = ()) -> PyTree:
        """Returns the memory of the script, all agents."""
        return self.script.initial_carry(batch)

    def act(
        self,
        key: Array,
        carry: PyTree,
        observation: Observation,
        state: PyTree = None,
        greedy: bool = True,
        first: Array | None = None,
    ) -> tuple[PyTree, Array]:
        """Chooses the group's actions [*B, G, ...]; see `shoal.envs.core.Policy`."""
        axis = observation.alive.ndim - 1
        place = np.full(self.num_agents, len(self.group.indices))  # past the rows: a row of zeros
        place[list(self.group.indices)] = np.arange(len(self.group.indices))

        def spread(leaf: Array) -> Array:
            nobody = jnp.zeros_like(jax.lax.slice_in_dim(leaf, 0, 1, axis=axis))
            return jnp.take(jnp.concatenate([leaf, nobody], axis), place, axis=axis)

        observation, first = jax.tree.map(spread, (observation, first))
        carry, action = self.script.act(key, carry, observation, state, greedy, first)
        return carry, jnp.take(action, np.asarray(self.group.indices), axis=axis)


# A pool of past policies -------------------------------------------------------------------------------


@dataclass(frozen=True)
class PoolConfig:
    """How past policies are kept and met (``opponent_pool``)."""

    size: int = 10  # how many are kept; the newest replaces the oldest
    every: int = 20  # updates from one to the next
    present: float = 0.8  # chance of meeting the present policy instead (Berner et al. 2019)
    blocks: int = 4  # parts of the environments, each against a policy of its own, drawn anew every update

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        for name in ("size", "every", "blocks"):
            if getattr(self, name) < 1:
                raise UserError(f"opponent_pool.{name}={getattr(self, name)} must be at least 1")
        if not 0.0 <= self.present <= 1.0:
            raise UserError(f"opponent_pool.present={self.present} must be between 0 and 1")


@struct.dataclass
class Pool:
    """Past parameters of one learner, and which of them are met."""

    snapshots: PyTree  # leaves [size, ...]
    taken: Array  # [] i32, how many were ever put in
    drawn: Array  # [blocks] i32, the snapshot that each block of environments meets, or PRESENT


def open_pool(config: PoolConfig, params: PyTree) -> Pool:
    """Returns a pool that holds the opening parameters only."""
    full = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (config.size, *leaf.shape)), params)
    return Pool(full, jnp.ones((), jnp.int32), jnp.full(config.blocks, PRESENT, jnp.int32))


def draw(config: PoolConfig, pool: Pool, key: Array) -> Pool:
    """Draws whom each block meets: the present policy, or one of those kept, all equally likely."""
    u = jax.random.uniform(key, (2, config.blocks))
    kept = jnp.minimum(pool.taken, config.size)
    slot = (u[0] * kept.astype(jnp.float32)).astype(jnp.int32)
    slot = jnp.minimum(slot, kept - 1)  # rounding may reach the end
    return dataclasses.replace(pool, drawn=jnp.where(u[1] < config.present, PRESENT, slot))


def met(pool: Pool, present: PyTree) -> PyTree:
    """Returns the parameters that each block plays against, leaves [blocks, ...]."""

    def one(slots: Array, now: Array) -> Array:
        past = jnp.take(slots, jnp.maximum(pool.drawn, 0), axis=0)
        is_present = (pool.drawn == PRESENT).reshape(-1, *(1,) * now.ndim)
        return jnp.where(is_present, now[None], past)

    return jax.tree.map(one, pool.snapshots, present)


def keep(config: PoolConfig, pool: Pool, params: PyTree, updates: Array) -> Pool:
    """Puts the parameters after ``updates`` updates into the pool, where it is time for that."""
    due = updates % config.every == 0
    slot = pool.taken % config.size
    snapshots = jax.tree.map(
        lambda slots, now: slots.at[slot].set(jnp.where(due, now, slots[slot])), pool.snapshots, params
    )
    return dataclasses.replace(pool, snapshots=snapshots, taken=pool.taken + due.astype(jnp.int32))


# Changing places -----------------------------------------------------------------------------------------


class SwappingVectorEnv(VectorEnv):
    """Two teams that change places in every second environment, so that a learner plays from both.

    In environments of odd number, agent k of the first team is given what agent k of the second one sees and
    earns, and acts for it, and the other way round. The environment's metrics stay those of its own teams.
    """

    def __init__(self, env: Environment[Any, Any], num_envs: int, mode: str | None = None) -> None:
        """Batches ``env``.

        Raises:
            UserError: when there are not two teams of one size.
        """
        super().__init__(env, num_envs, mode)
        if not can_swap(env):
            raise UserError(f"swap_sides=true: {env.id} must have two teams of one size")
        first, second = (np.flatnonzero(env.teams == team) for team in np.unique(env.teams))
        self.opposite = np.arange(env.num_agents)
        self.opposite[first], self.opposite[second] = second, first

    def reset(
        self, key: Array, params: Any = None, levels: PyTree = None, first_index: int | Array = 0
    ) -> tuple[VectorState, TimeStep]:
        """Opens an episode in every copy; see `VectorEnv`."""
        state, timestep = super().reset(key, params, levels, first_index)
        return state, self._swapped_timestep(timestep)

    def step(
        self, state: VectorState, action: Array, params: Any = None
    ) -> tuple[VectorState, TimeStep, Episode]:
        """Steps every copy once; see `VectorEnv`."""
        state, timestep, episode = super().step(state, self._swapped(action), params)
        episode = dataclasses.replace(episode, returns=self._swapped(episode.returns))
        return state, self._swapped_timestep(timestep), episode

    def _swapped_timestep(self, timestep: TimeStep) -> TimeStep:
        names = ("observation", "reward", "agent_done", "first")
        swapped = self._swapped({name: getattr(timestep, name) for name in names})
        return dataclasses.replace(timestep, **swapped)

    def _swapped(self, tree: PyTree) -> PyTree:
        """Swaps agents in leaves [E, A, ...]."""
        odd = jnp.arange(self.num_envs, dtype=jnp.int32) % 2 == 1

        def one(leaf: Array) -> Array:
            across = jnp.take(leaf, self.opposite, axis=1)
            return jnp.where(odd.reshape(-1, *(1,) * (leaf.ndim - 1)), across, leaf)

        return jax.tree.map(one, tree)


def can_swap(env: Environment[Any, Any]) -> bool:
    """Returns whether there are two teams of one size."""
    _, sizes = np.unique(env.teams, return_counts=True)
    return len(sizes) == 2 and len(set(sizes.tolist())) == 1
