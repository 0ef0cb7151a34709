"""How a swarm behaves as a group, in the measures of SwarmBench (Appendix F); all but those of text.

Every measure is taken after each round and averaged over the rounds of the episode. Arrays may share a
trailing axis of worlds.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from shoal.envs.common.boards import look_up, place
from shoal.envs.core.environment import MetricSpec
from shoal.envs.swarm.grid.physics import (
    COLUMN_STEP,
    DOWN,
    LEFT,
    PRIMITIVES,
    RIGHT,
    ROW_STEP,
    STAY,
    SWITCH,
    UP,
)
from shoal.envs.swarm.grid.types import Group, Options, State

NAMES = (
    "directional_entropy",
    "stillness",
    "dominant_action",
    "polarization",
    "moving_distance",
    "exploration",
    "preserved_pairs",
    "push_events",
)


def opening(options: Options, i: Int[Array, " agents"], j: Int[Array, " agents"]) -> Group:
    """Returns the measures before anything happened, for one world."""
    shape = (options.height, options.width)
    ones = jnp.ones(options.num_agents, jnp.int32)
    return Group(
        sums=jnp.zeros(len(NAMES), jnp.float32),
        travelled=jnp.zeros((), jnp.float32),
        visited=place(ones, i, j, shape) > 0,
        spoken=jnp.zeros((PRIMITIVES, options.vocabulary if options.speaks else 0), jnp.float32),
        first_score=jnp.zeros((), jnp.int32),
    )


def measure(before: State, after: State) -> Group:
    """Adds the round that led from one state to the other.

    Args:
        before: the state that the agents acted in.
        after: the same agents afterwards; ``primitive`` and ``token`` hold what they did.
    """
    acted, did = before.alive, after.primitive
    shape = before.group.visited.shape
    counts = [_count(acted & (did == action)) for action in range(PRIMITIVES)]
    moves = counts[UP] + counts[DOWN] + counts[LEFT] + counts[RIGHT]
    coordinated = moves + counts[STAY]
    everybody = coordinated + counts[SWITCH]
    steps = jnp.abs(after.i - before.i) + jnp.abs(after.j - before.j)
    agents = before.i.shape[0]
    travelled = before.group.travelled + jnp.sum(steps, axis=0).astype(jnp.float32) / agents
    lying = place(after.alive.astype(jnp.int32), after.i, after.j, shape)
    visited = before.group.visited | (lying > 0)
    preserved, pushed = _neighbours(before, after)
    values = [
        sum(
            (_surprise(_share(counts[move], moves)) for move in (UP, DOWN, LEFT, RIGHT)),
            jnp.zeros_like(moves),
        ),
        _share(counts[STAY], everybody),
        _share(_largest(counts[:5]), coordinated),
        jnp.hypot(
            _share(counts[RIGHT] - counts[LEFT], coordinated), _share(counts[DOWN] - counts[UP], coordinated)
        ),
        travelled,
        jnp.sum(visited, axis=(0, 1), dtype=jnp.float32),
        preserved,
        pushed,
    ]
    return Group(
        sums=before.group.sums + jnp.stack(values),
        travelled=travelled,
        visited=visited,
        spoken=before.group.spoken + _pairs(before.group.spoken, acted, did, after.token),
        first_score=jnp.where(
            (before.group.first_score == 0) & (after.score > 0), after.t, before.group.first_score
        ),
    )


def _count(which: Bool[Array, "agents *batch"]) -> Float[Array, "*batch"]:
    return jnp.sum(which, axis=0, dtype=jnp.float32)


def _share(part: Float[Array, "*batch"], whole: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Returns part over whole, 0 where there is nothing."""
    return jnp.where(whole > 0, part / jnp.maximum(whole, 1.0), 0.0)


def _largest(counts: list[Array]) -> Array:
    return jnp.max(jnp.stack(counts), axis=0)


def _surprise(share: Array) -> Array:
    """Returns -p log2 p, 0 at p = 0."""
    return -share * jnp.log2(jnp.where(share > 0, share, 1.0))


def _neighbours(before: State, after: State) -> tuple[Array, Array]:
    """Returns how many pairs at distance one stayed together, and how many agents pushed another along."""
    shape = before.group.visited.shape
    numbers = _numbered(before.alive)
    ids = place(numbers, before.i, before.j, shape)
    together = jnp.zeros_like(before.score)
    for di, dj in ((1, 0), (0, 1)):  # each pair from one side
        other = look_up(ids, before.i + di, before.j + dj, 0)
        there_i, there_j = _of(other, after.i), _of(other, after.j)
        distance = jnp.abs(there_i - after.i) + jnp.abs(there_j - after.j)
        both = before.alive & (other > 0) & after.alive & _of(other, after.alive)
        together += _count(both & (distance == 1))
    down, right = steps_of(after.primitive)
    aim_i, aim_j = before.i + down, before.j + right
    other = look_up(ids, aim_i, aim_j, 0)
    moves = (down != 0) | (right != 0)
    followed = (after.i == aim_i) & (after.j == aim_j)
    ahead = (_of(other, after.i) == aim_i + down) & (_of(other, after.j) == aim_j + right)
    return together, _count(before.alive & moves & (other > 0) & followed & ahead)


