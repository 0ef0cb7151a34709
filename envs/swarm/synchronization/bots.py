"""Scripted lights: one that counts on everybody doing the same, one that gathers and follows what it sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int

from shoal.envs.core.types import Key
from shoal.envs.swarm.grid.bots import OFF, ON, Local, Seen
from shoal.envs.swarm.grid.physics import COLUMN_STEP, DOWN, LEFT, RIGHT, ROW_STEP, STAY, SWITCH, UP

if TYPE_CHECKING:
    from shoal.envs.swarm.synchronization.env import Synchronization


class Clock(Local):
    """Switches in the first round if its light is off, and in every round after; reads only its own light."""

    def decide(self, key: Key, seen: Seen) -> Int[Array, ""]:
        """Switches."""
        return jnp.where(seen.fresh & seen.flag, STAY, SWITCH)


class Vote(Local):
    """Gathers with the others into a block in the middle of the board, then follows the lights of its heart.

    The heart is the part of the block that everybody in the block sees. While its lights are alike everybody
    switches to the other state; when one has flipped all return to what most of them show, and no turn is
    lost. It uses no memory, clock, number or token: lights are seen a round earlier than tokens are heard.
    Where nobody sees everybody, all lights in view count and everybody goes on to the other state.
    """

    def __init__(self, env: Synchronization) -> None:
        """Plans the block."""
        super().__init__(env)
        o = self.options
        reach = o.view_size // 2
        self.size = rows, columns = block(o.num_agents, o.height - 2, o.width - 2, reach)
        self.corner = (o.height - rows) // 2, (o.width - columns) // 2
        self.heart = heart(rows, columns, reach)

    def decide(self, key: Key, seen: Seen) -> Int[Array, ""]:
        """Walks, or votes."""
        step = way(seen.i - self.corner[0], seen.j - self.corner[1], self.size, seen.blocked())
        return jnp.where(step == STAY, self._vote(seen), step)

    def _vote(self, seen: Seen) -> Int[Array, ""]:
        """Returns whether to switch."""
        centre = self.options.view_size // 2
        lights = jnp.stack([seen.window[..., OFF], seen.window[..., ON]])
        lights = lights.at[:, centre, centre].set(jnp.stack([~seen.flag, seen.flag]))
        votes = jnp.sum(lights & self._in_heart(seen)[None], axis=(1, 2))
        votes = jnp.where(jnp.any(votes > 0), votes, jnp.sum(lights, axis=(1, 2)))
        goes_on = (jnp.min(votes) == 0) | (not self.heart.any())
        wanted = (votes[1] >= votes[0]) ^ goes_on
        return jnp.where(seen.flag ^ wanted, SWITCH, STAY)

    def _in_heart(self, seen: Seen) -> Bool[Array, "side side"]:
        """Returns which cells of the window belong to the block's heart."""
        offset = np.arange(self.options.view_size, dtype=np.int32) - self.options.view_size // 2
        r, c = seen.i - self.corner[0] + offset, seen.j - self.corner[1] + offset
        (rows, columns), board = self.size, jnp.asarray(self.heart)
        known = ((r >= 0) & (r < rows))[:, None] & ((c >= 0) & (c < columns))[None]
        return known & board[jnp.clip(r, 0, rows - 1)[:, None], jnp.clip(c, 0, columns - 1)[None]]


def block(agents: int, rows: int, columns: int, reach: int) -> tuple[int, int]:
    """Returns the sides of the block with the largest share of cells that all see; of such, of the smallest.

    Args:
        agents: how many it must hold.
        rows: most that its first side can be.
        columns: most that its second side can be.
        reach: how many cells away an agent sees.
    """
    sizes = [(a, -(-agents // a)) for a in range(1, min(rows, agents) + 1)]
    fits = [(a, b) for a, b in sizes if b <= columns]
    return max(fits, key=lambda size: (heart(size[0], size[1], reach).mean(), -size[0] * size[1], -sum(size)))


def heart(rows: int, columns: int, reach: int) -> np.ndarray:
    """Returns [rows, columns] bool, the cells of a block from which all of it can be seen."""
    far_i, far_j = (np.maximum(np.arange(n), np.arange(n)[::-1]) for n in (rows, columns))
    return np.asarray((far_i <= reach)[:, None] & (far_j <= reach)[None])


def way(
    r: Int[Array, ""], c: Int[Array, ""], size: tuple[int, int], blocked: Bool[Array, "5"]
) -> Int[Array, ""]:
    """Returns the step of an agent that fills a block together with others; STAY for one that is settled.

    From afar it comes nearer; beside the block it goes round clockwise up to a free cell and enters; inside
    it moves on to free cells deeper within, so that there is room at the edge.

    Args:
        r: its row, counted from the block's first.
        c: its column.
        size: rows and columns of the block.
        blocked: from `Seen.blocked`.
    """
    rows, columns = size
    up, down, left, right = r - rows + 1, -r, c - columns + 1, -c  # steps to the block's nearest row, column
    out_i, out_j = jnp.maximum(jnp.maximum(up, down), 0), jnp.maximum(jnp.maximum(left, right), 0)
    inside = (out_i == 0) & (out_j == 0)

    to_r, to_c = r + np.array(ROW_STEP[:SWITCH]), c + np.array(COLUMN_STEP[:SWITCH])
    depth = jnp.minimum(jnp.minimum(to_r, rows - 1 - to_r), jnp.minimum(to_c, columns - 1 - to_c))
    # Deeper within, or from beside the block into it.
    enters = (depth > jnp.where(inside, depth[STAY], -1)) & ~blocked
    inward = jnp.where(jnp.any(enters), jnp.argmax(jnp.where(enters, depth, -1)), STAY)

    around = jnp.select(
        [(r == -1) & (c < columns), (c == columns) & (r < rows), (r == rows) & (c > -1)],
        [jnp.int32(RIGHT), jnp.int32(DOWN), jnp.int32(LEFT)],
        jnp.int32(UP),
    )
    upright, sideways = jnp.where(up > 0, UP, DOWN), jnp.where(left > 0, LEFT, RIGHT)
    can_i, can_j = (out_i > 0) & ~blocked[upright], (out_j > 0) & ~blocked[sideways]
    nearer = jnp.where(can_i & ((out_i >= out_j) | ~can_j), upright, jnp.where(can_j, sideways, STAY))
    beside = jnp.maximum(out_i, out_j) == 1
    outside = jnp.where(beside, jnp.where(blocked[around], STAY, around), nearer)
    return jnp.where((inward != STAY) | inside, inward, outside).astype(jnp.int32)
