"""What a step pays and when a battle is over. Batches lie in trailing axes, as in `dynamics`."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.envs.combat.smax.types import SmaxOptions, State
from shoal.envs.core.types import Outcome


def team_reward(
    options: SmaxOptions, health_before: Float[Array, "units *batch"], state: State, team: slice, other: slice
) -> Float[Array, "*batch"]:
    """Returns the reward that every member of ``team`` gets, dead or alive."""
    alive = state.alive
    we_live, they_live = jnp.any(alive[team], axis=0), jnp.any(alive[other], axis=0)
    won = jnp.where(we_live & ~they_live, state.win_bonus, 0.0)
    if options.use_self_play_reward:
        return won - jnp.where(they_live & ~we_live, state.win_bonus, 0.0)
    lost = (state.health - health_before) / state.max_health
    mean = jnp.sum(lost[other], axis=0) / (options.num_units - alive[team].shape[0])
    return jnp.abs(mean) + won


def outcome(options: SmaxOptions, before: State, after: State) -> Outcome:
    """Returns what a step brought about; the agents are the allies, or both teams."""
    n_a, n_e = options.num_allies, options.num_enemies
    allies, enemies = slice(None, n_a), slice(n_a, None)
    alive = after.alive
    ally_count = jnp.sum(alive[allies], axis=0, dtype=jnp.float32)
    enemy_count = jnp.sum(alive[enemies], axis=0, dtype=jnp.float32)
    allies_dead, enemies_dead = ally_count == 0, enemy_count == 0
    late = (
        before.step >= options.max_steps
    )  # the step before counts: the limit fires one step late, as published

    def paid(team: slice, other: slice, size: int) -> Array:
        reward = team_reward(options, before.health, after, team, other)
        return jnp.broadcast_to(reward[None], (size, *reward.shape))

    reward, agent_done = paid(allies, enemies, n_a), ~alive[allies]
    if options.control == "both":
        reward = jnp.concatenate([reward, paid(enemies, allies, n_e)])
        agent_done = ~alive
    return Outcome(
        reward=reward,
        terminated=allies_dead | enemies_dead | late,
        truncated=jnp.zeros_like(late),
        agent_done=agent_done,
        joined=jnp.zeros_like(agent_done),
        metrics={
            "win_rate": (enemies_dead & ~allies_dead).astype(jnp.float32),
            "draw_rate": (enemies_dead & allies_dead).astype(jnp.float32),
            "timeout_rate": (late & ~enemies_dead & ~allies_dead).astype(jnp.float32),
            "allies_alive": ally_count / n_a,
            "enemies_alive": enemy_count / n_e,
        },
    )
