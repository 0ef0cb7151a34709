"""Where rows go."""

import io
import json
import math
import re
import struct
import sys
import types

import pytest
from rich.console import Console

from shoal.baselines import loggers
from shoal.baselines.composition import compose
from shoal.baselines.config import LoggerConfig
from shoal.baselines.loggers import Display, Guarded, JsonLines, RunInfo, Sink
from shoal.baselines.loggers.tensorboard import TensorBoardSink
from shoal.baselines.loggers.wandb_runs import WandbSink
from shoal.baselines.runner import train
from shoal.envs.core import UserError

ONE = ({"member": 0, "seed": 4},)
TWO = ({"member": 0, "seed": 4}, {"member": 1, "seed": 5})
SWEPT = tuple({"member": i, "seed": 4, "algorithm.clip": clip} for i, clip in enumerate((0.1, 0.25)))


def info(folder, members=ONE, steps=None):
    config = {"seed": 4, "algorithm": {"name": "ippo", "clip": 0.2}, "logger": {"options": {"colour": "red"}}}
    return RunInfo(folder, config, members, steps or (0,) * len(members))


def rows(update, members=ONE, **values):
    return [{**member, "update": update, "env_steps": 10 * update, **values} for member in members]


def test_json_lines_cut_what_a_checkpoint_does_not_know(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = JsonLines(path)
    log.write([{"a": 1, "b": math.nan, "c": [math.inf, {"d": 2.5}]}])
    kept = log.position
    log.write([{"a": 2}])
    log.close()
    with path.open("ab") as file:
        file.write(b'{"a": 3')  # killed in the middle of a line
    log = JsonLines(path, kept)
    log.write([{"a": 4}, {"a": 5}])
    log.close()
    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert written == [{"a": 1, "b": None, "c": [None, {"d": 2.5}]}, {"a": 4}, {"a": 5}]


# The guard -----------------------------------------------------------------------------------------------


class Fragile:
    """Fails where it is told to; counts what reaches it."""

    def __init__(self, fails):
        self.fails, self.calls = fails, []
        self._call("open")

    def write(self, rows):
        self._call("write")

    def close(self):
        self._call("close")

    def _call(self, what):
        self.calls.append(what)
        if what == self.fails:
            raise RuntimeError("broken\nin two lines")


@pytest.mark.parametrize("fails", ["open", "write", "close", None])
def test_a_failing_sink_is_said_once_and_switched_off(fails):
    said, made = [], []

    def make():
        made.append(Fragile.__new__(Fragile))
        made[0].__init__(fails)
        return made[0]

    sink = Guarded("mine", make, said.append)
    assert isinstance(sink, Sink)
    for update in range(3):
        sink.write(rows(update))
    sink.close()
    expected = {"open": ["open"], "write": ["open", "write"]}
    assert made[0].calls == expected.get(fails, ["open", "write", "write", "write", "close"])
    if fails:
        assert said == ["mine failed and is switched off, the run goes on: RuntimeError: broken"]
    else:
        assert said == []


def test_a_second_interrupt_is_no_failure():
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Guarded("mine", interrupt, pytest.fail)


# Weights & Biases ----------------------------------------------------------------------------------------


class FakeRun:
    def __init__(self, arguments):
        self.arguments, self.logged, self.finished = arguments, [], False

    def log(self, row, step):
        self.logged.append((step, row))

    def define_metric(self, name, step_metric):
        self.axis = (name, step_metric)

    def finish(self):
        self.finished = True


@pytest.fixture
def wandb_runs(monkeypatch):
    """The runs that a stand-in for wandb was asked to open; no account, and no network where ``online``."""
    opened = []

    def init(**arguments):
        if arguments["mode"] == "online":
            raise TimeoutError("no network")
        opened.append(FakeRun(arguments))
        return opened[-1]

    module = types.ModuleType("wandb")
    module.api = types.SimpleNamespace(api_key=None)
    module.Settings = lambda **kwargs: kwargs
    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return opened


def test_wandb_without_an_account_is_offline(tmp_path, wandb_runs):
    sink = WandbSink(LoggerConfig(wandb=True), info(tmp_path), pytest.fail)
    sink.write(rows(3, win_rate=0.5, episode_return=None, loss=math.nan))
    sink.close()
    (run,) = wandb_runs
    assert run.arguments["mode"] == "offline"
    assert run.arguments["config"] == info(tmp_path).config  # there from the start
    assert (run.arguments["name"], run.arguments["group"]) == (tmp_path.name, None)
    assert run.axis == ("*", "env_steps")
    assert run.logged == [(3, {"member": 0, "seed": 4, "update": 3, "env_steps": 30, "win_rate": 0.5})]
    assert run.finished


@pytest.mark.parametrize("mode", ["online", "auto"])
def test_wandb_without_a_network_falls_back_to_offline(mode, tmp_path, wandb_runs):
    sys.modules["wandb"].api.api_key = "some"
    said = []
    sink = WandbSink(LoggerConfig(wandb=True, mode=mode), info(tmp_path, TWO), said.append)
    assert [run.arguments["mode"] for run in sink.runs] == ["offline", "offline"]
    assert len(said) == 1


def test_wandb_disabled(tmp_path, wandb_runs):
    WandbSink(LoggerConfig(wandb=True, mode="disabled"), info(tmp_path), pytest.fail)
    assert wandb_runs[0].arguments["mode"] == "disabled"


@pytest.mark.parametrize("group", [None, "mine"])
def test_members_are_runs_of_one_group_on_wandb(group, tmp_path, wandb_runs):
    sink = WandbSink(LoggerConfig(wandb=True, group=group), info(tmp_path, TWO), pytest.fail)
    sink.write([{**row, "win_rate": row["member"] / 2} for row in rows(1, TWO)])
    assert [run.arguments["group"] for run in wandb_runs] == [group or tmp_path.name] * 2
    assert [run.arguments["name"] for run in wandb_runs] == [f"{tmp_path.name}-seed{s}" for s in (4, 5)]
    assert [run.arguments["config"]["seed"] for run in wandb_runs] == [4, 5]
    assert len({run.arguments["id"] for run in wandb_runs}) == 2
    assert all(run.arguments["reinit"] == "create_new" for run in wandb_runs)
    assert [run.logged[0][1]["win_rate"] for run in wandb_runs] == [0.0, 0.5]


def test_swept_values_are_in_the_runs_config_on_wandb(tmp_path, wandb_runs):
    WandbSink(LoggerConfig(wandb=True), info(tmp_path, SWEPT), pytest.fail)
    assert [run.arguments["config"]["algorithm"]["clip"] for run in wandb_runs] == [0.1, 0.25]
    assert wandb_runs[1].arguments["name"] == f"{tmp_path.name}-seed4-clip0.25"


def test_one_run_for_all_members_on_wandb(tmp_path, wandb_runs):
    sink = WandbSink(LoggerConfig(wandb=True, run_per_member=False), info(tmp_path, TWO), pytest.fail)
    sink.write([{**row, "win_rate": row["member"] / 2} for row in rows(1, TWO)])
    (run,) = wandb_runs
    assert run.logged[0][1]["member1/win_rate"] == 0.5
    assert run.logged[0][1]["env_steps"] == 10


def test_a_resumed_run_goes_on_on_wandb(tmp_path, wandb_runs):
    for steps in ((0, 0), (10, 10), (0, 0)):
        WandbSink(LoggerConfig(wandb=True), info(tmp_path, TWO, steps), pytest.fail)
    first, resumed, anew = (
        [run.arguments["id"] for run in wandb_runs[start : start + 2]] for start in (0, 2, 4)
    )
    assert first == resumed
    assert not set(first) & set(anew)
    assert [run.arguments.get("resume") for run in wandb_runs] == [None, None, "allow", "allow", None, None]


# TensorBoard ---------------------------------------------------------------------------------------------


def events(folder):
    """Reads back what was written, in order of writing: (tag, step, value), and ("purge", step, None)."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            if event.HasField("file_version") and event.step:
                found.append(("purge", event.step, None))
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
    return found


def test_tensorboard_has_a_folder_per_member_over_environment_steps(tmp_path):
    sink = TensorBoardSink(info(tmp_path, TWO))
    for update in (1, 2):
        written = rows(update, TWO, win_rate=None, loss=math.nan)
        sink.write([{**row, "episode_return": row["seed"] + update / 2} for row in written])
    sink.close()
    for seed in (4, 5):
        found = events(tmp_path / "tensorboard" / f"seed{seed}")
        assert found == [("episode_return", 10, seed + 0.5), ("episode_return", 20, seed + 1.0)]


def test_tensorboard_strikes_out_what_a_resume_writes_again(tmp_path):
    for run in (info(tmp_path, SWEPT), info(tmp_path, SWEPT, (20, 20))):
        sink = TensorBoardSink(run)
        sink.write(rows(3, SWEPT, loss=1.0))
        sink.close()
    assert ("purge", 21, None) in events(tmp_path / "tensorboard" / "seed4-clip0.25")


def test_tensorboard_without_its_package_is_one_line_before_anything_is_written(
    run_words, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match=r"pip install 'shoal\[tensorboard\]'"):
        train(compose([*run_words, "logger=tensorboard", f"output_dir={tmp_path / 'run'}"]))
    assert not (tmp_path / "run").exists()


# Loggers of one's own ------------------------------------------------------------------------------------


class Mine:
    def __init__(self, run):
        self.colour = run.options["colour"]

    def write(self, rows):
        pass

    def close(self):
        pass


def test_a_class_by_its_place(tmp_path, monkeypatch):
    module = types.ModuleType("shoal_test_loggers")
    module.Mine, module.number, module.Half = Mine, 3, type("Half", (), {"write": print})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    (opened,) = loggers.copies(LoggerConfig(custom=("shoal_test_loggers:Mine",)))
    assert opened(info(tmp_path), pytest.fail).sink.colour == "red"
    for name, said in (
        ("shoal_test_loggers:Half", "has no method close"),
        ("shoal_test_loggers:number", "has no method write and no method close"),
        ("shoal_test_loggers:Mien", "has no attribute 'Mien'"),
        ("nowhere.at_all:Mine", "there is no module 'nowhere'"),
        ("mine", "name a class as my_module:MyLogger"),
    ):
        with pytest.raises(UserError, match=said) as error:
            loggers.copies(LoggerConfig(custom=(name,)))
        assert "\n" not in str(error.value)


def test_a_class_by_its_entry_point(tmp_path, monkeypatch):
    entry = types.SimpleNamespace(name="mine", load=lambda: Mine)
    monkeypatch.setattr(loggers.metadata, "entry_points", lambda group: [entry])
    assert loggers.logger_class("mine") is Mine
    with pytest.raises(UserError, match="did you mean 'mine'"):
        loggers.logger_class("mien")


def test_the_guides_logger_follows_a_run(run_words, run_folder, repository, tmp_path, monkeypatch, shoal_cli):
    """What docs/guides/loggers.md shows, as it shows it."""
    text = (repository / "docs" / "guides" / "loggers.md").read_text()
    ((file, code),) = re.findall(r"^```python file=(\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, file.removesuffix(".py"), raising=False)
    (tmp_path / file).write_text(code)
    (words,) = re.findall(r"^shoal train env=\S+ (logger\.custom=.*)$", text, re.MULTILINE)
    status, out, _ = shoal_cli("train", *run_words, *words.split(), "logger.console=false", "output_dir=run")
    assert (status, out) == (0, "run\n")
    lines = (tmp_path / "run" / "returns.csv").read_text().splitlines()
    written = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0] == "seed;env_steps;episode_return"
    assert lines[1:] == [f"{r['seed']};{r['env_steps']};{r['episode_return']}" for r in written]
    assert len(lines) > 4


def test_configured_by_presets_and_keys():
    assert compose(["logger=tensorboard"]).logger.tensorboard
    both = compose(
        ["logger=wandb", "logger.tensorboard=true", "logger.custom=a:B", "logger.options.x=1"]
    ).logger
    assert (both.wandb, both.tensorboard, both.custom) == (True, True, ("a:B",))
    assert dict(both.options) == {"x": 1}
    assert compose([]).logger == LoggerConfig()


# The terminal --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("terminal", [True, False])
def test_display_shows_steps_rate_eta_return_and_win_rate(terminal, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    display = Display(1000)
    display.console = Console(file=screen, force_terminal=terminal, width=200)
    display.live = terminal
    display.progress.live.console = display.console
    with display:
        with display.waiting("compiling"):
            if terminal:
                display.progress.refresh()
        display.training({"episode_return": 1.25, "win_rate": 0.5}, 1000, 1234.0, 75.0)
        if terminal:
            display.progress.refresh()
    shown = screen.getvalue()
    for words in ("1,000 steps", "1,234 steps/s", "ETA 1:15", "return 1.25", "win rate 0.5"):
        assert words in shown
    assert ("compiling," in shown) == terminal
    assert not terminal or " 0 s" in shown


def test_a_quiet_display_shows_what_is_said_and_no_progress(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    with Display(1000, enabled=False) as display:
        display.training({"episode_return": 1.25}, 1000, 1234.0, 75.0)
        display.say("a warning")
    assert screen.getvalue() == "a warning\n"
