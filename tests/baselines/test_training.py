"""A run from the command line: its folder, its numbers, and that they are the same again."""

import json
import math
import os
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from shoal.baselines import composition, loggers, policies, results, runner
from shoal.baselines.checkpoints import Checkpoints, read_best
from shoal.baselines.config import from_dict, read_yaml
from shoal.envs.core import UserError

# Small enough that a run is a matter of seconds; two seeds so that the member axis is there.
TINY = (
    "env=commons/water", "env.max_steps=10", "num_envs=4", "algorithm.rollout_length=8", "algorithm.epochs=2",
    "algorithm.minibatches=2", "network.hidden_size=8", "total_env_steps=1920", "eval.episodes=8",
    "eval.every=640", "num_seeds=2", "log_every=4",
)  # fmt: skip
UPDATES, INTERVAL = 60, 4
WALL = ("wall_seconds", "steps_per_second")
METRICS = ("utilitarian", "equality", "sustainability", "restraint", "cooperators", "defectors", "depleted")


def train(folder, *words):
    configured = composition.compose([*TINY, f"output_dir={folder}", *words])
    return runner.train(configured)


def resume(folder, *words):
    return runner.train(composition.resumed([f"resume={folder}", *words]))


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def numbers_of(folder):
    """The rows without what the clock decides."""
    return [{k: v for k, v in row.items() if k not in WALL} for row in rows_of(folder)]


def newest(folder):
    return Checkpoints(folder / "checkpoints").newest(pytest.fail)


def test_what_a_program_needs_counts_a_buffer_that_is_used_again_once():
    from shoal.baselines.build import program_bytes

    x = jax.ShapeDtypeStruct((1000,), np.float32)
    kept = jax.jit(lambda x, y: x * y).lower(x, x).compile()
    donated = jax.jit(lambda x, y: x * y, donate_argnums=0).lower(x, x).compile()
    assert program_bytes(kept) == 3 * 4000 and program_bytes(donated) == 2 * 4000


def stop_at(update, number, monkeypatch):
    """Has this process receive a signal while that update is being shown."""
    shown = loggers.Display.training

    def training(self, row, steps, rate, left):
        if steps == update * 32:
            os.kill(os.getpid(), number)
        shown(self, row, steps, rate, left)

    monkeypatch.setattr(loggers.Display, "training", training)


