"""One small program, compiled once for all tests of this folder."""

from dataclasses import replace

import jax
import pytest
from shoal_recall import Recall

from shoal.algorithms.blocks.learner import Group, Setting
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.ippo import IPPO, IPPOConfig
from shoal.algorithms.training import Program

SMALL_NETWORK = NetworkConfig(hidden_size=8)
SMALL = IPPOConfig(rollout_length=6, epochs=2, minibatches=2)


@pytest.fixture(scope="session")
def make_program():
    """Builds an IPPO program on a Recall task; keyword arguments change the learner's config."""

    def make(
        env=None, num_envs=8, devices=1, network=SMALL_NETWORK, total_updates=10, curriculum=None, **config
    ):
        env = Recall.from_overrides("recall", {"delay": 1}) if env is None else env
        group = Group("all", tuple(range(env.num_agents)))
        setting = Setting(env, group, num_envs, total_updates, not env.time_limit_is_termination, 2)
        learner = IPPO(replace(SMALL, **config), network, setting)
        return Program(
            env,
            {"all": (group, learner)},
            num_envs,
            learner.config.rollout_length,
            jax.devices()[:devices],
            curriculum_updates=curriculum,
        )

    return make


@pytest.fixture(scope="session")
def program(make_program):
    return make_program()
