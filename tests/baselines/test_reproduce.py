"""Published tables: what cells claim, what must be run, what results are worth, and the command."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import yaml

from shoal.baselines.cli import main
from shoal.baselines.tables import works as works_module
from shoal.baselines.tables.assess import CLASSES, assess, by_cell
from shoal.baselines.tables.catalogue import Scale, list_tables, parse_table, read_table
from shoal.baselines.tables.ledger import Evidence, best, counts, ledger
from shoal.baselines.tables.measures import MEASURES, Deadline
from shoal.baselines.tables.measures.train import Train, finished, words_of
from shoal.baselines.tables.measures.trained import Trained
from shoal.baselines.tables.reproduce import Wish, reproduce
from shoal.baselines.tables.works import Store, plan, run_all
from shoal.envs.core import UserError

FULL = Scale("paper", {}, True, ())
VERSIONS = {
    "python": "3",
    "packages": {},
    "device": {"platform": "cpu", "kind": "cpu", "count": 1},
    "git": None,
}


def table_of(rows, **more):
    raw = {
        "title": "t",
        "source": "s",
        "read": "as printed",
        "measure": "play",
        "columns": ["score"],
        "rows": rows,
        "cell": {"env": "commons/water", "policy": "idle", "metric": "score"},
        "scales": {"paper": {}},
    }
    return parse_table("own", raw | more)


def judged(rows, values, scale=FULL, unit="seed", **more):
    """Assessments by row, of a table with one column."""
    table = table_of(rows, **more)
    results = {
        cell.id: [
            {
                "measure": "play",
                "settings": {},
                "unit": unit,
                "values": {cell.id: values[cell.row]},
                "record": {},
                "versions": VERSIONS,
                "seconds": 1.0,
            }
        ]
        for cell in table.cells
        if cell.row in values
    }
    return {one.cell.row: one for one in assess(table, table.cells, scale, results)}


# What a table says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list_tables())
def test_every_shipped_table_can_be_planned_at_every_scale(name):
    table = read_table(name)
    assert table.cells
    assert "smoke" in table.scales or "laptop" in table.scales
    for scale in table.scales.values():
        cells = table.chosen((), scale)
        planned = {cell.id for work in plan(table, cells, scale) for cell in work.cells}
        assert planned == {cell.id for cell in cells}
        keys = [work.key for work in plan(table, cells, scale)]
        assert len(set(keys)) == len(keys)


def test_rows_lie_over_columns_and_those_over_what_all_cells_share():
    table = table_of(
        {
            "a": {"policy": "x", "published": [1.0, 2.0], "error": 0.5},
            "b": {"published": ["-", None], "options": {"k": 1}},
        },
        columns={"one": {"metric": "m1", "digits": 1}, "two": {"policy": "y", "options": {"j": 2}}},
        row="who",
    )
    cells = {cell.id: cell for cell in table.cells}
    assert list(cells) == ["own/a/one", "own/a/two", "own/b/two"]  # "-": there is no such cell
    first = cells["own/a/one"]
    assert (first.published, first.error, first.digits) == (1.0, 0.5, 1)
    assert first.settings == {"env": "commons/water", "policy": "x", "metric": "m1", "who": "a"}
    assert cells["own/b/two"].settings["policy"] == "y"
    assert cells["own/b/two"].settings["options"] == {"j": 2, "k": 1}
    assert cells["own/b/two"].published is None


@pytest.mark.parametrize(
    ("rows", "more", "words"),
    [
        ({"a": [1.0, 2.0]}, {}, "published of a has 2 entries for 1 columns"),
        ({"a": [1.0]}, {"title": ""}, "does not say its title"),
        ({"a": [1.0]}, {"scales": {"huge": {}}}, "a scale is one of smoke, laptop, paper, not huge"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(rows, more, words):
    with pytest.raises(UserError, match=words):
        table_of(rows, **more)


def test_cells_of_equal_settings_share_a_work_and_the_key_follows_every_setting():
    table = table_of({"a": [1.0, 1.0]}, columns={"x": {"metric": "m1"}, "y": {"metric": "m2"}})
    (work,) = plan(table, table.cells, FULL)
    assert len(work.cells) == 2
    (part,) = plan(table, table.chosen(["a/y"], FULL), FULL)
    assert part.key == work.key  # asked for one cell, it is the same work
    (other,) = plan(table, table.cells, Scale("paper", {"episodes": 3}, True, ()))
    assert other.key != work.key


# What a result is worth -----------------------------------------------------------------------------------


def test_class_b_is_two_combined_standard_errors_with_enough_seeds():
    # Mean 10, standard error sqrt(2.5 / 5) = 0.7071; with 0.7071 published, 2 combined errors are 2.
    values = [8.0, 9.0, 10.0, 11.0, 12.0]
    rows = {name: {"published": [p], "error": 0.5**0.5} for name, p in [("in", 11.99), ("out", 12.01)]}
    found = judged(rows, {"in": values, "out": values}, ordered="none")
    assert (found["in"].grade, found["in"].verdict) == ("B", "agrees")
    assert (found["out"].grade, found["out"].verdict) == ("open", "differs")
    near, three = {"in": {"published": [10.5], "error": 0.1}}, {"in": [9.0, 10.0, 11.0]}
    few = judged(near, three, ordered="none")["in"]
    assert (few.grade, few.verdict) == ("open", "few seeds")
    assert judged({"in": near["in"] | {"min_seeds": 2}}, three, ordered="none")["in"].grade == "B"


def test_a_published_interval_stands_instead_of_errors():
    rows = {"in": {"published": [100.0], "within": 10}, "out": {"published": [100.0], "within": 9.9}}
    values = dict.fromkeys(rows, [110.0] * 5)
    found = judged(rows, values, ordered="none")
    assert [one.grade for one in found.values()] == ["B", "open"]


def test_class_a_is_to_the_last_printed_digit_in_every_run():
    row = {"published": [16.67], "digits": 2, "exact": True, "factor": 100}
    assert judged({"a": row}, {"a": [1 / 6] * 2})["a"].grade == "A"
    assert judged({"a": row}, {"a": [1 / 6, 0.1668]})["a"].grade == "open"
    assert judged({"a": row | {"published": [16.68]}}, {"a": [1 / 6] * 2})["a"].grade == "open"


def test_class_c_is_the_published_order_with_every_other_row():
    rows = {name: {"published": [p], "error": 0.1} for name, p in [("low", 1.0), ("mid", 2.0), ("high", 3.0)]}
    values = {"low": [10.0] * 5, "mid": [20.0] * 5, "high": [30.0] * 5}
    assert {one.grade for one in judged(rows, values).values()} == {"C"}
    values["low"] = [25.0] * 5  # now above mid, below high
    assert [one.grade for one in judged(rows, values).values()] == ["open", "open", "C"]
    assert {one.grade for one in judged(rows, values, ordered="none").values()} == {"open"}
    two = {name: rows[name] for name in ("low", "high")}
    assert {one.grade for one in judged(two, values).values()} == {"open"}  # by chance every other time


def test_what_was_not_published_not_run_or_run_for_too_little_earns_nothing():
    rows = {"ours": {"published": [None]}, "missing": [1.0], "undefined": [1.0]}
    found = judged(rows, {"ours": [3.0], "undefined": []})
    assert [one.grade for one in found.values()] == ["D", "not run", "not run"]
    small = judged({"a": [3.0]}, {"a": [3.0] * 5}, Scale("smoke", {}, False, ()))["a"]
    assert (small.grade, small.verdict, small.mean) == ("not run", "too small a budget", 3.0)
    elsewhere = judged({"a": {"published": [3.0], "device": "A100"}}, {"a": [3.0] * 5})["a"]
    assert (elsewhere.grade, elsewhere.why) == ("open", "published on A100, ours on cpu")


def test_a_changed_published_value_changes_the_verdict():
    rows = {"a": {"published": [10.0], "error": 0.1}}
    values = {"a": [9.9, 10.0, 10.1, 10.0, 10.0]}
    assert judged(rows, values, ordered="none")["a"].grade == "B"
    assert judged({"a": {"published": [11.0], "error": 0.1}}, values, ordered="none")["a"].grade == "open"


# What is run, and what is not run again -------------------------------------------------------------------


class Counted(Train):
    """Writes what a run would leave, and counts how often it was asked to."""

    def __init__(self, *, finishes=True):
        self.calls, self.finishes = [], finishes

    def run(self, settings, folder, deadline, core):
        self.calls.append((words_of(settings), core))
        (folder / "done").write_text("1")
        return self.finishes

    def read(self, settings, folder, cells):
        return {cell.id: [1.0, 2.0] for cell in cells}

    def record(self, settings, folder):
        return {}

    def seconds(self, folder, spent):
        return spent

    def differences(self, settings, record):
        return []


@pytest.fixture
def trained(monkeypatch):
    """A table of two trainings, with a measure that only counts."""
    counted = Counted()
    monkeypatch.setitem(MEASURES, "train", counted)
    table = table_of(
        {
            "a": {"published": [1.5], "overrides": ["seed=1"]},
            "b": {"published": [3.0], "overrides": ["seed=2"]},
        },
        measure="train",
        scales={"smoke": {"overrides": ["total_env_steps=9"]}, "paper": {}},
    )
    return table, counted


def test_what_is_done_is_not_run_again_and_what_is_half_done_is_gone_on_with(trained, tmp_path):
    table, counted = trained
    scale, store = table.scales["smoke"], Store(tmp_path, "own")
    works = plan(table, table.chosen(["a"], scale), scale)
    counted.finishes = False
    assert not run_all(works, store, Deadline())
    assert store.result(works[0]) is None
    counted.finishes = True
    assert run_all(works, store, Deadline())
    assert len(counted.calls) == 2
    works = plan(table, table.chosen((), scale), scale)
    assert run_all(works, store, Deadline())
    assert run_all(works, store, Deadline())
    assert [words for words, _ in counted.calls] == [["seed=1", "total_env_steps=9"]] * 2 + [
        ["seed=2", "total_env_steps=9"]
    ]


def test_seeds_that_run_apart_are_one_cell_and_a_larger_scale_goes_on_from_them(trained, tmp_path):
    _, counted = trained
    table = table_of(
        {"a": {"published": [1.5], "error": 0.1, "overrides": ["env=x"], "seeds_per_run": 2}},
        measure="train",
        scales={"laptop": {"seeds": 2}, "paper": {"seeds": 5}},
    )
    store = Store(tmp_path, "own")
    small, large = (plan(table, table.cells, scale) for scale in table.scales.values())
    assert [(w.settings["first_seed"], w.settings["seeds"]) for w in large] == [(0, 2), (2, 2), (4, 1)]
    assert [w.key for w in small] == [large[0].key]

    def judge(name):
        scale = table.scales[name]
        return assess(table, table.cells, scale, by_cell(plan(table, table.cells, scale), store.result))[0]

    with pytest.raises(UserError, match="seeds_per_run must be at least 1"):
        Train().settings(
            dataclasses.replace(table.cells[0], settings={**large[0].cells[0].settings, "seeds_per_run": 0})
        )
    assert judge("paper").verdict == "not run"
    run_all(small, store, Deadline())
    assert (judge("paper").verdict, len(judge("paper").values)) == ("few seeds", 2)
    assert run_all(large, store, Deadline())
    assert len(counted.calls) == 3  # what the smaller scale ran was not run again
    assert (judge("paper").grade, len(judge("paper").values)) == ("B", 6)


def test_nothing_is_begun_after_the_deadline(trained, tmp_path):
    table, counted = trained
    works = plan(table, table.cells, table.scales["paper"])
    for jobs in (1, 2):
        assert not run_all(works, Store(tmp_path, "own"), Deadline.after(0.0), jobs)
    assert counted.calls == []


def test_jobs_keep_to_cores_of_their_own(trained, tmp_path, monkeypatch):
    table, counted = trained
    monkeypatch.setattr(works_module.os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert run_all(
        plan(table, table.cells, table.scales["paper"]), Store(tmp_path, "own"), Deadline(), jobs=2
    )
    assert {core for _, core in counted.calls} <= {3, 5}


def test_what_is_timed_runs_alone_and_on_every_core(trained, tmp_path):
    _, counted = trained
    rows = {"a": {"published": [1.5], "overrides": ["env=x"], "of": "summary"}}
    table = table_of(rows, measure="train")
    assert run_all(plan(table, table.cells, FULL), Store(tmp_path, "own"), Deadline(), jobs=2)
    assert [core for _, core in counted.calls] == [None]


def test_results_of_another_machine_are_taken_where_ours_are_missing(trained, tmp_path):
    table, _ = trained
    scale = table.scales["paper"]
    first, second = (plan(table, table.chosen([row], scale), scale) for row in "ab")
    here, there = Store(tmp_path / "here", "own"), Store(tmp_path / "there", "own")
    run_all(first, here, Deadline())
    run_all([*first, *second], there, Deadline())
    kept = (here.folder / first[0].key / "result.json").stat().st_mtime_ns
    assert here.merge(there.folder) == 1
    assert here.result(second[0]) == there.result(second[0])
    assert (here.folder / first[0].key / "result.json").stat().st_mtime_ns == kept


def test_changes_are_another_work_and_are_flagged(trained, tmp_path):
    table, counted = trained
    scale, store = table.scales["paper"], Store(tmp_path, "own")
    works = plan(table, table.cells, scale, ["algorithm.learning_rate=0.5"])
    assert not {work.key for work in works} & {work.key for work in plan(table, table.cells, scale)}
    run_all(works, store, Deadline())
    assert counted.calls[0][0] == ["seed=1", "algorithm.learning_rate=0.5"]
    found = assess(table, table.cells, scale, by_cell(works, store.result))
    assert {(one.grade, one.verdict) for one in found} == {("open", "flagged")}
    assert "algorithm.learning_rate=0.5" in found[0].why


def test_a_table_that_trains_nothing_takes_no_changes():
    with pytest.raises(UserError, match="trains nothing"):
        plan(read_table("govsim-scripted"), read_table("govsim-scripted").cells, FULL, ["seed=1"])


def test_a_run_whose_numbers_are_not_the_presets_is_flagged():
    measure, settings = MEASURES["train"], {"overrides": ["experiment=water-ia2c"], "seeds": 3, "changes": []}
    from shoal.baselines.composition import compose
    from shoal.baselines.config import plain

    config = plain(compose([*settings["overrides"], "num_seeds=3", "output_dir=x"]).to_dict())
    assert measure.differences(settings, {"config": config}) == []
    config["eval"]["num_envs"] = 20  # null in the preset: a run fills it in
    assert measure.differences(settings, {"config": config}) == []
    right = config["algorithm"]["learning_rate"]
    config["algorithm"]["learning_rate"] = 100 * right
    assert measure.differences(settings, {"config": config}) == [
        f"algorithm.learning_rate={100 * right} (preset: {right})"
    ]


def test_a_half_done_run_is_resumed_and_one_without_a_checkpoint_begins_anew(tmp_path, monkeypatch):
    from shoal.baselines.tables.measures import train

    called = []

    def supervised(words, log, deadline, core):
        called.append(words)
        return 143

    monkeypatch.setattr(train, "_supervised", supervised)
    settings = {"overrides": ["experiment=demo"], "seeds": 2, "changes": []}
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("left by a run that was killed before it saved anything")
    assert not Train().run(settings, tmp_path, Deadline(), None)
    assert called[-1] == ["train", "experiment=demo", "num_seeds=2", f"output_dir={run}"]
    assert not run.exists()
    (run / "checkpoints" / "8").mkdir(parents=True)
    assert not Train().run(settings, tmp_path, Deadline(), None)
    assert called[-1] == ["train", f"resume={run}"]
    apart = tmp_path / "apart"
    assert not Train().run(settings | {"seeds": 1, "first_seed": 3}, apart, Deadline(), None)
    assert called.pop() == [
        *("train", "experiment=demo", "seed=3", "num_seeds=1"),
        f"output_dir={apart / 'run'}",
    ]
    (run / "summary.json").write_text(json.dumps({"status": "finished"}))
    assert finished(run)
    assert Train().run(settings, tmp_path, Deadline(), None)
    assert len(called) == 2


def test_a_training_whose_parent_was_killed_is_stopped_before_it_goes_on(tmp_path, monkeypatch):
    from shoal.baselines.tables.measures import train

    sleeping = [sys.executable, "-c", "import time; time.sleep(60)", f"output_dir={tmp_path / 'run'}"]
    orphan, stranger = subprocess.Popen(sleeping), subprocess.Popen(sleeping[:-1])
    try:
        (tmp_path / train.PID).write_text(str(stranger.pid))  # the number was given away since
        train._end_orphan(tmp_path)
        assert stranger.poll() is None
        (tmp_path / train.PID).write_text(str(orphan.pid))
        reaped = threading.Thread(target=orphan.wait)
        reaped.start()
        train._end_orphan(tmp_path)
        reaped.join(10)
        assert orphan.returncode == -signal.SIGTERM
    finally:
        for process in (orphan, stranger):
            process.kill()
            process.wait()


def test_sigterm_is_a_deadline_for_what_trains(tmp_path, monkeypatch):
    from shoal.baselines.tables.measures import train

    sleeper = tmp_path / "python"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(sleeper))
    deadline = Deadline()
    with deadline.heeding_sigterm():
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        begun = time.monotonic()
        assert train._supervised(["train"], tmp_path / "log", deadline, None) == 143
        assert deadline.passed and time.monotonic() - begun < 30


def test_a_part_that_is_published_later_joins_what_was_kept(trained, tmp_path):
    table, _ = trained
    for row in "ab":
        reproduce(table, Wish("paper", cells=(row,), output=tmp_path / "work", publish=tmp_path / "kept"))
    kept = best(table, [Evidence(tmp_path / "kept", "own")])
    assert [one.mean for one in kept] == [1.5, 1.5]
    evidence = Evidence(tmp_path / "kept", "own")
    (first, _) = evidence.results.items()
    evidence.keep({}, known=[first[0]])  # the table lost a row
    assert Evidence(tmp_path / "kept", "own").results == dict([first])
    page = (tmp_path / "kept" / "own.md").read_text()
    assert "| a, score | 1.5 |" in page
    assert "| b, score | 3 |" in page
    with pytest.raises(UserError, match=r"leave out algorithm\.clip=1"):
        reproduce(table, Wish("paper", changes=("algorithm.clip=1",), publish=tmp_path / "kept"))


# The command ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def water_table(tmp_path_factory):
    """A table of one's own: a training of seconds, and its published value far off."""
    path = tmp_path_factory.mktemp("tables") / "pool.yaml"
    words = ["experiment=water-ia2c", "total_env_steps=160", "num_envs=4", "env.max_steps=20"]
    words += ["algorithm.rollout_length=20", "eval.episodes=2", "devices=1"]
    path.write_text(
        yaml.safe_dump(
            {
                "title": "A pool",
                "source": "nowhere",
                "read": "as printed",
                "measure": "train",
                "cell": {"overrides": words},
                "columns": {"return": {"metric": "episode_return"}, "late": {"metric": "episode_return"}},
                "rows": {"ia2c": {"published": [1e6, 1e6], "error": 1}},
                "scales": {"laptop": {"seeds": 2}},
            }
        )
    )
    return path


