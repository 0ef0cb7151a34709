"""Teams mixed from several policies, against returns worked out by hand."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shoal_toys import RIGHT, chain

from shoal.baselines import crossplay
from shoal.baselines.crossplay import MixedPolicy, cross_play, first_part
from shoal.baselines.policies import Player
from shoal.envs.core import UserError
from shoal.envs.core.policy import Scripted

WALKED = -3 / 8  # what three steps to the goal cost
IDLED = -9 / 8  # and nine steps of waiting


class Walk(Scripted):
    """Always the same action."""

    def __init__(self, action):
        self.action = action

    def choose(self, key, observation, state):
        return jnp.full(observation.alive.shape, self.action, jnp.int32)


class Count:
    """Two walkers that walk from their second call on: they have memories."""

    needs_state = False

    def initial_carry(self, batch=()):
        return jnp.zeros((*batch, 2), jnp.int32)

    def act(self, key, carry, observation, state=None, greedy=True, first=None):
        steps = carry if first is None else jnp.where(first, 0, carry)
        return steps + 1, jnp.where(steps >= 1, RIGHT, 0).astype(jnp.int32)


def race(rewards, teams=None):
    """Walkers with a reward each at the goal, three steps away."""
    env = chain(num_agents=len(rewards), length=4, max_steps=9, random_start=False)
    env.params = dataclasses.replace(env.params, goal_reward=np.asarray(rewards, np.float32))
    if teams is not None:
        env.metadata = dataclasses.replace(env.metadata, teams=teams)
    return env


def walker(env, action, name=""):
    return Player(env, name, lambda p: Walk(p["action"]), {"action": jnp.asarray(action, jnp.int32)})


def means(report, name="episode_return"):
    return [[cell["mean"] for cell in row] for row in report["metrics"][name]]


def test_matrix_of_agents_by_hand():
    env = race([1.0, 3.0, 5.0])
    told = []
    report = cross_play(
        [walker(env, RIGHT, "go"), walker(env, 0, "stay")], episodes=3, num_envs=2, advance=told.append
    )
    go, stay = [r + WALKED for r in (1.0, 3.0, 5.0)], IDLED
    expected = [
        [sum(go) / 3, (go[0] + 2 * stay) / 3],
        [(stay + go[1] + go[2]) / 3, stay],
    ]
    np.testing.assert_allclose(means(report), expected, rtol=1e-6)
    assert means(report, "arrivals") == [[3.0, 1.0], [2.0, 0.0]]
    assert report["self_play"]["episode_return"] == pytest.approx((expected[0][0] + stay) / 2)
    assert report["cross_play"]["episode_return"] == pytest.approx((expected[0][1] + expected[1][0]) / 2)
    assert (report["split"], report["first"]) == ("agents", ["walker_0"])
    assert report["policies"] == ["go", "stay"]
    assert report["episodes"] == 4
    assert sum(told) == 16


def test_teams_meet_and_the_first_teams_return_is_reported():
    env = race([1.0, 3.0, 5.0], teams=(0, 0, 1))
    report = cross_play([walker(env, RIGHT), walker(env, 0)], episodes=2)
    first = 2.0 + WALKED
    assert report["first"] == ["walker_0", "walker_1"]
    np.testing.assert_allclose(means(report), [[first, first], [IDLED, IDLED]], rtol=1e-6)
    np.testing.assert_allclose(means(report, "arrivals"), [[3, 2], [1, 0]])
    agents = cross_play([walker(env, RIGHT), walker(env, 0)], split="agents", episodes=2)
    assert agents["first"] == ["walker_0"]
    assert means(agents, "arrivals") == [[3.0, 1.0], [2.0, 0.0]]


def test_policies_alike_but_for_their_parameters_share_a_program(monkeypatch):
    made = []

    class Counted(crossplay.Evaluator):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(crossplay, "Evaluator", Counted)
    env = race([1.0, 3.0])
    alike = [walker(env, action) for action in (0, RIGHT, 0)]
    other = Player(env, "count", lambda _: Count())
    report = cross_play([*alike, other], episodes=2)
    assert len(made) == 4  # two kinds, in every order
    assert all(evaluator._compiled._cache_size() == 1 for evaluator in made)
    late = 1.0 - 4 / 8, 3.0 - 4 / 8  # one step of waiting, three of walking
    assert means(report)[3][3] == pytest.approx(sum(late) / 2)
    assert means(report)[3][1] == pytest.approx((late[0] + 3.0 + WALKED) / 2)


def test_a_mixed_policy_keeps_two_memories():
    env = race([1.0, 3.0])
    policy = MixedPolicy(Count(), Walk(RIGHT), np.asarray([True, False]))
    _, timestep = env.reset(jax.random.key(0))
    carry = policy.initial_carry()
    carry, one = policy.act(jax.random.key(0), carry, timestep.observation)
    carry, two = policy.act(jax.random.key(0), carry, timestep.observation)
    assert (one.tolist(), two.tolist()) == ([0, RIGHT], [RIGHT, RIGHT])
    assert not policy.needs_state


@pytest.mark.parametrize(
    ("agents", "teams", "split", "said"),
    [
        (2, None, "teams", "has one team"),
        (2, None, "team", "did you mean 'teams'"),
        (1, None, None, "has one agent"),
    ],
)
def test_what_cannot_be_split(agents, teams, split, said):
    with pytest.raises(UserError, match=said):
        first_part(race([1.0] * agents, teams), split)


def test_different_environments_are_refused_by_their_difference():
    mine, other = race([1.0, 3.0]), race([1.0, 4.0])
    with pytest.raises(UserError, match=r"a has env.goal_reward=\[1.0, 3.0\] and b has .*=\[1.0, 4.0\]"):
        cross_play([walker(mine, 0, "a"), walker(other, 0, "b")])
    with pytest.raises(UserError, match="at least two"):
        cross_play([walker(mine, 0)])


# The command -----------------------------------------------------------------------------------------------


def test_two_members_of_a_run(run_folder, shoal_cli):
    words = ["--episodes", 10, "--num-envs", 4, "--json"]
    status, out, _ = shoal_cli("evaluate", f"{run_folder}@0", f"{run_folder}@1", "--cross", *words)
    assert status == 0
    report = json.loads(out)
    assert report["env"] == "commons/water-v1"
    assert report["policies"] == [f"{run_folder}@0", f"{run_folder}@1"]
    assert report["episodes"] == 12
    for number in (0, 1):  # with itself: as it plays alone, on the same levels
        alone = json.loads(shoal_cli("evaluate", f"{run_folder}@{number}", *words)[1])
        for name, cell in alone["metrics"].items():
            assert report["metrics"][name][number][number] == cell


def test_the_matrix_is_shown(run_folder, shoal_cli):
    status, out, _ = shoal_cli("evaluate", run_folder, f"{run_folder}@0", "--cross", "--episodes", 4)
    assert status == 0
    assert "rows play valve_0; columns the rest" in out
    assert "episode_return" in out
    assert "utilitarian" in out
    assert "with itself" in out


def test_mistakes_are_one_line(run_folder, tmp_path, shoal_cli):
    other = tmp_path / "other"
    shutil.copytree(run_folder, other)
    text = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(text.replace("max_steps: 12", "max_steps: 9"))
    for words, said in (
        ([run_folder, other, "--cross"], "has env.max_steps=12 and"),
        ([run_folder, other], "--cross plays each with each"),
        ([run_folder, "--cross"], "at least two policies"),
        ([run_folder, "--split", "agents"], "goes with --cross"),
        ([run_folder, run_folder, "--cross", "--split", "teams"], "has one team"),
        ([run_folder, run_folder, "--cross", "--policy", "idle"], "takes no --policy"),
    ):
        status, out, err = shoal_cli("evaluate", *words)
        assert (status, out) == (2, "")
        assert said in err
        assert len(err.splitlines()) == 1
