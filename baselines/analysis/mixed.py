"""Mixed play: k of N agents cooperate. Who plays where is an array, so all mixtures run one program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from shoal.baselines.analysis.play import Act, Conduct, Terms, play
from shoal.baselines.analysis.restraint import COOPERATOR, DEFECTOR, Model
from shoal.baselines.crossplay import MixedPolicy
from shoal.envs.core import Environment, Policy, PyTree, TimeStep, UserError


@dataclass(frozen=True)
class Seating:
    """Who sits where in each of ``R`` runs with one number of cooperators, [R, A] each."""

    cooperates: NDArray[np.bool_]
    model: NDArray[np.int32]  # which model the agent in this seat comes from
    slot: NDArray[np.int32]  # which of that model's agents it is

    @property
    def runs(self) -> int:
        """How many there are: none where nobody could be found."""
        return len(self.cooperates)


@dataclass(frozen=True)
class Mixtures:
    """What was played: for 0 to N cooperators, [R, N] each."""

    cooperates: list[NDArray[np.bool_]]
    restraint: list[NDArray[np.float32]]
    payoff: list[NDArray[np.float32]]


def seat_models(labels: NDArray[np.int64], cooperators: int, runs: int, rng: np.random.Generator) -> Seating:
    """Draws agents of trained models.

    The cooperators of a run come from one model that has enough of them, and keep their places; defectors
    are drawn with replacement from all models and take the other places.

    Args:
        labels: [models, A], what each agent was classified as.
        cooperators: how many.
        runs: how many draws; none are made where there are too few agents of a kind.
        rng: decides the draws.
    """
    agents = labels.shape[1]
    able = np.flatnonzero((labels == COOPERATOR).sum(axis=1) >= cooperators)
    defectors = np.argwhere(labels == DEFECTOR)
    if not len(able) or (cooperators < agents and not len(defectors)):
        runs = 0
    model, slot = np.zeros((2, runs, agents), np.int32)
    cooperates = np.zeros((runs, agents), bool)
    for run in range(runs):
        if cooperators < agents:
            drawn = defectors[rng.integers(len(defectors), size=agents)]
            model[run], slot[run] = drawn[:, 0], drawn[:, 1]
        chosen = rng.choice(able)
        seats = rng.permutation(np.flatnonzero(labels[chosen] == COOPERATOR))[:cooperators]
        model[run, seats], slot[run, seats], cooperates[run, seats] = chosen, seats, True
    return Seating(cooperates, model, slot)


def seat_kinds(agents: int, cooperators: int, runs: int, rng: np.random.Generator) -> Seating:
    """Draws which agents play the first of two policies, the others the second, each in its own place."""
    places = rng.permuted(np.tile(np.arange(agents), (runs, 1)), axis=1)
    cooperates = places < cooperators
    slot = np.tile(np.arange(agents, dtype=np.int32), (runs, 1))
    return Seating(cooperates, (~cooperates).astype(np.int32), slot)


def play_models(
    env: Environment[Any, Any], models: Sequence[Model], seatings: Sequence[Seating], terms: Terms
) -> Mixtures:
    """Plays models of one program.

    Agents whose parameters are theirs alone make a team of their own, and tell each other what teams do.
    Of others, every seat's model sees the observations of all, its own agent's in that agent's place, and
    acts for it.

    Raises:
        UserError: when a policy reads the whole state, whose agents cannot be moved.
    """
    if models[0].policy_of(models[0].params).needs_state:
        raise UserError(f"{models[0].name} reads the whole state, so its agents cannot be mixed")
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(model.params for model in models))
    team = _of_own_agents if models[0].apart else _of_whole_models
    return _play_all(env, partial(team, models[0].policy_of, terms.greedy), params, seatings, terms)


def _of_own_agents(
    policy_of: Callable[[PyTree], Policy], greedy: bool, params: PyTree, seating: Seating
) -> tuple[Act, PyTree]:
    own = jax.tree.map(lambda leaf: leaf[seating.model, seating.slot], params)  # [R, A, ...]

    def one(params: PyTree, key: Array, carry: PyTree, observation: PyTree, first: Array) -> Any:
        return policy_of(params).act(key, carry, observation, None, greedy, first)

    def act(key: Array, carry: PyTree, timestep: TimeStep, state: PyTree) -> tuple[PyTree, Array]:
        keys = jax.random.split(key, seating.runs)
        return jax.vmap(one)(own, keys, carry, timestep.observation, timestep.first)

    return act, policy_of(jax.tree.map(lambda leaf: leaf[0], own)).initial_carry((seating.runs,))


def _of_whole_models(
    policy_of: Callable[[PyTree], Policy], greedy: bool, params: PyTree, seating: Seating
) -> tuple[Act, PyTree]:
    shape = seating.slot.shape
    agents = shape[1]

    def one(params: PyTree, slot: Array, seat: Array, key: Array, carry: PyTree, seen: PyTree) -> Any:
        here = jnp.arange(agents).at[seat].set(slot).at[slot].set(seat)  # the two change places
        observation, first = jax.tree.map(lambda leaf: jnp.take(leaf, here, axis=0), seen)
        carry, action = policy_of(params).act(key, carry, observation, None, greedy, first)
        return carry, action[slot]

    seats = jax.vmap(one, in_axes=(0, 0, 0, 0, 0, None))
    runs = jax.vmap(seats, in_axes=(0, 0, None, 0, 0, 0))
    own = jax.tree.map(lambda leaf: leaf[seating.model], params)  # [R, A, ...]
    opening = policy_of(jax.tree.map(lambda leaf: leaf[0], params)).initial_carry()
    carry = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*shape, *leaf.shape)), opening)

    def act(key: Array, carry: PyTree, timestep: TimeStep, state: PyTree) -> tuple[PyTree, Array]:
        keys = jax.random.split(key, shape)
        seen = timestep.observation, timestep.first
        return runs(own, jnp.asarray(seating.slot), jnp.arange(agents), keys, carry, seen)

    return act, carry


def play_kinds(
    env: Environment[Any, Any],
    cooperator: Policy,
    defector: Policy,
    seatings: Sequence[Seating],
    terms: Terms,
) -> Mixtures:
    """Plays two policies that need no parameters."""

    def team(params: PyTree, seating: Seating) -> tuple[Act, PyTree]:
        def pair(mine: Any) -> MixedPolicy:
            return MixedPolicy(cooperator, defector, mine)

        def one(mine: Any, key: Array, carry: PyTree, timestep: TimeStep, state: PyTree) -> Any:
            policy = pair(mine)
            given = state if policy.needs_state else None
            return policy.act(key, carry, timestep.observation, given, terms.greedy, timestep.first)

        def act(key: Array, carry: PyTree, timestep: TimeStep, state: PyTree) -> tuple[PyTree, Array]:
            keys = jax.random.split(key, seating.runs)
            return jax.vmap(one)(seating.cooperates, keys, carry, timestep, state)

        return act, pair(None).initial_carry((seating.runs,))

    return _play_all(env, team, (), seatings, terms)


def _play_all(
    env: Environment[Any, Any],
    team: Callable[[PyTree, Seating], tuple[Act, PyTree]],
    params: PyTree,
    seatings: Sequence[Seating],
    terms: Terms,
) -> Mixtures:
    """Plays every seating that has runs, all by one compiled program.

    Args:
        env: the world of the mixtures, with raw rewards.
        team: (parameters, who sits where) -> who plays, and its memory.
        params: of all models.
        seatings: for 0 to N cooperators, with as many runs each, or none.
        terms: how they are played.
    """
    world = env.params

    @jax.jit
    def run(params: PyTree, arrays: tuple[Any, Any, Any], key: Array) -> Conduct:
        act, carry = team(params, Seating(*arrays))
        return play(env, act, carry, key, len(arrays[0]), terms.steps, world)

    found = Mixtures([seating.cooperates for seating in seatings], [], [])
    for count, seating in enumerate(seatings):
        restraint = payoff = np.zeros((0, env.num_agents), np.float32)
        if seating.runs:
            key = jax.random.fold_in(jax.random.key(terms.seed), count)
            conduct = run(params, (seating.cooperates, seating.model, seating.slot), key)
            restraint, payoff = np.asarray(conduct.restraint), np.asarray(conduct.payoff)
        found.restraint.append(restraint)
        found.payoff.append(payoff)
    return found
