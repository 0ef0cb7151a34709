"""Messages carry what one agent sees to the one that must act; without them it is not learned."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from shoal_recall import Recall

from shoal.algorithms.blocks.learner import Group, Setting
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.networked import Networked, NetworkedConfig
from shoal.algorithms.training import Program

pytestmark = [pytest.mark.learning, pytest.mark.slow]
KEY, ENVS, STEPS, UPDATES = jax.random.key(0), 16, 10, 200


class Crossed(Recall):
    """Each of two agents sees the cue that the other must name one step later."""

    def observe(self, state):
        seen = super().observe(state)
        return replace(seen, view=seen.view[::-1])


def score(structure):
    """Share of right answers over the last twenty updates."""
    env = Crossed.from_overrides("crossed", {"cues": 2, "delay": 1})
    group = Group("all", (0, 1))
    config = NetworkedConfig(
        structure=structure, rollout_length=STEPS, learning_rate=1e-2, entropy_coef=0.01, gamma=0.9
    )
    setting = Setting(env, group, ENVS, UPDATES, False, sharing="none")
    learner = Networked(config, NetworkConfig(hidden_size=8), setting)
    state, run = Program(env, {"all": (group, learner)}, ENVS, STEPS).prepare(jax.random.split(KEY, 1))
    for updates in (UPDATES - 20, 20):
        state, totals, _ = run(state, jnp.asarray(updates, jnp.int32))
    return float(totals.metrics["right"][0] / totals.episodes[0])


def test_messages_tell_the_cue():
    assert score("commnet") >= 0.9


def test_without_messages_it_is_guessed():
    assert score("ia2c") < 0.65