def run_main(*words):
    with pytest.raises(SystemExit) as exit:
        main(["reproduce", *map(str, words)])
    return exit.value.code


def test_a_table_of_ones_own_from_training_to_report(water_table, tmp_path, capsys, monkeypatch):
    words = (water_table, "--scale", "laptop", "--output", tmp_path / "work", "--json")
    assert run_main(*words, "--publish", tmp_path / "kept") == 0
    report = json.loads(capsys.readouterr().out)
    first = report["cells"][0]
    assert report["complete"]
    assert (first["runs"], first["unit"], first["verdict"], first["class"]) == (2, "seed", "differs", "open")
    assert first["ci95"][0] <= first["ours"] <= first["ci95"][1]
    page = (tmp_path / "work" / "pool" / "laptop" / "report.html").read_text()
    assert "A pool" in page
    assert "<svg" in page
    # What was trained can be played on other terms.
    (folder,) = (tmp_path / "work" / "pool" / "works").iterdir()
    terms = {"metric": "episode_length", "options": {"max_steps": 5}, "episodes": 4, "seeds": 2}
    cell = read_table(str(water_table)).cells[0]
    cell = dataclasses.replace(cell, settings={**cell.settings, **terms})
    settings = Trained().settings(cell)
    assert Train().seconds(folder, 0.0) > 0.0  # what a killed call spent is in the run
    assert Trained().run(settings, folder, Deadline(), None)
    assert Trained().read(settings, folder, [cell]) == {cell.id: [5.0, 5.0]}
    # Again: nothing is trained, the same comes out.
    monkeypatch.setattr(Train, "run", lambda *_: pytest.fail("it was trained again"))
    assert run_main(*words) == 0
    assert json.loads(capsys.readouterr().out)["cells"] == report["cells"]
    # What was kept is worth the same, without the work folder; with another published value it agrees.
    table = read_table(str(water_table))
    (one, _) = best(table, [Evidence(tmp_path / "kept", "pool")])
    assert one.mean == first["ours"]
    near = dataclasses.replace(one.cell, published=first["ours"], min_seeds=2)
    closer = dataclasses.replace(table, cells=(near,))
    assert best(closer, [Evidence(tmp_path / "kept", "pool")])[0].grade == "B"


