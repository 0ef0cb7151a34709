"""Who plays which team: the learners, and the opponents that do not learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from shoal.algorithms.blocks.learner import Group, Learner
from shoal.algorithms.blocks.opponents import Opponent, ScriptedTeam, can_swap
from shoal.algorithms.registry import short_name
from shoal.baselines.config import RunConfig
from shoal.envs.core import Environment, Policy, PyTree, UserError

Learners = Mapping[str, tuple[Group, Learner]]


def team_groups(env: Environment[Any, Any]) -> dict[str, Group]:
    """Returns the teams by name: that of the group with the same agents where there is one, or team0."""
    named = {tuple(indices): name for name, indices in env.groups.items()}
    teams = {}
    for number in sorted(set(env.teams.tolist())):
        indices = tuple(i for i, team in enumerate(env.teams.tolist()) if team == number)
        name = named.get(indices, f"team{number}")
        teams[name] = Group(name, indices)
    return teams


def learner_groups(config: RunConfig, env: Environment[Any, Any]) -> dict[str, Group]:
    """Returns what each learner owns: a team each, or the first team where ``opponent`` plays the others.

    Raises:
        UserError: for an opponent where there is one team.
    """
    name, teams = short_name(config.algorithm_name), team_groups(env)
    if len(teams) == 1:
        if config.opponent is not None:
            raise UserError(
                f"opponent={config.opponent}: all agents of {env.id} are one team; it must have two, as "
                "combat/smax-3m has with env.control=both"
            )
        return {name: Group("all", tuple(range(env.num_agents)))}
    if config.opponent is None:
        return {f"{name}.{team}": group for team, group in teams.items()}
    return {name: next(iter(teams.values()))}


def learning_agents(learners: Learners) -> tuple[int, ...]:
    """Returns the agents that learn."""
    return tuple(sorted(i for group, _ in learners.values() for i in group.indices))


def training_opponents(
    config: RunConfig, env: Environment[Any, Any], learners: Learners
) -> dict[str, Opponent]:
    """Returns who plays the teams that do not learn, by team.

    Raises:
        UserError: when the learner's parameters do not fit a team, or there is no script.
    """
    blocks = config.opponent_pool.blocks if config.opponent == "pool" else None
    return make_opponents(config.opponent, env, learners, config.network, blocks)


def judges(config: RunConfig, env: Environment[Any, Any], learners: Learners) -> dict[str, Opponent]:
    """Returns who plays them in evaluations during training: the script where there is one, else a copy."""
    if config.opponent is None:
        return {}
    return make_opponents("scripted" if _has_script(env) else "self", env, learners, config.network)


def judged_alike(config: RunConfig, env: Environment[Any, Any]) -> bool:
    """Returns whether evaluations at different times can be compared: nobody improves but the learner."""
    return len(team_groups(env)) == 1 or (config.opponent is not None and _has_script(env))


def swaps_sides(config: RunConfig, env: Environment[Any, Any], learners: Learners) -> bool:
    """Returns whether the teams change places in every second environment.

    Raises:
        UserError: when that is asked for and cannot be.
    """
    copies = config.opponent in ("self", "pool")
    blind = not any(learner.needs_state for _, learner in learners.values())
    if config.swap_sides and not (copies and blind and can_swap(env)):
        raise UserError(
            "swap_sides=true needs opponent=self or pool, two teams of one size, and an algorithm that does "
            "not read the global state"
        )
    return copies and blind and can_swap(env) if config.swap_sides is None else config.swap_sides


def describe_teams(config: RunConfig, env: Environment[Any, Any], learners: Learners, swaps: bool) -> str:
    """Returns a line on who plays whom; empty where there is one team."""
    teams = list(team_groups(env))
    if len(teams) == 1:
        return ""
    if config.opponent is None:
        return f"teams: {', '.join(learners)} learn against each other"
    whom = {"self": "its present self", "pool": "its present and past selves", "scripted": "the script"}
    where = "both sides in turn" if swaps else teams[0]
    judge = "the script" if _has_script(env) else "itself"
    return (
        f"teams: {config.algorithm_name} plays {where} against {whom[config.opponent]}; evaluations are "
        f"{teams[0]} against {judge}"
    )


def make_opponents(
    how: str | None, env: Environment[Any, Any], learners: Learners, network: Any, blocks: int | None = None
) -> dict[str, Opponent]:
    """Returns who plays the teams that no learner owns, by team.

    Args:
        how: ``opponent`` of the configuration; past policies of a pool are given to its `Opponent.act`.
        env: the environment.
        learners: the run's.
        network: the configuration that the learner's networks were built from.
        blocks: how many past policies play side by side.

    Raises:
        UserError: when the learner's parameters do not fit a team, or there is no script.
    """
    if how is None:
        return {}
    ((name, (own, learner)),) = learners.items()
    others = [group for group in team_groups(env).values() if group != own]
    if how == "scripted":
        return {group.name: Opponent(group, _script(env, group)) for group in others}
    return {group.name: Opponent(group, _copy_of(learner, network, group), name, blocks) for group in others}


def _has_script(env: Environment[Any, Any]) -> bool:
    return "scripted" in env.scripted_policies()


def _script(env: Environment[Any, Any], group: Group) -> Callable[[PyTree], Policy]:
    if not _has_script(env):
        raise UserError(f"opponent=scripted: {env.id} has no scripted policy; use self or pool")
    policy = ScriptedTeam(env.scripted_policies()["scripted"](), group, env.num_agents)
    return lambda _: policy


def _copy_of(learner: Learner, network: Any, group: Group) -> Callable[[PyTree], Policy]:
    """Returns what makes policies of another group from a learner's parameters."""
    own = learner.setting.group
    # A learner of that group, for its policy alone; with so many environments its minibatches divide.
    num_envs = learner.setting.num_envs * len(own.indices)
    setting = dataclasses.replace(learner.setting, group=group, num_envs=num_envs)
    kind: Any = type(learner)
    copy: Learner = kind(learner.config, network, setting)
    if acting_shapes(copy) != acting_shapes(learner):
        raise UserError(
            f"opponent=self and pool: what {own.name} ({len(own.indices)} agents) learns does not fit "
            f"{group.name} ({len(group.indices)} agents), since parameters depend on the agents (sharing, "
            "agent_id); use opponent=scripted or null"
        )
    return copy.policy


def acting_shapes(learner: Learner) -> Any:
    """Returns the shapes of what the learner's policies play with; runs nothing."""
    return jax.eval_shape(lambda key: learner.acting(learner.init(key).params), jax.random.key(0))
