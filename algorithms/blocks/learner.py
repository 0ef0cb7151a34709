"""What a learner is: it owns one group of agents, explores with them and learns from their rows.

Shape letters: ``T`` steps of a rollout, ``E`` environments, ``G`` agents of the group.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from shoal.envs.core import Environment, Observation, Policy, PyTree, TimeStep

Metrics = dict[str, Array]
MEMBER_AXIS = "member"  # the axis that seeds and swept values are vmapped over


@dataclass(frozen=True)
class Group:
    """Agents that share one learner or policy: their places on the agent axis."""

    name: str
    indices: tuple[int, ...]

    def rows(self, tree: PyTree, num_agents: int, axis: int = 1) -> PyTree:
        """Returns the group's rows of leaves whose ``axis`` is the agent axis."""
        if self.indices == tuple(range(num_agents)):
            return tree
        index = jnp.asarray(self.indices)
        return jax.tree.map(lambda leaf: jnp.take(leaf, index, axis=axis), tree)


@dataclass(frozen=True)
class Setting:
    """What a run tells its learner."""

    env: Environment[Any, Any]
    group: Group
    num_envs: int
    total_updates: int  # what annealed schedules run to
    final_observations: bool  # whether a truncated step is followed by its final observation
    shuffle_groups: int = 1  # blocks of environments that minibatches are drawn within
    sharing: str = "all"  # who shares parameters with whom; see blocks.sharing


@struct.dataclass
class Moment:
    """What the group's agents know before they act."""

    observation: Observation  # leaves [E, G, ...]
    first: Array  # [E, G] bool, memory starts afresh
    done_before: Array  # [E, G] bool, `agent_done` of the step that led here
    state: PyTree  # global state [E, ...] where the learner needs it, else ()


@struct.dataclass
class Trajectory:
    """The group's rows of one rollout; leaves [T, E, ...] unless said otherwise."""

    moment: Moment
    action: Array  # [T, E, G, ...]
    extras: dict[str, Array]  # what the learner's own `explore` noted, [T, E, G, ...]
    reward: Array  # [T, E, G] f32
    terminated: Array  # [T, E] bool
    truncated: Array  # [T, E] bool
    agent_done: Array  # [T, E, G] bool
    valid: Array  # [T, E] bool, false: no transition, learn nothing from it
    last: Moment  # [E, ...], after the last step
    carry: PyTree  # memory before the first step, [E, G, ...]
    last_carry: PyTree  # memory before `last`

    def moments(self) -> Moment:
        """Returns all that was known, the closing moment included: leaves [T+1, E, ...]."""
        return jax.tree.map(lambda x, last: jnp.concatenate([x, last[None]]), self.moment, self.last)


@struct.dataclass
class TrainState:
    """Everything that a learner changes; ``hyper`` holds the floats of its config."""

    params: PyTree
    opt_state: PyTree
    hyper: dict[str, Array]  # name -> [] f32
    updates: Array  # [] i32, calls of `learn` so far
    key: Array  # a key, split by each call of `learn`
    extra: PyTree = ()  # what else the algorithm keeps: target parameters, replay


@runtime_checkable
class Learner(Protocol):
    """The algorithm contract; an instance fixes the config, the network and the setting."""

    Config: ClassVar[type[Any]]
    config: Any
    setting: Setting
    needs_state: bool
    fresh_rollouts: bool  # every rollout opens new episodes, so that its sequences start without memory

    def init(self, key: Array, hyper: dict[str, Array] | None = None) -> TrainState:
        """Returns fresh parameters; ``hyper`` replaces the config's floats, for sweeps."""
        ...

    def initial_carry(self, batch: tuple[int, ...]) -> PyTree:
        """Returns the memory with which a rollout opens."""
        ...

    def explore(
        self, train_state: TrainState, key: Array, carry: PyTree, moment: Moment
    ) -> tuple[PyTree, Array, dict[str, Array]]:
        """Chooses actions [E, G, ...] for learning, with notes that `learn` will read."""
        ...

    def learn(self, train_state: TrainState, trajectory: Trajectory) -> tuple[TrainState, Metrics]:
        """Improves the parameters by one rollout."""
        ...

    def acting(self, params: PyTree) -> PyTree:
        """Returns the part of the parameters that `policy` plays with."""
        ...

    def policy(self, params: PyTree) -> Policy:
        """Returns the policy of the group that these parameters (from `acting`) play.

        They may come from a learner of another group where their shapes are the same: so opponents play.
        """
        ...


def agreed(condition: Array) -> Array:
    """Returns a condition that all members share as one that is not batched, for `jax.lax.cond`.

    A batched condition would run both branches. Outside the member axis it is returned as it is.
    """
    try:
        return jax.lax.pmin(condition.astype(jnp.int32), MEMBER_AXIS).astype(bool)
    except NameError:
        return condition


def nbytes(tree: PyTree) -> int:
    """Returns how many bytes arrays, or shapes of arrays, take."""
    return sum(int(np.prod(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def hyper_of(config: Any) -> dict[str, Array]:
    """Returns the fields that a config dataclass declares as float, as float32 scalars."""
    floats = [field.name for field in dataclasses.fields(config) if field.type in (float, "float")]
    return {name: jnp.asarray(getattr(config, name), jnp.float32) for name in floats}


def moment_of(group: Group, timestep: TimeStep, num_agents: int, state: PyTree = ()) -> Moment:
    """Returns what a group knows at a batched timestep (leaves [E, ...])."""
    return Moment(
        observation=group.rows(timestep.observation, num_agents),
        first=group.rows(timestep.first, num_agents),
        done_before=group.rows(timestep.agent_done, num_agents),
        state=state,
    )
