"""Policies to play with: trained ones out of a run folder or exported, and those of an environment itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from shoal.algorithms.blocks.learner import Group, Learner
from shoal.algorithms.registry import PLANNERS, planner_class
from shoal.baselines import pretrained
from shoal.envs.core import (
    Environment,
    IdlePolicy,
    Key,
    Observation,
    Policy,
    PyTree,
    RandomPolicy,
    UserError,
    make,
)
from shoal.envs.core.errors import nearest


class Player:
    """A policy of all agents together with its environment, compiled; itself a `shoal.envs.core.Policy`.

    Attributes:
        name: what it is called in reports: ``random``, ``runs/demo@0``.
        params: its parameters, empty for scripted ones.
        policy_of: parameters -> policy, for use inside larger programs.
        folder: the run folder, or the folder of an export, it came from, if any.
        learning: the agents that it was trained for, all where nobody else plays.
        greedy: how it was judged while it was trained: by its most probable actions, or by drawn ones.
    """

    def __init__(
        self,
        env: Environment[Any, Any],
        name: str,
        policy_of: Callable[[PyTree], Policy],
        params: PyTree = (),
        folder: Path | None = None,
        learning: tuple[int, ...] | None = None,
        greedy: bool = True,
    ) -> None:
        """Compiles nothing yet."""
        self._env = env
        self.name = name
        self.policy_of = policy_of
        self.params = params
        self.folder = folder
        self.learning = tuple(range(env.num_agents)) if learning is None else learning
        self.greedy = greedy

    def env(self) -> Environment[Any, Any]:
        """Returns the environment that it was made (trained) for."""
        return self._env

    @property
    def needs_state(self) -> bool:
        """Whether `act` must be given the environment's whole state."""
        return self.policy_of(self.params).needs_state

    def initial_carry(self, batch: tuple[int, ...] = ()) -> PyTree:
        """Returns the memory with which an episode opens, for a batch of this shape."""
        return self.policy_of(self.params).initial_carry(batch)

    def act(
        self,
        key: Key,
        carry: PyTree,
        observation: Observation,
        state: PyTree = None,
        greedy: bool = True,
        first: Array | None = None,
    ) -> tuple[PyTree, Array]:
        """Chooses the actions of all agents.

        Args:
            key: decides drawn actions; unused when greedy.
            carry: from `initial_carry` or from the call before.
            observation: ``timestep.observation`` of one environment (leaves [A, ...]) as `Environment.step`
                returns it, or of a batch of any leading shape ``B`` (leaves [*B, A, ...]).
            state: the environment's state, where `needs_state`.
            greedy: the most probable actions instead of drawn ones.
            first: ``timestep.first``; needed where episodes follow each other without a new `initial_carry`.

        Returns:
            The memory for the next call and actions [*B, A] (or [*B, A, D]).
        """
        return self._act(self.params, key, carry, observation, state, greedy, first)

    @cached_property
    def _act(self) -> Any:
        def act(
            params: PyTree,
            key: Key,
            carry: PyTree,
            observation: Observation,
            state: PyTree,
            greedy: bool,
            first: Array | None,
        ) -> tuple[PyTree, Array]:
            return self.policy_of(params).act(key, carry, observation, state, greedy, first)

        return jax.jit(act, static_argnums=5)


def resolve_policy(env: Environment[Any, Any], name: str) -> Policy:
    """Returns a policy by name: ``random``, ``idle``, one of the environment's own, or a planner.

    Planners are `shoal.algorithms.registry.PLANNERS`, for environments that declare planning.

    Raises:
        UserError: when there is none, with the nearest one.
    """
    makers: dict[str, Callable[[], Any]] = {
        "random": lambda: RandomPolicy(env),
        "idle": lambda: IdlePolicy(env),
        **env.scripted_policies(),
    }
    if "planning" in env.metadata.extras:
        makers |= {planner: partial(_plan, planner, env) for planner in PLANNERS}
    if name not in makers:
        raise UserError(f"{env.id} has no policy {name!r}{nearest(name, makers)}")
    return makers[name]()


