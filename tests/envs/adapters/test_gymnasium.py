"""Environments as one Gymnasium environment over the joint action."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shoal_toys as toys
from gymnasium import spaces as gym
from gymnasium.utils.env_checker import check_env

from shoal.envs.adapters import to_gymnasium
from shoal.envs.adapters.gymnasium import ShoalGymEnv
from shoal.envs.core import UserError, make

REGISTERED = [
    "combat/smax-3m-v1",
    "commons/water-v1",
    "particle/simple-speaker-listener-v1",
    "swarm/transport-v1",
]


@pytest.mark.filterwarnings("ignore:.*:UserWarning:gymnasium")
@pytest.mark.parametrize("env_id", REGISTERED)
def test_upstream_check_of_registered_environments(env_id: str) -> None:
    check_env(to_gymnasium(env_id, seed=0))


@pytest.mark.filterwarnings("ignore:.*:UserWarning:gymnasium")
@pytest.mark.parametrize(
    "overrides", [{}, {"refill": True}, {"actions": "multi"}, {"actions": "box"}], ids=str
)
def test_upstream_check(overrides: dict[str, Any]) -> None:
    check_env(to_gymnasium(toys.chain(**overrides), seed=0))


def step(env: ShoalGymEnv, *action: float) -> tuple[Any, float, bool, bool, dict[str, Any]]:
    env.reset(seed=0)
    kind = np.float32 if isinstance(env.action_space, gym.Box) else np.int64
    return env.step(np.array(action, kind))


def test_joint_spaces_have_true_sizes() -> None:
    env = to_gymnasium("particle/simple-speaker-listener", seed=0)
    assert env.action_space == gym.MultiDiscrete([3, 5])
    assert env.observation_space.shape == (14,)
    assert to_gymnasium(toys.chain(actions="multi")).action_space == gym.MultiDiscrete([3, 2, 3, 2])
    assert to_gymnasium(toys.chain(actions="box")).action_space == gym.Box(-1.0, 1.0, (2,))


@pytest.mark.parametrize(("team_reward", "expected"), [("sum", 0.75), ("mean", 0.375), ("shared", 0.75)])
def test_team_rewards(team_reward: str, expected: float) -> None:
    env = to_gymnasium(toys.chain(team_reward=team_reward, random_start=False, length=2))
    _, reward, terminated, _, info = step(env, toys.RIGHT, toys.STAY)
    assert reward == pytest.approx(expected)
    assert not terminated
    if team_reward != "shared":
        assert info["rewards"] == {"walker_0": 0.875, "walker_1": -0.125}
    assert info["alive"] == {"walker_0": False, "walker_1": True}


def test_actions_reach_their_agents() -> None:
    for kind, action in (("multi", (0, 1, 1, 0)), ("box", (0.0, 1.0)), ("discrete", (0, 1))):
        env = to_gymnasium(toys.chain(actions=kind, random_start=False, length=3))
        observation, *_ = step(env, *action)
        np.testing.assert_allclose(observation, [0, 1 / 8, 1, 1 / 2, 1 / 8, 1])


def test_masks_are_what_sampling_takes() -> None:
    for kind in ("discrete", "multi"):
        env = to_gymnasium(toys.chain(actions=kind, random_start=False))
        _, info = env.reset(seed=0)
        for _ in range(20):
            sample = env.action_space.sample(mask=info["action_mask"])
            assert toys.LEFT not in sample, "nobody can go left of the first field"


def test_metrics_come_with_the_end() -> None:
    env = to_gymnasium(toys.chain(random_start=False, length=2))
    *_, terminated, truncated, info = step(env, toys.RIGHT, toys.RIGHT)
    assert (terminated, truncated) == (True, False)
    assert info["metrics"] == {"arrivals": 2.0}


def test_wrong_use_is_one_clear_line() -> None:
    with pytest.raises(UserError, match="has 2 teams and no single reward; use to_pettingzoo"):
        to_gymnasium(make("combat/smax-3m", control="both"))
    env = to_gymnasium(toys.chain(), seed=0)
    env.reset()
    with pytest.raises(UserError, match=r"has 2 entries, not shape \[3\]"):
        env.step(np.zeros(3, np.int64))
    with pytest.raises(UserError, match="is not in Discrete"):
        env.step(np.array([0, 3]))
