"""The presets hold the published numbers (spec 4.4, 4.6): updates, gradient steps, when learning starts."""

import pytest

from shoal.baselines.build import make_env, make_learners
from shoal.baselines.composition import compose

REPLAYED = {  # updates, first update that learns, gradient steps of one, learning rate, gradient clip, width
    "smax": (4_882, 32, 8, 5e-5, 10.0, 512),
    "mpe": (9_615, 49, 1, 5e-3, 25.0, 64),
}


@pytest.mark.parametrize("algorithm", ["iql", "vdn", "qmix"])
@pytest.mark.parametrize("suite", list(REPLAYED))
def test_a_replaying_preset_is_the_published_one(suite, algorithm):
    config = compose([f"experiment={suite}-{algorithm}-repo"])
    a = config.algorithm
    ((_, learner),) = make_learners(config, make_env(config)).values()
    found = (config.total_updates, learner.first_learning_update + 1, a.gradient_steps, a.learning_rate)
    assert (*found, a.max_grad_norm, config.network.hidden_size) == REPLAYED[suite]
    assert learner.fresh_rollouts and a.compat == ("paper",)
    assert (a.buffer_size, a.batch_size, a.targets, a.n_step, a.epsilon_decay) == (5000, 32, "n_step", 1, 0.1)
    assert learner.replay.slots == 5000 // config.num_envs


@pytest.mark.parametrize(
    ("name", "updates", "learning_rate", "norm", "core"),
    [("smax-pqn-vdn", 610, 2.5e-4, "batch", "gru"), ("mpe-pqn-vdn", 2441, 5e-4, "layer", "none")],
)
def test_an_on_policy_preset_is_the_published_one(name, updates, learning_rate, norm, core):
    config = compose([f"experiment={name}"])
    a = config.algorithm
    assert (config.total_updates, a.learning_rate, a.norm, config.network.core) == (
        updates,
        learning_rate,
        norm,
        core,
    )
    assert (a.epochs, a.minibatches, a.max_grad_norm, config.network.num_layers) == (4, 16, 1.0, 2)
    make_learners(config, make_env(config))
