"""Teams that learn against each other, against themselves, against their past and against a script.

The game's equilibrium is SOUND, its best answer to chance is GREEDY (see shoal_duel): who learns against
opponents that do not follow ends elsewhere.
"""

from dataclasses import replace

import jax
import numpy as np
import pytest
from shoal_duel import GREEDY, SOUND, duel

from shoal.algorithms.blocks.learner import Group, Setting
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.opponents import Opponent, PoolConfig, ScriptedTeam
from shoal.algorithms.ippo import IPPO, IPPOConfig
from shoal.algorithms.training import Program

pytestmark = [pytest.mark.learning, pytest.mark.slow]
CONFIG = IPPOConfig(learning_rate=1e-2, rollout_length=4, epochs=2, minibatches=1, gamma=0.9)
UPDATES, ENVS, SEEDS = 80, 32, 3
REDS, BLUES = Group("reds", (0, 1)), Group("blues", (2, 3))
POOL = PoolConfig(size=5, every=4, present=0.2, blocks=4)


class Theirs(Program):
    """A learner is handed its opponents' rewards."""

    def play(self, state):
        play, pool, trajectories, totals = super().play(state)
        # The game is zero-sum and teams are of one size.
        theirs = {name: replace(kept, reward=-kept.reward) for name, kept in trajectories.items()}
        return play, pool, theirs, totals


def learner(env, group):
    setting = Setting(env, group, ENVS, UPDATES, False)
    return IPPO(CONFIG, NetworkConfig(hidden_size=16, core="none"), setting)


def frozen(env):
    """The opening parameters for ever, of another seed."""
    blue = learner(env, BLUES)
    params = blue.init(jax.random.key(99)).params
    return Opponent(BLUES, lambda _: blue.policy(params))


OPPONENTS = {
    "self": lambda env: Opponent(BLUES, learner(env, BLUES).policy, "red"),
    "pool": lambda env: Opponent(BLUES, learner(env, BLUES).policy, "red", POOL.blocks),
    "frozen": frozen,
    "scripted": lambda env: Opponent(
        BLUES, lambda _: ScriptedTeam(env.scripted_policies()["scripted"](), BLUES, 4)
    ),
}


def trained(opponent, swap_sides=False, kind=Program):
    """Shares of the actions over the last rollout, by learner and seed [seeds, 3]; the last ten's totals."""
    env = duel()
    learners, opponents = {"red": (REDS, learner(env, REDS))}, {}
    if opponent is None:
        learners["blue"] = (BLUES, learner(env, BLUES))
    else:
        opponents = {"blues": OPPONENTS[opponent](env)}
    pool = POOL if opponent == "pool" else None
    program = kind(env, learners, ENVS, CONFIG.rollout_length, None, opponents, pool, swap_sides)
    state = program.init(jax.random.split(jax.random.key(0), SEEDS))
    state, _, _ = program.run(state, UPDATES - 10)
    state, totals, _ = program.run(state, 10)
    _, _, trajectories, _ = jax.jit(jax.vmap(program.play))(state)
    shares = {
        name: np.stack([np.mean(np.asarray(kept.action) == a, axis=(1, 2, 3)) for a in range(3)], axis=1)
        for name, kept in trajectories.items()
    }
    return shares, totals


@pytest.mark.parametrize(("opponent", "swap_sides"), [(None, False), ("self", True), ("pool", True)])
def test_the_equilibrium_is_found(opponent, swap_sides):
    shares, totals = trained(opponent, swap_sides)
    for name, share in shares.items():
        assert share[:, SOUND].min() > 0.9, (name, share)
    if opponent is None:
        score = np.asarray(totals.team_return["red"] / totals.episodes)
        np.testing.assert_allclose(score, -totals.team_return["blue"] / totals.episodes, atol=1e-4)
        np.testing.assert_allclose(score, 0.0, atol=0.1)


def test_a_script_is_exploited():
    _, totals = trained("scripted")
    assert (totals.episode_return / totals.episodes).min() > 2.7  # GREEDY against BAIT pays 3


def test_it_fails_where_the_opponents_never_follow():
    shares, _ = trained("frozen", swap_sides=True)
    assert shares["red"][:, SOUND].max() < 0.5 < shares["red"][:, GREEDY].min()


def test_it_fails_where_it_learns_from_the_opponents_rows():
    _, totals = trained("scripted", kind=Theirs)
    assert (totals.episode_return / totals.episodes).max() < 0.6  # SOUND against BAIT pays 0.5
