"""Who holds back: environments that can tell, the models of runs, and their agents' classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from shoal.baselines.analysis.play import Conduct, Terms, knows_restraint, play
from shoal.envs.core import Environment, Policy, PyTree, TimeStep, UserError
from shoal.envs.core.options import split_overrides

DEFECTOR, UNLABELLED, COOPERATOR = -1, 0, 1
WORDS = {DEFECTOR: "defector", UNLABELLED: "unlabelled", COOPERATOR: "cooperator"}


@dataclass(frozen=True)
class Thresholds:
    """From which mean restraint on somebody cooperates, and below which it defects."""

    defector_below: float = 0.25
    cooperator_above: float = 0.35

    def __post_init__(self) -> None:
        """Refuses thresholds that cross.

        Raises:
            UserError: when an agent could be both.
        """
        if self.defector_below > self.cooperator_above:
            raise UserError(
                f"--defector-below {self.defector_below:g} is above --cooperator-above "
                f"{self.cooperator_above:g}: an agent between them would be both"
            )

    def classify(self, restraint: ArrayLike) -> NDArray[np.int64]:
        """Returns `DEFECTOR`, `COOPERATOR` or `UNLABELLED` for each mean restraint."""
        values = np.asarray(restraint, np.float64)
        high, low = values > self.cooperator_above, values < self.defector_below
        return np.where(high, COOPERATOR, np.where(low, DEFECTOR, UNLABELLED)).astype(np.int64)


@dataclass(frozen=True)
class Model:
    """One trained member: all its agents' policies, in the world that it was trained in."""

    name: str  # runs/water@3
    learner: str  # its row, without swept numbers
    seed: int
    swept: Mapping[str, float]  # numbers of its algorithm
    env: Environment[Any, Any]
    policy_of: Callable[[PyTree], Policy]
    params: PyTree
    program: Any  # equal for models whose policies differ in their parameters alone
    apart: bool = False  # all parameters are single agents', who lead every leaf

    @property
    def numbers(self) -> dict[str, float]:
        """The numbers of its environment by name."""
        return numbers_of(self.env)


@dataclass(frozen=True)
class Judged:
    """A model after evaluation in its own world."""

    model: Model
    restraint: NDArray[np.float64]  # [A], mean over episodes
    payoff: NDArray[np.float64]  # [A], mean over episodes
    labels: NDArray[np.int64]  # [A]


def numbers_of(env: Environment[Any, Any]) -> dict[str, float]:
    """Returns the parameters of an environment that are one number."""
    values = {f.name: getattr(env.params, f.name) for f in dataclasses.fields(env.params)}
    # To the digits that float32 holds: 0.055, not 0.05499999970197678.
    return {name: float(f"{value:.7g}") for name, value in values.items() if np.ndim(value) == 0}


def check_restraint(env: Environment[Any, Any]) -> None:
    """Refuses an environment whose agents cannot be told apart.

    Raises:
        UserError: when it does not say what restraint is.
    """
    if not knows_restraint(env):
        raise UserError(
            f"{env.id} does not say what restraint is, so it is not known who cooperates; an environment "
            "says it by the method restraint(state) (docs/guides/analysis.md)"
        )


def check_alike(env: Environment[Any, Any]) -> None:
    """Refuses an environment whose agents cannot take each other's places.

    Raises:
        UserError: when they are of several kinds or teams.
    """
    if len({*zip(env.teams.tolist(), env.agent_types.tolist(), strict=True)}) > 1:
        raise UserError(
            f"{env.id} has agents of several kinds or teams, which cannot stand in for each other"
        )


def changed(env: Environment[Any, Any], overrides: Mapping[str, Any]) -> Environment[Any, Any]:
    """Returns the environment with other options or numbers.

    Raises:
        UserError: for what it does not have, or out of its range.
    """
    static, numbers = split_overrides(env.id, overrides, env.Options, env.Params)
    options, params = dataclasses.replace(env.options, **static), dataclasses.replace(env.params, **numbers)
    return type(env)(env.id, options, params)


def with_raw_rewards(env: Environment[Any, Any]) -> Environment[Any, Any]:
    """Returns the environment paying everybody for itself alone, as ``extras["raw_rewards"]`` says."""
    return changed(env, env.metadata.extras.get("raw_rewards", {}))


def judge(models: Sequence[Model], terms: Terms, thresholds: Thresholds) -> list[Judged]:
    """Evaluates models of one program side by side, each in its own world.

    Args:
        models: whose `Model.program` is one.
        terms: how they are played.
        thresholds: what the classes are told by.
    """
    worlds = [with_raw_rewards(model.env) for model in models]
    env, policy_of = worlds[0], models[0].policy_of

    def one(params: PyTree, numbers: Any, key: jax.Array) -> Conduct:
        policy = policy_of(params)

        def act(key: jax.Array, carry: PyTree, timestep: TimeStep, state: PyTree) -> tuple[PyTree, jax.Array]:
            given = state if policy.needs_state else None
            return policy.act(key, carry, timestep.observation, given, terms.greedy, timestep.first)

        carry = policy.initial_carry((terms.episodes,))
        return play(env, act, carry, key, terms.episodes, terms.steps, numbers)

    stack = partial(jax.tree.map, lambda *leaves: jnp.stack(leaves))
    keys = jax.random.split(jax.random.key(terms.seed), len(models))
    params = stack(*(model.params for model in models))
    numbers = stack(*(world.params for world in worlds))
    conduct = jax.device_get(jax.jit(jax.vmap(one))(params, numbers, keys))
    found = []
    for number, model in enumerate(models):
        restraint, payoff = (
            np.asarray(of[number], np.float64).mean(axis=0) for of in (conduct.restraint, conduct.payoff)
        )
        found.append(Judged(model, restraint, payoff, thresholds.classify(restraint)))
    return found
