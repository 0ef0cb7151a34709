"""Block coordinate descent: robot after robot tries moves on the cost function itself and keeps the best."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.envs.core.policy import Scripted
from shoal.envs.core.types import Key, Observation, PyTree
from shoal.envs.swarm.planar.frame import HIGH, LOW, Planar

Cost = Callable[[Array, Array], Array]
"""Places x and y [A] -> what they cost together, []."""


class BlockDescent(Scripted):
    """What a planner could do that knows the cost function and all robots, as none of them does.

    In each round the robots choose one after another, each among its place and ``candidates`` places drawn
    around it, given what those before it have chosen. The reach of the draws shrinks as that of CAO does.
    """

    needs_state = True

    def __init__(self, env: Planar[Any, Any], candidates: int = 40) -> None:
        """Reads how far robots may move, and the schedule of the environment's planner."""
        planning = env.metadata.extras["planning"]
        cao = planning["cao"]
        self.candidates = candidates
        self.reach = planning["reach"]
        self.widest = cao["c_max"] * planning["time_step"]
        self.narrowest = cao["c_min"] * planning["time_step"]
        self.rounds = cao["rounds"]

    @abc.abstractmethod
    def cost_of(self, state: Any) -> Cost:
        """Returns the cost function of one round."""

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Moves all robots [*B, A, 2]; draws its candidates from ``key``."""
        team = state.team
        u = jax.random.uniform(key, (*team.x.shape, self.candidates, 2))
        descend = self._descend
        for _ in team.t.shape:  # one vmap for each axis of the batch
            descend = jax.vmap(descend)
        action: Array = descend(state, u)
        return action

    def _descend(self, state: Any, u: Float[Array, "agents candidates 2"]) -> Float[Array, "agents 2"]:
        """Chooses for one team, robot after robot."""
        team, cost = state.team, self.cost_of(state)
        done = jnp.minimum(team.t.astype(jnp.float32) / self.rounds, 1.0)
        reach = jnp.minimum(self.widest + (self.narrowest - self.widest) * done, self.reach)
        index = jnp.arange(u.shape[0], dtype=jnp.int32)

        def one(places: tuple[Array, Array], turn: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
            robot, draws = turn

            def moved(x: Array, y: Array) -> tuple[Array, Array]:
                return jnp.where(index == robot, x, places[0]), jnp.where(index == robot, y, places[1])

            tried = [
                jnp.concatenate([old[robot][None], _near(old[robot], reach, draws[:, axis])])
                for axis, old in enumerate(places)
            ]
            best = jnp.argmin(jax.vmap(lambda x, y: cost(*moved(x, y)))(*tried))
            return moved(tried[0][best], tried[1][best]), None

        (x, y), _ = jax.lax.scan(one, (team.x, team.y), (index, u))
        return jnp.stack([x - team.x, y - team.y], axis=-1) / self.reach


def _near(old: Float[Array, ""], reach: Float[Array, ""], u: Float[Array, " candidates"]) -> Array:
    """Returns places within ``reach`` of the old one and inside of the domain."""
    low, high = jnp.maximum(old - reach, LOW), jnp.minimum(old + reach, HIGH)
    return low + u * (high - low)
