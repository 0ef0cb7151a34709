"""The density, and how its estimate follows what the robots sample."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from shoal.envs.swarm.coverage.types import Options, Params
from shoal.envs.swarm.planar.frame import Nearest

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
    evidence: Float[Array, "sums sums"],
    x: Float[Array, " agents"],
    y: Float[Array, " agents"],
    near: Nearest,
) -> Float[Array, "sums sums"]:
    """Adds where the robots sample, as bells around the places halfway between centres."""
    in_x, in_y = (jnp.exp(-((at[:, None] - options.middles[None]) ** 2) / params.variance) for at in (x, y))
    if options.weight == "common-neighbours":
        in_x = in_x * common_neighbours(options, near)[:, None]
    return evidence + params.time_step * jnp.matmul(in_x.T, in_y, precision=_EXACT)


def follow(
    options: Options,
    params: Params,
    estimate: Float[Array, "basis basis"],
    weights: Float[Array, "basis basis"],
    evidence: Float[Array, "sums sums"],
) -> Float[Array, "basis basis"]:
    """Moves the estimate towards what the samples say, by one Euler step.

    The published update is -g (Lambda a' - lambda). Since samples have no noise, lambda is Lambda a. And the
    product of two bells is one halfway between them, times one of their distance: Lambda's entry for the
    functions at (a, b) and (c, d) is ``evidence[a + c, b + d]`` times factors that do not change.
    """
    index = np.arange(options.basis)
    sums = index[:, None] + index[None]
    far = options.centres[:, None] - options.centres[None]
    apart = jnp.exp(-far * far / (4.0 * params.variance))  # [B, B]
    # By a, c, b, d.
    between = evidence[sums[:, :, None, None], sums[None, None]] * apart[:, :, None, None] * apart[None, None]
    wrong = (estimate - weights)[None, :, None, :]
    error = jnp.sum(between * wrong, axis=(1, 3)) / (2.0 * math.pi * params.variance) ** 2
    moved = estimate - params.gain * params.time_step * error
    return jnp.minimum(jnp.where(moved < params.floor, estimate, moved), params.ceiling)


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