def _plan(name: str, env: Environment[Any, Any]) -> Policy:
    planner: Policy = planner_class(name)(env)
    return planner


@dataclass(frozen=True)
class Trained:
    """A policy as a run folder holds it: what plays, its parameters, and where they come from."""

    folder: Path
    config: Any  # the run's RunConfig
    env: Environment[Any, Any]
    learners: dict[str, tuple[Group, Learner]]
    params: PyTree  # learner name -> parameters
    member: int
    named: bool  # whether the member was asked for
    seed: int
    swept: dict[str, float]
    members: int  # how many the run has
    best: dict[str, Any]  # of the evaluation that picked these parameters: update, env_steps, metrics


def read_run(
    run: str | Path, member: int | None = None, env_options: Mapping[str, Any] = MappingProxyType({})
) -> Trained:
    """Reads a trained policy out of a run folder; see `load_policy`.

    Raises:
        UserError: when there is no such run or member, nothing was saved yet, or it does not fit the options.
    """
    # Imported here: scripted and exported policies need none of it.
    from shoal.baselines.build import make_env, make_learners, members_of
    from shoal.baselines.checkpoints import read_best, unflatten
    from shoal.baselines.teams import acting_shapes

    folder, named = split_member(run)
    member = named if member is None else member
    config = _run_config(folder)
    config = dataclasses.replace(config, env_options={**config.env_options, **env_options})
    flat, note = read_best(folder / "checkpoints")
    members = members_of(config)
    number = int(note.get("member", 0)) if member is None else member
    chosen = _nth(folder, members, number)
    config = dataclasses.replace(config, env_options={**chosen.env_numbers, **config.env_options})
    env = make_env(config)
    learners = make_learners(config, env, config.shuffle_groups or 1)
    shapes = {name: acting_shapes(learner) for name, (_, learner) in learners.items()}
    stacked = jax.tree.map(lambda x: jax.ShapeDtypeStruct((len(members), *x.shape), x.dtype), shapes)
    try:
        params = unflatten(stacked, flat)
    except ValueError as error:
        if env_options:
            raise UserError(
                f"the network of {folder} does not fit {env.id} with {_words(env_options)} ({error}); one "
                "that was trained on entity views with network=set fits teams of any size"
            ) from error
        raise UserError(f"{folder} was saved by another version of Shoal: {error}") from error
    own = jax.tree.map(lambda leaf: jnp.asarray(leaf[number]), params)
    return Trained(
        folder=folder,
        config=config,
        env=env,
        learners=learners,
        params=own,
        member=number,
        named=member is not None,
        seed=chosen.seed,
        swept=chosen.swept,
        members=len(members),
        best=note["members"][number],
    )


def load_policy(
    path: str | Path, member: int | None = None, env_options: Mapping[str, Any] = MappingProxyType({})
) -> Player:
    """Loads a trained policy.

    Args:
        path: a run folder, ``RUN@member`` for one of several members, what `shoal export` wrote, or
            ``pretrained:ENV`` for a policy that comes with the package.
        member: the same as a number; by default the best one by evaluation.
        env_options: laid over the environment's options of the run, to play another size, say.

    Raises:
        UserError: when there is no such run or member, nothing was saved yet, files are damaged, or the
            network does not fit the options.
    """
    from shoal.baselines.evaluation import learned_policy
    from shoal.baselines.export import export_folder, load_export
    from shoal.baselines.teams import learning_agents, training_opponents

    kind, _, env_id = str(path).partition(":")
    if kind == pretrained.NAME and env_id:
        _only_its_own(f"{path} is an exported policy, which", env_options)
        return pretrained.load_pretrained(env_id)
    folder, named = split_member(path)
    if export_folder(folder) is not None:
        if member is not None or named is not None:
            raise UserError(f"{folder} is an exported policy, which has no members")
        _only_its_own(f"{folder} is an exported policy, which", env_options)
        return load_export(folder)
    found = read_run(path, member, env_options)
    name = f"{found.folder}@{found.member}" if found.members > 1 else str(found.folder)
    opponents = training_opponents(found.config, found.env, found.learners)
    return Player(
        found.env,
        name,
        learned_policy(found.env, found.learners, opponents),
        found.params,
        found.folder,
        learning_agents(found.learners),
        found.config.eval.greedy,
    )