def test_a_scale_that_a_table_lacks_is_named_with_those_it_has(tmp_path):
    with pytest.raises(UserError, match="own has no scale smoke; it has paper"):
        reproduce(table_of({"a": {"published": [1.0]}}), Wish("smoke", (), (), tmp_path))


def test_every_table_that_ships_has_all_three_scales():
    for name in list_tables():
        assert list(read_table(name).scales) == ["smoke", "laptop", "paper"], name


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "reproduce what?"),
        (("mohaf-gogle",), "did you mean 'mohaf-google'"),
        (("mohaf-google", "--scale", "pape"), "did you mean 'paper'"),
        (("mohaf-google", "--cells", "nobody"), "has no cell 'nobody'"),
        (("mohaf-google", "--jobs", "0"), "--jobs 0 must be at least 1"),
        (("mohaf-google", "--merge", "nowhere"), "there is no such folder"),
        (("mohaf-google", "seed=3"), "trains nothing"),
    ],
)
def test_what_a_user_got_wrong_is_one_line(words, line, tmp_path, capsys):
    assert run_main(*words, "--output", tmp_path) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert line in error[0]


def test_the_list_and_the_ledger_name_every_table(tmp_path, capsys):
    assert run_main("--list", "--json") == 0
    assert [entry["table"] for entry in json.loads(capsys.readouterr().out)] == list_tables()
    assert run_main("--ledger", "--json", "--output", tmp_path) == 0
    found = json.loads(capsys.readouterr().out)
    assert {cell["table"] for cell in found} == set(list_tables())
    assert {cell["class"] for cell in found} <= set(CLASSES)


def test_the_kept_evidence_holds_thirty_cells_that_agree(tmp_path):
    tables = [read_table(name) for name in list_tables()]
    held = counts(ledger(tables, tmp_path))
    assert held["A"] + held["B"] >= 30
    without = counts(ledger(tables, tmp_path, evidence=None))
    assert without["not run"] == sum(without.values())
