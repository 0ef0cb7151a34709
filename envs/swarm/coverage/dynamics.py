"""The density, and how its estimate follows what the robots sample."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.envs.swarm.coverage.types import Options, Params
from shoal.envs.swarm.planar import Nearest

_EXACT = jax.lax.Precision.HIGHEST  # sums of many rounds: the short floats of GPUs would show


def bells(options: Options, params: Params, where: Float[Array, " places"]) -> Float[Array, "places basis"]:
    """Returns the normal densities around the centres along one axis; products of two are the basis."""
    away = where[:, None] - options.centres[None]
    scale = jnp.sqrt(2.0 * math.pi * params.variance)
    return jnp.exp(-0.5 * away * away / params.variance) / scale


def density_on_lattice(
    options: Options, params: Params, weights: Float[Array, "basis basis"]
) -> Float[Array, " points"]:
    """Returns the density of these weights at every point of the square."""
    along = bells(options, params, jnp.asarray(options.lattice))
    return jnp.einsum("ia,ab,jb->ij", along, weights, along, precision=_EXACT).ravel()


def density_at(
    options: Options,
    params: Params,
    weights: Float[Array, "basis basis"],
    x: Float[Array, " agents"],
    y: Float[Array, " agents"],
) -> Float[Array, " agents"]:
    """Returns the density of these weights where the robots are."""
    along_x, along_y = bells(options, params, x), bells(options, params, y)
    return jnp.einsum("ra,ab,rb->r", along_x, weights, along_y, precision=_EXACT)


def sample(
    options: Options,
    params: Params,
    evidence: Float[Array, "flat flat"],
    x: Float[Array, " agents"],
    y: Float[Array, " agents"],
    near: Nearest,
) -> Float[Array, "flat flat"]:
    """Adds what the robots sample where they are: Lambda grows by the basis there, times itself."""
    along_x, along_y = bells(options, params, x), bells(options, params, y)
    basis = (along_x[:, :, None] * along_y[:, None, :]).reshape(x.shape[0], -1)  # [A, B * B]
    counted = basis
    if options.weight == "common-neighbours":
        counted = basis * common_neighbours(options, near)[:, None]
    return evidence + params.time_step * jnp.matmul(counted.T, basis, precision=_EXACT)


def follow(
    params: Params,
    estimate: Float[Array, "basis basis"],
    weights: Float[Array, "basis basis"],
    evidence: Float[Array, "flat flat"],
) -> Float[Array, "basis basis"]:
    """Moves the estimate towards what the samples say, by one Euler step.

    The published update is -g (Lambda a' - lambda); since samples have no noise, lambda is Lambda a.
    """
    error = jnp.matmul(evidence, (estimate - weights).ravel(), precision=_EXACT).reshape(estimate.shape)
    step = -params.gain * params.time_step * error
    return jnp.minimum(jnp.where(estimate + step < params.floor, estimate, estimate + step), params.ceiling)


def common_neighbours(options: Options, near: Nearest) -> Float[Array, " agents"]:
    """Returns how many cells touch both a robot's cell and that of the robot before it; 1 for the first one.

    Cells touch where two of the eight points around each other belong to different robots, and a cell touches
    itself.
    """
    agents, side = options.num_agents, options.side
    index = jnp.arange(agents, dtype=jnp.int32)
    owned = (near.owner.reshape(side, side)[None] == index[:, None, None]).astype(jnp.float32)
    right, up = owned[:, 1:], owned[:, :, 1:]
    pairs = (
        (owned[:, :-1], right),
        (owned[:, :, :-1], up),
        (owned[:, :-1, :-1], owned[:, 1:, 1:]),
        (owned[:, :-1, 1:], owned[:, 1:, :-1]),
    )
    meeting = jnp.stack([jnp.einsum("ixy,jxy->ij", one, other) for one, other in pairs]).sum(axis=0)
    touch = ((meeting + meeting.T) > 0.0) | jnp.eye(agents, dtype=bool)
    both = jnp.sum(touch[1:] & touch[:-1], axis=1, dtype=jnp.int32).astype(jnp.float32)
    return jnp.concatenate([jnp.ones(1, jnp.float32), both])
