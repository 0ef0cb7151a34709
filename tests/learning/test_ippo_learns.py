"""IPPO reaches a stated score on a small task, and its broken variants do not."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from shoal_recall import Recall

from shoal.algorithms.blocks.learner import Group, Setting
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.ippo import IPPO, IPPOConfig
from shoal.algorithms.training import Program

pytestmark = [pytest.mark.learning, pytest.mark.slow]
CONFIG = IPPOConfig(learning_rate=5e-3, rollout_length=12, epochs=4, minibatches=2, gamma=0.9)
UPDATES, ENVS, SEEDS = 60, 32, 3
SOLVED = 0.9


class Detached(IPPO):
    """The policy gradient is cut."""

    def _forward(self, params, carry, moment):
        carry, distribution, value = super()._forward(params, carry, moment)
        parts = jax.tree.map(jax.lax.stop_gradient, [part.logits for part in distribution.parts])
        cut = [type(part)(logits=logits) for part, logits in zip(distribution.parts, parts, strict=True)]
        return carry, replace(distribution, parts=tuple(cut)), value


class MaskIgnored(IPPO):
    """Illegal actions are explored and learned."""

    def _forward(self, params, carry, moment):
        seen = moment.observation
        free = replace(moment, observation=replace(seen, action_mask=jnp.ones_like(seen.action_mask)))
        return super()._forward(params, carry, free)


def score(kind=IPPO, network=None, **config):
    """Mean share of agents that name their cue over the last ten updates, per seed."""
    env = Recall.from_overrides("recall", {"delay": 2})
    group = Group("all", (0, 1))
    network = NetworkConfig(hidden_size=24) if network is None else network
    learner = kind(replace(CONFIG, **config), network, Setting(env, group, ENVS, UPDATES, False))
    program = Program(env, {"all": (group, learner)}, ENVS, CONFIG.rollout_length)
    state = program.init(jax.random.split(jax.random.key(0), SEEDS))
    state, _, _ = program.run(state, UPDATES - 10)
    _, totals, _ = program.run(state, 10)
    return totals.metrics["right"] / totals.episodes


def test_it_remembers_and_names_the_cue():
    assert score().min() >= SOLVED


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("policy gradient detached", {"kind": Detached}),
        ("mask ignored", {"kind": MaskIgnored}),
        ("no memory where memory is needed", {"network": NetworkConfig(hidden_size=24, core="none")}),
    ],
)
def test_a_broken_variant_fails(name, broken):
    # Guessing names one cue in three.
    assert score(**broken).max() < 0.6, name
