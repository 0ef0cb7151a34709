"""What scripted agents of the grid share: how they act in each form of action, and how they read their views."""

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
from shoal.envs.swarm.grid.physics import PRIMITIVES
from shoal.envs.swarm.grid.types import Options, State


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
    """Rules that read each agent's own view: a subclass writes `decide` for agents of any leading shape."""

    def __init__(self, env: Any) -> None:
        """Reads sizes and the forms of views and actions of a grid swarm."""
        self.options: Options = env.options

    @abc.abstractmethod
    def decide(self, key: Key, seen: Seen) -> Int[Array, "*agents"]:
        """Returns everybody's primitive."""

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Decides for everybody at once, each from its own row."""
        primitive = self.decide(key, read(self.options, observation.view))
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
    """An agent's view in its parts."""

    window: Float[Array, "*agents side side 9"]  # layers of the cells around
    i: Int[Array, "*agents"]  # own row
    j: Int[Array, "*agents"]  # own column
    flag: Bool[Array, "*agents"]  # own
    last: Bool[Array, "*agents primitives"]  # what it did last; none before its first round
    number: Int[Array, "*agents"]  # which one it is, 0 where agents do not know


def read(
    options: Options, view: Float[Array, "*agents features"] | Float[Array, "*agents side side layers"]
) -> Seen:
    """Takes a view of either kind apart."""
    k = options.view_size
    if options.view == "grid":
        window, numbers = view[..., :LAYERS], view[..., 0, 0, LAYERS:]
    else:
        window = view[..., : k * k * LAYERS].reshape(*view.shape[:-1], k, k, LAYERS)
        numbers = view[..., k * k * LAYERS :]
    words = options.vocabulary if options.speaks else 0
    last = numbers[..., 5 + words : 5 + words + PRIMITIVES]
    number = jnp.zeros(view.shape[:-1] if options.view == "flat" else view.shape[:-3], jnp.int32)
    if options.agent_id:
        start = 5 + words + PRIMITIVES
        number = jnp.argmax(numbers[..., start : start + options.num_agents], axis=-1).astype(jnp.int32)
    return Seen(
        window=window,
        i=jnp.round(numbers[..., 0] * (options.height - 1)).astype(jnp.int32),
        j=jnp.round(numbers[..., 1] * (options.width - 1)).astype(jnp.int32),
        flag=numbers[..., 2] > 0.5,
        last=last > 0.5,
        number=number,
    )
