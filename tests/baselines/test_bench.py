"""The benchmark's method on made-up suites, and the real one at tiny sizes."""

import json
import multiprocessing
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.baselines.bench import env as bench_env
from shoal.baselines.bench import report
from shoal.baselines.bench import train as bench_train
from shoal.baselines.bench.compiling import PARTS, programs
from shoal.baselines.bench.peers import SCRIPTS, jaxmarl_settings, our_overrides
from shoal.baselines.bench.processes import HOST_SUITES, play
from shoal.baselines.bench.subjects import Subject, checksum, has_peer, ours
from shoal.baselines.bench.worker import PeerTrainTask, Worker
from shoal.baselines.composition import compose
from shoal.envs.core import UserError, make

ROW = {
    "kind",
    "env",
    "algorithm",
    "num_envs",
    "steps_per_second",
    "compile_seconds",
    "peak_bytes",
    "peer",
    "ratio",
}


class FakeWorker:
    """Answers as a worker would whose speed depends on the batch alone."""

    def __init__(
        self, name: str, rates: dict[int, float], finished: float = 1.0, log: list[str] | None = None
    ):
        self.name, self.rates, self.finished = name, rates, finished
        self.log: list[str] = [] if log is None else log

    def ask(self, ask: str, num_envs: int = 0, steps: int = 0) -> dict:
        if ask == "prepare":
            self.num_envs = num_envs
            self.log.append(f"{self.name} {num_envs}")
            return {"compile_seconds": float(num_envs), "peak_bytes": 1, "devices": 1}
        if ask == "restart":
            return {}
        if ask == "limits":
            return {"copied_bytes_per_second": 2e9, "product_flops_per_second": 3e9}
        self.log.append(f"{self.name} run")
        count = steps * self.num_envs
        return {
            "steps": count,
            "seconds": count / self.rates[self.num_envs],
            "checksum": 1.0,
            "steps_each": steps,
            "finished_mean": self.finished,
            "finished_error": 0.1,
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def quiet(line: str) -> None:
    pass


# The method ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peak", [64, 512, 4096])
def test_the_search_tries_every_batch(peak):
    rates = dict.fromkeys(bench_env.BATCHES, 200.0) | {128: 300.0, 256: 100.0, peak: 900.0}
    worker = FakeWorker("shoal", rates)
    best = bench_env._best(worker, "x", 5.0, quiet)
    assert (best.num_envs, best.prepared["compile_seconds"]) == (peak, float(peak))  # a dip hides nothing
    assert worker.num_envs == peak  # compiled last, ready to be timed
    assert best.rates == []


def test_repeats_take_about_the_time_asked_for():
    worker = FakeWorker("shoal", {64: 640_000.0})
    timed = bench_env._prepared(worker, "x", 64, 5.0, quiet)
    assert timed.steps_each == 50_000  # of 64 environments, at 640,000 steps per second


def test_rows_pair_medians_of_repeats_in_turns(monkeypatch):
    log: list[str] = []
    efforts = {}
    slow = dict.fromkeys(bench_env.BATCHES, 50.0)
    speeds = {"shoal": slow | {128: 600.0}, "jaxmarl": slow | {64: 200.0}}
    monkeypatch.setattr(
        bench_env,
        "Worker",
        lambda task, suite, env="", effort=None: (
            efforts.update({(task, suite): effort}) or FakeWorker(suite, speeds[suite], log=log)
        ),
    )
    made = bench_env.bench_envs(["combat/smax-3m"], None, "jaxmarl", 5.0, 3, quiet, effort="quick")
    (row,) = made["rows"]
    assert row.keys() >= ROW and row["compile_effort"] == "quick"
    assert efforts[("env", "shoal")] == "quick" and efforts[("env", "jaxmarl")] is None
    assert (row["env"], row["num_envs"], row["peer"]["num_envs"]) == ("combat/smax-3m-v1", 128, 64)
    assert row["steps_per_second"] == pytest.approx(600.0)
    assert row["ratio"] == pytest.approx(3.0)
    assert row["finished_episodes"]["equal"]
    assert log[-6:] == ["shoal run", "jaxmarl run"] * 3


def test_different_games_are_not_comparable(monkeypatch):
    finished = {"shoal": 1.0, "jaxmarl": 1.5}  # 3.5 sigma apart
    monkeypatch.setattr(
        bench_env,
        "Worker",
        lambda task, suite, env="", effort=None: FakeWorker(suite, {64: 100.0}, finished[suite]),
    )
    made = bench_env.bench_envs(["combat/smax-3m"], [64], "jaxmarl", 5.0, 1, quiet)
    rates = made["rows"][0]["finished_episodes"]
    assert not rates["equal"]
    assert rates["sigmas"] == pytest.approx(0.5 / np.hypot(0.1, 0.1))
    assert "NOT COMPARABLE" in report.markdown_table(made)


def test_checksum_reads_every_entry_of_every_leaf():
    returned = {
        "view": jnp.arange(12.0).reshape(2, 3, 2),
        "mask": jnp.asarray([[True, False], [True, True]]),
        "reward": (jnp.asarray([0.5, -1.0]), jnp.asarray([3, 4], jnp.int32)),
    }
    assert checksum(returned, 2).tolist() == [15 + 1 + 0.5 + 3, 51 + 2 - 1 + 4]


@pytest.mark.parametrize("devices", [1, 2])
def test_compiled_loop_sums_all_steps(devices):
    def step(world, key):
        world = world + 1.0
        return world, world, world == 3.0

    subject = Subject(lambda key: jnp.zeros(4), step, tuple(jax.devices()[:devices]), 4)
    opened, stepped, _ = subject.compile()
    stand = stepped(opened(jax.random.key(0)), jnp.asarray(3, jnp.int32))
    stand = stepped(stand, jnp.asarray(2, jnp.int32))
    assert stand.checksum.tolist() == [15.0] * 4  # 1 + 2 + 3 + 4 + 5
    assert stand.finished.tolist() == [1] * 4
    assert len(stand.checksum.devices()) == devices


def test_our_subject_plays_whole_episodes_and_counts_them():
    subject = ours("particle/simple-speaker-listener-v1", 4)
    steps = make("particle/simple-speaker-listener").max_steps + 1  # and the reset step in between
    opened, stepped, _ = subject.compile()
    stand = stepped(opened(jax.random.key(0)), jnp.asarray(3 * steps, jnp.int32))
    assert stand.finished.tolist() == [3] * 4
    assert bool(jnp.all(stand.checksum != 0.0))


def test_peers_are_known_or_refused():
    assert has_peer("jaxmarl", "combat/smax-27m_vs_30m-v1")
    assert has_peer("jaxmarl", "particle/simple-speaker-listener-v1")
    assert not has_peer("jaxmarl", "commons/water-v1")
    assert has_peer("highway-env", "traffic/highway-mild-v1")
    assert has_peer("mpe2", "particle/simple-tag-v1") and not has_peer("mpe2", "combat/smax-3m-v1")
    with pytest.raises(UserError, match="choose jaxmarl or mpe2 or highway-env"):
        has_peer("jaxmral", "combat/smax-3m-v1")
    with pytest.raises(UserError, match="mpe2 has environments only"):
        bench_train.bench_training("particle/simple-tag", "ippo", [], None, "mpe2", None)


# The command ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_bench_env_prints_rows(shoal_cli):
    words = ["--num-envs", "2,4", "--seconds", "0.05", "--repeats", "2", "--json"]
    status, out, _ = shoal_cli("bench", "env", "commons/water", *words)
    assert status == 0
    found = json.loads(out)
    assert found["machine"]["cores"] >= 1
    assert {"python", "jax", "shoal"} <= found["versions"].keys()
    assert [row["num_envs"] for row in found["rows"]] == [2, 4]
    for row in found["rows"]:
        assert row.keys() >= ROW
        assert (row["kind"], row["env"], row["algorithm"]) == ("env", "commons/water-v1", None)
        assert (row["peer"], row["ratio"]) == (None, None)
        assert row["steps_per_second"] > 0
        assert row["compile_seconds"] > 0
        assert row["peak_bytes"] > 0
        assert len(row["repeats"]) == 2
        assert min(row["equations"], row["step_flops"], row["step_bytes"]) > 50
    limits = found["machine"]["limits"]
    assert 1e8 < limits["copied_bytes_per_second"] < 1e13 and limits["product_flops_per_second"] > 1e8
    assert f"at {limits['copied_bytes_per_second'] / 1e9:,.1f} GB/s" in report.markdown_table(found)
    assert report.markdown_table(found).count("commons/water-v1") == 4  # rates, and what was counted


@pytest.mark.slow
@pytest.mark.parity
def test_bench_env_beside_jaxmarl(shoal_cli):
    words = [
        "--num-envs",
        bench_env.RATE_BATCH,
        "--seconds",
        "0.1",
        "--repeats",
        "1",
        "--against",
        "jaxmarl",
        "--json",
    ]
    status, out, err = shoal_cli("bench", "env", "combat/smax-3m", *words)
    assert status == 0, err
    (row,) = json.loads(out)["rows"]
    assert row["peer"]["name"] == "jaxmarl"
    assert {"steps_per_second", "compile_seconds"} <= row["peer"].keys()
    assert row["ratio"] == pytest.approx(row["steps_per_second"] / row["peer"]["steps_per_second"])
    # Both finish episodes of random play equally often: they play the same game.
    assert row["finished_episodes"]["equal"], row["finished_episodes"]


@pytest.mark.slow
@pytest.mark.parity
def test_bench_env_beside_mpe2():
    found = bench_env.bench_envs(["particle/simple-spread"], [8], "mpe2", 0.1, 1, quiet)
    (row,) = found["rows"]
    assert (row["peer"]["name"], row["peer"]["num_envs"]) == ("mpe2", 8)
    assert row["peer"]["devices"] == min(8, found["machine"]["cores"])
    assert row["finished_episodes"]["peer_per_step"] == pytest.approx(
        1 / make("particle/simple-spread").max_steps
    )
    assert row["finished_episodes"]["equal"]
    assert "mpe2" in report.markdown_table(found)


@pytest.mark.slow
@pytest.mark.parity
def test_a_highway_of_highway_env_has_as_many_vehicles_and_is_as_long():
    """What is timed is a road as full as ours, whose random episodes end by crashing or in time."""
    host = HOST_SUITES["highway-env"]
    game = host.game(**host.more, duration=3)
    game.reset(0)
    assert len(game.env.road.vehicles) == 55 and len(game.env.controlled_vehicles) == 5
    rng = np.random.default_rng(0)
    ends = [game.step(rng)[1] for _ in range(3)]
    assert ends[-1] and game.env.time == pytest.approx(len(ends))
    here, there = multiprocessing.Pipe()
    here.send(("restart", 0))
    here.send(("run", 4))
    here.close()
    answers = []
    play(
        SimpleNamespace(recv=there.recv, send=answers.append),
        "highway-env",
        0,
        1,
        {**host.more, "duration": 3},
    )
    assert answers[-1]["clock"] == 4 and answers[-1]["finished"].sum() >= 1
    assert np.isfinite(answers[-1]["checksum"]) and answers[-1]["checksum"] != 0.0


def test_compile_time_is_counted_by_program():
    def inner(x):
        return jnp.sin(x) @ x

    def outer(x):
        return jax.jit(inner)(x) + 1.0

    def slow(event, seconds, **details):  # stand-ins for programs that take long enough to be listed
        found.note(event, 10.0 * seconds + 0.1, **details)

    with programs() as found:
        jax.monitoring.register_event_duration_secs_listener(slow)
        jax.jit(outer).lower(jax.ShapeDtypeStruct((3, 3), jnp.float32)).compile()
        jax.monitoring.unregister_event_duration_listener(slow)
    rows = {row["name"]: row for row in found.rows()}
    assert "inner" not in rows  # its time is in the program that it is part of
    assert min(rows["outer"][part] for part in PARTS.values()) > 0.1
    seen = len(found.rows())
    jax.jit(lambda x: x * 3.0).lower(jnp.zeros(3)).compile()
    assert len(found.rows()) == seen  # nothing is heard any more


def test_a_failing_process_is_one_line():
    with (
        Worker(task="env", suite="shoal", env="commons/water-v1") as worker,
        pytest.raises(UserError) as error,
    ):
        worker.ask(ask="prepare", num_envs=0)
    assert "the process that times shoal failed" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_effort_is_one_line(shoal_cli):
    status, out, err = shoal_cli("bench", "env", "commons/water", "--effort", "quik")
    assert status == 2 and not out and len(err.strip().splitlines()) == 1
    assert "effort='quik' is not one of quick, full; did you mean 'quick'" in err


@pytest.mark.parametrize("text", ["", "0", "8,", "many"])
def test_batches_must_be_numbers(text, shoal_cli):
    status, out, err = shoal_cli("bench", "env", "commons/water", "--num-envs", text)
    assert (status, out) == (2, "")
    assert "1,128,1024" in err


# Training ------------------------------------------------------------------------------------------------

SETTINGS = """
LR: 0.004
NUM_ENVS: 4
NUM_STEPS: 4
GRU_HIDDEN_DIM: 8
FC_DIM_SIZE: 8
TOTAL_TIMESTEPS: 1e7
UPDATE_EPOCHS: 1
NUM_MINIBATCHES: 2
GAMMA: 0.99
GAE_LAMBDA: 0.95
CLIP_EPS: 0.05
ENT_COEF: 0.01
VF_COEF: 0.5
MAX_GRAD_NORM: 0.25
ACTIVATION: "relu"
MAP_NAME: "2s3z"
ANNEAL_LR: True
ENTITY: ${oc.env:WANDB_ENTITY}
"""
SCRIPT = """
import jax.numpy as jnp


def make_train(config):
    assert config["MAP_NAME"] == "3m" and config["TOTAL_TIMESTEPS"] == 2 * 4 * 4
    return lambda key: jnp.sum(key)
"""


@pytest.fixture
def peer_repo(tmp_path: Path) -> Path:
    """A checkout with a script that trains nothing."""
    folder = tmp_path / "baselines" / "IPPO"
    (folder / "config").mkdir(parents=True)
    (folder / "ippo_rnn_smax.py").write_text(SCRIPT)
    (folder / "config" / "ippo_rnn_smax.yaml").write_text(SETTINGS)
    return tmp_path


def test_the_peers_hyperparameters_become_ours(peer_repo):
    settings = jaxmarl_settings(peer_repo, "ippo", "combat/smax-3m-v1")
    config = compose(["env=combat/smax-3m", "algorithm=ippo", *our_overrides("ippo", settings)])
    assert (config.num_envs, config.network.hidden_size, config.network.core) == (4, 8, "gru")
    a = config.algorithm
    assert (a.learning_rate, a.anneal_learning_rate, a.rollout_length) == (0.004, True, 4)
    assert (a.epochs, a.minibatches, a.clip, a.entropy_coef) == (1, 2, 0.05, 0.01)
    assert (a.gamma, a.gae_lambda, a.value_coef, a.max_grad_norm) == (0.99, 0.95, 0.5, 0.25)


def test_an_incomplete_checkout_is_refused(tmp_path):
    with pytest.raises(UserError, match="give a checkout of JaxMARL's repository"):
        jaxmarl_settings(tmp_path, "ippo", "combat/smax-3m-v1")


def test_without_a_checkout_the_row_says_so(monkeypatch):
    seen = []

    def row(id, algorithm, words, settings, *rest):
        seen.append((words, settings))
        return {"env": id, "algorithm": algorithm, "peer": None, "ratio": None}

    monkeypatch.setattr(bench_train, "_row", row)
    (row,) = bench_train.bench_training("combat/smax-3m", "ippo", [], [8], "jaxmarl", None, say=quiet)["rows"]
    assert "--peer-repo" in row["skipped"]
    assert seen == [(["env=combat/smax-3m-v1", "algorithm=ippo", "num_envs=8"], None)]


@pytest.mark.slow
@pytest.mark.parity
def test_bench_train_beside_a_script(shoal_cli, peer_repo):
    words = ["--against", "jaxmarl", "--peer-repo", peer_repo, "--repeats", 1, "--json"]
    status, _, err = shoal_cli("bench", "train", "combat/smax-3m", "ippo", "seed=1", *words)
    assert status == 2 and "only compile_effort= can be set" in err
    status, out, err = shoal_cli("bench", "train", "combat/smax-3m", "ippo", "compile_effort=quick", *words)
    assert status == 0, err
    (row,) = json.loads(out)["rows"]
    assert row.keys() >= ROW and row["compile_effort"] == "quick"
    assert (row["kind"], row["algorithm"], row["num_envs"]) == ("train", "ippo", 4)
    assert row["peer"]["num_envs"] == 4
    assert row["ratio"] > 0


Q_SETTINGS = """
TOTAL_TIMESTEPS: 1e7
NUM_ENVS: 4
NUM_STEPS: 8
BUFFER_SIZE: 60
BUFFER_BATCH_SIZE: 3
HIDDEN_SIZE: 16
MIXER_EMBEDDING_DIM: 5
MIXER_HYPERNET_HIDDEN_DIM: 6
MIXER_INIT_SCALE: 0.01
EPS_START: 1.0
EPS_FINISH: 0.05
EPS_DECAY: 0.2
MAX_GRAD_NORM: 10
TARGET_UPDATE_INTERVAL: 7
TAU: 0.5
NUM_EPOCHS: 2
LR: 0.0001
LEARNING_STARTS: 100
LR_LINEAR_DECAY: True
GAMMA: 0.9
REW_SCALE: 10.0
ENV_NAME: "HeuristicEnemySMAX"
ENV_KWARGS: {}
MAP_NAME: "3s_vs_5z"
"""
Q_SCRIPT = """
import jax.numpy as jnp

MADE = []


def env_from_config(config):
    assert config["MAP_NAME"] == "3m" and not config["TEST_DURING_TRAINING"]
    return "the environment", "its name"


def make_train(config, env):
    assert env == "the environment"
    MADE.append(config["TOTAL_TIMESTEPS"])
    return lambda key: jnp.sum(key)
"""


@pytest.fixture
def q_repo(tmp_path: Path) -> Path:
    """A checkout with a QMIX script that trains nothing."""
    folder = tmp_path / "baselines" / "QLearning"
    (folder / "config" / "alg").mkdir(parents=True)
    (folder / "qmix_rnn.py").write_text(Q_SCRIPT)
    (folder / "config" / "alg" / "ql_rnn_smax.yaml").write_text(Q_SETTINGS)
    return tmp_path


def test_the_peers_q_learning_becomes_ours(q_repo):
    settings = jaxmarl_settings(q_repo, "qmix", "combat/smax-3m-v1")
    config = compose(["env=combat/smax-3m", "algorithm=qmix", *our_overrides("qmix", settings)])
    a = config.algorithm
    assert (config.num_envs, config.network.hidden_size, a.rollout_length) == (4, 16, 8)
    assert (a.buffer_size, a.batch_size, a.gradient_steps, a.learning_starts) == (60, 3, 2, 100)
    assert (a.mixer_size, a.hypernet_size, a.mixer_gain) == (5, 6, 0.01)
    assert (a.epsilon_start, a.epsilon_finish, a.epsilon_decay) == (1.0, 0.05, 0.2)
    assert (a.learning_rate, a.anneal_learning_rate, a.max_grad_norm) == (0.0001, True, 10.0)
    assert (a.target_interval, a.tau, a.gamma, a.reward_scale) == (7, 0.5, 0.9, 10.0)


def test_rollouts_that_only_fill_the_replay_are_timed_apart(q_repo, monkeypatch):
    settings = jaxmarl_settings(q_repo, "qmix", "combat/smax-3m-v1")
    # 100 steps take four updates of 4 x 8; a batch of 3 in every environment takes three.
    assert SCRIPTS["qmix"].updates_before_learning(settings) == 4
    monkeypatch.setattr("sys.path", [*sys.path])
    task = PeerTrainTask("jaxmarl", str(q_repo), "qmix", settings)
    task.prepare(updates=2)
    assert sys.modules["peer_script"].MADE == [4 * 32, 6 * 32]
    assert task.run()["steps"] == 2 * 32


def test_a_table_of_measurements_taken_before(tmp_path, shoal_cli):
    row = {
        "kind": "env", "env": "combat/smax-3m-v1", "algorithm": None, "num_envs": 64, "peer": None,
        "ratio": None, "steps_per_second": 1234.5, "compile_seconds": 3.25,
        "peak_bytes": None, "devices": 2, "repeats": [],
    }  # fmt: skip
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(report.envelope([row])))
    status, out, _ = shoal_cli("bench", "table", kept, kept, "--markdown")
    assert status == 0 and out.count("| combat/smax-3m-v1 | 64 | 1,234 | 3.2 | - |") == 2
    kept.write_text('{"rows": [{}]}')
    for path, why in ((kept, "does not hold what shoal bench --json prints"), (tmp_path / "no", "be read")):
        status, _, err = shoal_cli("bench", "table", path)
        assert status == 2 and why in err and err.count("\n") == 1
