"""From a configuration to what runs: environment, learners, compiled program, members."""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp

from shoal.algorithms.blocks.effort import effort_for
from shoal.algorithms.blocks.learner import Group, Learner, Setting, hyper_of, nbytes
from shoal.algorithms.blocks.minibatches import check_minibatches
from shoal.algorithms.blocks.opponents import Opponent
from shoal.algorithms.registry import learner_class
from shoal.algorithms.training import Program, ProgramState
from shoal.baselines import devices, teams
from shoal.baselines.config import ENV_PREFIX, RunConfig
from shoal.envs.core import Environment, UserError, VectorEnv, make
from shoal.envs.core.errors import nearest


@dataclass(frozen=True)
class Member:
    """One of the runs that are trained side by side."""

    seed: int
    swept: dict[str, float]  # the algorithm's numbers
    env_numbers: dict[str, float]  # the environment's


@dataclass(frozen=True)
class Built:
    """What a configuration amounts to on this machine."""

    config: RunConfig  # with everything resolved
    env: Environment[Any, Any]
    learners: dict[str, tuple[Group, Learner]]
    program: Program
    members: tuple[Member, ...]
    devices: tuple[Any, ...]
    notes: tuple[str, ...]  # what to tell the user
    judges: dict[str, Opponent]  # who plays the other teams in evaluations
    judged_alike: bool  # whether the best of several evaluations is the best policy

    @property
    def learning(self) -> tuple[int, ...]:
        """The agents that learn."""
        return teams.learning_agents(self.learners)

    def keys(self, purpose: str) -> jax.Array:
        """Returns one key per member for a purpose; different purposes share no randomness."""
        return jnp.stack([named_key(member.seed, purpose) for member in self.members])

    def init(self) -> ProgramState:
        """Returns the opening state of all members."""
        return self.program.init(*self._opening)

    def prepare(self) -> tuple[ProgramState, Any]:
        """Returns the opening state of all members, and the program's `run` compiled for it."""
        return self.program.prepare(*self._opening)

    @cached_property
    def env_params(self) -> Any:
        """What each member's environment is played with, leaves [members, ...]; None: all as configured."""
        if not any(member.env_numbers for member in self.members):
            return None
        own = [make(self.env.id, **self.config.env_options, **m.env_numbers).params for m in self.members]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *own)

    @property
    def _opening(self) -> tuple[jax.Array, dict[str, dict[str, jax.Array]], Any]:
        # All learners are of one algorithm and one configuration.
        hypers = [
            hyper_of(self.config.algorithm) | {k: jnp.float32(v) for k, v in m.swept.items()}
            for m in self.members
        ]
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *hypers)
        return self.keys("training"), dict.fromkeys(self.learners, stacked), self.env_params

    def policy_params(self, state: ProgramState) -> dict[str, Any]:
        """Returns what policies play with: learner name -> parameters."""
        return {name: self.learners[name][1].acting(held.params) for name, held in state.learners.items()}


def named_key(seed: int, purpose: str) -> jax.Array:
    """Returns the key of a seed for one named purpose."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))


def members_of(config: RunConfig) -> tuple[Member, ...]:
    """Returns every combination of swept values, each with all seeds."""
    points = itertools.product(*config.sweep.values())
    members = []
    for point in points:
        values = dict(zip(config.sweep, point, strict=True))
        env = {k.removeprefix(ENV_PREFIX): v for k, v in values.items() if k.startswith(ENV_PREFIX)}
        own = {k: v for k, v in values.items() if not k.startswith(ENV_PREFIX)}
        members += [Member(config.seed + i, own, env) for i in range(config.num_seeds)]
    return tuple(members)


def _check_env_sweep(config: RunConfig, env: Environment[Any, Any]) -> None:
    """Refuses what is no number of the environment, or out of its range, or has two meanings."""
    numbers = [
        field.name
        for field in dataclasses.fields(env.params)
        if jnp.ndim(getattr(env.params, field.name)) == 0
    ]
    for key, values in config.sweep.items():
        name = key.removeprefix(ENV_PREFIX)
        if name == key:
            continue
        if name not in numbers:
            raise UserError(
                f"sweep.{key}: {env.id} has no parameter {name!r}{nearest(name, numbers)} that is one number"
            )
        if name in config.env_options:
            raise UserError(f"sweep.{key}: env.{name} is set as well; leave one of them out")
        if config.curriculum:
            raise UserError(
                f"sweep.{key}: curriculum=true changes the same parameters; leave one of them out"
            )
        for value in values:
            make(config.env_id, **config.env_options, **{name: value})


def make_env(config: RunConfig) -> Environment[Any, Any]:
    """Makes the run's environment."""
    return make(config.env_id, **config.env_options)


