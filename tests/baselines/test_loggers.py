"""Where rows go."""

import io
import json
import math
import sys
import types

import pytest
from rich.console import Console

from shoal.baselines.config import LoggerConfig
from shoal.baselines.loggers import Display, JsonLines, WandbSink


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
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows == [{"a": 1, "b": None, "c": [None, {"d": 2.5}]}, {"a": 4}, {"a": 5}]


def fake_wandb(monkeypatch, init, api_key=None):
    module = types.ModuleType("wandb")
    module.api = types.SimpleNamespace(api_key=api_key)
    module.Settings = lambda **kwargs: kwargs
    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_MODE", raising=False)


class FakeRun:
    def __init__(self, fail=False):
        self.logged, self.fail, self.finished = [], fail, False

    def log(self, row, step):
        if self.fail:
            raise ConnectionError("gone")
        self.logged.append((step, row))

    def finish(self):
        self.finished = True


def test_wandb_without_an_account_is_offline(tmp_path, monkeypatch):
    modes, run = [], FakeRun()
    fake_wandb(monkeypatch, lambda mode, **kwargs: modes.append((mode, kwargs["config"])) or run)
    sink = WandbSink(LoggerConfig(wandb=True), tmp_path, {"seed": 1}, pytest.fail)
    sink.write([{"member": 0, "update": 3, "win_rate": 0.5, "episode_return": None}])
    sink.close()
    assert modes == [("offline", {"seed": 1})]  # the configuration is there from the start
    assert run.logged == [(3, {"member": 0, "update": 3, "win_rate": 0.5})]
    assert run.finished


def test_wandb_without_a_network_falls_back_to_offline(tmp_path, monkeypatch):
    modes, said = [], []

    def init(mode, **kwargs):
        modes.append(mode)
        if mode == "online":
            raise TimeoutError("no network")
        return FakeRun()

    fake_wandb(monkeypatch, init, api_key="some")
    assert WandbSink(LoggerConfig(wandb=True), tmp_path, {}, said.append).run is not None
    assert modes == ["online", "offline"]
    assert len(said) == 1


@pytest.mark.parametrize("when", ["init", "log"])
def test_wandb_failing_is_said_once_and_the_run_goes_on(tmp_path, monkeypatch, when):
    def init(mode, **kwargs):
        if when == "init":
            raise RuntimeError("broken\nin two lines")
        return FakeRun(fail=True)

    said = []
    fake_wandb(monkeypatch, init)
    sink = WandbSink(LoggerConfig(wandb=True), tmp_path, {}, said.append)
    for update in range(3):
        sink.write([{"member": 0, "update": update}])
    sink.close()
    assert len(said) == 1
    assert "the run goes on" in said[0]
    assert "\n" not in said[0]


def test_members_are_told_apart_on_wandb(tmp_path, monkeypatch):
    run = FakeRun()
    fake_wandb(monkeypatch, lambda mode, **kwargs: run)
    sink = WandbSink(LoggerConfig(wandb=True), tmp_path, {}, pytest.fail)
    sink.write([{"member": i, "update": 1, "win_rate": i / 2} for i in range(2)])
    assert run.logged[0][1]["member1/win_rate"] == 0.5


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
