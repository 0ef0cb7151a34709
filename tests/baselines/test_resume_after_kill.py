"""Killing a run (-9) at any moment and going on, to the same bits as a run that was never stopped."""

import json
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from shoal.baselines.checkpoints import Checkpoints

UPDATES = 800
WORDS = (
    "env=commons/water", "env.max_steps=10", "num_envs=4", "algorithm.rollout_length=8", "algorithm.epochs=2",
    "algorithm.minibatches=2", "network.hidden_size=8", f"total_env_steps={UPDATES * 32}", "eval.episodes=8",
    "eval.every=800", "num_seeds=2", "log_every=2", "checkpoint_every=0",
)  # fmt: skip
WALL = ("wall_seconds", "steps_per_second")
KILLS = 10
PATIENCE = 120.0  # seconds


def start(*words):
    command = [sys.executable, "-m", "shoal.baselines.cli", "train", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_when(process, moment, pause=0.0):
    """Kills the process ``pause`` seconds after ``moment()`` holds; false when it ended before."""
    limit = time.monotonic() + PATIENCE
    while not moment():
        if process.poll() is not None or time.monotonic() > limit:
            process.kill()
            process.communicate()
            return False
    time.sleep(pause)
    process.kill()
    process.communicate()
    return process.returncode == -9


def rows_in(folder):
    metrics = folder / "metrics.jsonl"
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0


def half_written(folder):
    return list((folder / "checkpoints").glob("*orbax-checkpoint-tmp*"))


def finish(process):
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return out


@pytest.mark.slow
def test_ten_kills_change_nothing(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start(*WORDS, f"output_dir={whole}"))
    moments = random.Random(0)

    process = start(*WORDS, f"output_dir={killed}")
    assert kill_when(process, lambda: (killed / "config.yaml").exists())  # while compiling
    kills, in_a_write = 1, 0
    while kills < KILLS:
        process = start(f"resume={killed}")
        if kills == 4:  # and once inside a write of a checkpoint
            before = rows_in(killed)
            seen = kill_when(process, lambda before=before: rows_in(killed) > before and half_written(killed))
            in_a_write += bool(half_written(killed))
            assert seen
            # The writer may have renamed it in the last microseconds; then this was an ordinary kill.
            kills += bool(half_written(killed))
        else:
            # Each lives for up to a tenth of the run, so that the run lasts for all of them.
            wanted = rows_in(killed) + moments.randrange(2, UPDATES // KILLS)
            pause = moments.random() * 0.02
            assert kill_when(process, lambda wanted=wanted: rows_in(killed) >= wanted, pause)
            kills += 1
    assert in_a_write >= 1
    finish(start(f"resume={killed}"))

    one, other = (Checkpoints(folder / "checkpoints").newest(pytest.fail) for folder in (whole, killed))
    assert one.update == other.update == UPDATES
    for part in (
        "params",
        "opt_state",
        "hyper",
        "key",
        "play.vector.env",
        "play.vector.keys",
        "play.carries",
    ):
        assert any(part in name for name in one.state), part
    for left, right in ((one.state, other.state), (one.best, other.best)):
        assert left.keys() == right.keys()
        for name, value in left.items():
            np.testing.assert_array_equal(value, right[name], err_msg=name)

    lines = [
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (whole, killed)
    ]
    assert [(row["update"], row["member"]) for row in lines[1]] == [
        (update, member) for update in range(2, UPDATES + 1, 2) for member in (0, 1)
    ]
    for mine, theirs in zip(*lines, strict=True):
        assert {k: v for k, v in mine.items() if k not in WALL} == {
            k: v for k, v in theirs.items() if k not in WALL
        }
    clock = [row["wall_seconds"] for row in lines[1] if row["member"] == 0]
    assert clock == sorted(clock)
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (whole, killed)]
    assert summaries[0]["members"][0]["absolute"] == summaries[1]["members"][0]["absolute"]
    best = [(folder / "checkpoints" / "best").iterdir() for folder in (whole, killed)]
    assert [entry.name for entry in best[0]] == [entry.name for entry in best[1]]
