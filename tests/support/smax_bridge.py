"""Carries states and draws of the peer's SMAX over to ours and says where the two disagree after a step."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from shoal_jit import jit_to_run
from smax_peer import Choice, PeerDraws, PeerStep

from shoal import make
from shoal.envs.combat.smax.levels import bare_state
from shoal.envs.combat.smax.types import Draws, EnemyMemory, State
from shoal.envs.core import Observation, Outcome

TOLERANCE = 1e-4  # map units, health points, seconds, and the observation's units


class OurStep(NamedTuple):
    """One step of ours, the allies' or everybody's rows."""

    state: State
    outcome: Outcome
    observation: Observation
    world_state: Array


class Difference(NamedTuple):
    """How far two steps are apart, [B] each; for booleans, how many entries differ."""

    position: Array
    health: Array
    cooldown: Array
    last_action: Array
    alive: Array
    reward: Array
    agent_done: Array
    over: Array
    observation: Array
    mask: Array
    world_state: Array
    enemy_goal: Array
    enemy_target: Array


class Bridge:
    """Our environment of the same scenario, compiled once for batches of one size."""

    def __init__(self, id: str, **options: Any) -> None:
        self.env = make(id, **options)

    def step(self, state: State, action: Array, draws: Draws) -> OurStep:
        """Steps a batch and looks at it."""

        def step(state: State, action: Array, draws: Draws) -> OurStep:
            after, outcome = self.env.dynamics(state, action, draws)
            return OurStep(after, outcome, self.env.observe(after), self.env.global_state(after))

        return jax.vmap(step)(state, action, draws)

    @cached_property
    def compare(self) -> Any:
        """Params, the peer's state, actions [B, A] and PeerStep -> Difference of our step from it."""

        def compare(params: Any, before: Any, action: Array, theirs: PeerStep) -> Difference:
            ours = self.step(self.state(params, before), action, draws(theirs.draws))
            ghosts = self.env.options.era.ghosts
            return jax.vmap(lambda a, b: difference(a, b, ghosts))(ours, theirs)

        return jit_to_run(compare)

    def state(self, params: Any, peer: Any) -> State:
        """Our state, with these numbers, for a batch of the peer's (bare in self-play)."""
        memory = getattr(peer, "enemy_policy_state", None)
        inner = peer.state if memory is not None else peer
        enemy = memory and EnemyMemory(
            goal_x=memory.default_target[..., 0],
            goal_y=memory.default_target[..., 1],
            target=memory.last_attacked_enemy.astype(jnp.int32),
        )

        def one(inner: Any, enemy: Any) -> State:
            state = bare_state(
                self.env.options,
                params,
                inner.unit_types,
                inner.unit_positions[:, 0],
                inner.unit_positions[:, 1],
            )
            return state.replace(
                health=inner.unit_health,
                cooldown=inner.unit_weapon_cooldowns,
                move_x=inner.prev_movement_actions[:, 0],
                move_y=inner.prev_movement_actions[:, 1],
                attack=inner.prev_attack_actions,
                step=inner.step,
                enemy=enemy,
            )

        return jax.vmap(one)(inner, enemy)


def draws(peer: PeerDraws) -> Draws:
    """Our draws that have the effect of the peer's."""

    def quantile(choice: Choice | None) -> Array | None:
        return None if choice is None else choice.quantile

    return Draws(
        reload_jitter=peer.deviation, goal_choice=quantile(peer.goal), target_choice=quantile(peer.target)
    )


def difference(ours: OurStep, theirs: PeerStep, ghosts: bool = False) -> Difference:
    """Compares one pair of steps; without ghosts, what the dead last did or remember is nobody's business."""
    memory = getattr(theirs.state, "enemy_policy_state", None)
    inner = theirs.state.state if memory is not None else theirs.state
    a, b = ours.state, inner
    living = (b.unit_alive | ghosts).astype(jnp.float32)

    def gap(x: Array, y: Array) -> Array:
        return jnp.max(jnp.abs(x - y))

    def count(x: Array, y: Array) -> Array:
        return jnp.sum((x != y).astype(jnp.float32))

    nothing = jnp.zeros(())
    if memory is None:
        goal = target = nothing
    else:
        enemy = living[-memory.last_attacked_enemy.shape[0] :]
        goal = gap(
            jnp.stack([a.enemy.goal_x, a.enemy.goal_y], -1) * enemy[:, None],
            memory.default_target * enemy[:, None],
        )
        target = count(a.enemy.target * enemy, memory.last_attacked_enemy * enemy)
    ours_move = jnp.stack([a.move_x, a.move_y], -1)
    return Difference(
        position=gap(jnp.stack([a.x, a.y], -1), b.unit_positions),
        health=gap(a.health, b.unit_health),
        cooldown=gap(a.cooldown * living, b.unit_weapon_cooldowns * living),
        last_action=gap(ours_move * living[:, None], b.prev_movement_actions * living[:, None])
        + gap(a.attack * living, b.prev_attack_actions * living),
        alive=count(a.alive, b.unit_alive),
        reward=gap(ours.outcome.reward, theirs.reward),
        agent_done=count(ours.outcome.agent_done, theirs.agent_done),
        over=count(ours.outcome.terminated, theirs.over) + jnp.sum(ours.outcome.truncated),
        observation=gap(ours.observation.view, theirs.observation),
        mask=count(ours.observation.action_mask, theirs.mask),
        world_state=gap(ours.world_state, theirs.world_state),
        enemy_goal=goal,
        enemy_target=target,
    )


def disagreeing(gaps: Difference) -> np.ndarray:
    """[B] bool, the rows where anything differs by more than the tolerance (NaN differs)."""
    return ~np.all([np.asarray(gap) <= TOLERANCE for gap in gaps], axis=0)
