"""Scripted movers in two teams: one pushes the box aside, the other stands ready to push it out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int

from shoal.envs.common.assignment import assign
from shoal.envs.core.types import Key
from shoal.envs.swarm.grid import paths
from shoal.envs.swarm.grid.bots import Planner
from shoal.envs.swarm.grid.paths import FAR, MOVES
from shoal.envs.swarm.grid.physics import BOX_MASS, MARGIN, OPPOSITE, STAY
from shoal.envs.swarm.transport import reward
from shoal.envs.swarm.transport.types import State

_FILES = 4  # most agents that push side by side
_ASIDE = (4000, 4000)  # worth of a place that is taken, in each rank behind the box: to push it aside
_OUTWARD = (1000, 800, 120, 100)  # and outward
_HESITATES = 0.05
_NONE, _UNREACHED = 1e5, 500.0  # cost of a place that does not exist, or that nobody can go to yet


class TwoTeam(Planner):
    """Shares out places behind the box, pushes from there, leaves once the box is gone; reads the state.

    While the box must go aside, places for that come first; those for the push outward, behind where the box
    will be then, come second. Ways are shared out so that their sum, each to the power 1.5, is least: who
    stands in somebody's way is sent on. Pushing needs no signal: a box that too few push does not move.
    """

    def plan(self, key: Key, state: State) -> Int[Array, " agents"]:
        """Pushes, walks or leaves."""
        i, j, box = state.i, state.j, state.box[MARGIN:-MARGIN, MARGIN:-MARGIN]
        floor = state.board == 0
        free = floor & ~box
        push, outward = reward.next_push(state), state.plan[1]
        aside = push != outward
        later = jnp.where(aside, _moved(box, push), box)
        first = _ranks(box, push, free & aside, len(_ASIDE))
        second = _ranks(later, outward, free & ~later, len(_OUTWARD))
        gone = ~jnp.any(box)
        agents = paths.covered(i, j, state.alive, free.shape)
        stand = jnp.where(aside, _lined_up(first, box, push, agents), _lined_up(second, box, push, agents))
        enough = jnp.sum(stand) >= BOX_MASS
        steps = _to_places(state, free, jnp.concatenate([first, second]), _moved(box, push))
        value = jnp.where(gone, _to_leave(state, floor), paths.around(steps, i, j, FAR))
        here = value[:, STAY]
        # Before there are enough, who stands on another's place walks on.
        pushes = stand[i, j] & (enough | (here == 0)) & ~gone
        # Now and then one hesitates, else some would make way for each other for ever.
        waits = pushes | (jax.random.uniform(key, pushes.shape) < _HESITATES)
        cost = jnp.where(waits[:, None] | (value > here[:, None]), jnp.inf, value.astype(jnp.float32))
        walk = paths.claim(i, j, state.alive, cost, jnp.argsort(here).astype(jnp.int32))
        return jnp.where(pushes, push, walk)


def _to_leave(state: State, floor: Bool[Array, "rows columns"]) -> Int[Array, "agents 5"]:
    """Returns how far it is to the gap after each primitive, -1 for out of it."""
    rim = np.ones(floor.shape, bool)
    rim[1:-1, 1:-1] = False
    return paths.around(paths.steps_to((floor & rim)[None], floor)[0], state.i, state.j, -1)


def _to_places(
    state: State,
    free: Bool[Array, "rows columns"],
    ranks: Bool[Array, "ranks rows columns"],
    swept: Bool[Array, "rows columns"],
) -> Int[Array, "agents rows columns"]:
    """Returns how far it is to each agent's place; for who has none, out of the box's way.

    Args:
        state: the world.
        free: cells that can be walked on.
        ranks: the places, those of one worth together.
        swept: cells that the box goes to.
    """
    agents = state.i.shape[0]
    cells = jax.vmap(lambda rank: jnp.nonzero(rank, size=_FILES, fill_value=-1)[0])(
        ranks.reshape(len(ranks), -1)
    )
    cells = cells.reshape(-1).astype(jnp.int32)
    goals = paths.on_cells(cells // free.shape[1], cells % free.shape[1], free.shape)
    steps = paths.steps_to(jnp.concatenate([goals, (free & ~swept)[None]]), free)

    way = steps[:-1, state.i, state.j]  # [places, A]
    cost = jnp.where(way < FAR, way.astype(jnp.float32) ** 1.5, _UNREACHED)
    exists = (cells >= 0)[:, None]
    worth = np.repeat(np.array(_ASIDE + _OUTWARD, np.float32), _FILES)[:, None]
    # As many columns more stand for nobody.
    nobody = jnp.broadcast_to(jnp.where(exists, worth, 0.0), (len(worth), len(worth)))
    taker = assign(jnp.concatenate([jnp.where(exists & state.alive[None], cost, _NONE), nobody], axis=1))
    mine = taker[None] == np.arange(agents, dtype=np.int32)[:, None]  # [A, places]
    place = jnp.where(jnp.any(mine, axis=1), jnp.argmax(mine, axis=1), len(worth))
    return steps[place]


def _ranks(
    box: Bool[Array, "rows columns"], direction: Int[Array, ""], free: Bool[Array, "rows columns"], count: int
) -> Bool[Array, "ranks rows columns"]:
    """Returns the cells behind a box that is to go in a direction, by their distance from it."""
    found = [box]
    for _ in range(count):
        found.append(_ahead(found[-1], direction) & free)
    return jnp.stack(found[1:])


def _lined_up(
    ranks: Bool[Array, "ranks rows columns"],
    box: Bool[Array, "rows columns"],
    direction: Int[Array, ""],
    agents: Bool[Array, "rows columns"],
) -> Bool[Array, "rows columns"]:
    """Returns the cells of those who touch the box, or others who do, from behind."""
    found = [box]
    for rank in ranks:
        found.append(_ahead(found[-1], direction) & rank & agents)
    return jnp.any(jnp.stack(found[1:]), axis=0)


def _ahead(board: Bool[Array, "rows columns"], direction: Int[Array, ""]) -> Bool[Array, "rows columns"]:
    """Returns for each cell what stands one step on."""
    return jnp.stack([board, *(paths.shifted(board, way, False) for way in range(1, MOVES))])[direction]


def _moved(board: Bool[Array, "rows columns"], direction: Int[Array, ""]) -> Bool[Array, "rows columns"]:
    """Returns the board after what stands on it has moved a step."""
    return _ahead(board, jnp.asarray(OPPOSITE[:MOVES])[direction])
