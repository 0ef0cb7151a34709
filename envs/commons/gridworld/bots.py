"""What scripted agents share: how they read the default view, find ways in it, wander, and make up teams."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int

from shoal.envs.commons.gridworld import views
from shoal.envs.commons.gridworld.types import APPLE, EAST, LEFT, NORTH, RIGHT, SOUTH, WALL, WEST, Options
from shoal.envs.core.policy import Scripted
from shoal.envs.core.types import Key, Observation, PyTree

FAR = 1 << 14
"""Steps to what cannot be reached."""
AHEAD, TO_LEFT, BEHIND, TO_RIGHT = range(4)
"""Directions as an agent sees them: that many left turns from where it looks."""
_STEPS = np.array([(-1, 0), (0, -1), (1, 0), (0, 1)], np.int32)
_WALKS = np.array([SOUTH, EAST, NORTH, WEST], np.int32)  # by heading


class Seen(NamedTuple):
    """What one agent sees, in its parts."""

    window: Array  # [h, w, items] bool, what lies there
    others: Array  # [h, w] bool, cells with another agent
    heading: Array  # [] i32, its own on the map
    row: int  # its own place in the window
    column: int

    def lies(self, code: int) -> Bool[Array, "height width"]:
        """Returns where things of a code lie."""
        return self.window[..., code - 1]

    def beside(self, board: Array, beyond: Any) -> Array:
        """Returns what a board says of the four cells around, from ahead to the right, [4]."""
        padded = jnp.pad(board, 1, constant_values=beyond)
        return padded[self.row + 1 + _STEPS[:, 0], self.column + 1 + _STEPS[:, 1]]

    def walk(self, direction: Int[Array, ""]) -> Int[Array, ""]:
        """Returns the action that goes one step in a direction."""
        return jnp.asarray(_WALKS)[(self.heading + direction) % 4]


class Local(Scripted):
    """Rules that read each agent's own view: a subclass writes `decide` for one agent."""

    def __init__(self, env: Any) -> None:
        """Reads the form of the views of a game on the grid."""
        self.options: Options = env.options
        self.items: int = env.items

    @abc.abstractmethod
    def decide(self, key: Key, seen: Seen) -> Int[Array, ""]:
        """Returns the agent's action."""

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Decides for every agent by itself."""

        def one(key: Key, view: Array) -> Array:
            return self.decide(key, self.read(view)).astype(jnp.int32)

        agents = observation.alive.shape
        for _ in agents:
            one = jax.vmap(one)
        return one(jax.random.split(key, agents), observation.view)

    def read(self, view: Int[Array, "height width layers"]) -> Seen:
        """Takes the view of one agent apart."""
        row, column, items = self.options.view_ahead, self.options.view_side, self.items
        compass = view[row, column, items + views.HEADING : items + views.HAS_EATEN]
        return Seen(
            window=view[..., :items] > 0,
            others=view[..., items + views.OTHER] > 0,
            heading=jnp.argmax(compass).astype(jnp.int32),
            row=row,
            column=column,
        )


class Team(Scripted):
    """The first ``count`` agents play one script, the rest another: what a Schelling diagram is made of."""

    def __init__(self, first: Scripted, rest: Scripted, count: int) -> None:
        """Fixes who plays what."""
        self.first, self.rest, self.count = first, rest, count

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Has both scripts decide for everybody, and picks."""
        number = np.arange(observation.alive.shape[-1])
        one, other = (script.choose(key, observation, state) for script in (self.first, self.rest))
        return jnp.where(number < self.count, one, other)


def steps_to(
    goals: Bool[Array, "height width"], free: Bool[Array, "height width"]
) -> Int[Array, "height width"]:
    """Returns how many steps over free cells lead from each cell to the nearest goal, `FAR` where none do."""
    height, width = goals.shape

    def relax(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        steps, _ = carry
        padded = jnp.pad(steps, 1, constant_values=FAR)
        near = steps
        for down, right in _STEPS.tolist():
            near = jnp.minimum(near, padded[1 + down : 1 + down + height, 1 + right : 1 + right + width] + 1)
        near = jnp.where(free, jnp.minimum(near, FAR), steps)
        return near, jnp.any(near != steps)

    start = jnp.where(goals, 0, FAR).astype(jnp.int32)
    return jax.lax.while_loop(lambda carry: carry[1], relax, (start, jnp.array(True)))[0]


def nearer(
    key: Key, seen: Seen, goals: Bool[Array, "height width"], free: Bool[Array, "height width"]
) -> tuple[Int[Array, ""], Bool[Array, ""]]:
    """Returns the direction that leads nearer to a goal, and whether any does.

    Cells with another agent are walked around where that is no longer, and ties broken by chance.

    Args:
        key: decides ties.
        seen: by the agent.
        goals: where it would go.
        free: cells that can be walked on; goals are.
    """
    steps = steps_to(goals, free | goals)
    around = jnp.where(seen.beside(free | goals, False), seen.beside(steps, FAR), FAR)
    cost = around.astype(jnp.float32) + seen.beside(seen.others, False).astype(jnp.float32)
    direction = jnp.argmin(cost + 0.5 * jax.random.uniform(key, cost.shape)).astype(jnp.int32)
    return direction, around[direction] < FAR


def wander(key: Key, seen: Seen, free: Bool[Array, "height width"]) -> Int[Array, ""]:
    """Mostly goes straight on where that is free, turns by chance or where it is not."""
    turns, which = jax.random.uniform(key, (2,))
    straight = seen.beside(free & ~seen.others, False)[AHEAD] & (turns < 0.9)
    return jnp.where(straight, seen.walk(jnp.int32(AHEAD)), jnp.where(which < 0.5, LEFT, RIGHT))


class Greedy(Local):
    """Goes to the nearest apple that it sees and may eat; wanders where there is none."""

    solid: tuple[int, ...] = (WALL,)
    """Codes of what is in the way."""

    def edible(self, seen: Seen) -> Bool[Array, "height width"]:
        """Returns which apples it eats: all."""
        return seen.lies(APPLE)

    def search(self, key: Key, seen: Seen, free: Bool[Array, "height width"]) -> Int[Array, ""]:
        """Returns what it does where it sees nothing to eat."""
        return wander(key, seen, free)

    def decide(self, key: Key, seen: Seen) -> Int[Array, ""]:
        """Goes, or looks for apples; never walks on those that it does not eat."""
        edible = self.edible(seen)
        blocked = seen.lies(APPLE) & ~edible
        for code in self.solid:
            blocked |= seen.lies(code)
        tie, luck = jax.random.split(key)
        direction, found = nearer(tie, seen, edible, ~blocked)
        return jnp.where(found, seen.walk(direction), self.search(luck, seen, ~blocked))