def assert_same_run(one, other):
    a, b = newest(one), newest(other)
    assert a.update == b.update
    for left, right in ((a.state, b.state), (a.best, b.best)):
        assert left.keys() == right.keys()
        for name, value in left.items():
            np.testing.assert_array_equal(value, right[name], err_msg=name)
    assert numbers_of(one) == numbers_of(other)
    assert a.progress["best"] == b.progress["best"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One finished run."""
    folder = tmp_path_factory.mktemp("training") / "run"
    return folder, train(folder)


def test_the_folder_holds_what_it_should(run):
    folder, _ = run
    names = {entry.name for entry in folder.iterdir()}
    assert names == {"config.yaml", "metrics.jsonl", "checkpoints", "summary.json", "versions.json"}
    versions = json.loads((folder / "versions.json").read_text())
    assert versions["packages"]["jax"] == jax.__version__
    assert versions["device"]["count"] == 1
    assert {"revision", "changed"} == (versions["git"] or {"revision": 0, "changed": 0}).keys()
    names = sorted(entry.name for entry in (folder / "checkpoints").iterdir())
    assert names[-1] == "best"
    assert f"{UPDATES:09d}" in names


def test_rows_have_the_fixed_names(run):
    rows = rows_of(run[0])
    assert [(row["update"], row["member"]) for row in rows] == [
        (update, member) for update in range(INTERVAL, UPDATES + 1, INTERVAL) for member in (0, 1)
    ]
    for row in rows:
        assert row["seed"] == row["member"]
        assert row["env_steps"] <= row["update"] * 4 * 8
        assert row["steps_per_second"] > 0
        assert row["win_rate"] is None  # water knows no winners
        for name in ("episode_return", "episode_return_sum", "episode_length", *METRICS):
            assert (row[name] is None) == (row["episodes"] == 0), name
        assert {"ippo/loss", "ippo/entropy", "ippo/grad_norm"} <= row.keys()
        evaluated = row["update"] % 20 == 0
        assert ("eval/episode_return" in row) == evaluated
        assert all((f"eval/{name}" in row) == evaluated for name in METRICS)
    for member in (0, 1):
        walls = [row["wall_seconds"] for row in rows if row["member"] == member]
        assert walls == sorted(walls)


def test_returns_are_means_over_agents_with_the_sum_beside(run):
    for row in rows_of(run[0]):
        if row["episodes"]:
            assert row["episode_return_sum"] == pytest.approx(4 * row["episode_return"], rel=1e-5)
            assert 1 <= row["episode_length"] <= 10


def test_the_summary_agrees_with_the_rows(run):
    folder, outcome = run
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == outcome.status == "finished"
    rows = rows_of(folder)
    assert summary["env_steps"] == sum(row["env_steps"] for row in rows[-2:])
    assert summary["absolute_episodes"] == 80
    for member, entry in enumerate(summary["members"]):
        mine = [row for row in rows if row["member"] == member and "eval/utilitarian" in row]
        best = max(
            mine, key=lambda row: (row["eval/utilitarian"], row["eval/episode_return"], -row["update"])
        )
        assert entry["best"]["update"] == best["update"]
        assert entry["best"]["metrics"]["utilitarian"] == best["eval/utilitarian"]
        assert entry["absolute"].keys() == {
            "episode_return",
            "episode_return_sum",
            "episode_length",
            *METRICS,
        }
        cell = entry["absolute"]["episode_return"]
        assert cell["ci95"][0] <= cell["mean"] <= cell["ci95"][1]
    scores = [entry["best"]["score"] for entry in summary["members"]]
    assert scores[summary["best_member"]] == max(scores)
    assert summary["wall_seconds"] >= summary["compile_seconds"] + summary["train_seconds"]


def test_evaluation_plays_the_parameters_after_the_update(run):
    """The last row's evaluation is that of the final parameters, on the held-out keys."""
    from shoal.baselines import build
    from shoal.baselines.checkpoints import unflatten
    from shoal.baselines.evaluation import Evaluator, learned_policy

    folder, _ = run
    built = build.build(from_dict(read_yaml(folder)))
    state = unflatten(jax.eval_shape(built.init), newest(folder).state)
    evaluator = Evaluator(built.env, learned_policy(built.env, built.learners), 8)
    records = evaluator(built.policy_params(state), built.keys("evaluation"))
    for member, row in enumerate(rows_of(folder)[-2:]):
        for name in ("episode_return", "utilitarian"):
            assert row[f"eval/{name}"] == pytest.approx(float(np.mean(records[name][member])), rel=1e-5)


def test_twice_is_the_same(run, tmp_path):
    train(tmp_path / "again")
    assert_same_run(run[0], tmp_path / "again")


def test_config_yaml_runs_again_to_the_same_numbers(run, tmp_path, shoal_cli):
    status, out, _ = shoal_cli("train", f"config={run[0]}/config.yaml", f"output_dir={tmp_path}/again")
    assert (status, out.strip()) == (0, f"{tmp_path}/again")
    assert_same_run(run[0], tmp_path / "again")


def test_another_seed_is_another_run(run, tmp_path):
    train(tmp_path / "other", "seed=1", "num_seeds=1")
    mine = [row for row in numbers_of(run[0]) if row["member"] == 1]
    other = numbers_of(tmp_path / "other")
    assert [row["episode_return"] for row in other] != [
        row["episode_return"] for row in numbers_of(run[0]) if row["member"] == 0
    ]
    # A seed among several draws what it draws alone; the first rows agree to rounding.
    for name in ("ippo/loss", "ippo/entropy", "ippo/grad_norm"):
        assert other[0][name] == pytest.approx(mine[0][name], rel=1e-3, abs=1e-5)


def test_a_sweep_side_by_side_differs_only_by_its_value(tmp_path):
    train(tmp_path / "sweep", "sweep.learning_rate=[1e-3,2e-3]", "num_seeds=1")
    one, two = rows_of(tmp_path / "sweep")[:2]
    assert [row["algorithm.learning_rate"] for row in (one, two)] == [1e-3, 2e-3]
    assert one["seed"] == two["seed"] == 0
    assert two["ippo/learning_rate"] == pytest.approx(2 * one["ippo/learning_rate"])


def test_members_may_play_with_other_numbers_of_the_environment(tmp_path):
    """A pool that never refills is emptied, one that refills fully never: in training and in evaluation."""
    words = ("sweep.env.regeneration=[0,0.1]", "num_seeds=1", "total_env_steps=640")
    train(tmp_path / "sweep", *words, "env.start=0.2", "algorithm.learning_rate=1e-9", "eval.greedy=false")
    rows = rows_of(tmp_path / "sweep")
    assert [row["env.regeneration"] for row in rows[:2]] == [0.0, 0.1]
    for name in ("depleted", "eval/depleted"):
        dry, wet = (
            [row[name] for row in rows if row["member"] == i and row.get(name) is not None] for i in (0, 1)
        )
        assert min(dry) > 0.8 and max(wet) == 0.0
    env = policies.read_run(f"{tmp_path}/sweep@0").env
    assert float(env.params.regeneration) == 0.0
    for policy in (None, "idle"):
        env = policies.find_player(f"{tmp_path}/sweep@1", policy).env()
        assert float(env.params.regeneration) == pytest.approx(0.1)
    with pytest.raises(UserError, match="has no member 2"):
        policies.find_player(f"{tmp_path}/sweep@2", "idle")
    tasks = {result.task for result in results.read_results([(None, tmp_path / "sweep", None)])}
    assert len(tasks) == 2 and any("regeneration=0.1" in task for task in tasks)


def test_devices_may_change_and_agree_up_to_rounding(tmp_path, monkeypatch):
    """Shuffle groups stay as they were, so one device draws the same minibatches as two."""
    words = ("total_env_steps=256", "num_seeds=1", "devices=2")
    train(tmp_path / "two", *words)
    stop_at(4, signal.SIGTERM, monkeypatch)
    train(tmp_path / "changed", *words)
    monkeypatch.undo()
    resume(tmp_path / "changed", "devices=1")
    assert read_yaml(tmp_path / "changed")["shuffle_groups"] == 2
    two, changed = numbers_of(tmp_path / "two"), numbers_of(tmp_path / "changed")
    assert [row["update"] for row in changed] == [4, 8]
    assert changed[0] == two[0]
    for name, value in two[1].items():
        assert changed[1][name] == (value if value is None else pytest.approx(value, rel=1e-3, abs=1e-4)), (
            name
        )


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_stops_cleanly(run, tmp_path, shoal_cli, monkeypatch, number, status):
    folder = tmp_path / "stopped"
    stop_at(20, number, monkeypatch)
    code, out, err = shoal_cli("train", *TINY, f"output_dir={folder}")
    assert (code, out.strip()) == (status, str(folder))
    assert f"stopped by {number.name}" in err
    assert f"resume={folder} goes on" in err
    assert json.loads((folder / "summary.json").read_text())["status"] == "stopped"
    assert rows_of(folder)[-1]["update"] == 20
    assert signal.getsignal(number) != runner.Stop._note
    monkeypatch.undo()
    resume(folder)
    assert_same_run(run[0], folder)
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"


def test_a_resume_reaches_the_same_bits_replay_included(tmp_path, monkeypatch):
    words = (
        "algorithm=qmix", "env=particle/simple-spread", "env.max_steps=5", "num_envs=4", "num_seeds=1",
        "algorithm.rollout_length=8", "algorithm.buffer_size=16", "algorithm.batch_size=4",
        "algorithm.target_interval=3", "network.hidden_size=8", "total_env_steps=256", "eval.episodes=4",
        "eval.every=128", "log_every=1", "devices=1",
    )  # fmt: skip

    def train(folder):
        return runner.train(composition.compose([*words, f"output_dir={folder}"]))

    train(tmp_path / "whole")
    stop_at(5, signal.SIGTERM, monkeypatch)  # after the replay went round once
    train(tmp_path / "stopped")
    monkeypatch.undo()
    assert newest(tmp_path / "stopped").update == 5
    resume(tmp_path / "stopped")
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    state = newest(tmp_path / "whole").state
    assert sum("replay" in name for name in state) > 5 and any("target" in name for name in state)
    assert [row["qmix/replay_fill"] for row in numbers_of(tmp_path / "whole")][-1] == 1.0


def test_a_resume_falls_back_over_a_damaged_checkpoint(run, tmp_path, shoal_cli):
    folder = tmp_path / "damaged"
    train(folder, "checkpoint_every=0")
    saved = sorted(entry for entry in (folder / "checkpoints").iterdir() if entry.name.isdigit())
    assert len(saved) == 2
    biggest = max((f for f in saved[-1].rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    os.truncate(biggest, biggest.stat().st_size // 2)
    status, _, err = shoal_cli("train", f"resume={folder}")
    assert status == 0
    assert f"{saved[-1]} is damaged and skipped" in err
    assert f"going on after update {int(saved[0].name)} of {UPDATES}" in err
    assert_same_run(run[0], folder)


def test_no_checkpoint_left_is_one_line(run, tmp_path, shoal_cli):
    folder = tmp_path / "lost"
    train(folder, "num_seeds=1")
    for file in (folder / "checkpoints").rglob("*"):
        if file.is_file() and "best" not in file.parts:
            os.truncate(file, 1)
    status, out, err = shoal_cli("train", f"resume={folder}")
    assert (status, out) == (2, "")
    assert "every checkpoint in" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_run_killed_before_its_first_checkpoint_starts_over(run, tmp_path):
    folder = tmp_path / "early"
    folder.mkdir()
    (folder / "config.yaml").write_bytes((run[0] / "config.yaml").read_bytes())
    (folder / "metrics.jsonl").write_text('{"update": 4}\n{"upda')
    resume(folder)
    assert_same_run(run[0], folder)


def test_memory_does_not_grow_with_the_length_of_training(tmp_path, monkeypatch):
    held = []

    def training(self, row, steps, rate, left):
        held.append(sum(array.nbytes for array in jax.live_arrays()))

    monkeypatch.setattr(loggers.Display, "training", training)
    train(tmp_path / "long", "log_every=1", "num_seeds=1")
    assert len(held) == UPDATES
    assert held[-1] == held[40] == held[21]  # from the first evaluation on


def test_the_best_policy_is_each_members_own(run):
    folder, _ = run
    params, note = read_best(folder / "checkpoints")
    kept = newest(folder).best
    assert params.keys() == kept.keys()
    assert all(np.array_equal(params[name], kept[name]) for name in params)
    assert all(value.shape[0] == 2 for value in params.values())
    assert note["members"] == newest(folder).progress["best"]


def test_an_evaluation_only_at_the_end(tmp_path):
    train(tmp_path / "run", "eval.every=0", "num_seeds=1")
    assert not any("eval/episode_return" in row for row in rows_of(tmp_path / "run"))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert math.isfinite(summary["members"][0]["absolute"]["utilitarian"]["mean"])
    read_best(tmp_path / "run" / "checkpoints")


def test_a_failing_wandb_does_not_stop_the_run(run, tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it fails
    train(tmp_path / "run", "logger=wandb")
    assert capfd.readouterr().err.count("W&B failed") == 1
    assert_same_run(run[0], tmp_path / "run")


# The command line ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("env=combat/smax-2s3zz",),
        ("algorithm=ippo", "learning_rat=1"),
        ("num_envs=-4",),
        (*TINY, "output_dir=file/below"),
        (*TINY, "output_dir=taken"),
        ("trian",),
    ],
)
def test_mistakes_are_one_line_and_a_status(words, tmp_path, shoal_cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "config.yaml").touch()
    words = words if words == ("trian",) else ("train", *words)
    status, out, err = shoal_cli(*words)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("shoal: ")
    assert {entry.name for entry in tmp_path.iterdir()} == {"file", "taken"}


def test_debug_shows_the_traceback():
    from shoal.baselines.cli import main

    with pytest.raises(UserError):
        main(["train", "num_envs=-4", "--debug"])


def test_help_is_fast_and_loads_no_jax():
    code = (
        "import sys\nfrom shoal.baselines.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('jax', 'hydra', 'orbax', 'wandb', 'flax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "train" in done.stdout


@pytest.mark.slow
def test_multirun_in_a_folder_of_its_own(tmp_path):
    """From any folder, without a folder given: one run each, and the whole command line in a process."""
    command = [sys.executable, "-m", "shoal.baselines.cli", "train", "-m", *TINY, "num_seeds=1", "seed=1,2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folders = sorted((tmp_path / "runs").glob("multirun-*/*/"))
    assert [folder.name for folder in folders] == ["0", "1"]
    for folder, seed in zip(folders, (1, 2), strict=True):
        assert rows_of(folder)[0]["seed"] == seed
        assert json.loads((folder / "summary.json").read_text())["status"] == "finished"


def test_a_folder_is_found_when_none_is_given(tmp_path, monkeypatch, shoal_cli):
    monkeypatch.chdir(tmp_path)
    names = {shoal_cli("train", *TINY, "num_seeds=1")[1].strip() for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith("runs/") and "water-ippo-seed0" in name for name in names)
    assert all((tmp_path / name / "summary.json").exists() for name in names)
