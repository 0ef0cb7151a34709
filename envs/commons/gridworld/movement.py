"""How agents turn and walk without ever sharing a cell.

Source: SocialJax (arXiv 2503.14576), its resolver after the overlap fix. Trailing axes may be worlds.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int

from shoal.envs.commons.gridworld.types import LEFT, RIGHT

ROW_STEP = np.array([1, 0, -1, 0], np.int32)
COLUMN_STEP = np.array([0, 1, 0, -1], np.int32)
"""What a step ahead adds, by heading: 0 down, 1 right, 2 up, 3 left. Left of heading h is h + 1."""
_ROW_WALK = np.array([0, 0, 0, 0, 1, -1], np.int32)
_COLUMN_WALK = np.array([0, 0, 1, -1, 0, 0], np.int32)


def turned(heading: Int[Array, "agents *batch"], action: Int[Array, "agents *batch"]) -> Array:
    """Returns headings after turning left (+1) or right (-1)."""
    turn = (action == LEFT).astype(jnp.int32) - (action == RIGHT).astype(jnp.int32)
    return (heading + turn) % 4


def aimed(
    row: Int[Array, "agents *batch"],
    column: Int[Array, "agents *batch"],
    action: Int[Array, "agents *batch"],
    shape: tuple[int, ...],
) -> tuple[Array, Array]:
    """Returns the cells that agents walk to, in axes of the map, not further than its edges."""
    walks = jnp.where(action < len(_ROW_WALK), action, 0)
    to_row = row + jnp.asarray(_ROW_WALK)[walks]
    to_column = column + jnp.asarray(_COLUMN_WALK)[walks]
    return jnp.clip(to_row, 0, shape[0] - 1), jnp.clip(to_column, 0, shape[1] - 1)


def resolve(
    here: Int[Array, "agents *batch"],
    target: Int[Array, "agents *batch"],
    priority: Int[Array, "agents *batch"],
) -> Bool[Array, "agents *batch"]:
    """Returns who goes: nobody into a stayer or a swap, of several to one cell only the first by priority.

    Those who lose stay, which may stop others: repeated until nobody loses. Trains and rings of three or more
    go. Each round stops somebody, so there are N rounds at most.

    Args:
        here: cells where agents stand, each number once.
        target: cells that they go to, the same numbers.
        priority: the larger goes first; among equals the later agent.
    """
    agents = here.shape[0]
    same = target[:, None] == target[None]
    meets = (target[:, None] == here[None]) & (here[:, None] == target[None])
    later = np.arange(agents)[:, None] < np.arange(agents)[None]
    later = later.reshape(agents, agents, *[1] * (here.ndim - 1))
    other = later | later.swapaxes(0, 1)
    ahead = (priority[:, None] < priority[None]) | ((priority[:, None] == priority[None]) & later)
    beaten, swapped, into = same & ahead & other, meets & other, (target[:, None] == here[None]) & other

    def lost(moving: Bool[Array, "agents *batch"]) -> Bool[Array, "agents *batch"]:
        others = moving[None]
        return moving & jnp.any(((beaten | swapped) & others) | (into & ~others), axis=1)

    def go_on(carry: tuple[Array, Array]) -> Array:
        return jnp.any(carry[1])

    def again(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        moving = carry[0] & ~carry[1]
        return moving, lost(moving)

    moving = target != here
    return jax.lax.while_loop(go_on, again, (moving, lost(moving)))[0]
