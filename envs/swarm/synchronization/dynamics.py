"""How lights are switched and scored. Arrays may share trailing axes of worlds.

Source: SwarmBench (arXiv 2505.04364 v4) and its code; lights that flip by themselves are ours.
"""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.envs.swarm.grid.physics import SWITCH
from shoal.envs.swarm.synchronization.types import State


def switch(state: State, draws: Float[Array, "agents *batch"]) -> State:
    """Returns the state after lights were switched: a point if all are alike, other than last scored.

    Args:
        state: with what everybody did.
        draws: a light flips by itself where its draw is below ``flips``.
    """
    flips = draws < jnp.asarray(state.params.flips)[None]
    light = (state.flag ^ (state.primitive == SWITCH) ^ flips) & state.alive
    lit = jnp.all(light | ~state.alive, axis=0)
    common = lit.astype(jnp.int32)
    scores = (lit | ~jnp.any(light, axis=0)) & (common != state.last_sync)
    return replace(
        state,
        flag=light,
        last_sync=jnp.where(scores, common, state.last_sync),
        score=state.score + scores.astype(jnp.float32),
    )
