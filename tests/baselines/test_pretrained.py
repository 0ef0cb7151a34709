"""Policies that come with the package: each above the midpoint between random and the best known policy."""

import pytest

from shoal.baselines import load_policy
from shoal.baselines.cli import main
from shoal.baselines.evaluation import play_episodes
from shoal.baselines.pretrained import FOLDER, folder_of, list_pretrained
from shoal.envs.core import UserError

# Environment -> metric, that of random play, that of the best known policy: the numbers of their pages.
KNOWN = {
    "combat/smax-2s3z-v1": ("win_rate", 0.0, 0.99),
    "commons/govsim-trash-v1": ("episode_return", -10.0, 108.0),
    "particle/simple-speaker-listener-v1": ("episode_return", -40.1, -7.47),
    "swarm/foraging-v1": ("score", 0.08, 37.4),
    "traffic/highway-mild-v1": ("success_rate", 4.5, 97.3),
}


def test_every_family_has_one_and_each_is_small():
    assert list_pretrained() == sorted(KNOWN)
    for env_id in KNOWN:
        assert sum(file.stat().st_size for file in folder_of(env_id).iterdir()) < 220_000
    assert {folder.name for folder in FOLDER.iterdir() if folder.is_dir()} - {"__pycache__"} == {
        folder_of(env_id).name for env_id in KNOWN
    }


@pytest.mark.parametrize("env_id", KNOWN)
def test_it_plays_above_the_midpoint_between_random_and_the_best_known_policy(env_id):
    metric, random, best = KNOWN[env_id]
    player = load_policy(f"pretrained:{env_id}")
    assert player.env().id == env_id
    score = play_episodes(player, 32)[metric].mean()
    assert (score - random) / (best - random) > 0.5


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("evaluate", "combat/smax-3m", "--pretrained"), "no policy of combat/smax-3m-v1 comes with Shoal"),
        (("evaluate", "pretrained:combat/smax-2s3z", "env.max_steps=9"), "without env.max_steps=9"),
        (("watch", "combat/smax-2s3z", "--pretrained", "--policy", "idle"), "are two policies; name one"),
    ],
)
def test_what_a_user_got_wrong_is_one_line(words, line, capsys):
    with pytest.raises(SystemExit) as exit:
        main(list(words))
    assert exit.value.code == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert line in error[0]


def test_an_unknown_environment_is_named():
    with pytest.raises(UserError, match="there is no environment 'combat/smax-2s3zz'"):
        load_policy("pretrained:combat/smax-2s3zz")