def make_learners(
    config: RunConfig, env: Environment[Any, Any], shuffle_groups: int = 1
) -> dict[str, tuple[Group, Learner]]:
    """Returns the run's learners by name; see `teams.learner_groups` for what each owns."""
    kind = learner_class(config.algorithm_name)

    def learner(group: Group) -> Learner:
        setting = Setting(
            env=env,
            group=group,
            num_envs=config.num_envs,
            total_updates=config.total_updates,
            final_observations=VectorEnv(env, config.num_envs).mode == "next_step",
            shuffle_groups=shuffle_groups,
            sharing=config.sharing,
        )
        return kind(config.algorithm, config.network, setting)

    return {name: (group, learner(group)) for name, group in teams.learner_groups(config, env).items()}


def build(config: RunConfig) -> Built:
    """Builds everything but the arrays; the configuration that comes back has its nulls resolved.

    Raises:
        UserError: when environments, minibatches and devices do not fit together.
    """
    env = make_env(config)
    if config.curriculum and type(env).curriculum is Environment.curriculum:
        raise UserError(f"curriculum=true, but {env.id} has no curriculum; leave it out")
    _check_env_sweep(config, env)
    sizes = {len(group.indices) for group in teams.learner_groups(config, env).values()}
    if config.sharing != "all":  # minibatches are drawn of environments
        sizes = {1}
    batchings = [config.algorithm.batching(config.num_envs, size) for size in sorted(sizes)]

    def fits(count: int) -> bool:
        groups = count if config.shuffle_groups is None else config.shuffle_groups
        divides = (rows % (groups * minibatches) == 0 for rows, minibatches in batchings)
        return config.num_envs % count == 0 and all(divides)

    if not fits(1):
        for rows, minibatches in batchings:
            check_minibatches(rows, minibatches, config.shuffle_groups or 1)
    chosen, note = devices.choose(config.devices, fits, config.num_envs)
    groups = len(chosen) if config.shuffle_groups is None else config.shuffle_groups
    config = _resolved(dataclasses.replace(config, env_id=env.id, shuffle_groups=groups))
    learners = make_learners(config, env, groups)
    swaps = teams.swaps_sides(config, env, learners)
    program = Program(
        env,
        learners,
        config.num_envs,
        config.algorithm.rollout_length,
        chosen,
        teams.training_opponents(config, env, learners),
        config.opponent_pool if config.opponent == "pool" else None,
        swaps,
        config.total_updates if config.curriculum else None,
        effort_for(config.total_env_steps) if config.compile_effort == "auto" else config.compile_effort,
    )
    notes = [
        note,
        devices.determinism_note(config.deterministic, chosen[0].platform),
        teams.describe_teams(config, env, learners, swaps),
    ]
    return Built(
        config,
        env,
        learners,
        program,
        members_of(config),
        tuple(chosen),
        tuple(n for n in notes if n),
        teams.judges(config, env, learners),
        teams.judged_alike(config, env),
    )


def _resolved(config: RunConfig) -> RunConfig:
    """Fills in the intervals; evaluations fall on rows of metrics.jsonl."""
    total, step = config.total_updates, config.steps_per_update
    log_every = max(1, total // 200) if config.log_every is None else min(config.log_every, total)
    every = config.eval.every
    if every is None:
        every = max(1, total // 20) * step
    if every:
        rows = max(1, round(every / step / log_every))
        every = rows * log_every * step
    return dataclasses.replace(
        config, log_every=log_every, eval=dataclasses.replace(config.eval, every=every)
    )


def memory_bytes(built: Built) -> tuple[int, int]:
    """Returns bytes of the training state and of one rollout, all members together; runs nothing."""
    program = built.program
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), len(built.members)))
    state = jax.eval_shape(lambda k: _open(program, k), keys)
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state)
    _, _, trajectories, _ = jax.eval_shape(lambda s: program.play(s), one)
    return nbytes(state), nbytes(trajectories) * len(built.members)


def replay_bytes(built: Built) -> int:
    """Returns which part of the training state is replay, all members together; runs nothing."""
    each = (getattr(learner, "replay_bytes", None) for _, learner in built.learners.values())
    return len(built.members) * sum(count() for count in each if count is not None)


def program_bytes(program: Any) -> int | None:
    """Returns what a compiled program holds at its peak, its state included, as its compiler counts."""
    need = program.memory_analysis()
    if need is None:
        return None
    whole = need.argument_size_in_bytes + need.output_size_in_bytes + need.temp_size_in_bytes
    return int(whole - need.alias_size_in_bytes)


def _open(program: Program, keys: Any) -> ProgramState:
    return program.init(keys)
