"""Trained and scripted policies, from Python and from the command line: load_policy, evaluate, watch."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import shoal
from shoal.baselines import load_policy, record_episode
from shoal.baselines.checkpoints import flatten, read_best
from shoal.baselines.commands.evaluate import evaluation_report
from shoal.baselines.export import export_policy
from shoal.baselines.policies import resolve_policy
from shoal.envs.core import UserError

STEPS = 12  # of an episode in `run_folder`


def play(env, policy, seed: int = 0) -> float:
    """The return of one greedy episode, by hand."""
    state, timestep = env.reset(jax.random.key(seed))
    carry, total, step = policy.initial_carry(), 0.0, jax.jit(env.step)
    while not (timestep.terminated or timestep.truncated):
        carry, action = policy.act(jax.random.key(1), carry, timestep.observation)
        state, timestep = step(jax.random.key(2), state, action)
        total += float(np.mean(timestep.reward))
    return total


# load_policy ---------------------------------------------------------------------------------------------


def test_holds_the_best_parameters_of_the_member(run_folder):
    flat, note = read_best(run_folder / "checkpoints")
    for member in (0, 1):
        loaded = flatten(load_policy(run_folder, member).params)
        assert loaded.keys() == flat.keys()
        for name, value in loaded.items():
            np.testing.assert_array_equal(value, flat[name][member])
    default = flatten(load_policy(str(run_folder)).params)
    name = next(name for name in flat if "kernel" in name)
    np.testing.assert_array_equal(default[name], flat[name][note["member"]])
    assert not np.array_equal(flat[name][0], flat[name][1])


def test_member_by_name_is_member_by_number(run_folder):
    by_name, by_number = load_policy(f"{run_folder}@1"), load_policy(run_folder, 1)
    assert by_name.name == by_number.name == f"{run_folder}@1"
    for a, b in zip(jax.tree.leaves(by_name.params), jax.tree.leaves(by_number.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_acts_on_one_observation_and_on_a_batch(run_folder):
    policy = load_policy(run_folder)
    env = policy.env()
    assert env.max_steps == STEPS
    _, timestep = env.reset(jax.random.key(0))
    carry, one = policy.act(jax.random.key(1), policy.initial_carry(), timestep.observation)
    assert one.shape == (env.num_agents,)
    batch = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (5, 3, *leaf.shape)), timestep.observation)
    carries, many = policy.act(jax.random.key(1), policy.initial_carry((5, 3)), batch)
    np.testing.assert_array_equal(many, np.broadcast_to(one, (5, 3, env.num_agents)))
    for a, b in zip(jax.tree.leaves(carries), jax.tree.leaves(carry), strict=True):
        np.testing.assert_allclose(a, np.broadcast_to(b, a.shape), rtol=1e-5, atol=1e-6)


def test_sampling_draws_and_greedy_does_not(run_folder):
    policy = load_policy(run_folder)
    _, timestep = policy.env().reset(jax.random.key(0))
    batch = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (64, *leaf.shape)), timestep.observation)

    def actions(seed: int, greedy: bool):
        return np.asarray(
            policy.act(jax.random.key(seed), policy.initial_carry((64,)), batch, greedy=greedy)[1]
        )

    np.testing.assert_array_equal(actions(0, True), actions(1, True))
    assert not np.array_equal(actions(0, False), actions(1, False))
    assert set(np.unique(actions(0, False))) == {0, 1}


def test_a_run_is_played_as_it_was_judged_unless_told_otherwise(run_folder, tmp_path):
    sampled = tmp_path / "sampled"
    shutil.copytree(run_folder, sampled)
    text = (sampled / "config.yaml").read_text()
    (sampled / "config.yaml").write_text(text.replace("greedy: true", "greedy: false"))
    assert load_policy(run_folder).greedy
    assert not load_policy(sampled).greedy
    assert not load_policy(export_policy(sampled, tmp_path / "out")).greedy
    reports = [evaluation_report(str(sampled), None, 2, None, greedy, 0) for greedy in (None, True)]
    assert [report["greedy"] for report in reports] == [False, True]


def test_what_cannot_be_loaded_is_said(run_folder, tmp_path):
    with pytest.raises(UserError, match="no member 7; it has 2"):
        load_policy(f"{run_folder}@7")
    with pytest.raises(UserError, match="there is no run folder"):
        load_policy(tmp_path / "nowhere")
    young = tmp_path / "young"
    young.mkdir()
    shutil.copy(run_folder / "config.yaml", young)
    with pytest.raises(UserError, match="no policy yet"):
        load_policy(young)
    other = tmp_path / "other"
    shutil.copytree(run_folder, other)
    text = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(text.replace("hidden_size: 8", "hidden_size: 16"))
    with pytest.raises(UserError, match="another version"):
        load_policy(other)


def test_resolves_scripted_policies_by_name():
    env = shoal.make("commons/water")
    for name in ("random", "idle", "scripted", "defector"):
        assert hasattr(resolve_policy(env, name), "act")
    with pytest.raises(UserError, match="did you mean 'scripted'"):
        resolve_policy(env, "scriptde")


# evaluate ------------------------------------------------------------------------------------------------


def test_evaluate_agrees_with_play_by_hand(run_folder, shoal_cli):
    status, out, _ = shoal_cli("evaluate", f"{run_folder}@0", "--episodes", 10, "--num-envs", 4, "--json")
    assert status == 0
    report = json.loads(out)
    assert {"env", "episodes", "seed", "policy", "metrics"} <= report.keys()
    assert report["env"] == "commons/water-v1"
    assert report["episodes"] == 12  # three whole episodes in each of four environments
    assert report["policy"] == f"{run_folder}@0"
    for cell in report["metrics"].values():
        assert cell.keys() == {"mean", "iqm", "ci95"}
    # The water commons draws nothing, so every greedy episode is the same.
    policy = load_policy(run_folder, 0)
    cell = report["metrics"]["episode_return"]
    assert cell["mean"] == pytest.approx(play(policy.env(), policy), rel=1e-5)
    assert report["metrics"]["episode_return_sum"]["mean"] == pytest.approx(4 * cell["mean"], rel=1e-5)


def test_evaluate_scripted_policies(run_folder, shoal_cli):
    status, out, _ = shoal_cli("evaluate", "commons/water", "--policy", "idle", "--episodes", 4, "--json")
    assert status == 0
    metrics = json.loads(out)["metrics"]
    assert metrics["episode_return"] == {"mean": 0.0, "iqm": 0.0, "ci95": [0.0, 0.0]}
    assert metrics["episode_length"]["mean"] == 100.0
    # In a run's environment.
    status, out, _ = shoal_cli("evaluate", run_folder, "--policy", "idle", "--episodes", 4, "--json")
    assert json.loads(out)["metrics"]["episode_length"]["mean"] == STEPS


def test_evaluate_shows_a_table(shoal_cli):
    status, out, _ = shoal_cli("evaluate", "commons/water", "--policy", "random", "--episodes", 4)
    assert status == 0
    assert "episode_return" in out
    assert "95 %" in out
    assert "Traceback" not in out


def test_evaluate_is_decided_by_the_seed(shoal_cli):
    words = ["evaluate", "commons/water", "--policy", "random", "--episodes", "4", "--json", "--seed"]
    outputs = [shoal_cli(*words, seed)[1] for seed in (0, 0, 1)]
    assert outputs[0] == outputs[1]
    assert json.loads(outputs[0])["metrics"] != json.loads(outputs[2])["metrics"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "nowhere"], "there is no run folder 'nowhere'"),
        (["evaluate", "commons/water"], "who plays commons/water-v1?"),
        (["evaluate", "commons/wter", "--policy", "idle"], "did you mean 'commons/water'"),
        (["evaluate", "commons/water", "--policy", "ilde"], "did you mean 'idle'"),
        (["evaluate", "commons/water", "--policy", "idle", "--episodes", "0"], "must be at least 1"),
        (["watch", "nowhere"], "there is no run folder 'nowhere'"),
    ],
)
def test_mistakes_are_one_line(words, said, shoal_cli):
    status, out, err = shoal_cli(*words)
    assert status == 2
    assert out == ""
    (line,) = err.splitlines()
    assert said in line


# watch ---------------------------------------------------------------------------------------------------


def test_watch_writes_gif_and_page_into_the_run(run_folder, shoal_cli):
    status, out, _ = shoal_cli("watch", run_folder, "--seed", 5, "--json")
    assert status == 0
    report = json.loads(out)
    gif, page = map(Path, report["files"])
    assert gif.parent == page.parent == run_folder / "replays"
    with Image.open(gif) as image:
        assert image.format == "GIF"
        assert image.n_frames > 1
    text = page.read_text()
    assert text.lstrip().lower().startswith("<!doctype html")
    assert "http://" not in text.replace("http://www.w3.org", "")
    policy = load_policy(run_folder)
    assert report["episode_return"] == pytest.approx(play(policy.env(), policy, 5), rel=1e-5)
    assert 0 < report["episode_length"] <= STEPS


def test_watch_takes_a_file_or_a_folder(tmp_path, shoal_cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["watch", "commons/water", "--policy", "defector"]
    assert shoal_cli(*words, "--out", "one.html")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["one.html"]
    assert shoal_cli(*words)[0] == 0
    assert {path.suffix for path in (tmp_path / "replays").iterdir()} == {".gif", ".html"}
    status, _, err = shoal_cli(*words, "--out", "one.mp4")
    assert status == 2
    assert "end it in .gif, .html or .png" in err


def test_a_recording_can_be_stepped_again():
    env = shoal.make("particle/simple-speaker-listener")
    recording = record_episode(env, resolve_policy(env, "random"), jax.random.key(4))
    assert len(recording.states) == len(recording.timesteps) == len(recording.actions) + 1
    assert len(recording.keys) == len(recording.actions) == env.max_steps
    assert recording.timesteps[-1].terminated or recording.timesteps[-1].truncated
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(recording.states))
    step = jax.jit(env.step)
    for i in (0, 7):
        state, timestep = step(recording.keys[i], recording.states[i], recording.actions[i])
        for ours, kept in (
            (state, recording.states[i + 1]),
            (dataclasses.replace(timestep), recording.timesteps[i + 1]),
        ):
            jax.tree.map(np.testing.assert_array_equal, jax.device_get(ours), kept)


# The guide -----------------------------------------------------------------------------------------------


def test_the_guides_python_runs(run_folder, repository, tmp_path, monkeypatch):
    shutil.copytree(run_folder, tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    text = (repository / "docs" / "guides" / "evaluation.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    _, timestep = shoal.make("commons/water", max_steps=STEPS).reset(jax.random.key(0))
    names = {"timestep": timestep, "key": jax.random.key(0)}
    for block in blocks:
        exec(compile(block, "evaluation.md", "exec"), names)
    assert names["timestep"].terminated
    assert names["records"]["episode_return"].shape == (1, 256)
