"""Code of a user's own: the examples as a user runs them, by Python paths and by entry points."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.algorithms import registry as algorithms
from shoal.baselines import load_policy
from shoal.baselines.composition import compose
from shoal.baselines.config import from_dict, read_yaml
from shoal.envs.core import UserError, make, registry
from shoal.envs.core.importing import find_class, is_path
from shoal.envs.core.registry import resolve, split_id

ENV, ALGORITHM = "examples.rendezvous:Rendezvous", "examples.actor_critic:A2C"
WORDS = (
    "env=examples.rendezvous", "env.num_agents=3", "env.cells=7", "algorithm=examples.actor_critic",
    "network=mlp", "num_envs=16", "devices=1", "eval.episodes=64", "logger.console=false",
)  # fmt: skip


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    """Stands in the checkout, and forgets what a test makes importable."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(repository)


# The examples ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_environment_passes_its_own_test() -> None:
    resolve(ENV)
    importlib.import_module("examples.test_rendezvous").test_conformance()


def test_two_agents_meet_by_hand() -> None:
    env = make(ENV, slip=0.0)
    kinds = sys.modules["examples.rendezvous"]

    def play(start: list[int], *actions: list[int]) -> tuple[list[list[float]], bool]:
        state = env.initial_state(kinds.Level(jnp.asarray(start), env.params))
        rewards = []
        for action in actions:
            state, outcome = env.dynamics(state, jnp.asarray(action), jnp.ones(2))
            rewards.append(outcome.reward.tolist())
        return rewards, bool(outcome.terminated)

    paid, met = pytest.approx([-0.05, -0.05]), pytest.approx([0.95, 0.95])
    assert play([0, 2], [1, 2]) == ([met], True)
    assert play([10, 0], [1, 2]) == ([paid], False)  # they pass in between, over the seam
    assert play([10, 0], [1, 0]) == ([met], True)
    assert play([3, 5], [0, 2], [7, 2]) == ([paid, met], True)  # 7 is no action, so it waits
    seen = env.observe(env.initial_state(kinds.Level(jnp.asarray([10, 1]), env.params))).view
    assert jnp.flatnonzero(seen[0]).tolist() == [2]  # two cells ahead of the first, nine of the second
    assert jnp.flatnonzero(seen[1]).tolist() == [9]


def test_the_bot_takes_the_shorter_way() -> None:
    env = make(ENV, slip=0.0)
    bot = env.scripted_policies()["scripted"]()
    ways = np.arange(1, 11)
    cells = jnp.asarray(np.stack([np.zeros_like(ways), ways], axis=1), jnp.int32)
    level = sys.modules["examples.rendezvous"].Level(
        cells, jax.tree.map(lambda x: jnp.full(10, x), env.params)
    )
    state = jax.vmap(env.initial_state)(level)
    met_at = np.zeros(10, int)
    for step in range(1, 6):
        _, action = bot.act(jax.random.key(0), (), jax.vmap(env.observe)(state))
        state, outcome = jax.vmap(env.dynamics)(state, action, jnp.ones((10, 2)))
        met_at = np.where((met_at == 0) & np.asarray(outcome.terminated), step, met_at)
    assert met_at.tolist() == np.minimum(ways, 11 - ways).tolist()


