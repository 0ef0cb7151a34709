"""One run trained by two processes on this machine gives what one process with two devices gives."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from shoal.baselines.checkpoints import read_best

pytestmark = pytest.mark.slow
WORDS = [
    "env=commons/water", "algorithm=ippo", "network.hidden_size=8", "num_envs=8", "total_env_steps=192",
    "algorithm.rollout_length=4", "algorithm.epochs=1", "shuffle_groups=2", "eval.episodes=4",
    "eval.num_envs=4", "log_every=2", "seed=3",
]  # fmt: skip
WALL_CLOCK = ("wall_seconds", "steps_per_second")


def start(*words):
    return subprocess.Popen(
        [sys.executable, "-m", "shoal.baselines.cli", "train", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(*processes):
    """Waits for all of them and returns the lines of their standard outputs, but for those of Gloo's own."""
    ends = [process.communicate(timeout=300) for process in processes]
    for process, (_, errors) in zip(processes, ends, strict=True):
        assert process.returncode == 0, errors
    return [[line for line in out.splitlines() if not line.startswith("[Gloo]")] for out, _ in ends]


def pair(*words):
    """Starts the two processes of one run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = [f"distributed.coordinator=127.0.0.1:{port}", "distributed.num_processes=2", *words]
    return [start(*shared, f"distributed.process_id={number}") for number in (0, 1)]


def rows(folder):
    read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in read]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run by one process with two devices and by two processes."""
    folder = tmp_path_factory.mktemp("processes")
    one, two = folder / "one", folder / "two"
    alone = start(*WORDS, f"output_dir={one}", "devices=2")
    finish(alone)
    outputs = finish(*pair(*WORDS, f"output_dir={two}"))
    return one, two, outputs


def test_two_processes_train_to_the_same_bits(runs):
    one, two, _ = runs
    ours, theirs = read_best(one / "checkpoints")[0], read_best(two / "checkpoints")[0]
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def test_one_process_writes_for_both(runs):
    one, two, outputs = runs
    assert rows(one) == rows(two)
    assert len(rows(two)) == 3
    assert outputs == [[str(two)], []]


def test_a_run_of_one_process_goes_on_in_two(runs):
    one, _, _ = runs
    finish(*pair(f"resume={one}", "total_env_steps=256", "devices=1"))
    assert [row["env_steps"] for row in rows(one)] == [64, 128, 192, 256]
