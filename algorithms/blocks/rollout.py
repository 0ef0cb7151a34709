"""Playing a batch of environments for a while and handing each learner its rows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from shoal.algorithms.blocks.learner import Group, Learner, Moment, TrainState, Trajectory, moment_of
from shoal.algorithms.blocks.opponents import Opponent
from shoal.algorithms.blocks.packing import Packed
from shoal.envs.core import Episode, PyTree, TimeStep, VectorEnv, VectorState

NOBODY: Mapping[str, Opponent] = MappingProxyType({})
NOTHING: Mapping[str, PyTree] = MappingProxyType({})


@struct.dataclass
class Totals:
    """Sums over the episodes that finished, so that rollouts add up. Returns are those of learning agents."""

    env_steps: Array  # [] i32, transitions that happened
    episodes: Array  # [] i32
    episode_return: Array  # [] f32, sum over episodes of the mean over agents
    episode_return_sum: Array  # [] f32, sum over episodes of the sum over agents
    episode_length: Array  # [] f32
    metrics: dict[str, Array]  # name -> [] f32
    team_return: dict[str, Array]  # learner -> [] f32, as episode_return; empty where one learner is alone


@struct.dataclass
class Play:
    """Where the environments stand between two rollouts."""

    vector: VectorState
    timestep: TimeStep  # leaves [E, ...]
    carries: dict[str, PyTree]  # name of a learner or opponent -> the memory of its agents


def totals_of(episode: Episode, valid: Array, groups: Mapping[str, Group]) -> Totals:
    """Sums a batch of episode records of any leading shape; ``groups`` are the learners' own."""
    agents = episode.returns.shape[-1]
    rows = {name: group.rows(episode.returns, agents, axis=-1) for name, group in groups.items()}
    alone = len(rows) == 1
    returns = next(iter(rows.values())) if alone else jnp.concatenate(list(rows.values()), axis=-1)

    def over_finished(x: Array) -> Array:
        return jnp.sum(jnp.where(episode.done, x, 0.0))

    return Totals(
        env_steps=jnp.sum(valid.astype(jnp.int32)),
        episodes=jnp.sum(episode.done.astype(jnp.int32)),
        episode_return=over_finished(jnp.mean(returns, axis=-1)),
        episode_return_sum=over_finished(jnp.sum(returns, axis=-1)),
        episode_length=over_finished(episode.length.astype(jnp.float32)),
        metrics={name: over_finished(value) for name, value in episode.metrics.items()},
        team_return={}
        if alone
        else {name: over_finished(jnp.mean(row, axis=-1)) for name, row in rows.items()},
    )


def open_play(
    venv: VectorEnv,
    learners: Mapping[str, tuple[Group, Learner]],
    key: Array,
    params: Any = None,
    opponents: Mapping[str, Opponent] = NOBODY,
    opponent_params: Mapping[str, PyTree] = NOTHING,
) -> Play:
    """Resets every environment and every memory."""
    vector, timestep = venv.reset(key, params)
    carries = {
        name: learner.initial_carry((venv.num_envs, len(group.indices)))
        for name, (group, learner) in learners.items()
    }
    for name, opponent in opponents.items():
        carries[name] = opponent.initial_carry(opponent_params[name], venv.num_envs)
    return Play(vector=vector, timestep=timestep, carries=carries)


def rollout(
    venv: VectorEnv,
    learners: Mapping[str, tuple[Group, Learner]],
    train_states: Mapping[str, TrainState],
    play: Play,
    key: Array,
    length: int,
    params: Any = None,
    opponents: Mapping[str, Opponent] = NOBODY,
    opponent_params: Mapping[str, PyTree] = NOTHING,
) -> tuple[Play, dict[str, Trajectory], Totals]:
    """Plays ``length`` steps.

    Args:
        venv: the batched environment.
        learners: by name, the group each owns.
        train_states: by the same names.
        play: where the environments stand.
        key: decides what is drawn.
        length: steps per environment, ``T``.
        params: numbers for the episodes that start, the environment's own by default.
        opponents: by name, who plays the agents that no learner owns; each agent must have one player.
        opponent_params: what each of them plays with.

    Returns:
        Where the environments stand now, a trajectory for each learner, and what finished.
    """
    agents = venv.env.num_agents
    groups = {name: group for name, (group, _) in learners.items()}
    players = [*groups.values(), *(opponent.group for opponent in opponents.values())]
    order = np.argsort([i for group in players for i in group.indices])

    def moments(play: Play) -> dict[str, Moment]:
        needed = any(learner.needs_state for _, learner in learners.values())
        state = venv.global_state(play.vector) if needed else ()
        return {
            name: moment_of(group, play.timestep, agents, state if learner.needs_state else ())
            for name, (group, learner) in learners.items()
        }

    def step(play: Play, keys: Array) -> tuple[Play, tuple[PyTree, ...]]:
        known, carries, actions, notes = moments(play), {}, [], {}
        for number, (name, (_, learner)) in enumerate(learners.items()):
            carries[name], action, extras = learner.explore(
                train_states[name], keys[number], play.carries[name], known[name]
            )
            actions.append(action)
            notes[name] = (known[name], action, extras)
        for number, (name, opponent) in enumerate(opponents.items(), len(learners)):
            held = opponent_params[name]
            state = play.vector.env if opponent.needs_state(held) else None
            carries[name], action = opponent.act(held, keys[number], play.carries[name], play.timestep, state)
            actions.append(action)
        joint = actions[0] if len(actions) == 1 else jnp.take(jnp.concatenate(actions, 1), order, axis=1)
        vector, timestep, episode = venv.step(play.vector, joint, params)
        totals = Packed.of(totals_of(episode, timestep.valid, groups))
        t = timestep
        happened = (t.reward, t.terminated, t.truncated, t.agent_done, t.valid)
        return Play(vector, timestep, carries), (notes, happened, totals)

    end, (notes, happened, totals) = jax.lax.scan(step, play, jax.random.split(key, (length, len(players))))
    last = moments(end)
    trajectories = {
        name: _trajectory(
            group, agents, notes[name], happened, last[name], (play.carries[name], end.carries[name])
        )
        for name, group in groups.items()
    }
    return end, trajectories, jax.tree.map(lambda x: jnp.sum(x, axis=0), totals).tree()


def _trajectory(
    group: Group,
    agents: int,
    notes: tuple[Moment, Array, dict[str, Array]],
    happened: tuple[Array, ...],
    last: Moment,
    carries: tuple[PyTree, PyTree],
) -> Trajectory:
    """Joins a learner's notes, leaves [T, E, ...], with its rows of what happened."""
    moment, action, extras = notes
    reward, terminated, truncated, agent_done, valid = happened
    return Trajectory(
        moment=moment,
        action=action,
        extras=extras,
        reward=group.rows(reward, agents, axis=2),
        terminated=terminated,
        truncated=truncated,
        agent_done=group.rows(agent_done, agents, axis=2),
        valid=valid,
        last=last,
        carry=carries[0],
        last_carry=carries[1],
    )
