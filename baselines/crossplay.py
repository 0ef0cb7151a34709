"""Teams mixed from several policies: how well those get along (or do against each other) who never met.

Entry (i, j) of the matrix: the first part of the agents is played by policy i, the rest by policy j. Every
entry is played on the same levels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.baselines.evaluation import Evaluator, play_rounds, side_by_side
from shoal.baselines.output import plain
from shoal.baselines.policies import Player
from shoal.baselines.statistics import summarise
from shoal.envs.core import Environment, Observation, Policy, PyTree, UserError
from shoal.envs.core.errors import nearest

SPLITS = ("agents", "teams")


@dataclass(frozen=True)
class MixedPolicy:
    """Two policies of all agents as one: ``first`` plays the agents that ``mine`` marks, ``second`` the rest.

    Both see everything that all agents see, as if each played the whole team, and keep memories of their own.
    """

    first: Policy
    second: Policy
    mine: np.ndarray  # [A] bool

    @property
    def needs_state(self) -> bool:
        """Whether either must be given the environment's whole state."""
        return self.first.needs_state or self.second.needs_state

    def initial_carry(self, batch: tuple[int, ...] = ()) -> PyTree:
        """Returns both memories."""
        return self.first.initial_carry(batch), self.second.initial_carry(batch)

    def act(
        self,
        key: Array,
        carry: PyTree,
        observation: Observation,
        state: PyTree = None,
        greedy: bool = True,
        first: Array | None = None,
    ) -> tuple[PyTree, Array]:
        """Chooses the actions of all agents [*B, A, ...]; see `shoal.envs.core.Policy`."""
        carries, actions = [], []
        for number, policy in enumerate((self.first, self.second)):
            given = state if policy.needs_state else None
            # The first one's draws are those that it would have alone.
            own = key if number == 0 else jax.random.fold_in(key, number)
            memory, action = policy.act(own, carry[number], observation, given, greedy, first)
            carries.append(memory)
            actions.append(action)
        extra = actions[0].ndim - observation.alive.ndim
        mine = self.mine.reshape(-1, *(1,) * extra)
        return tuple(carries), jnp.where(mine, actions[0], actions[1])


def first_part(env: Environment[Any, Any], split: str | None) -> tuple[str, tuple[int, ...]]:
    """Returns how the agents are split, and which of them are the first part.

    Args:
        env: the environment.
        split: ``agents``: agent 0 against the rest; ``teams``: the first team against the others; None: by
            teams where there are several.

    Raises:
        UserError: for an unknown split, or one that leaves nobody for the second part.
    """
    teams = env.teams
    several = bool(np.any(teams != teams[0]))
    split = ("teams" if several else "agents") if split is None else split
    if split not in SPLITS:
        raise UserError(f"split={split!r} is not one of {', '.join(SPLITS)}{nearest(split, SPLITS)}")
    if split == "teams" and not several:
        raise UserError(f"split=teams: {env.id} has one team; split=agents mixes within it")
    if env.num_agents < 2:
        raise UserError(f"{env.id} has one agent; there is nothing to mix")
    return split, tuple(np.flatnonzero(teams == teams[0]).tolist()) if split == "teams" else (0,)


def checked(players: Sequence[Player], split: str | None) -> tuple[str, tuple[int, ...]]:
    """Returns what `first_part` does, for players that can be mixed.

    Raises:
        UserError: for fewer than two, or by the first difference between their environments.
    """
    if len(players) < 2:
        raise UserError("cross-play needs at least two policies")
    first = players[0]
    for other in players[1:]:
        for (name, mine), (_, theirs) in zip(_facts(first), _facts(other), strict=False):
            if mine != theirs:
                raise UserError(
                    f"cross-play needs one environment, but {first.name} has {name}={mine} and "
                    f"{other.name} has {name}={theirs}"
                )
    return first_part(first.env(), split)


