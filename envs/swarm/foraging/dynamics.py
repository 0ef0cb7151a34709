"""How food is picked up and delivered. Arrays may share trailing axes of worlds.

Source: SwarmBench (arXiv 2505.04364 v4) and its code.
"""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool

from shoal.envs.common.boards import look_up
from shoal.envs.swarm.foraging.types import State
from shoal.envs.swarm.grid.types import FOOD, NEST


def carry(state: State) -> State:
    """Returns the state after whoever stands beside the food took some, and beside the nest gave it up."""
    at_food = look_up(beside(state.board == FOOD), state.i, state.j, False)
    at_nest = look_up(beside(state.board == NEST), state.i, state.j, False)
    carries = state.flag | at_food
    delivered = carries & at_nest
    return replace(
        state,
        flag=carries & ~at_nest,
        delivered=delivered,
        score=state.score + jnp.sum(delivered, axis=0, dtype=jnp.float32),
    )


def beside(cells: Bool[Array, "rows columns *batch"]) -> Bool[Array, "rows columns *batch"]:
    """Returns the cells next to those given; the outermost ring is wall, so that nothing wraps round."""
    found = jnp.zeros_like(cells)
    for axis in (0, 1):
        for step in (1, -1):
            found |= jnp.roll(cells, step, axis)
    return found
