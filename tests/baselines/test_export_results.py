"""The raw data of marl-eval: every level of its structure, with the values that the run wrote."""

import json
import math
import shutil

import pytest

METRICS = (
    "episode_return",
    "episode_return_sum",
    "episode_length",
    "utilitarian",
    "equality",
    "sustainability",
)


def rows_of(folder, member):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if row["member"] == member and "eval/episode_return" in row]


def test_structure_and_values(run_folder, shoal_cli):
    status, out, err = shoal_cli("export-results", run_folder)
    assert (status, err) == (0, "")
    data = json.loads(out)
    assert list(data) == ["commons"]
    assert list(data["commons"]) == ["water-v1[max_steps=12]"]
    assert list(data["commons"]["water-v1[max_steps=12]"]) == ["ippo"]
    seeds = data["commons"]["water-v1[max_steps=12]"]["ippo"]
    assert list(seeds) == ["seed_0", "seed_1"]
    summary = json.loads((run_folder / "summary.json").read_text())
    for member, steps in enumerate(seeds.values()):
        rows = rows_of(run_folder, member)
        assert list(steps) == [
            "step_0",
            "step_1",
            "absolute_metrics",
        ]  # the absolute ones are looked for last
        for row, step in zip(rows, steps.values(), strict=False):
            assert step["step_count"] == row["env_steps"]
            assert all(step[name] == [row[f"eval/{name}"]] for name in METRICS)
        absolute = summary["members"][member]["absolute"]
        assert all(steps["absolute_metrics"][name] == [absolute[name]["mean"]] for name in METRICS)
        names = [set(step) - {"step_count"} for step in steps.values()]
        assert names[0] == names[1] == names[2]  # marl-eval's check of its input
        values = [
            v for step in steps.values() for value in step.values() if isinstance(value, list) for v in value
        ]
        assert all(math.isfinite(value) for value in values)


def test_several_runs_by_name_into_a_file(run_folder, tmp_path, shoal_cli):
    target = tmp_path / "results.json"
    words = ["small=" + str(run_folder), f"large={run_folder}@1", "--output", target, "--format", "marl-eval"]
    status, out, err = shoal_cli("export-results", *words)
    assert (status, out) == (0, f"{target}\n")
    (algorithms,) = json.loads(target.read_text())["commons"].values()
    assert {name: list(seeds) for name, seeds in algorithms.items()} == {
        "small": ["seed_0", "seed_1"],
        "large": ["seed_1"],
    }
    assert "same seeds everywhere in commons: small on water-v1[max_steps=12] has ['seed_0', 'seed_1']" in err


def test_swept_values_are_algorithms_of_their_own(run_folder, tmp_path, shoal_cli):
    folder = tmp_path / "swept"
    shutil.copytree(run_folder, folder)
    summary = json.loads((folder / "summary.json").read_text())
    for entry, clip in zip(summary["members"], (0.1, 0.25), strict=True):
        entry |= {"seed": 3, "algorithm.clip": clip}
    (folder / "summary.json").write_text(json.dumps(summary))
    (algorithms,) = json.loads(shoal_cli("export-results", folder)[1])["commons"].values()
    assert {name: list(seeds) for name, seeds in algorithms.items()} == {
        "ippo[clip=0.1]": ["seed_3"],
        "ippo[clip=0.25]": ["seed_3"],
    }


def test_undefined_metrics_are_left_out_and_named(run_folder, tmp_path, shoal_cli):
    folder = tmp_path / "undefined"
    shutil.copytree(run_folder, folder)
    text = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in text]
    rows[-1]["eval/equality"] = None
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, out, err = shoal_cli("export-results", folder)
    assert "equality" not in out
    assert "left out, since not every run defines them in every evaluation: equality" in err


def without_summary(folder):
    (folder / "summary.json").unlink()


def stopped(folder):
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "status": "stopped"}))


def never_evaluated(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    kept = [{k: v for k, v in row.items() if not k.startswith("eval/")} for row in rows]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        (without_summary, ["{}"], "has not finished"),
        (stopped, ["{}"], "shoal train resume="),
        (never_evaluated, ["{}"], "evaluated only at its end"),
        (None, ["{}", "{}"], "are both ippo, seed 0, on commons/water-v1"),
        (None, ["{}@5"], "no member 5; it has 2"),
        (None, ["nowhere"], "there is no run folder 'nowhere'"),
        (None, ["a,b={}"], "takes no comma"),
        (None, ["{}", "--format", "marl-evl"], "did you mean 'marl-eval'"),
        (None, ["{}", "--output", "{}/nowhere/results.json"], "cannot be written"),
    ],
)
def test_mistakes_are_one_line(change, words, said, run_folder, tmp_path, shoal_cli):
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    if change is not None:
        change(folder)
    status, out, err = shoal_cli("export-results", *(word.format(folder) for word in words))
    assert (status, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
