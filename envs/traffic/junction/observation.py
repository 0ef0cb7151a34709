"""What cars and a centralised critic see. For one world; batches come from `jax.vmap`."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from shoal.envs.core.types import Observation
from shoal.envs.traffic.junction.types import OWN, Cars, Options, State


def observe(options: Options, cars: Cars) -> Observation:
    """Shows every car its last action, its route and its window; where there is no car, nothing."""
    alive = cars.alive
    return Observation(
        view=_view(options, cars),
        action_mask=jnp.stack([alive, jnp.ones_like(alive)], axis=1),
        alive=alive,
    )


def _look(options: Options, cars: Cars) -> tuple[Int[Array, "slots window"], Int[Array, "slots window"]]:
    """Looks at the cells around every car, row by row.

    Returns:
        What kind of cell, as in `Network.ids`, and how many cars are on it; slots without a car count on
        cell 0, as published. Without meaning for those slots themselves.
    """
    network, vision = options.network, options.vision
    size, wide = network.size, network.size + 2 * vision
    # Cells are numbered anew with a margin, so that windows over the edge meet no other cells.
    here = (cars.cell // size + vision) * wide + cars.cell % size + vision
    steps = np.arange(-vision, vision + 1, dtype=np.int16)
    around = (steps[:, None] * wide + steps[None]).reshape(1, -1)
    cells = here[:, None] + jnp.asarray(around)
    grid = np.pad(network.ids, vision, constant_values=network.outside).reshape(-1)
    ids = jnp.take(jnp.asarray(grid), cells.astype(jnp.int32), mode="clip")
    return ids, jnp.sum(cells[:, :, None] == here[None, None], axis=2, dtype=jnp.int16)


def _view(options: Options, cars: Cars) -> Float[Array, "slots features"]:
    """Lays the views out, in one pass over them: they are what a step costs first of all."""
    network, alive = options.network, cars.alive
    ids, count = _look(options, cars)
    ids = jnp.where(alive[:, None], ids, -1)
    count = jnp.where(alive[:, None], count, 0).astype(jnp.float32)
    channel = jnp.asarray(np.arange(network.channels, dtype=np.int16))[None, None]
    is_cars = channel == network.channels - 1
    window = jnp.where(is_cars, count[:, :, None], (channel == ids[:, :, None]).astype(jnp.float32))
    flat = jnp.pad(window.reshape(window.shape[0], -1), ((0, 0), (OWN, 0)))
    braked = jnp.where(alive, cars.braked.astype(jnp.float32), 0.0)
    route = jnp.where(alive, cars.route.astype(jnp.float32) / (len(network.routes) - 1), 0.0)
    place = jnp.asarray(np.arange(flat.shape[1], dtype=np.int32))[None]
    return jnp.where(place == 0, braked[:, None], jnp.where(place == 1, route[:, None], flat))


def global_state(options: Options, state: State) -> Float[Array, " features"]:
    """Returns who is there, rows, columns, routes one-hot and progress; zero where there is no car."""
    network, cars = options.network, state.cars
    cell = cars.cell.astype(jnp.int32)
    place = jnp.stack([cell // network.size, cell % network.size], axis=1).astype(jnp.float32)
    numbers = jnp.asarray(np.arange(len(network.routes), dtype=np.int8))
    route = (cars.route[:, None] == numbers[None]).astype(jnp.float32)
    length = jnp.take(jnp.asarray(network.lengths), cars.route.astype(jnp.int32), mode="clip")
    progress = jnp.where(cars.alive, cars.progress.astype(jnp.float32) / length.astype(jnp.float32), 0.0)
    alive = cars.alive.astype(jnp.float32)
    parts = (alive, place.reshape(-1) / (network.size - 1), route.reshape(-1), progress)
    return jnp.concatenate(parts)
