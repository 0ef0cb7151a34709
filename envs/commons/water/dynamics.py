"""How the pool falls and recovers."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from shoal.envs.commons.water.types import Params


def take_amount(params: Params, num_agents: int) -> Float[Array, ""]:
    """Returns what one take moves: a share of ``take_total``, whatever the others do."""
    return jnp.asarray(params.take_total) / num_agents


def step_pool(
    resource: Float[Array, ""], takes: Bool[Array, " agents"], params: Params
) -> tuple[Float[Array, ""], Float[Array, " agents"], Bool[Array, ""]]:
    """Moves the pool by one step.

    All takes leave together; the step that empties the pool pays nobody and nothing flows back after it.

    Returns:
        The pool afterwards, what each agent received, and whether the pool is empty.
    """
    amount = take_amount(params, takes.shape[0])
    asked = amount * takes.astype(jnp.float32)
    resource = resource - jnp.sum(asked)
    depleted = resource <= 0.0
    received = jnp.where(depleted, 0.0, asked)
    refilled = jnp.minimum(1.0, resource + params.regeneration)
    return jnp.where(depleted, resource, refilled), received, depleted