def _numbered(alive: Bool[Array, "agents *batch"]) -> Int[Array, "agents *batch"]:
    numbers = np.arange(1, alive.shape[0] + 1, dtype=np.int32).reshape(-1, *[1] * (alive.ndim - 1))
    return jnp.where(alive, numbers, 0)


def _of(number: Int[Array, "agents *batch"], values: Array) -> Array:
    """Returns the value of the agent with each number, counted from 1; any for number 0."""
    return jnp.take_along_axis(values, jnp.maximum(number - 1, 0), axis=0)


def steps_of(primitive: Int[Array, "*shape"]) -> tuple[Int[Array, "*shape"], Int[Array, "*shape"]]:
    """Returns rows and columns that a primitive moves by."""

    def one(action: int) -> Array:
        return (primitive == action).astype(jnp.int32)

    return (
        sum((ROW_STEP[a] * one(a) for a in (UP, DOWN)), jnp.zeros_like(primitive)),
        sum((COLUMN_STEP[a] * one(a) for a in (LEFT, RIGHT)), jnp.zeros_like(primitive)),
    )


def _pairs(
    like: Array, acted: Bool[Array, "agents *batch"], did: Array, said: Array
) -> Float[Array, "primitives tokens *batch"]:
    """Counts which primitive went with which token in one round."""
    if like.shape[1] == 0:
        return like

    def one_hot(value: Array, size: int) -> Array:
        choices = np.arange(size, dtype=np.int32).reshape(size, *[1] * value.ndim)
        return (value[None] == choices) & acted[None]

    both = one_hot(did, PRIMITIVES)[:, None] & one_hot(said, like.shape[1])[None]
    return jnp.sum(both, axis=2, dtype=jnp.float32)


def metric_specs(options: Options) -> tuple[MetricSpec, ...]:
    """Declares the measures."""
    agents, cells = options.num_agents, float(options.height * options.width)
    specs = [
        MetricSpec("directional_entropy", "bits of the moves' directions", 0.0, 2.0, False),
        MetricSpec("stillness", "share of the actions that were STAY", 0.0, 1.0, False),
        MetricSpec("dominant_action", "share of the commonest of five actions", 0.0, 1.0, False),
        MetricSpec("polarization", "length of the mean direction", 0.0, 1.0, True),
        MetricSpec(
            "moving_distance", "cells moved so far per agent, averaged over rounds", 0.0, np.inf, True
        ),
        MetricSpec("exploration", "cells ever occupied so far, averaged over rounds", 0.0, cells, True),
        MetricSpec("preserved_pairs", "pairs that stayed neighbours, per round", 0.0, 2.0 * agents, True),
        MetricSpec("push_events", "agents that pushed another along, per round", 0.0, float(agents), True),
        MetricSpec(
            "first_score", "round of the first point, 0 where there was none", 0.0, options.max_steps, False
        ),
    ]
    if options.speaks:
        bits = float(np.log2(options.vocabulary))
        specs += [
            MetricSpec("token_entropy", "bits of the tokens of the episode", 0.0, bits, True),
            MetricSpec(
                "token_action_information", "bits that a token tells about the primitive", 0.0, bits, True
            ),
        ]
    return tuple(specs)


def metrics(group: Group, t: Int[Array, "*batch"]) -> dict[str, Float[Array, "*batch"]]:
    """Returns the values named in `metric_specs`."""
    rounds = jnp.maximum(t, 1).astype(jnp.float32)
    values = dict(zip(NAMES, group.sums / rounds[None], strict=True))
    values["first_score"] = group.first_score.astype(jnp.float32)
    if group.spoken.shape[1]:
        whole = jnp.maximum(jnp.sum(group.spoken, axis=(0, 1)), 1.0)
        share = group.spoken / whole[None, None]
        token, action = jnp.sum(share, axis=0), jnp.sum(share, axis=1)
        entropy = jnp.sum(_surprise(token), axis=0)
        joint = jnp.sum(_surprise(share), axis=(0, 1))
        values["token_entropy"] = jnp.maximum(entropy, 0.0)
        values["token_action_information"] = jnp.maximum(
            entropy + jnp.sum(_surprise(action), axis=0) - joint, 0.0
        )
    return values