def cross_play(
    players: Sequence[Player],
    split: str | None = None,
    episodes: int = 256,
    num_envs: int | None = None,
    greedy: bool = True,
    seed: int = 0,
    advance: Callable[[int], None] = lambda episodes: None,
) -> dict[str, Any]:
    """Plays every policy with every other, itself included.

    Args:
        players: at least two, of the same environment with the same options.
        split: see `first_part`.
        episodes: whole episodes per entry, at least.
        num_envs: environments side by side; by default as many as episodes, 256 at most.
        greedy: the most probable actions instead of drawn ones.
        seed: decides levels, steps and drawn actions.
        advance: told of the episodes that have been played.

    Returns:
        What ``shoal evaluate A B --cross --json`` prints. ``episode_return`` is the mean over all agents
        where one team is mixed, and over the first team's where teams meet.

    Raises:
        UserError: for fewer than two policies, different environments, or a split that cannot be.
    """
    split, first = checked(players, split)
    env = players[0].env()
    mine = np.isin(np.arange(env.num_agents), first)
    wanted, rounds = side_by_side(episodes, num_envs)
    kinds = _kinds(players, greedy)
    evaluators: dict[tuple[int, int], Evaluator] = {}

    def entry(row: int, column: int) -> dict[str, np.ndarray]:
        pair = kinds[row], kinds[column]
        if pair not in evaluators:
            policies = [players[number].policy_of for number in pair]

            def policy_of(params: Any) -> Policy:
                return MixedPolicy(policies[0](params[0]), policies[1](params[1]), mine)

            evaluators[pair] = Evaluator(
                env,
                policy_of,
                wanted,
                wanted,
                greedy,
                learning=first if split == "teams" else None,
                devices=jax.local_devices(),
            )
        params = players[row].params, players[column].params
        return play_rounds(evaluators[pair], params, rounds, seed, advance)

    numbers = range(len(players))
    matrix = [[entry(row, column) for column in numbers] for row in numbers]
    names = ["episode_return", "episode_return_sum", "episode_length", *(m.name for m in env.metric_specs)]
    return {
        "env": env.id,
        "episodes": rounds * wanted,
        "seed": seed,
        "split": split,
        "first": [env.agents[i] for i in first],
        "policies": [player.name for player in players],
        "greedy": greedy,
        "num_envs": wanted,
        "metrics": {
            name: [[summarise(records[name]) for records in row] for row in matrix] for name in names
        },
        "self_play": {name: _mean(matrix, name, same=True) for name in names},
        "cross_play": {name: _mean(matrix, name, same=False) for name in names},
    }


def _mean(matrix: Sequence[Sequence[Mapping[str, np.ndarray]]], name: str, same: bool) -> float:
    """Returns the mean over entries on the diagonal, or over those off it."""
    entries = [
        float(np.mean(records[name]))
        for i, row in enumerate(matrix)
        for j, records in enumerate(row)
        if (i == j) == same
    ]
    return sum(entries) / len(entries)


def _kinds(players: Sequence[Player], greedy: bool) -> list[int]:
    """Returns for each player the first one that computes the same from its parameters.

    Told by the traced programs themselves, so that whatever a learner's policy depends on is compared.
    """
    programs = [_program(player, greedy) for player in players]
    return [next(j for j, other in enumerate(programs) if _same(other, mine)) for mine in programs]


def _program(player: Player, greedy: bool) -> tuple[str, list[Any]]:
    env = player.env()
    state, timestep = jax.eval_shape(env.reset, jax.random.key(0))

    def act(params: PyTree, key: Array, observation: Observation, state: PyTree, first: Array) -> Any:
        policy = player.policy_of(params)
        given = state if policy.needs_state else None
        return policy.act(key, policy.initial_carry(), observation, given, greedy, first)

    traced = jax.make_jaxpr(act)(
        player.params, jax.random.key(0), timestep.observation, state, timestep.first
    )
    structure = jax.tree.structure(player.params)
    return f"{structure}\n{traced.jaxpr}", list(traced.consts)


def _same(one: tuple[str, list[Any]], other: tuple[str, list[Any]]) -> bool:
    return one[0] == other[0] and all(np.array_equal(a, b) for a, b in zip(one[1], other[1], strict=True))


def _facts(player: Player) -> list[tuple[str, Any]]:
    """Returns what an environment is decided by: id, options, numbers."""
    env = player.env()
    return [
        ("env", env.id),
        *((f"env.{f.name}", plain(getattr(env.options, f.name))) for f in dataclasses.fields(env.options)),
        *((f"env.{f.name}", plain(getattr(env.params, f.name))) for f in dataclasses.fields(env.params)),
    ]