@pytest.fixture(scope="module")
def trained(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example algorithm on the example environment by the command line, stopped half way and resumed."""
    from shoal.baselines.cli import main

    folder = tmp_path_factory.mktemp("mine") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository)
        for words in (
            (*WORDS, "total_env_steps=6144", f"output_dir={folder}"),
            (f"resume={folder}", "total_env_steps=12288"),
        ):
            with pytest.raises(SystemExit) as exit:
                main(["train", *words])
            assert exit.value.code in (0, None)
    return folder


@pytest.mark.slow
def test_the_algorithm_learns(trained: Path, shoal_cli) -> None:
    """Random agents meet now and then; trained ones soon and nearly always."""
    status, out, _ = shoal_cli("evaluate", trained, "--policy", "random", "--episodes", 128, "--json")
    assert status == 0
    chance = json.loads(out)["metrics"]
    absolute = json.loads((trained / "summary.json").read_text())["members"][0]["absolute"]
    assert chance["episode_return"]["ci95"][1] < 0.2
    assert absolute["episode_return"]["ci95"][0] > 0.6
    assert absolute["met"]["mean"] > chance["met"]["mean"] + 0.3


@pytest.mark.slow
def test_a_run_records_full_paths_and_short_names(trained: Path) -> None:
    values = read_yaml(trained)
    assert (values["env"]["id"], values["algorithm"]["name"]) == (ENV, ALGORITHM)
    config = from_dict(values)
    assert (config.env_id, config.env_options, config.algorithm_name) == (
        ENV, {"num_agents": 3, "cells": 7}, ALGORITHM,
    )  # fmt: skip
    row = json.loads((trained / "metrics.jsonl").read_text().splitlines()[0])
    assert {"A2C/policy_loss", "A2C/value_loss", "A2C/entropy", "A2C/grad_norm"} <= row.keys()
    policy = load_policy(trained)
    assert policy.env().id == ENV
    assert policy.env().num_agents == 3


@pytest.mark.slow
def test_it_is_watched_and_compared(trained: Path, shoal_cli, tmp_path: Path) -> None:
    status, out, err = shoal_cli("watch", trained, "--out", tmp_path / "replays")
    assert status == 0, err
    assert {file.name for file in (tmp_path / "replays").iterdir()} == {
        "examples.rendezvous-Rendezvous-seed-0.gif", "examples.rendezvous-Rendezvous-seed-0.html",
    }  # fmt: skip
    status, out, err = shoal_cli("compare", trained, f"again={trained}", "--json")
    assert status == 0, err
    report = json.loads(out)
    assert report["tasks"] == ["examples.rendezvous/Rendezvous[cells=7 num_agents=3]"]
    assert (report["algorithms"], report["metric"]) == (["A2C", "again"], "time_left")
    assert report["cells"][0]["ours"] == 0.5


# Python paths --------------------------------------------------------------------------------------------


MODULE = """
from shoal.algorithms.ippo import IPPO
from shoal.envs.commons.water.env import Water


class Mine(IPPO):
    pass


class Pond(Water):
    pass


class Half:
    Config = IPPO.Config
    needs_state = fresh_rollouts = False

    def init(self):
        pass
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, current and not on the path, with a package of one good and some bad modules."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "lab"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "mine.py").write_text(MODULE)
    (lab / "two.py").write_text(MODULE + "\n\nclass Other(IPPO):\n    pass\n")
    (lab / "broken.py").write_text("import not_installed_anywhere\n")
    (lab / "wrong.py").write_text("def half(:\n")
    return lab


def test_paths_are_told_from_names() -> None:
    assert all(map(is_path, ("a.b", "a:B", "a.b.c:D", ENV)))
    assert not any(
        map(is_path, ("ippo", "pqn_vdn", "combat/smax-3m", "combat/smax-3m-v1", "", "1.5", "a.b:C.d"))
    )
    assert (split_id(ENV), split_id("a/b-v1")) == (("examples.rendezvous", "Rendezvous"), ("a", "b-v1"))
    assert (algorithms.short_name(ALGORITHM), algorithms.short_name("ippo")) == ("A2C", "ippo")


def test_modules_of_the_current_folder_are_found(package: Path) -> None:
    config = compose(["env=lab.mine", "env.max_steps=9", "algorithm=lab.mine", "algorithm.clip=0.1"])
    assert (config.env_id, config.algorithm_name) == ("lab.mine:Pond", "lab.mine:Mine")
    assert (config.env_options, config.algorithm.clip) == ({"max_steps": 9}, 0.1)
    assert make("lab.mine:Pond", num_agents=3).num_agents == 3
    named = compose(["algorithm=lab.two:Other", "env=lab.two:Pond"])
    assert (named.env_id, named.algorithm_name) == ("lab.two:Pond", "lab.two:Other")
    assert from_dict(config.to_dict()) == config


def test_a_package_offers_what_its_modules_define(package: Path) -> None:
    (package / "__init__.py").write_text("from lab.mine import Mine, IPPO\n")
    path, kind = find_class("lab", "learner", lambda found: "" if hasattr(found, "Config") else "no Config")
    assert (path, kind.__module__) == ("lab:Mine", "lab.mine")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("algorithm=lab.nowhere", "learner lab.nowhere: there is no module 'lab.nowhere' in this folder"),
        ("algorithm=nowhere.at_all:X", "there is no module 'nowhere' in this folder"),
        ("algorithm=lab.mine:Mien", "lab.mine has no 'Mien'; did you mean 'Mine'?"),
        ("algorithm=lab.mine:Half", "lab.mine:Half is no learner: it lacks initial_carry, explore, "),
        ("algorithm=lab.mine:Pond", "lab.mine:Pond is no learner: it lacks Config"),
        ("algorithm=lab.mine:MODULE", "lab.mine has no 'MODULE'"),
        ("algorithm=lab.two", "lab.two defines several of the kind learner; name one: lab.two:Mine|Other"),
        ("algorithm=lab.broken", "module lab.broken cannot be imported: ModuleNotFoundError: No module"),
        ("algorithm=lab.wrong:X", "module lab.wrong cannot be imported: SyntaxError"),
        ("algorithm=lab.mine algorithm.clop=1", "did you mean algorithm.clip?"),
        ("env=lab.mine:Mine", "lab.mine:Mine is no environment: it must be a subclass of shoal.envs.core."),
        ("env=json", "there is no environment 'json'"),
        ("env=lab.mine env.agents=3", "lab.mine:Pond has no option 'agents'; did you mean 'num_agents'?"),
        ("env=shoal.envs.core.environment:Environment", "it lacks draws, dynamics, "),
        ("env=shoal.envs.core.errors", "module shoal.envs.core.errors defines no environment"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(word: str, said: str, package: Path, shoal_cli) -> None:
    status, out, err = shoal_cli("train", *word.split(), "output_dir=run")
    assert (status, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert not Path("run").exists()


# Entry points ----------------------------------------------------------------------------------------------


def test_a_distribution_offers_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    info = tmp_path / "meetings-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: meetings\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[shoal.envs]\nmeetings = meetings\n\n[shoal.algorithms]\na2c = {ALGORITHM}\n"
    )
    (tmp_path / "meetings.py").write_text(
        f'from shoal.envs.core import register\n\nregister("meetings/ring-v1", "{ENV}")\n'
        f'register("meetings/ring-v2", "{ENV}", cells=9)\n'
    )
    registry.list_environments()
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    for place in (repository, tmp_path):
        monkeypatch.syspath_prepend(place)
    monkeypatch.delitem(sys.modules, "meetings", raising=False)
    registry._load_plugins.cache_clear()
    try:
        config = compose(["env=meetings/ring", "algorithm=a2c", "algorithm.gamma=0.9"])
        assert (config.env_id, config.algorithm_name) == ("meetings/ring-v2", "a2c")
        assert (type(config.algorithm).__name__, config.algorithm.gamma) == ("A2CConfig", 0.9)
        assert make("meetings/ring-v2").options.cells == 9
        assert "a2c" in algorithms.list_algorithms()
        with pytest.raises(UserError, match=r"did you mean 'a2c'"):
            compose(["algorithm=a2"])
    finally:
        registry._load_plugins.cache_clear()
