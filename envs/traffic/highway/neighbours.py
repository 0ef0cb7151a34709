"""Who drives before and behind whom, without a loop over vehicles.

Vehicles are ranked by position. A set of vehicles is a row of bits, bit r of which stands for the vehicle of
rank r, so that the next one ahead in a lane is the lowest bit above one's own. Words lie in the first axis.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Bool, Float, Int, UInt32

BITS = 32
UNROLL = 5
Words = UInt32[Array, "words *#rest"]


@struct.dataclass
class Ranking:
    """The order of the vehicles along the road; those at the same place in the order of their making."""

    rank: Array  # [N, *B] i32, of each vehicle
    order: Array  # [N, *B] i32, the vehicle of each rank
    opens: Array  # [W, *B] u32, ranks whose vehicle is ahead of the one ranked below


def ranking(x: Float[Array, "vehicles *batch"]) -> Ranking:
    """Ranks the vehicles by ``x``."""
    count, index = x.shape[0], indices(x)
    # A loop over the others, since XLA does not vectorise a sum over all pairs on CPU; of at least two rounds
    # and without a rest, since whatever XLA takes out of the loop may compute places anew, with other
    # roundings on either side of a comparison: then ranks are no permutation.
    unroll = min(UNROLL, -(-count // 2))
    rounds = max(-(-count // unroll), 2)

    def compare(j: Array, rank: Array) -> Array:
        other = jax.lax.dynamic_index_in_dim(x, j)
        after = (x > other) | ((x == other) & (index > j))
        return rank + (after & (j < count)).astype(jnp.int32)

    zero = jnp.zeros_like(x, jnp.int32)
    rank = jax.lax.fori_loop(0, rounds * unroll, compare, zero, unroll=unroll)
    index = jnp.broadcast_to(index, x.shape)
    order = jnp.put_along_axis(jnp.zeros_like(rank), rank, index, axis=0, inplace=False)
    placed = jnp.take_along_axis(x, order, axis=0)
    opens = jnp.concatenate([jnp.ones_like(placed[:1], bool), placed[1:] > placed[:-1]])
    return Ranking(rank=rank, order=order, opens=pack(opens, index))


def indices(like: Array) -> Int[Array, "vehicles *ones"]:
    """Returns the vehicles' places in the order of their making, ready to meet ``like`` [N, *B]."""
    return jnp.arange(like.shape[0], dtype=jnp.int32).reshape(-1, *(1,) * (like.ndim - 1))


def choose(sets: UInt32[Array, "words lanes *batch"], lane: Int[Array, "vehicles *batch"]) -> Words:
    """Returns the set of each vehicle's lane, [W, N, *B]; an empty one for a lane that there is not."""
    words = jnp.zeros((sets.shape[0], *lane.shape), jnp.uint32)
    for k in range(sets.shape[1]):
        words = jnp.where(lane[None] == k, sets[:, k : k + 1], words)
    return words


def bits(rank: Int[Array, "*rest"], words: int) -> Words:
    """Returns sets of one rank each; of none for a rank past every word."""
    bit = jnp.uint32(1) << (rank % BITS).astype(jnp.uint32)
    return jnp.stack([jnp.where(rank // BITS == w, bit, jnp.uint32(0)) for w in range(words)])


def pack(member: Bool[Array, "vehicles *rest"], rank: Int[Array, "vehicles *rest"]) -> Words:
    """Returns the set of the members' ranks."""
    words = -(-member.shape[0] // BITS)
    bit = jnp.where(member, jnp.uint32(1) << (rank % BITS).astype(jnp.uint32), jnp.uint32(0))
    return jnp.stack(
        [
            jnp.sum(jnp.where(rank // BITS == w, bit, jnp.uint32(0)), axis=0, dtype=jnp.uint32)
            for w in range(words)
        ]
    )


def first_from(words: Words, start: Int[Array, "*rest"]) -> Int[Array, "*rest"]:
    """Returns the lowest member at or above ``start`` (not negative), or a number past every rank."""
    found = jnp.full_like(start, words.shape[0] * BITS)
    for w in reversed(range(words.shape[0])):
        skip = jnp.maximum(start - w * BITS, 0).astype(jnp.uint32)
        left = jnp.where(skip < BITS, (words[w] >> skip) << skip, jnp.uint32(0))
        lowest = left & (~left + jnp.uint32(1))
        place = jax.lax.population_count(lowest - jnp.uint32(1)).astype(jnp.int32)
        found = jnp.where(left != 0, place + w * BITS, found)
    return found


def last_before(words: Words, stop: Int[Array, "*rest"]) -> Int[Array, "*rest"]:
    """Returns the highest member below ``stop``, or -1."""
    found = jnp.full_like(stop, -1)
    for w in range(words.shape[0]):
        keep = jnp.maximum(stop - w * BITS, 0).astype(jnp.uint32)
        below = jnp.where(keep < BITS, (jnp.uint32(1) << keep) - jnp.uint32(1), ~jnp.uint32(0))
        left = words[w] & below
        place = BITS - 1 - jax.lax.clz(left).astype(jnp.int32)
        found = jnp.where(left != 0, place + w * BITS, found)
    return found


def leader(words: Words, order: Ranking) -> Int[Array, "vehicles *batch"]:
    """Returns the rank of the nearest member ahead of each vehicle; past every rank if there is none.

    Who is at the very same place counts as ahead; of several at one place the one made last leads.

    Args:
        words: [W, N, *B], the set that each vehicle looks at.
        order: of the vehicles.
    """
    words, opens = words & ~bits(order.rank, words.shape[0]), order.opens[:, None]
    nearest = first_from(words, last_before(opens, order.rank + 1))
    beyond = first_from(opens, jnp.minimum(nearest, words.shape[0] * BITS) + 1)
    return jnp.where(nearest < words.shape[0] * BITS, last_before(words, beyond), nearest)


def follower(words: Words, order: Ranking) -> Int[Array, "vehicles *batch"]:
    """Returns the rank of the nearest member behind each vehicle, -1 if there is none.

    Of several at one place the one made first follows. Arguments as for `leader`.
    """
    opens = order.opens[:, None]
    nearest = last_before(words, last_before(opens, order.rank + 1))
    opening = last_before(opens, nearest + 1)
    return jnp.where(nearest >= 0, first_from(words, jnp.maximum(opening, 0)), nearest)
