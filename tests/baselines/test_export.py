"""Exported policies: two files that play as the run does, refused when they are not what they were."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from shoal.baselines import load_policy
from shoal.baselines.checkpoints import flatten
from shoal.baselines.export import CARD, TENSORS, export_policy
from shoal.envs.core import UserError

# Plays an exported policy in a process of its own, where what it must not need cannot be imported.
PLAY = """
import sys
BLOCKED = ("orbax", "orbax.checkpoint", "hydra", "omegaconf", "wandb")
sys.modules.update(dict.fromkeys(BLOCKED))  # importing them fails
import pickle
pickle.load = pickle.loads = pickle.Unpickler = None
import json
import jax
from shoal.baselines import load_policy
policy = load_policy(sys.argv[1])
_, timestep = policy.env().reset(jax.random.key(0))
_, action = policy.act(jax.random.key(1), policy.initial_carry(), timestep.observation, greedy=False)
training = ["shoal.algorithms.training", "shoal.baselines.build", "shoal.baselines.runner"]
print(json.dumps({"action": action.tolist(), "training": [name for name in training if name in sys.modules]}))
"""


@pytest.fixture(scope="module")
def exported(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Member 1 of the run, to be read only."""
    return export_policy(f"{run_folder}@1", tmp_path_factory.mktemp("exported") / "policy")


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(exported, tmp_path / "policy"))


def card_of(folder: Path) -> dict:
    return json.loads((folder / CARD).read_text())


def rewrite(folder: Path, change) -> None:
    """Changes the card and makes its checksum fit again, as one who means it could."""
    card = card_of(folder)
    change(card)
    del card["sha256"]
    card["sha256"] = hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()
    (folder / CARD).write_text(json.dumps(card))


def test_plays_as_the_run_does(run_folder, exported):
    mine, theirs = load_policy(exported), load_policy(run_folder, 1)
    ours, kept = flatten(mine.params), flatten(theirs.params)
    assert ours.keys() == kept.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, kept[name])
    assert mine.env().options == theirs.env().options
    _, timestep = mine.env().reset(jax.random.key(0))
    for greedy in (True, False):
        played = [
            p.act(jax.random.key(3), p.initial_carry(), timestep.observation, greedy=greedy)
            for p in (mine, theirs)
        ]
        jax.tree.map(np.testing.assert_array_equal, *played)


def test_two_files_and_what_the_card_says(run_folder, exported):
    assert {path.name for path in exported.iterdir()} == {CARD, TENSORS}
    card = card_of(exported)
    assert (card["format"], card["format_version"]) == ("shoal-policy", 1)
    assert (card["env"]["id"], card["env"]["options"]) == ("commons/water-v1", {"max_steps": 12})
    assert card["env"]["action_space"] == "Discrete(n=2)"
    (entry,) = card["policies"].values()
    assert entry["algorithm"]["name"] == "ippo"
    assert entry["network"]["hidden_size"] == 8
    assert entry["group"]["indices"] == [0, 1, 2, 3]
    assert card["trained"] == {"run": "run", "member": 1, "seed": 1, "swept": {}}
    summary = json.loads((run_folder / "summary.json").read_text())
    assert card["evaluation"]["absolute"] == summary["members"][1]["absolute"]
    assert card["evaluation"]["best"] == summary["members"][1]["best"]
    assert card["versions"]["trained_with"] == json.loads((run_folder / "versions.json").read_text())
    tensors = load_file(exported / TENSORS)
    assert card["tensors"]["parameters"] == sum(value.size for value in tensors.values())
    assert card["tensors"]["sha256"] == hashlib.sha256((exported / TENSORS).read_bytes()).hexdigest()


