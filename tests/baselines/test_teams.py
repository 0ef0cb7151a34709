"""Runs of several teams: who learns, who plays the rest, what is reported, resumed, loaded and refused."""

import json
import os
import signal

import jax
import numpy as np
import pytest
from shoal_duel import BAIT

from shoal.baselines import build, composition, load_policy, loggers, runner, teams
from shoal.baselines.checkpoints import Checkpoints
from shoal.envs.core import UserError, make, registry

TINY = (
    "env=toy/duel", "env.rounds=2", "num_envs=8", "algorithm.rollout_length=4", "algorithm.epochs=1",
    "algorithm.minibatches=1", "network=mlp", "network.hidden_size=8", "total_env_steps=320",
    "eval.episodes=8", "eval.every=96", "log_every=3", "opponent_pool.every=2", "opponent_pool.size=2",
    "opponent_pool.present=0.3",
)  # fmt: skip
BATTLE = ("env=combat/smax-3m", "env.control=both", "env.enemies=2m")


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """The toy under an id of its own, for as long as a test runs."""
    known = registry.Registration("toy/duel-v1", "shoal_duel:Duel")
    registry.list_environments()  # loads the families before the registry is touched
    monkeypatch.setitem(registry._registry, known.id, known)


def compose(*words):
    return composition.compose([*TINY, *words])


def train(folder, *words):
    return runner.train(compose(f"output_dir={folder}", *words))


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# Who plays -----------------------------------------------------------------------------------------------


def test_every_team_learns_unless_told_otherwise():
    built = build.build(compose())
    owned = {name: group.indices for name, (group, _) in built.learners.items()}
    assert owned == {"ippo.reds": (0, 1), "ippo.team1": (2, 3)}  # the toy names the first team only
    assert built.learning == (0, 1, 2, 3) and not built.judged_alike
    assert built.judges == built.program.opponents == {} and built.program.pool is None


@pytest.mark.parametrize(
    ("opponent", "learner", "blocks", "swaps"),
    [("self", "ippo", None, True), ("pool", "ippo", 4, True), ("scripted", None, None, False)],
)
def test_opponents_play_the_other_team(opponent, learner, blocks, swaps):
    built = build.build(compose(f"opponent={opponent}"))
    assert {name: group.indices for name, (group, _) in built.learners.items()} == {"ippo": (0, 1)}
    assert built.learning == (0, 1) and built.judged_alike
    (playing,) = built.program.opponents.values()
    assert (playing.group.indices, playing.learner, playing.blocks) == ((2, 3), learner, blocks)
    assert (built.program.pool is not None) == (opponent == "pool")
    assert hasattr(built.program.venv, "opposite") == swaps
    assert built.judges["team1"].learner is None  # the script
    assert any(note.startswith("teams: ") for note in built.notes)


def test_without_a_script_evaluations_are_against_itself():
    built = build.build(compose("opponent=self", "env.scripted=false", "swap_sides=false"))
    assert built.judges["team1"].learner == "ippo" and not built.judged_alike
    assert not hasattr(built.program.venv, "opposite")


def test_teams_of_other_sizes_can_be_played_by_the_same_parameters():
    """Battles of three against two: also the script, which plays all agents, is given one team."""
    for opponent in ("self", "pool", "scripted"):
        built = build.build(composition.compose([*BATTLE, "num_envs=4", f"opponent={opponent}"]))
        assert build.memory_bytes(built)[1] > 0  # traces a rollout
        (playing,) = built.program.opponents.values()
        assert playing.group.indices == (3, 4)
        assert not hasattr(built.program.venv, "opposite")


def test_a_pool_takes_memory_before_it_starts():
    state, _ = build.memory_bytes(build.build(compose("opponent=self")))
    more, _ = build.memory_bytes(build.build(compose("opponent=pool", "opponent_pool.size=100")))
    learner = build.build(compose("opponent=self")).learners["ippo"][1]
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(teams.acting_shapes(learner)))
    assert 100 * size <= more - state < 101 * size


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("opponent=slef", "opponent='slef' is not one of self, pool, scripted, null; did you mean 'self'?"),
        ("opponent=self env=combat/smax-3m env.rounds=", "combat/smax-3m-v1 are one team"),
        ("opponent=scripted env.scripted=false", "toy/duel-v1 has no scripted policy; use self or pool"),
        ("opponent=pool opponent_pool.blocks=3", "num_envs=8 does not divide into opponent_pool.blocks=3"),
        ("opponent=pool opponent_pool.sise=3", "did you mean opponent_pool.size?"),
        ("opponent=scripted swap_sides=true", "swap_sides=true needs opponent=self or pool"),
        ("opponent=self env.first=1 swap_sides=true", "two teams of one size"),
    ],
)
def test_a_mistake_is_one_line(words, said):
    given = [word for word in (*TINY, *words.split()) if not word.startswith("env.") or "smax" not in words]
    with pytest.raises(UserError) as error:
        build.build(composition.compose(given))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_parameters_that_depend_on_the_team_fit_no_other(monkeypatch):
    """As with one set of parameters per agent."""
    shapes = teams.acting_shapes
    monkeypatch.setattr(
        teams, "acting_shapes", lambda learner: (len(learner.setting.group.indices), shapes(learner))
    )
    with pytest.raises(UserError, match=r"what reds \(2 agents\) learns does not fit team1 \(3 agents\)"):
        build.build(compose("opponent=self", "env.second=3"))
    build.build(compose("opponent=self"))


