"""The presets hold the published numbers (spec 4.3): updates, gradient steps, sizes."""

import pytest

from shoal.baselines.build import make_env, make_learners
from shoal.baselines.composition import compose

PUBLISHED = {  # updates, gradient steps, learning rate, clip, entropy, gradient clip
    "smax-ippo-repo": (610, 9_760, 0.004, 0.05, 0.01, 0.25),
    "smax-ippo-paper": (1_220, 4_880, 0.004, 0.2, 0.0, 0.5),
    "smax-ippo-era-b": (1_220, 4_880, 0.004, 0.2, 0.0, 0.5),
    "smax-mappo-repo": (610, 9_760, 0.002, 0.2, 0.0, 0.25),
    "smax-mappo-paper": (1_220, 4_880, 0.004, 0.2, 0.0, 0.5),
    "mpe-ippo-ff": (4_882, 78_112, 2.5e-4, 0.2, 0.01, 0.5),
    "mpe-ippo-rnn": (4_882, 39_056, 5e-4, 0.3, 0.01, 0.5),
    "mpe-mappo-rnn": (4_882, 78_112, 2e-3, 0.2, 0.01, 0.5),
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_a_preset_is_the_published_one(name):
    config = compose([f"experiment={name}"])
    a = config.algorithm
    updates = config.total_updates
    found = (updates, updates * a.epochs * a.minibatches, a.learning_rate, a.clip, a.entropy_coef)
    assert (*found, a.max_grad_norm) == PUBLISHED[name]
    assert a.compat == ("paper",) and a.anneal_learning_rate and a.rollout_length == 128
    ((_, learner),) = make_learners(config, make_env(config)).values()
    assert learner.rows % a.minibatches == 0


def test_the_feed_forward_network_is_two_layers_of_64():
    network = compose(["experiment=mpe-ippo-ff"]).network
    sizes = (network.core, network.shared_trunk, network.activation, network.num_layers, network.hidden_size)
    assert sizes == ("none", False, "tanh", 1, 64)
