"""One policy on other sizes: ``shoal evaluate RUN env.KEY=VALUE,VALUE``."""

import json

import pytest

from shoal.baselines.commands.evaluate import split_settings
from shoal.envs.core import UserError


def test_values_of_several_keys_go_together():
    targets, settings = split_settings(["RUN", "env.allies=3m,5m", "env.enemies=[marine,zealot]", "B@1"])
    assert targets == ["RUN", "B@1"]
    both = ("marine", "zealot")
    assert settings == [{"allies": "3m", "enemies": both}, {"allies": "5m", "enemies": both}]
    assert split_settings(["RUN"]) == (["RUN"], [])
    assert split_settings(["env.max_steps=6"]) == ([], [{"max_steps": 6}])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["RUN", "seed=3"], "seed=3: evaluate takes env.KEY=VALUE"),
        (["RUN", "env.allies=3m,5m,8m", "env.enemies=3m,5m"], "env.enemies has 2 values and another key 3"),
    ],
)
def test_malformed_settings_are_one_line(words, message):
    with pytest.raises(UserError, match=message):
        split_settings(words)


def test_one_row_for_every_value(shoal_cli, run_folder):
    words = ("evaluate", run_folder, "env.max_steps=5,7", "--episodes", 4)
    status, out, _ = shoal_cli(*words, "--json")
    rows = json.loads(out)["rows"]
    assert status == 0 and [row["env_options"] for row in rows] == [{"max_steps": 5}, {"max_steps": 7}]
    assert [row["metrics"]["episode_length"]["mean"] for row in rows] == [5.0, 7.0]
    status, out, _ = shoal_cli("evaluate", run_folder, "env.max_steps=5", "--episodes", 4, "--json")
    assert status == 0 and json.loads(out)["metrics"] == rows[0]["metrics"]


@pytest.mark.slow
def test_a_set_network_plays_teams_that_it_was_not_trained_with(shoal_cli, tmp_path):
    """Trained 2 against 2; a flat network on the same task says in one line that it cannot."""
    common = (
        "env=combat/smax-custom", "env.allies=2m", "env.enemies=2m", "env.max_steps=5", "num_envs=4",
        "total_env_steps=16", "devices=1", "algorithm.rollout_length=4", "algorithm.minibatches=1",
        "algorithm.epochs=1", "eval.episodes=2", "logger.console=false", "network.hidden_size=8",
    )  # fmt: skip
    run, flat = tmp_path / "set", tmp_path / "flat"
    assert shoal_cli("train", *common, "network=set", "env.view=entities", f"output_dir={run}")[0] == 0
    status, out, _ = shoal_cli("evaluate", run, "env.allies=3m", "env.enemies=4m", "--episodes", 2)
    assert status == 0 and "win_rate" in out
    assert out.startswith("combat/smax-custom-v1 env.allies=3m env.enemies=4m: ")
    assert shoal_cli("train", *common, "network=mlp", f"output_dir={flat}")[0] == 0
    status, _, err = shoal_cli("evaluate", flat, "env.allies=3m", "env.enemies=3m", "--episodes", 2)
    assert status != 0 and len(err.strip().splitlines()) == 1
    assert "does not fit combat/smax-custom-v1 with env.allies=3m env.enemies=3m" in err
    assert "network=set" in err