def _run_config(folder: Path) -> Any:
    """Reads what a run resolved to."""
    from shoal.baselines.config import from_dict, read_yaml

    if not (folder / "config.yaml").is_file():
        raise UserError(f"there is no run folder {str(folder)!r} (no config.yaml in it)")
    return from_dict(read_yaml(folder))


def _nth(folder: Path, members: Sequence[Any], number: int) -> Any:
    """Returns one of a run's members."""
    if not 0 <= number < len(members):
        raise UserError(f"{folder} has no member {number}; it has {len(members)}, counted from 0")
    return members[number]


def _run_env(folder: Path, member: int | None, env_options: Mapping[str, Any]) -> Environment[Any, Any]:
    """Makes what a run, a member of one, or an exported policy was trained in, with other options."""
    from shoal.baselines.build import make_env, members_of
    from shoal.baselines.export import export_env, export_folder

    exported = export_folder(folder)
    if exported is not None:
        _only_its_own(f"{folder} is an exported policy, which", env_options)
        return export_env(exported)
    config = _run_config(folder)
    own = {} if member is None else _nth(folder, members_of(config), member).env_numbers
    return make_env(dataclasses.replace(config, env_options={**own, **config.env_options, **env_options}))


def chosen_policy(policy: str | None, from_package: bool) -> str | None:
    """Returns the policy's name that ``--policy`` and ``--pretrained`` ask for.

    Raises:
        UserError: when both do.
    """
    if not from_package:
        return policy
    if policy is not None:
        raise UserError(f"--policy {policy} and --pretrained are two policies; name one")
    return pretrained.NAME


def find_player(
    target: str, policy: str | None, env_options: Mapping[str, Any] = MappingProxyType({})
) -> Player:
    """Returns who plays, as the command line says it: a run folder, or an environment id and a policy's name.

    ``env_options`` are laid over those of the run, or of the environment.

    Raises:
        UserError: when neither is there.
    """
    from shoal.envs.core.registry import resolve

    folder, member = split_member(target)
    if policy == pretrained.NAME:
        return load_policy(f"{pretrained.NAME}:{target}", env_options=env_options)
    if folder.exists() or target.startswith(f"{pretrained.NAME}:"):
        if policy is None:
            return load_policy(target, env_options=env_options)
        env = _run_env(folder, member, env_options)
    elif policy is None:
        try:
            id = resolve(target)
        except UserError:
            raise UserError(
                f"there is no run folder {str(folder)!r}; give one, or an environment id with --policy random"
            ) from None
        raise UserError(f"who plays {id}? add --policy random, idle, scripted or another of its policies")
    else:
        env = make(target, **env_options)
    chosen = resolve_policy(env, policy)
    return Player(env, policy, lambda _: chosen, folder=folder if folder.is_dir() else None)


def _only_its_own(what: str, env_options: Mapping[str, Any]) -> None:
    """Refuses other options for a policy that has no run to lay them over."""
    if env_options:
        raise UserError(f"{what} plays its own environment, without {_words(env_options)}; use its run")


def _words(options: Mapping[str, Any]) -> str:
    return " ".join(f"env.{name}={value}" for name, value in options.items())


def split_member(run: str | Path) -> tuple[Path, int | None]:
    """Splits ``RUN@member``; a folder that has such a name itself is meant as it stands."""
    text = str(run)
    name, at, number = text.rpartition("@")
    if at and number.isdigit() and not Path(text).exists():
        return Path(name), int(number)
    return Path(text), None