# Runs ------------------------------------------------------------------------------------------------------


def test_each_team_has_rows_of_its_own(tmp_path):
    train(tmp_path / "run", "num_seeds=2", "sweep.learning_rate=[1e-3,2e-3]")
    rows = rows_of(tmp_path / "run")
    assert len(rows) == 4 * 4  # members x intervals
    for row in rows:
        assert row["ippo.reds/learning_rate"] == row["ippo.team1/learning_rate"]
        for name in ("ippo.reds/loss", "ippo.team1/loss", "eval/sound"):
            assert np.isfinite(row.get(name, 0.0))
        assert row["ippo.reds/episode_return"] == pytest.approx(-row["ippo.team1/episode_return"], abs=1e-5)
        assert row["episode_return"] == pytest.approx(0.0, abs=1e-5)
    assert rows[2]["ippo.reds/learning_rate"] == pytest.approx(2 * rows[0]["ippo.reds/learning_rate"])
    # Against teams that learn as well, the newest is kept.
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [member["best"]["update"] for member in summary["members"]] == [10] * 4


@pytest.fixture(scope="module")
def pool_run(tmp_path_factory):
    """A finished run against past policies."""
    folder = tmp_path_factory.mktemp("teams") / "pool"
    with pytest.MonkeyPatch.context() as patch:
        registry.list_environments()
        patch.setitem(
            registry._registry, "toy/duel-v1", registry.Registration("toy/duel-v1", "shoal_duel:Duel")
        )
        train(folder, "opponent=pool", "num_seeds=2")
    return folder


def test_opponents_add_no_rows(pool_run):
    for row in rows_of(pool_run):
        learners = {name.partition("/")[0] for name in row if "/" in name}
        assert learners <= {"ippo", "eval"}
        assert abs(row["episode_return_sum"] - 2 * row["episode_return"]) < 1e-5  # of two that learn


def test_a_resume_reaches_the_same_bits_pool_included(pool_run, tmp_path, monkeypatch):
    shown = loggers.Display.training

    def training(self, row, steps, rate, left):
        if steps == 6 * 32:  # an odd number of intervals, two snapshots in the pool
            os.kill(os.getpid(), signal.SIGTERM)
        shown(self, row, steps, rate, left)

    monkeypatch.setattr(loggers.Display, "training", training)
    train(tmp_path / "run", "opponent=pool", "num_seeds=2")
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "stopped"
    monkeypatch.setattr(loggers.Display, "training", shown)
    runner.train(composition.resumed([f"resume={tmp_path / 'run'}"]))
    ours, wanted = (
        Checkpoints(f / "checkpoints").newest(pytest.fail).state for f in (tmp_path / "run", pool_run)
    )
    assert ours.keys() == wanted.keys()
    assert {name.partition(".")[0] for name in ours} >= {"pool", "learners", "play"}
    for name, value in ours.items():
        np.testing.assert_array_equal(value, wanted[name], err_msg=name)
    assert wanted["pool.taken"].tolist() == [6, 6]


@pytest.mark.parametrize("opponent", ["pool", "scripted", "self"])
def test_a_loaded_policy_plays_all_agents(opponent, pool_run, tmp_path, shoal_cli):
    folder = pool_run
    if opponent != "pool":  # the same parameters, as another run would have them
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "checkpoints").symlink_to(pool_run / "checkpoints")
        text = (pool_run / "config.yaml").read_text()
        (folder / "config.yaml").write_text(text.replace("opponent: pool", f"opponent: {opponent}"))
    player = load_policy(folder)
    env = player.env()
    _, timestep = env.reset(jax.random.key(0))
    _, action = player.act(jax.random.key(1), player.initial_carry(), timestep.observation)
    assert action.shape == (4,) and player.learning == (0, 1)
    if opponent == "scripted":
        assert action.tolist()[2:] == [BAIT, BAIT]
    status, out, _ = shoal_cli("evaluate", folder, "--episodes", 8, "--sample", "--json")
    assert status == 0
    cells = json.loads(out)["metrics"]
    means = {name: cells[name]["mean"] for name in ("episode_return", "episode_return_sum")}
    # Of the two that learn: over all four it would be zero.
    assert means["episode_return_sum"] == pytest.approx(2 * means["episode_return"], abs=1e-5)


def test_teams_are_named_by_their_groups():
    battle = make("combat/smax-3m", control="both", enemies="2m")
    assert {name: group.indices for name, group in teams.team_groups(battle).items()} == {
        "allies": (0, 1, 2),
        "enemies": (3, 4),
    }
