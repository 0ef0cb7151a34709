"""MAPPO reaches a stated score where its parts are needed, and its broken variants do not."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from shoal_trials import trials

from shoal.algorithms.blocks.learner import Group, Setting
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.ippo import IPPO
from shoal.algorithms.mappo import MAPPO
from shoal.algorithms.mappo_replay import ReplayMAPPO
from shoal.algorithms.training import Program

pytestmark = [pytest.mark.learning, pytest.mark.slow]
ENVS, STEPS, SEEDS = 16, 12, 3
NETWORK = NetworkConfig(hidden_size=16, core="none")
MEMORY = NetworkConfig(hidden_size=16)
LUCK = {"task": "luck", "types": (0, 0), "pay": 0.02}
EXIT = {"task": "exit", "types": (0,)}
OPENING = {"task": "opening", "types": (0, 0)}
STORED = {"buffer_size": 4 * ENVS, "batch_size": 4 * ENVS - 1, "target_interval": 5}


class DetachedCritic(MAPPO):
    """No gradient reaches the critic."""

    def forward(self, params, carry, moment):
        params = params | {"critic": jax.lax.stop_gradient(params["critic"])}
        return super().forward(params, carry, moment)


class DetachedActor(MAPPO):
    """No gradient reaches the actor."""

    def forward(self, params, carry, moment):
        params = params | {"actor": jax.lax.stop_gradient(params["actor"])}
        return super().forward(params, carry, moment)


class Blind(MAPPO):
    """The critic sees nothing."""

    def prepared(self, extra, moment):
        moment = super().prepared(extra, moment)
        return replace(moment, state=jnp.zeros_like(moment.state))


class MaskIgnored(MAPPO):
    """Illegal actions are explored and learned."""

    def _forward(self, params, carry, moment):
        seen = moment.observation
        free = replace(moment, observation=replace(seen, action_mask=jnp.ones_like(seen.action_mask)))
        return super()._forward(params, carry, free)


class NeverReset(MAPPO):
    """Memory goes on from one episode to the next."""

    def agents_reset(self, moment):
        return jnp.zeros_like(moment.first)


def score(task, updates, kind=MAPPO, network=NETWORK, final_observations=None, sharing="all", **config):
    """Mean share of right actions over the last five updates, per seed."""
    env = trials(**task)
    group = Group("all", tuple(range(env.num_agents)))
    known = not env.time_limit_is_termination if final_observations is None else final_observations
    setting = Setting(env, group, ENVS, updates, known, sharing=sharing)
    fixed = {"rollout_length": STEPS, "epochs": 4, "gamma": 0.9, "learning_rate": 1e-2, "entropy_coef": 0.0}
    fixed |= STORED if issubclass(kind, ReplayMAPPO) else {"minibatches": 2}
    learner = kind(kind.Config(**(fixed | config)), network, setting)
    program = Program(env, {"all": (group, learner)}, ENVS, STEPS)
    state = program.init(jax.random.split(jax.random.key(0), SEEDS))
    state, _, _ = program.run(state, updates - 5)
    _, totals, _ = program.run(state, 5)
    return totals.metrics["right"] / totals.episodes


@pytest.mark.parametrize("agent_id", [False, True])
def test_it_learns_through_luck_that_only_the_state_shows(agent_id):
    assert score(LUCK, 40, agent_id=agent_id).min() >= 0.9


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a critic that sees what the agent sees", IPPO),
        ("critic blind to the state", Blind),
        ("critic's gradient detached", DetachedCritic),
        ("actor's gradient detached", DetachedActor),
        ("mask ignored", MaskIgnored),
    ],
)
def test_without_its_parts_it_does_not(name, kind):
    assert score(LUCK, 40, kind).mean() < 0.85, name


def test_it_stays_where_only_the_clock_ends_the_episode():
    assert score(EXIT, 40).min() >= 0.9


def test_truncation_treated_as_termination_fails():
    assert score(EXIT, 40, final_observations=False).max() < 0.5


def test_it_knows_when_an_episode_opens():
    assert score(OPENING, 50, network=MEMORY).min() >= 0.9


def test_memory_that_is_not_reset_fails():
    assert score(OPENING, 50, NeverReset, network=MEMORY).max() < 0.8


class NeverCopied(ReplayMAPPO):
    """The critic that bootstraps stays as it was drawn."""

    def learn(self, train_state, trajectory):
        target = train_state.extra["target"]
        train_state, metrics = super().learn(train_state, trajectory)
        return replace(train_state, extra=train_state.extra | {"target": target}), metrics


class DetachedReplay(DetachedActor, ReplayMAPPO):
    """No gradient reaches the actor."""


@pytest.mark.parametrize("task", [LUCK, EXIT], ids=lambda task: task["task"])
def test_it_learns_from_what_older_policies_played(task):
    assert score(task, 60, ReplayMAPPO).min() >= 0.9


@pytest.mark.parametrize(("task", "kind"), [(EXIT, NeverCopied), (LUCK, DetachedReplay)])
def test_without_its_parts_replay_does_not(task, kind):
    assert score(task, 60, kind).mean() < 0.85


ROLES = {"task": "roles", "types": (0, 1, 0)}


@pytest.mark.parametrize(
    ("kind", "sharing", "solves"), [(IPPO, "none", True), (MAPPO, "by_type", True), (IPPO, "all", False)]
)
def test_roles_need_parameters_of_their_own(kind, sharing, solves):
    share = score(ROLES, 15, kind, sharing=sharing)
    assert share.min() >= 0.9 if solves else share.max() < 0.8
