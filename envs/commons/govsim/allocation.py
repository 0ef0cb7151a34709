"""Who gets what. Arrays lead with agents (or units) and share trailing batch axes (`batch_last`)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from shoal.envs.commons.govsim.types import Options


def units_drawn(options: Options) -> int:
    """Returns how many units at most are handed out singly in a month."""
    return options.capacity if options.allocation == "stochastic" else max(options.num_agents - 1, 1)


def share_out(
    allocation: str,
    stock: Int[Array, "*batch"],
    requests: Int[Array, "agents *batch"],
    who: Float[Array, "units *batch"],
) -> Int[Array, "agents *batch"]:
    """Returns what each agent gets: its request, unless the demand exceeds the stock, all of which then goes.

    ``stochastic``: each unit goes to an agent drawn uniformly from those still wanting, whatever they want.
    ``proportional``: everybody gets its share of the stock by demand, rounded down; each unit left goes to
    one of those that were rounded down, drawn in proportion to what they still want.
    """
    demand = jnp.sum(requests, axis=0)
    scarce = demand > stock
    if allocation == "stochastic":
        sure, single = jnp.zeros_like(requests), None
    else:
        asked = requests * stock[None]
        sure = asked // jnp.maximum(demand, 1)[None]
        single = sure * demand[None] < asked
    sure = jnp.where(scarce[None], sure, requests)
    left = jnp.where(scarce, stock - jnp.sum(sure, axis=0), 0)
    return requests - _hand_out(requests - sure, left, single, who)


def _hand_out(wants: Array, left: Array, single: Array | None, who: Array) -> Array:
    """Gives ``left`` units away one by one and returns what is wanted then.

    Args:
        wants: [A, *batch] i32.
        left: [*batch] i32, at most what is wanted.
        single: [A, *batch] bool, who may get some, in proportion to what it wants; None: all alike.
        who: [units, *batch] f32, the draws in the order of the units.
    """

    def go_on(carry: tuple[Array, Array, Array]) -> Array:
        return jnp.any(carry[2] > 0)  # months in which there is enough for all take no turn

    def give(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        unit, wants, left = carry
        weight = (wants > 0).astype(jnp.int32) if single is None else jnp.where(single, wants, 0)
        upto = jnp.cumsum(weight, axis=0)
        total = upto[-1]
        u = jax.lax.dynamic_index_in_dim(who, unit, keepdims=False)
        # Rounding can bring a uniform just below one up to the total itself.
        mark = jnp.minimum((u * total.astype(jnp.float32)).astype(jnp.int32), total - 1)
        gets = (mark[None] < upto) & (mark[None] >= upto - weight) & (left > 0)[None]
        return unit + 1, wants - gets.astype(jnp.int32), left - 1

    return jax.lax.while_loop(go_on, give, (jnp.zeros((), jnp.int32), wants, left))[1]
