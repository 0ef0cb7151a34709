"""What agents see: a window that turns with them, layers of what lies and who stands on each cell. One world.

Layers: what lies there (code - 1), then self, other, four headings, has eaten, apples eaten twice, frozen.
Source of the layers and of the published form: SocialJax (arXiv 2503.14576) and its code.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int

from shoal.envs.commons.gridworld.movement import COLUMN_STEP, ROW_STEP
from shoal.envs.commons.gridworld.types import WALL, Options, State

SELF, OTHER, HEADING, HAS_EATEN, EATEN, FROZEN = 0, 1, 2, 6, 7, 9
"""Layers of agents, counted from the first behind those of items; HEADING is four, EATEN two of them."""
AGENT_LAYERS = 10
_AGENT, _ATE, _FACING = 30, 29, 24  # bits that stand for an agent; below are those of its index
_WAYS = 10  # to be seen: no heading or one of four, without and with apples eaten


def shape(options: Options, items: int) -> tuple[int, int, int]:
    """Returns the shape of one agent's view.

    Args:
        options: the game's.
        items: number of the layers for what lies on cells.
    """
    return options.view_ahead + options.view_behind + 1, 2 * options.view_side + 1, items + AGENT_LAYERS


def observe(options: Options, state: State, items: int, published: bool) -> Int[Array, "agents *view"]:
    """Returns what everybody sees, i8.

    The observer stands in the middle of the row ``view_behind`` from below and looks up. Its own cell is the
    one marked as self, with its apples and its heading on the map; others' headings are relative to its own.

    In the published form it looks down from the upper end where its heading is 0 or 2. Marked as self is the
    next agent (the last marks itself), with the apples of the agent before that one; the observer's own
    heading is not shown; and numbers of apples run over at 127.

    Args:
        options: the game's.
        state: the world.
        items: number of the layers for what lies on cells.
        published: whether in the published form.
    """
    agents = options.num_agents
    number = np.arange(agents, dtype=np.int32)
    eaten = ((state.eaten + 128) & 255) - 128 if published else jnp.minimum(state.eaten, 127)
    margin = max(options.view_ahead, options.view_behind, options.view_side)
    seen = _windows(options, _numbered(state, eaten, margin), state, margin, published)
    is_agent = (seen >> _AGENT) == 1
    index, facing, ate = seen & ((1 << _FACING) - 1), (seen >> _FACING) & 3, (seen >> _ATE) & 1
    marked = np.minimum(number + 1, agents - 1) if published else number
    mine = is_agent & (index == marked[:, None, None])
    me = index == number[:, None, None]
    turn = jnp.where(me & (not published), 0, state.heading[:, None, None])
    compass = jnp.where(me & published, 0, 1 + (facing - turn) % 4)
    ways = compass * 2 + ate
    own_rows = 1 + items + _WAYS * (1 + number[:, None, None])
    code = jnp.where(is_agent, jnp.where(mine, own_rows, 1 + items) + ways, seen)
    # Published: the number shown is that of the agent before the marked one.
    shown = eaten[np.maximum(marked - 1, 0)] if published else eaten
    # Found once, not for every layer.
    code, table = jax.lax.optimization_barrier((code, _layers(items, shown)))
    # Whole rows are copied; what comes after must not have single layers looked up.
    return jax.lax.optimization_barrier(table.at[code].get(mode="promise_in_bounds"))


def _layers(items: int, eaten: Int[Array, " agents"]) -> Int[Array, "codes layers"]:
    """Returns the layers of nothing, each item, another agent in each way, and each self in each way, i8.

    Ways: with no heading or one of four, each without and with apples eaten.

    Args:
        items: number of the layers for what lies on cells.
        eaten: number shown at each agent's self.
    """
    lying = np.eye(1 + items, items + AGENT_LAYERS, -1, np.int8)
    way = np.zeros((_WAYS // 2, 2, items + AGENT_LAYERS), np.int8)
    way[1:, :, items + HEADING : items + HEADING + 4] = np.eye(4)[:, None]
    way[:, 1, items + HAS_EATEN] = 1
    other, own = (way.reshape(_WAYS, -1).copy() for _ in range(2))
    other[:, items + OTHER] = own[:, items + SELF] = 1
    layer = np.arange(items + AGENT_LAYERS)
    counts = ((layer >= items + EATEN) & (layer < items + FROZEN)).reshape(1, 1, -1)
    mine = jnp.where(counts, eaten.astype(jnp.int8)[:, None, None], own[None])
    return jnp.concatenate([lying, other, mine.reshape(-1, mine.shape[-1])])


def _numbered(state: State, eaten: Int[Array, " agents"], margin: int) -> Int[Array, "rows columns"]:
    """Returns a board with walls around: codes of what lies on cells, or numbers that stand for agents."""
    board = jnp.pad(state.items.astype(jnp.int32), margin, constant_values=WALL)
    agents = np.arange(len(eaten), dtype=np.int32)
    agent = (1 << _AGENT) | ((eaten > 0).astype(jnp.int32) << _ATE) | (state.heading << _FACING) | agents
    return board.at[state.row + margin, state.column + margin].set(agent, mode="drop", unique_indices=True)


def _windows(
    options: Options, board: Int[Array, "rows columns"], state: State, margin: int, published: bool
) -> Int[Array, "agents height width"]:
    """Returns each agent's window of a board with a margin."""
    height, width, _ = shape(options, 0)
    columns = board.shape[1]
    ahead = jnp.asarray(ROW_STEP * columns + COLUMN_STEP)  # of the index of a cell, by heading
    down, right = -ahead[state.heading], ahead[(state.heading + 3) % 4]
    above = jnp.int32(options.view_ahead)
    if published:
        flipped = state.heading % 2 == 0
        above = jnp.where(flipped, options.view_behind, above)
        down, right = jnp.where(flipped, -down, down), jnp.where(flipped, -right, right)
    here = (state.row + margin) * columns + state.column + margin
    corner = here - above * down - options.view_side * right
    # Found once, not for every cell of a window.
    corner, down, right = jax.lax.optimization_barrier((corner, down, right))
    i, j = np.arange(height, dtype=np.int32), np.arange(width, dtype=np.int32)
    corner, down, right = (x[:, None, None] for x in (corner, down, right))
    cell = corner + i[None, :, None] * down + j[None, None] * right
    return board.reshape(-1).at[cell].get(mode="promise_in_bounds")


def whole(options: Options, state: State, codes: tuple[int, ...]) -> Array:
    """Returns what a centralised critic reads: cells, agents, time; [S] f32.

    For every cell a one or zero for each of ``codes`` and for an agent of each heading there; for every agent
    row, column, those of the next step, and apples eaten over 100; the share of the steps that is over.
    """
    rows, columns = state.items.shape
    lying = state.items[..., None] == np.array(codes, np.int8).reshape(1, 1, -1)
    facing = jnp.zeros((rows, columns, 4), bool)
    facing = facing.at[state.row, state.column, state.heading].set(True, mode="drop", unique_indices=True)
    cells = jnp.concatenate([lying, facing], axis=-1).astype(jnp.float32)
    high, wide = rows - 1, columns - 1
    numbers = [state.row / high, state.column / wide, state.next_row / high, state.next_column / wide]
    agents = jnp.stack([*numbers, state.eaten / 100], axis=-1)
    time = state.t / options.max_steps
    return jnp.concatenate([cells.reshape(-1), agents.reshape(-1), time[None]])


def whole_size(options: Options, cells: int, codes: tuple[int, ...]) -> int:
    """Returns how many numbers `whole` holds."""
    return cells * (len(codes) + 4) + 5 * options.num_agents + 1
