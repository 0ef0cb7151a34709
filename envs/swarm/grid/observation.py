"""What an agent sees: a window of cells around it, a few numbers, and how often it hears each token.

Everything is for one world. The flat view is that of the docs page: k * k cells with 9 layers each, then row
and column, own flag, time, score, tokens heard, own last primitive, own number, target size.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from shoal.envs.common.boards import place
from shoal.envs.swarm.grid import messages
from shoal.envs.swarm.grid.physics import PRIMITIVES, STAY, SWITCH
from shoal.envs.swarm.grid.types import FOOD, NEST, WALL, Options, State

LAYERS = 9
"""Of a window, in order: wall, beyond the map, another agent with its flag on, one with it off, prey, food,
nest, box, oneself."""
_WALL, _BEYOND, _ON, _OFF, _PREY, _FOOD, _NEST, _BOX, _SELF = range(1, LAYERS + 1)
_KINDS = np.zeros(4, np.int32)
_KINDS[[WALL, NEST, FOOD]] = _WALL, _NEST, _FOOD


def numbers_size(options: Options) -> int:
    """Returns how many numbers there are beside the window."""
    words = options.vocabulary if options.speaks else 0
    return 5 + words + PRIMITIVES + (options.num_agents if options.agent_id else 0) + 1


def view_shape(options: Options) -> tuple[int, ...]:
    """Returns the shape of one agent's view."""
    k = options.view_size
    if options.view == "grid":
        return (k, k, LAYERS + numbers_size(options))
    return (k * k * LAYERS + numbers_size(options),)


def cells(
    static: Int[Array, "rows columns"],
    prey: Bool[Array, "rows columns"] | None = None,
    box: Bool[Array, "rows columns"] | None = None,
) -> Int[Array, "rows columns"]:
    """Returns what stands where, agents left out."""
    found = jnp.asarray(_KINDS)[static]
    if prey is not None:
        found = jnp.where(prey, _PREY, found)
    if box is not None:
        found = jnp.where(box, _BOX, found)
    return found


