"""How an episode opens, and how often cars come while a learner learns."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from shoal.envs.traffic.junction.types import NOWHERE, Cars, Level, Options, State, Tally

START, END = 250, 1250
"""The published curriculum begins with the epoch START and is over with END."""
EPOCHS = 2000
"""Epochs of the published training."""


class Rates(NamedTuple):
    """Hundredths of cars that come at each arrival and step."""

    least: int  # before the curriculum
    most: int  # after it


RATES = {"easy": Rates(10, 30), "medium": Rates(5, 20), "hard": Rates(2, 5)}
"""As published; one place has 2 for the least of the medium junction."""


def curriculum_rate(
    difficulty: str, epoch: Int[Array, "*shape"], start: int = START, end: int = END
) -> Float[Array, "*shape"]:
    """Returns the `add_rate` of an epoch, counted from 0, of 80,000 environment steps as published.

    The rate grows by equal parts in every epoch from ``start`` on and before ``end``, and is played rounded
    down to hundredths. Counted in integers: in the original, float noise can delay a hundredth by an epoch.
    """
    least, most = RATES[difficulty]
    grown = jnp.clip(epoch + 1 - start, 0, end - start)
    # Compiled divisions by a constant may round another way, so the quotients are looked up.
    rates = np.arange(least, most + 1).astype(np.float32) / np.float32(100)
    return jnp.take(jnp.asarray(rates), (most - least) * grown // (end - start), mode="clip")


def initial_state(options: Options, level: Level) -> State:
    """Returns an empty junction."""
    n = options.num_agents
    zero = jnp.zeros((), jnp.int32)
    cars = Cars(
        alive=jnp.zeros(n, bool),
        cell=jnp.zeros(n, jnp.int16),
        route=jnp.full(n, NOWHERE, jnp.int8),
        progress=jnp.full(n, NOWHERE, jnp.int8),
        wait=jnp.zeros(n, jnp.int32),
        braked=jnp.zeros(n, bool),
    )
    tally = Tally(collisions=zero, passed=zero, driven=zero, waited=jnp.zeros((), jnp.float32))
    return State(cars=cars, tally=tally, failed=jnp.zeros((), bool), t=zero, params=level.params)
