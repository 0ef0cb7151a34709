"""What scripted agents of the grid share: how they act in each form of action, and how they read views."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from shoal.envs.core.policy import Scripted
from shoal.envs.core.types import Key, Observation, PyTree
from shoal.envs.swarm.grid.observation import LAYERS
from shoal.envs.swarm.grid.physics import COLUMN_STEP, PRIMITIVES, ROW_STEP, SWITCH
from shoal.envs.swarm.grid.types import Options

ON, OFF, SELF = 2, 3, LAYERS - 1
"""Layers of a window: other agents with their flags on (or not shown), with their flags off, and oneself."""


class Planner(Scripted):
    """Rules that read the whole state: a subclass writes `plan` for one world, agents silent."""

    needs_state = True

    def __init__(self, env: Any) -> None:
        """Reads sizes and the form of the actions of a grid swarm."""
        self.options: Options = env.options

    @abc.abstractmethod
    def plan(self, key: Key, state: Any) -> Int[Array, " agents"]:
        """Returns everybody's primitive."""

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Plans each world of the batch by itself."""
        batch = observation.alive.shape[:-1]
        plan = self.plan
        for _ in batch:
            plan = jax.vmap(plan)
        primitive = plan(jax.random.split(key, batch), state)
        return acted(self.options, primitive, observation.action_mask)


class Local(Scripted):
    """Rules that read each agent's own view: a subclass writes `decide` for one agent, which is silent."""

    def __init__(self, env: Any) -> None:
        """Reads sizes and the forms of views and actions of a grid swarm."""
        self.options: Options = env.options

    @abc.abstractmethod
    def decide(self, key: Key, seen: Seen) -> Int[Array, ""]:
        """Returns the agent's primitive."""

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Decides for every agent by itself."""

        def one(key: Key, view: Array) -> Array:
            return self.decide(key, read(self.options, view))

        agents = observation.alive.shape
        for _ in agents:
            one = jax.vmap(one)
        primitive = one(jax.random.split(key, agents), observation.view)
        return acted(self.options, primitive, observation.action_mask)


def acted(options: Options, primitive: Int[Array, "*agents"], mask: Any) -> Array:
    """Returns the actions, in the environment's form, of agents that say nothing.

    Args:
        options: the task's.
        primitive: what each does; those to whom it is forbidden stay.
        mask: of the observation.
    """
    if options.speaks and options.joint_actions:
        mask = mask.reshape(*mask.shape[:-1], PRIMITIVES, options.vocabulary)[..., 0]
    elif options.speaks:
        mask = mask[0]
    legal = jnp.take_along_axis(mask, primitive[..., None], axis=-1)[..., 0]
    primitive = jnp.where(legal, primitive, 0).astype(jnp.int32)
    if not options.speaks:
        return primitive
    if options.joint_actions:
        return primitive * options.vocabulary
    return jnp.stack([primitive, jnp.zeros_like(primitive)], axis=-1)


class Seen(NamedTuple):
    """What one agent sees, in its parts."""

    window: Bool[Array, "side side layers"]  # what stands in the cells around
    i: Int[Array, ""]  # own row
    j: Int[Array, ""]  # own column
    flag: Bool[Array, ""]  # own
    fresh: Bool[Array, ""]  # whether nothing was done yet
    number: Int[Array, ""]  # which agent it is, 0 where agents do not know

    def others(self) -> Bool[Array, "side side"]:
        """Returns the cells where something stands, the own one left out."""
        return jnp.any(self.window[..., :SELF], axis=-1)

    def blocked(self) -> Bool[Array, "5"]:
        """Returns which primitives from to stay to right lead where something is seen to stand."""
        taken, centre = jnp.pad(self.others(), 1), self.window.shape[0] // 2 + 1
        return taken[centre + np.array(ROW_STEP[:SWITCH]), centre + np.array(COLUMN_STEP[:SWITCH])]


def read(options: Options, view: Float[Array, "..."]) -> Seen:
    """Takes the view of one agent apart, of either kind."""
    k = options.view_size
    if options.view == "grid":
        window, numbers = view[..., :LAYERS], view[0, 0, LAYERS:]
    else:
        window, numbers = view[: k * k * LAYERS].reshape(k, k, LAYERS), view[k * k * LAYERS :]
    start = 5 + (options.vocabulary if options.speaks else 0)
    last, rest = numbers[start : start + PRIMITIVES], numbers[start + PRIMITIVES :]
    number = jnp.argmax(rest[: options.num_agents]) if options.agent_id else 0
    return Seen(
        window=window > 0.5,
        i=jnp.round(numbers[0] * (options.height - 1)).astype(jnp.int32),
        j=jnp.round(numbers[1] * (options.width - 1)).astype(jnp.int32),
        flag=numbers[2] > 0.5,
        fresh=~jnp.any(last > 0.5),
        number=jnp.asarray(number, jnp.int32),
    )