def view(
    options: Options,
    state: State,
    board: Int[Array, "rows columns"],
    shows_flags: bool,
    score: Float[Array, ""],
    target: Float[Array, ""] | float,
) -> Float[Array, "agents ..."]:
    """Returns what every agent sees.

    Args:
        options: the task's.
        state: the world.
        board: from `cells`.
        shows_flags: whether others' flags can be seen.
        score: what agents see of the score.
        target: side of the shape to be formed over the board's height, 0 without one.
    """
    k, hearing = options.view_size, options.hearing if options.speaks else 0
    reach = max(k // 2, hearing)
    agent = jnp.where(state.flag | (not shows_flags), _ON, _OFF)
    lying = jnp.pad(board, reach, constant_values=_BEYOND)
    said = messages.delivered(state.post, state.token)
    here = place(jnp.where(state.alive, agent, 0), state.i + reach, state.j + reach, lying.shape)
    around = _windows(jnp.maximum(lying, here), state, 2 * reach + 1)
    narrow = slice(reach - k // 2, reach + k // 2 + 1)
    centre = np.zeros((1, k, k), bool)
    centre[:, k // 2, k // 2] = True
    window = jnp.where(centre, _SELF, around[:, narrow, narrow])
    parts = _numbers(options, state, score, target)
    if options.speaks:
        parts.insert(1, _heard(options, state, said, reach))
    beside = jnp.concatenate(parts, axis=-1)
    window = jnp.where(state.alive[:, None, None], window, 0)
    beside = jnp.where(state.alive[:, None], beside, 0.0)
    if options.view == "flat":
        return _beside_each_other(window.reshape(window.shape[0], -1), beside)
    planes = jnp.broadcast_to(beside[:, None, None], (*window.shape, beside.shape[-1]))
    return _beside_each_other(window[..., None], planes)


def _beside_each_other(
    kinds: Int[Array, "*lead cells"], numbers: Float[Array, "*lead numbers"]
) -> Float[Array, "*lead features"]:
    """Returns the layers of each cell, then the numbers: by columns, since XLA is slow to concatenate."""
    cells, count = kinds.shape[-1], numbers.shape[-1]
    column = np.arange(cells * LAYERS + count)
    is_layer = column < cells * LAYERS
    both = jnp.concatenate([kinds.astype(jnp.float32), numbers], axis=-1)
    both = jax.lax.optimization_barrier(both)  # found once, not for every column
    found = jnp.take(
        both, np.where(is_layer, column // LAYERS, column - cells * (LAYERS - 1)), axis=-1, mode="clip"
    )
    lead = [1] * (kinds.ndim - 1)
    hit = found == (column % LAYERS + 1).astype(np.float32).reshape(*lead, -1)
    return jnp.where(is_layer.reshape(*lead, -1), hit.astype(jnp.float32), found)


def _windows(board: Int[Array, "rows columns"], state: State, size: int) -> Int[Array, "agents size size"]:
    """Gathers squares out of a board with a margin, one for each agent; any for agents that have left."""
    rows, columns = board.shape
    offset = np.arange(size, dtype=np.int32)
    i = jnp.clip(state.i, 0, rows - size)[:, None, None] + offset[None, :, None]
    j = jnp.clip(state.j, 0, columns - size)[:, None, None] + offset[None, None]
    return board.reshape(-1)[i * columns + j]


def _heard(
    options: Options, state: State, said: Int[Array, "slots agents"], reach: int
) -> Float[Array, "agents words"]:
    """Returns how many agents each hears say each token, over the number of agents."""
    margin = max(reach, 1)  # who left in this round is still heard from beyond the edge
    shape = (options.height + 2 * margin, options.width + 2 * margin)
    size = 2 * options.hearing + 1
    counts = jnp.zeros((options.num_agents, options.vocabulary), jnp.float32)
    for slot in range(said.shape[0]):
        board = place(said[slot], state.i + margin, state.j + margin, shape)
        inner = margin - options.hearing
        board = board[inner : shape[0] - inner, inner : shape[1] - inner]
        window = _windows(board, state, size).reshape(options.num_agents, -1)
        counts += messages.tokens_heard(options.vocabulary, window)
    return counts / options.num_agents


def _numbers(
    options: Options, state: State, score: Float[Array, ""], target: Float[Array, ""] | float
) -> list[Float[Array, "agents ..."]]:
    """Returns the numbers before and after what is heard."""
    agents = options.num_agents

    def same(value: Array | float) -> Array:
        return jnp.broadcast_to(jnp.asarray(value, jnp.float32), (agents,))

    time = state.t / options.max_steps if options.show_time else jnp.zeros(())
    placed = 1.0 if options.show_place else 0.0
    before = [
        placed * (state.i / (options.height - 1)),
        placed * (state.j / (options.width - 1)),
        state.flag.astype(jnp.float32),
        same(time),
        same(score),
    ]
    last = jax.nn.one_hot(jnp.where(state.t > 0, state.primitive, -1), PRIMITIVES, dtype=jnp.float32)
    after = [last, same(target)[:, None]]
    if options.agent_id:
        after.insert(1, jnp.eye(agents, dtype=jnp.float32))
    return [jnp.stack(before, axis=-1), *after]


def masks(
    options: Options, state: State, may_act: Bool[Array, " agents"], switches: bool
) -> Array | tuple[Array, Array]:
    """Returns which actions are legal: for those who may not act, to stay and be silent.

    Args:
        options: the task's.
        state: the world.
        may_act: the living who are not waiting.
        switches: whether the task has lights.
    """
    primitives = np.ones(PRIMITIVES, bool)
    primitives[SWITCH] = switches
    moving = (may_act[:, None] & primitives[None]) | (np.arange(PRIMITIVES) == STAY)[None]
    if not options.speaks:
        return moving
    talking = may_act[:, None] | (np.arange(options.vocabulary) == 0)[None]
    if options.joint_actions:
        both = moving[:, :, None] & talking[:, None, :]
        return both.reshape(both.shape[0], -1)
    return moving, talking


def whole(
    options: Options, state: State, board: Int[Array, "rows columns"], extra: Float[Array, " extra"]
) -> Float[Array, " features"]:
    """Returns what a centralised critic reads: cells with 8 layers, agents with 5 numbers, then the rest.

    Args:
        options: the task's.
        state: the world.
        board: from `cells`.
        extra: what else the task has.
    """
    agent = jnp.where(state.flag, _ON, _OFF)
    here = place(jnp.where(state.alive, agent, 0), state.i, state.j, board.shape)
    layers = jax.nn.one_hot(jnp.maximum(board, here) - 1, LAYERS - 1, dtype=jnp.float32)
    token = state.token / max(options.vocabulary - 1, 1)
    place_i, place_j = state.i / (options.height - 1), state.j / (options.width - 1)
    flag, alive = (part.astype(jnp.float32) for part in (state.flag, state.alive))
    agents = jnp.stack([place_i, place_j, flag, token, alive], axis=-1)
    agents = jnp.where(state.alive[:, None], agents, 0.0)
    time = (state.t / options.max_steps)[None]
    return jnp.concatenate([layers.reshape(-1), agents.reshape(-1), time, extra])
