"""What the agents and a centralised critic see. Batches lie in trailing axes, as in `particle.common`."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.envs.core.types import Observation
from shoal.envs.particle import common
from shoal.envs.particle.tag.types import Options, State


def views(
    options: Options, state: State
) -> tuple[Float[Array, "adversaries features *batch"], Float[Array, "good fewer *batch"]]:
    """Returns what adversaries see and what good agents see, of their true lengths.

    Velocity, position, ways to obstacles and to all others, and the velocities of the other good agents.
    """
    hunters, agents = options.num_adversaries, options.num_agents
    seen = jnp.concatenate(common.ways(state.particles, agents, options.num_obstacles), axis=1)
    vx, vy = (part[hunters:agents] for part in (state.particles.vx, state.particles.vy))
    good = options.num_good

    def all_good(rows: int) -> tuple[Array, Array]:
        shape = (rows, good, *state.t.shape)
        return jnp.broadcast_to(vx[None], shape), jnp.broadcast_to(vy[None], shape)

    for_hunters = common.pairs(*all_good(hunters))
    for_good = common.pairs(*(common.off_diagonal(part) for part in all_good(good)))
    return (
        jnp.concatenate([seen[:hunters], for_hunters], axis=1),
        jnp.concatenate([seen[hunters:], for_good], axis=1),
    )


def observe(options: Options, state: State) -> Observation:
    """Shows every agent everything, from where it stands; good agents' shorter views end in two zeros."""
    hunters, hunted = views(options, state)
    missing = jnp.zeros((options.num_good, 2, *state.t.shape), jnp.float32)
    agents = options.num_agents
    return Observation(
        view=jnp.concatenate([hunters, jnp.concatenate([hunted, missing], axis=1)]),
        action_mask=common.action_mask(common.action_space(options), agents, state.t),
        alive=jnp.ones((agents, *state.t.shape), bool),
    )


def global_state(options: Options, state: State) -> Float[Array, "features *batch"]:
    """Returns all agents' views, of their true lengths, in a row."""
    return jnp.concatenate([view.reshape(-1, *view.shape[2:]) for view in views(options, state)])
