"""What the particle worlds share: options, places, actions, contacts, the time limit, views.

Everything here works on a single world and on a batch alike: agents or entities lie in the first axis, and
all arrays may share one trailing axis of worlds (`batch_last`), which scalars then have alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Bool, Float, Int, Shaped

from shoal.envs.common import particles
from shoal.envs.common.particles import MOVES, Bodies, Contact, Drift, Particles, column, distance
from shoal.envs.core.options import option, param
from shoal.envs.core.spaces import Box, Discrete, Space
from shoal.envs.core.types import Key

CITATION = "Lowe et al., Multi-agent actor-critic (MADDPG), NeurIPS 2017, arXiv 1706.02275"


@dataclass(frozen=True)
class Options:
    """What shapes arrays or picks code in every particle world; the defaults are jaxmarl 0.2.0's."""

    max_steps: int = option(
        26, "steps in an episode: 26 in jaxmarl, for its limit of 25; 25 in mpe2", low=1, high=1_000_000
    )
    time_limit_is_termination: bool = option(
        True, "whether the time limit ends episodes like a rule (jaxmarl) or truncates them (mpe2)"
    )
    continuous_actions: bool = option(False, "pushes of any strength, a Box, instead of five moves")


@struct.dataclass
class Ratio:
    """How agents share what they earn, [] f32."""

    local_ratio: Array = param(0.5, "weight of an agent's own part of the reward", low=0.0, high=1.0)


@struct.dataclass
class Level:
    """Where a reset places everything; a world's own level adds what else it draws."""

    x: Array  # [N] f32, agents, then landmarks
    y: Array  # [N] f32
    params: Any  # the world's own numbers


@struct.dataclass
class State:
    """The world between two steps; a world's own state adds what else it remembers."""

    particles: Particles  # [N] each: agents, then landmarks
    t: Array  # [] i32, steps so far
    params: Any


def place(
    key: Key, bodies: Bodies, rest: int = 0
) -> tuple[Float[Array, "entities"], Float[Array, "entities"], Float[Array, "rest"]]:
    """Draws places uniform between -1 and 1, and ``rest`` uniforms more, in one random call."""
    count = len(bodies.size)
    u = jax.random.uniform(key, (2 * count + rest,))
    where = 2.0 * u[: 2 * count] - 1.0
    return where[:count], where[count:], u[2 * count :]


def at_rest(level: Any) -> Particles:
    """Returns the entities of a level before anything moved."""
    still = jnp.zeros_like(level.x)
    return Particles(x=level.x, y=level.y, vx=still, vy=still)


# Actions ---------------------------------------------------------------------------------------------------


def action_space(options: Options, symbols: int = 1) -> Space:
    """Returns the space of agents that move and say one of ``symbols``; with one symbol they are silent."""
    if options.continuous_actions:
        return Box(0.0, 1.0, (MOVES + (symbols if symbols > 1 else 0),))
    return Discrete(MOVES * symbols)


def action_mask(space: Space, agents: int, like: Array) -> Bool[Array, "agents choices *batch"]:
    """Returns all true: everybody may do everything. ``like`` [*B] tells the batch."""
    size = space.n if isinstance(space, Discrete) else space.shape[0]
    return jnp.ones((agents, size, *like.shape), bool)


def clean(action: Float[Array, "agents entries *batch"]) -> Float[Array, "agents entries *batch"]:
    """Brings real actions into their bounds, 0 to 1; what is no number is 0."""
    return jnp.clip(jnp.where(jnp.isnan(action), 0.0, action), 0.0, 1.0)


def pushes(
    options: Options, action: Array
) -> tuple[Float[Array, "agents *batch"], Float[Array, "agents *batch"]]:
    """Returns each agent's push (x, y), up to one each way.

    Args:
        options: whether actions are moves or real.
        action: [A, *B] i32 moves, of which unknown ones stay; or [A, D, *B] f32, whose first five entries are
            nothing, left, right, down and up.
    """
    if not options.continuous_actions:
        return particles.push(action)
    strength = clean(action)
    return strength[:, 2] - strength[:, 1], strength[:, 4] - strength[:, 3]