def test_runs_without_training_code_checkpoints_and_pickle(exported):
    done = subprocess.run(
        [sys.executable, "-c", PLAY, str(exported)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["training"] == []
    policy = load_policy(exported)
    _, timestep = policy.env().reset(jax.random.key(0))
    action = policy.act(jax.random.key(1), policy.initial_carry(), timestep.observation, greedy=False)[1]
    assert report["action"] == action.tolist()


# What is refused -----------------------------------------------------------------------------------------


def flip_a_byte(folder):
    content = bytearray((folder / TENSORS).read_bytes())
    content[-3] ^= 1
    (folder / TENSORS).write_bytes(content)


def cut_the_card(folder):
    text = (folder / CARD).read_text()
    (folder / CARD).write_text(text[: len(text) // 2])


def change_the_card(folder):
    text = (folder / CARD).read_text()
    (folder / CARD).write_text(text.replace('"squash": false', '"squash": true'))


def swap_the_tensors(folder):
    save_file({"nothing": np.zeros(3, np.float32)}, folder / TENSORS)
    sha = hashlib.sha256((folder / TENSORS).read_bytes()).hexdigest()
    rewrite(folder, lambda card: card["tensors"].update(sha256=sha))


def garble_the_tensors(folder):
    (folder / TENSORS).write_bytes(b"no tensors")
    sha = hashlib.sha256(b"no tensors").hexdigest()
    rewrite(folder, lambda card: card["tensors"].update(sha256=sha))


def card_with(**changes):
    return lambda folder: rewrite(folder, lambda card: card.update(changes))


def env_with(**changes):
    return lambda folder: rewrite(folder, lambda card: card["env"].update(changes))


def entry_with(**changes):
    return lambda folder: rewrite(folder, lambda card: card["policies"]["ippo"].update(changes))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip_a_byte, "policy.safetensors is damaged or has changed"),
        (cut_the_card, "card.json is damaged"),
        (change_the_card, "card.json has changed"),
        (swap_the_tensors, "does not fit .* is missing"),
        (garble_the_tensors, "holds no tensors"),
        (lambda folder: (folder / TENSORS).unlink(), "policy.safetensors cannot be read"),
        (lambda folder: (folder / CARD).write_text("[]"), "is no card"),
        (card_with(format_version=2), "format version 2; this Shoal reads 1"),
        (env_with(action_space="Discrete(n=3)"), "now that is Discrete"),
        (env_with(id="commons/wtaer-v1"), "there is no environment 'commons/wtaer-v1'"),
        (entry_with(network={"hidden_size": 9}), r"does not fit .*, not float32\("),
        (entry_with(network={"hiden_size": 8}), "did you mean network.hidden_size"),
        (entry_with(setting={}), "does not fit"),
        (entry_with(group=3), "does not fit"),
        (entry_with(algorithm={"name": "ipo"}), "did you mean 'ippo'"),
    ],
)  # fmt: skip
def test_damaged_or_changed_files_are_one_line(damage, said, copied):
    damage(copied)
    with pytest.raises(UserError, match=said) as error:
        load_policy(copied)
    assert "\n" not in str(error.value)


# The commands --------------------------------------------------------------------------------------------


def test_from_the_command_line(run_folder, tmp_path, shoal_cli, monkeypatch):
    status, out, _ = shoal_cli("export", run_folder)
    assert (status, out) == (0, f"{run_folder / 'export'}\n")
    assert card_of(run_folder / "export")["trained"]["member"] == load_policy(run_folder).name.endswith("@1")
    status, out, _ = shoal_cli("export", f"{run_folder}@0", "--json")
    assert json.loads(out) == card_of(run_folder / "export-0")
    target = tmp_path / "mine"
    assert shoal_cli("export", f"{run_folder}@0", "--output", target)[:2] == (0, f"{target}\n")
    words = ["--episodes", 4, "--json"]
    report = json.loads(shoal_cli("evaluate", target, *words)[1])
    assert report["policy"] == str(target)
    assert report["metrics"] == json.loads(shoal_cli("evaluate", f"{run_folder}@0", *words)[1])["metrics"]
    by_file = json.loads(shoal_cli("evaluate", target / TENSORS, *words)[1])
    assert by_file["metrics"] == report["metrics"]
    idle = json.loads(shoal_cli("evaluate", target, "--policy", "idle", *words)[1])
    assert idle["metrics"]["episode_length"]["mean"] == 12.0
    status, out, _ = shoal_cli("watch", target, "--json")
    assert status == 0
    assert all(Path(file).parent == target / "replays" for file in json.loads(out)["files"])


def test_mistakes_are_one_line(run_folder, exported, tmp_path, shoal_cli):
    (tmp_path / "file").touch()
    for words, said in (
        (["export", tmp_path / "nowhere"], "there is no run folder"),
        (["export", f"{run_folder}@7"], "no member 7; it has 2"),
        (["export", run_folder, "--output", run_folder], "is a run folder"),
        (["export", run_folder, "--output", tmp_path / "file" / "below"], "cannot be written"),
        (["evaluate", f"{exported}@1"], "has no members"),
    ):
        status, out, err = shoal_cli(*words)
        assert (status, out) == (2, "")
        assert said in err
        assert len(err.splitlines()) == 1


def test_the_guides_python_runs(exported, repository, tmp_path, monkeypatch):
    shutil.copytree(exported, tmp_path / "policies" / "first")
    monkeypatch.chdir(tmp_path)
    text = (repository / "docs" / "guides" / "export.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "export.md", "exec"), names)
    assert np.shape(names["action"]) == (4,)
