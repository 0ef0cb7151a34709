"""Runs whose scores are written down here, compared by probabilities and means worked out by hand."""

import builtins
import dataclasses
import json
import shutil
from functools import cache

import pytest

from shoal.baselines.composition import compose
from shoal.baselines.config import write_yaml

SMAX, BIG = "combat/smax-3m-v1", "combat/smax-2s3z-v1"
WORDS = ("num_envs=8", "total_env_steps=4096", "algorithm.rollout_length=16")


@cache
def composed(words):
    return compose([f"env={SMAX}", *WORDS, *words])


def write_run(folder, scores, *words, metric="win_rate", first_seed=0):
    """Writes a finished run, a member for each score, as if it had been trained with these words."""
    folder.mkdir()
    seeds = range(first_seed, first_seed + len(scores))
    config = dataclasses.replace(composed(words), num_seeds=len(scores), seed=first_seed)
    write_yaml(config, folder / "config.yaml")
    members = [
        {"member": i, "seed": seed, "absolute": {metric: {"mean": score}, "episode_length": {"mean": 9.0}}}
        for i, (seed, score) in enumerate(zip(seeds, scores, strict=True))
    ]
    (folder / "summary.json").write_text(json.dumps({"status": "finished", "members": members}))
    rows = [
        # Evaluated twice: at half of what comes out in the end, then at that.
        {"member": i, "env_steps": steps, "eval/episode_return": 0.0, f"eval/{metric}": score * part}
        for steps, part in ((2048, 0.5), (4096, 1.0))
        for i, score in enumerate(scores)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def made(tmp_path):
    """As `write_run`, the folder by its name."""
    return lambda name, *scores_and_words, **rest: write_run(tmp_path / name, *scores_and_words, **rest)


@pytest.fixture
def compared(shoal_cli):
    """Compares runs by the command line: words -> the report, and what was said beside it."""

    def run(*words):
        status, out, err = shoal_cli("compare", *words, "--json")
        assert status == 0, err
        return json.loads(out), err

    return run


def cell(report, **wanted):
    """Returns the one cell with these fields."""
    (found,) = [one for one in report["cells"] if all(one.get(key) == value for key, value in wanted.items())]
    return found


HIGH = [0.5, 0.6, 0.7, 0.8, 0.9]
LOW = [0.1, 0.2, 0.3, 0.4, 0.5]


def test_one_task_by_hand(made, compared):
    report, err = compared(made("a", HIGH), made("b", LOW, "algorithm=mappo"))
    assert (report["metric"], report["higher_is_better"], report["tasks"]) == ("win_rate", True, [SMAX])
    pair = cell(report, statistic="probability_of_improvement")
    assert (pair["x"], pair["y"], pair["task"], pair["published"]) == ("ippo", "mappo", SMAX, None)
    assert pair["ours"] == pytest.approx(24.5 / 25)  # one pair of 25 ties at 0.5
    assert pair["ci95"][0] > 0.8 and pair["ci95"][1] == 1.0
    assert pair["p_value"] < 0.02
    assert (pair["verdict"], pair["runs"]) == ("better", [5, 5])
    ippo, mappo = (cell(report, statistic="iqm", algorithm=name) for name in ("ippo", "mappo"))
    assert (ippo["ours"], ippo["mean"], ippo["verdict"]) == (pytest.approx(0.7), pytest.approx(0.7), "best")
    assert (mappo["ours"], mappo["verdict"]) == (pytest.approx(0.3), "beaten")
    assert ippo["ci95"][0] < 0.7 < ippo["ci95"][1]
    assert err == ""


def test_order_of_the_runs_turns_the_verdict(made, compared):
    report, _ = compared(made("b", LOW, "algorithm=mappo"), made("a", HIGH))
    pair = cell(report, statistic="probability_of_improvement")
    assert (pair["x"], pair["ours"], pair["verdict"]) == ("mappo", pytest.approx(0.5 / 25), "worse")


def test_several_tasks_are_averaged(made, compared):
    runs = [
        made("a", HIGH), made("b", LOW, "algorithm=mappo"),
        made("c", [0.0, 0.2], f"env={BIG}"), made("d", [0.1, 0.1], f"env={BIG}", "algorithm=mappo"),
    ]  # fmt: skip
    report, _ = compared(*runs)
    pairs = {c["task"]: c for c in report["cells"] if c["statistic"] == "probability_of_improvement"}
    assert pairs[BIG]["ours"] == 0.5
    assert pairs[BIG]["verdict"] == "undecided"
    assert pairs[None]["ours"] == pytest.approx((24.5 / 25 + 0.5) / 2)  # tasks count alike
    assert pairs[None]["tasks"] == [SMAX, BIG]
    assert cell(report, statistic="iqm", algorithm="ippo", task=None)["mean"] == pytest.approx(3.7 / 7)


def test_lower_can_be_better(made, compared):
    env = "env=particle/simple-spread"
    few = made("a", [1.0, 2.0, 3.0, 4.0], env, metric="collisions")
    many = made("b", [5.0, 6.0, 7.0, 8.0], env, "algorithm=mappo", metric="collisions")
    report, _ = compared(few, many, "--metric", "collisions")
    assert not report["higher_is_better"]
    pair = cell(report, statistic="probability_of_improvement")
    assert (pair["ours"], pair["verdict"]) == (1.0, "better")
    assert cell(report, statistic="iqm", algorithm="ippo")["ours"] == 2.5


def test_too_few_runs_decide_nothing(made, compared):
    report, err = compared(made("a", [0.9, 0.8, 0.7]), made("b", [0.1, 0.2, 0.3], "algorithm=mappo"))
    pair = cell(report, statistic="probability_of_improvement")
    assert (pair["ours"], pair["ci95"]) == (1.0, [1.0, 1.0])  # the interval alone would have decided
    assert (pair["p_value"], pair["verdict"]) == (pytest.approx(0.1), "undecided")
    assert "no outcome would have p < 0.05" in err


def test_unequal_training_is_said(made, compared):
    longer = made("b", LOW, "algorithm=mappo", "total_env_steps=8192")
    report, err = compared(made("a", HIGH), longer)
    assert "not trained for equally long on combat/smax-3m-v1: 4,096 and 8,192 env steps" in err
    assert cell(report, statistic="iqm", algorithm="mappo")["env_steps"] == [8192]


def test_names_members_and_several_folders_of_one_algorithm(made, compared):
    first, more = made("a", [0.9, 0.8, 0.1]), made("c", [0.7, 0.6], first_seed=3)
    report, _ = compared(f"{first}@0", f"{first}@1", more, f"other={first}@2")
    assert report["algorithms"] == ["ippo", "other"]
    assert cell(report, statistic="iqm", algorithm="ippo")["mean"] == pytest.approx(0.75)
    assert cell(report, statistic="iqm", algorithm="ippo")["runs"] == 4
    assert cell(report, statistic="iqm", algorithm="other")["mean"] == pytest.approx(0.1)


def test_normalised_by_task(made, compared):
    runs = [
        made("a", [10.0, 20.0], metric="episode_return"),
        made("b", [0.0, 10.0], "algorithm=mappo", metric="episode_return"),
        made("c", [1.0, 2.0], f"env={BIG}", metric="episode_return"),
        made("d", [1.0, 0.0], f"env={BIG}", "algorithm=mappo", metric="episode_return"),
    ]
    scales = ["--normalise", f"{SMAX}=0,20", "--normalise", f"{BIG}=0,2"]
    report, _ = compared(*runs, "--metric", "episode_return", *scales)
    assert report["normalised"] == {SMAX: [0.0, 20.0], BIG: [0.0, 2.0]}
    assert cell(report, statistic="iqm", algorithm="ippo", task=SMAX)["mean"] == pytest.approx(0.75)
    assert cell(report, statistic="iqm", algorithm="ippo", task=None)["mean"] == pytest.approx(0.75)
    assert cell(report, statistic="iqm", algorithm="mappo", task=None)["mean"] == pytest.approx(0.25)
    report, _ = compared(*runs[:2], "--metric", "episode_return", "--normalise", "-10,10")
    assert cell(report, statistic="iqm", algorithm="mappo")["mean"] == pytest.approx(0.75)


def test_plots_and_numbers_are_written(made, shoal_cli, tmp_path):
    out = tmp_path / "pictures"
    status, said, _ = shoal_cli(
        "compare", made("a", HIGH), made("b", LOW, "algorithm=mappo"), "--output", out
    )
    assert status == 0
    names = {f"{name}.{kind}" for name in ("curves", "profile", "iqm") for kind in ("png", "svg")}
    assert {file.name for file in out.iterdir()} == names | {"comparison.json"}
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert all(str(out / name) in said for name in names)
    assert "P(better)" in said and "undecided" not in said
    kept = json.loads((out / "comparison.json").read_text())
    curve = next(one for one in kept["curves"] if one["algorithm"] == "ippo")
    assert curve["env_steps"] == [2048, 4096]
    assert curve["iqm"] == pytest.approx([0.35, 0.7])
    assert curve["low"][1] < 0.7 < curve["high"][1]
    profile = next(one for one in kept["profiles"] if one["algorithm"] == "mappo")
    assert (profile["shares"][0], profile["shares"][-1]) == (1.0, 0.0)  # all reach 0.1, none 0.9
    assert profile["thresholds"][0] == pytest.approx(0.1)


def test_curves_of_runs_evaluated_at_other_steps(made, shoal_cli, tmp_path):
    one, two = made("a", [1.0]), made("b", [1.0], first_seed=1)
    rows = [json.loads(line) for line in (two / "metrics.jsonl").read_text().splitlines()]
    rows[0]["env_steps"] = 1024  # 0.5 there and 1.0 at 4096: at 2048 a third of the way
    (two / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    other = made("c", [0.0], "algorithm=mappo")
    assert shoal_cli("compare", one, two, other, "--output", tmp_path / "out")[0] == 0
    kept = json.loads((tmp_path / "out" / "comparison.json").read_text())
    curve = next(line for line in kept["curves"] if line["algorithm"] == "ippo")
    assert curve["iqm"] == pytest.approx([(0.5 + 0.5 + 0.5 / 3) / 2, 1.0])


def test_plots_need_matplotlib(made, shoal_cli, tmp_path, monkeypatch):
    whole = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return whole(name, *rest)

    runs = made("a", HIGH), made("b", LOW, "algorithm=mappo")
    monkeypatch.setattr(builtins, "__import__", without)
    status, out, err = shoal_cli("compare", *runs, "--output", tmp_path / "pictures")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "pip install 'shoal[viz]'" in err
    assert shoal_cli("compare", *runs)[0] == 0


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory):
    """Runs to compare wrongly, by name."""
    folder = tmp_path_factory.mktemp("mistaken")
    return {
        "a": write_run(folder / "a", HIGH),
        "b": write_run(folder / "b", LOW, "algorithm=mappo"),
        "faster": write_run(folder / "faster", [0.3], "algorithm.learning_rate=0.01", first_seed=7),
        "elsewhere": write_run(folder / "elsewhere", [0.3], "algorithm=mappo", f"env={BIG}"),
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("{a}", "compare needs two algorithms, and all runs are of ippo; NAME=RUN tells runs apart"),
        ("{a} {a}", "are both ippo, seed 0, on combat/smax-3m-v1; tell them apart by names: NAME="),
        ("{a} {faster}", "are both ippo and differ in algorithm.learning_rate; tell them apart by names"),
        ("{a} {elsewhere}", "no two algorithms were trained on the same task: ippo on combat/smax-3m-v1"),
        ("{a} {b} --metric win_rat", "there is no metric 'win_rat'; did you mean 'win_rate'?"),
        ("{a} {b} --metric episode_return", "a@0 has no episode_return; did you mean 'episode_length'?"),
        ("{a} {b} --normalise 3", "--normalise 3: it must be LOW,HIGH or TASK=LOW,HIGH"),
        ("{a} {b} --normalise 2,1", "--normalise 2,1: it must be LOW,HIGH or TASK=LOW,HIGH"),
        ("{a} {b} --normalise combat/smax-3-v1=0,1", "did you mean 'combat/smax-3m-v1'?"),
        ("{a} {b} {elsewhere} --normalise combat/smax-3m-v1=0,1", "leaves out combat/smax-2s3z-v1"),
        ("{a} {b} {elsewhere} --metric episode_length", "has no common scale over combat/smax-3m-v1, "),
        ("{a} nowhere", "there is no run folder 'nowhere'"),
        ("{a} {b} --output {a}/config.yaml", "cannot be written to"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(words, said, mistaken, shoal_cli):
    status, out, err = shoal_cli("compare", *words.format(**mistaken).split())
    assert (status, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_unfinished_runs_are_refused(made, shoal_cli):
    whole = made("a", HIGH)
    stopped = whole.with_name("stopped")
    shutil.copytree(whole, stopped)
    summary = json.loads((stopped / "summary.json").read_text())
    (stopped / "summary.json").write_text(json.dumps(summary | {"status": "stopped"}))
    status, _, err = shoal_cli("compare", whole, f"other={stopped}")
    assert (status, f"shoal train resume={stopped}" in err) == (2, True)