def step(
    old: Particles,
    push: tuple[Array, Array],
    acceleration: Float[Array, "#agents *batch"],
    bodies: Bodies,
    motion: Drift,
    contact: Contact | None = None,
    max_speed: Float[Array, "entities *batch"] | None = None,
) -> Particles:
    """Moves everything by one step.

    Args:
        old: before the step.
        push: of each agent, x and y, [A, *B]; the agents are the first entities.
        acceleration: force of a unit push, of each agent or one for all.
        bodies: what the entities are.
        motion: numbers of free motion.
        contact: numbers of contacts, where entities collide.
        max_speed: top speeds where they are numbers of the moment.
    """
    landmarks = jnp.zeros_like(old.x[push[0].shape[0] :])
    force_x, force_y = (jnp.concatenate([part * acceleration, landmarks]) for part in push)
    if contact is not None:
        contact_x, contact_y = particles.contact_forces(old, bodies, contact)
        force_x, force_y = force_x + contact_x, force_y + contact_y
    return particles.integrate(old, force_x, force_y, bodies, motion, max_speed)


# Ends ------------------------------------------------------------------------------------------------------


def ends(options: Options, t: Int[Array, "*batch"]) -> tuple[Bool[Array, "*batch"], Bool[Array, "*batch"]]:
    """Returns (terminated, truncated) after ``t`` steps: only the time limit ends an episode."""
    late, never = t >= options.max_steps, jnp.zeros_like(t, bool)
    return (late, never) if options.time_limit_is_termination else (never, late)


# Who is where ----------------------------------------------------------------------------------------------


def gaps(
    p: Particles, ones: slice, others: slice
) -> tuple[Float[Array, "ones others *batch"], Float[Array, "ones others *batch"]]:
    """Returns the way from every entity of ``ones`` to every one of ``others``, x and y."""
    return p.x[None, others] - p.x[ones, None], p.y[None, others] - p.y[ones, None]


def touching(p: Particles, bodies: Bodies, ones: slice, others: slice) -> Bool[Array, "ones others *batch"]:
    """Returns who overlaps whom; an entity does not overlap itself."""
    between = distance(*gaps(p, ones, others))
    size = np.asarray(bodies.size, np.float32)
    index = np.arange(len(size))
    reach = column(size[ones][:, None] + size[others][None], between)
    return (between < reach) & column(index[ones][:, None] != index[others][None], between)


def off_diagonal(square: Shaped[Array, "agents agents *batch"]) -> Shaped[Array, "agents others *batch"]:
    """Drops the diagonal of the two leading axes: [A, A, ...] to [A, A - 1, ...], in order."""
    count, rest = square.shape[0], square.shape[2:]
    if count == 1:
        return square[:, :0]
    cut = square.reshape(count * count, *rest)[1:].reshape(count - 1, count + 1, *rest)
    return cut[:, :-1].reshape(count, count - 1, *rest)


def pairs(
    x: Float[Array, "agents places *batch"], y: Float[Array, "agents places *batch"]
) -> Float[Array, "agents coordinates *batch"]:
    """Lays places out as the published vectors do: x and y of the first, x and y of the second, ..."""
    both = jnp.stack([x, y], axis=2)
    return both.reshape(both.shape[0], 2 * both.shape[1], *both.shape[3:])


def ways(p: Particles, agents: int, landmarks: int) -> Sequence[Array]:
    """Returns what agents see in most worlds, [A, 2 or more, *B] each.

    Own velocity, own position, the ways to the landmarks, and to the other agents in order.
    """
    own = slice(0, agents)
    to_landmarks = gaps(p, own, slice(agents, agents + landmarks))
    to_agents = [off_diagonal(part) for part in gaps(p, own, own)]
    return (
        jnp.stack([p.vx[own], p.vy[own]], axis=1),
        jnp.stack([p.x[own], p.y[own]], axis=1),
        pairs(*to_landmarks),
        pairs(*to_agents),
    )
