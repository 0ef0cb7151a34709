"""What the agents and a centralised critic see. Batches lie in trailing axes, as in `particle.common`."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.envs.core.types import Observation
from shoal.envs.particle import common
from shoal.envs.particle.ncnav.types import AGENTS, Options, State


def views(options: Options, state: State) -> Float[Array, "agents slots features *batch"]:
    """Returns x, y and velocity of every entity: of oneself, the other bodies in order, and the landmarks.

    Places are absolute in one's own slot and relative to oneself in all others; velocities are absolute.
    """
    p, moving = state.particles, slice(0, options.moving)

    def slots(own: Array, others: Array, landmarks: Array) -> Array:
        seen = common.off_diagonal(others)[:AGENTS]
        return jnp.concatenate([own[:AGENTS, None], seen, landmarks[:AGENTS]], axis=1)

    others = common.gaps(p, moving, moving)
    landmarks = common.gaps(p, moving, slice(options.moving, None))
    square = (options.moving, *p.x[moving].shape)
    still = jnp.zeros_like(landmarks[0])
    places = (slots(*parts) for parts in zip((p.x, p.y), others, landmarks, strict=True))
    speeds = (slots(v, jnp.broadcast_to(v[None, moving], square), still) for v in (p.vx, p.vy))
    return jnp.stack([*places, *speeds], axis=2)


def observe(options: Options, state: State) -> Observation:
    """Shows every agent everything, from where it stands."""
    seen = views(options, state)
    return Observation(
        view=seen.reshape(AGENTS, -1, *state.t.shape),
        action_mask=common.action_mask(common.action_space(options), AGENTS, state.t),
        alive=jnp.ones((AGENTS, *state.t.shape), bool),
    )


def global_state(options: Options, state: State) -> Float[Array, "features *batch"]:
    """Returns x, y and velocity of every entity, absolute: what the first agent sees, from the middle."""
    p = state.particles
    return jnp.stack([p.x, p.y, p.vx, p.vy], axis=1).reshape(-1, *state.t.shape)
