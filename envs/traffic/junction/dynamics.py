"""What a step moves: cars drive, leave and come. For one world; batches come from `jax.vmap`."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int

from shoal.envs.traffic.junction.routes import Network
from shoal.envs.traffic.junction.types import GAS, NOWHERE, Cars, Draws, Options, Params


def cell_at(
    network: Network,
    route: Int[Array, " slots"],
    progress: Int[Array, " slots"],
    there: Bool[Array, " slots"],
) -> Int[Array, " slots"]:
    """Returns the cell at this progress of a route, `GONE` one beyond its end; 0 where not ``there``."""
    table = np.append(network.steps, np.int16(0))
    index = route.astype(jnp.int32) * network.steps.shape[1] + progress.astype(jnp.int32)
    return jnp.take(jnp.asarray(table), jnp.where(there, index, len(table) - 1), mode="clip")


def advance(
    options: Options, params: Params, cars: Cars, action: Int[Array, " slots"], draws: Draws
) -> tuple[Cars, Bool[Array, " slots"], Bool[Array, " slots"]]:
    """Lets cars drive, then others come.

    Returns:
        The cars, which of them left at the end of their route, and which are new.
    """
    cars, left = _drive(options.network, cars, action)
    cars, joined = _admit(options, params, cars, draws)
    # Looked up for all at the end, since what is compared pair by pair had best come out of a table: CPUs
    # work anything simpler out again for every pair.
    cell = cell_at(options.network, cars.route, cars.progress, cars.alive)
    return replace(cars, cell=cell), left, joined


def _drive(network: Network, cars: Cars, action: Int[Array, " slots"]) -> tuple[Cars, Bool[Array, " slots"]]:
    """Moves cars that give gas by a cell; all others brake, whatever their number. Cells stay to be found."""
    gas = cars.alive & (action == GAS)
    left = cell_at(network, cars.route, cars.progress + 1, gas) < 0
    moved, stay = gas & ~left, cars.alive & ~left
    driven = Cars(
        alive=stay,
        cell=cars.cell,
        route=jnp.where(stay, cars.route, NOWHERE),
        progress=jnp.where(stay, cars.progress + moved.astype(jnp.int8), NOWHERE),
        wait=jnp.where(stay, cars.wait + 1, 0),
        braked=jnp.where(moved, False, (cars.alive & ~gas) | cars.braked),
    )
    return driven, left


def _admit(options: Options, params: Params, cars: Cars, draws: Draws) -> tuple[Cars, Bool[Array, " slots"]]:
    """Lets cars come, in the order of the arrivals, as long as slots are free; nobody looks where to.

    Each takes a free slot at random: they are filled in an order that is drawn.
    """
    network, slots = options.network, options.num_agents
    wanted = draws.arrive < params.add_rate
    number = jnp.cumsum(wanted, dtype=jnp.int32)  # the how manyth of this step, from 1
    comes = wanted & (number <= slots - jnp.sum(cars.alive, dtype=jnp.int32))
    order = jnp.where(cars.alive, 2.0, draws.order)
    alike = (order[None] == order[:, None]) & jnp.asarray(np.tri(slots, k=-1, dtype=bool))
    place = 1 + jnp.sum((order[None] < order[:, None]) | alike, axis=1, dtype=jnp.int32)
    mine = ~cars.alive[:, None] & comes[None] & (place[:, None] == number[None])  # [N, K]
    way = jnp.minimum((draws.way * network.choices).astype(jnp.int32), network.choices - 1)
    route = way + jnp.arange(network.arrivals, dtype=jnp.int32) * network.choices
    taken = jnp.max(jnp.where(mine, route[None], NOWHERE), axis=1).astype(jnp.int8)
    joined = taken >= 0
    admitted = replace(
        cars,
        alive=cars.alive | joined,
        route=jnp.where(joined, taken, cars.route),
        progress=jnp.where(joined, 0, cars.progress),
    )
    return admitted, joined
