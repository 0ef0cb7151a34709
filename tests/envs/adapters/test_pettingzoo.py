"""Environments as PettingZoo parallel environments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shoal_toys as toys
from gymnasium import spaces as gym
from pettingzoo.test import parallel_api_test, parallel_seed_test

from shoal.envs.adapters import to_pettingzoo
from shoal.envs.core import UserError, list_environments, make

# One of every family, and the toys that are unlike them: slots filled again, other kinds of action.
REGISTERED = [
    "combat/smax-3m-v1",
    "commons/water-v1",
    "particle/simple-speaker-listener-v1",
    "swarm/transport-v1",  # whose agents leave
    "traffic/junction-easy-v1",  # whose places are filled again
]
TOYS = [{}, {"refill": True}, {"actions": "multi"}, {"actions": "box"}]


@pytest.mark.parametrize("env_id", REGISTERED)
def test_upstream_checks_of_registered_environments(env_id: str) -> None:
    env = make(env_id)
    parallel_api_test(to_pettingzoo(env, seed=1), num_cycles=150)
    parallel_seed_test(lambda: to_pettingzoo(env), num_cycles=20)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("overrides", TOYS, ids=str)
def test_upstream_checks(overrides: dict[str, Any]) -> None:
    env = toys.chain(**overrides)
    parallel_api_test(to_pettingzoo(env, seed=1), num_cycles=60)
    parallel_seed_test(lambda: to_pettingzoo(env), num_cycles=20)


def test_every_family_is_checked() -> None:
    assert {i.partition("/")[0] for i in list_environments()} == {i.partition("/")[0] for i in REGISTERED}


def test_agents_leave_when_done_and_rewards_are_theirs() -> None:
    env = to_pettingzoo(toys.chain(random_start=False, length=3), seed=0)
    observations, infos = env.reset()
    assert env.agents == ["walker_0", "walker_1"]
    np.testing.assert_allclose(observations["walker_0"], [0, 0, 1])
    assert infos["walker_0"]["action_mask"].tolist() == [1, 1, 0]
    env.step({"walker_0": 1, "walker_1": 0})
    _, rewards, terminations, truncations, _ = env.step({"walker_0": 1})  # walker_1 idles
    assert rewards == {"walker_0": 0.875, "walker_1": -0.125}
    assert terminations == {"walker_0": True, "walker_1": False}
    assert not any(truncations.values())
    assert env.agents == ["walker_1"]
    for _ in range(6):
        observations, rewards, terminations, truncations, infos = env.step({"walker_1": 0})
    assert truncations == {"walker_1": True}
    assert terminations == {"walker_1": False}
    assert infos["walker_1"]["metrics"] == {"arrivals": 1.0}
    assert env.agents == []


def test_agents_stay_where_slots_are_filled_again() -> None:
    env = to_pettingzoo(toys.chain(random_start=False, length=2, refill=True), seed=0)
    env.reset()
    _, _, terminations, _, infos = env.step({"walker_0": 1, "walker_1": 0})
    assert not any(terminations.values())
    assert not infos["walker_0"]["alive"]
    _, _, _, _, infos = env.step({"walker_0": 1, "walker_1": 0})
    assert infos["walker_0"] | {"action_mask": None} == {"alive": True, "first": True, "action_mask": None}
    assert env.agents == ["walker_0", "walker_1"]


def test_unlike_agents_have_their_true_sizes() -> None:
    env = to_pettingzoo("particle/simple-speaker-listener", seed=0)
    observations, infos = env.reset()
    assert env.action_space("speaker_0") == gym.Discrete(3)
    assert env.action_space("listener_0") == gym.Discrete(5)
    assert {a: o.shape for a, o in observations.items()} == {"speaker_0": (3,), "listener_0": (11,)}
    assert {a: i["action_mask"].shape for a, i in infos.items()} == {"speaker_0": (3,), "listener_0": (5,)}
    # What is said (the true action 2) is heard: the last three entries of the listener's view.
    observations, *_ = env.step({"speaker_0": 2, "listener_0": 0})
    np.testing.assert_array_equal(observations["listener_0"][-3:], [0, 0, 1])


def test_entity_views_become_dictionaries() -> None:
    env = to_pettingzoo(make("combat/smax-3m", view="entities"), seed=0)
    observations, _ = env.reset()
    space = (
        env.observation_space("ally_0") if "ally_0" in env.agents else env.observation_space(env.agents[0])
    )
    assert isinstance(space, gym.Dict)
    assert set(space) == {"own", "entities", "entity_mask"}
    assert space.contains(observations[env.agents[0]])


def test_state_is_in_its_space_and_seeds_decide() -> None:
    env = to_pettingzoo(toys.chain(), seed=5)
    env.reset()
    assert env.state_space.contains(env.state())
    starts = [np.concatenate(list(env.reset(seed=s)[0].values())).tolist() for s in (0, 1, 2, 3, 0)]
    assert starts[0] == starts[4]
    assert len({tuple(s) for s in starts}) > 1


def test_wrong_use_is_one_clear_line() -> None:
    env = to_pettingzoo(toys.chain(), seed=0)
    with pytest.raises(UserError, match="call reset"):
        env.step({})
    env.reset()
    with pytest.raises(UserError, match=r"action 3 of walker_0 is not in Discrete\(n=3\)"):
        env.step({"walker_0": 3, "walker_1": 0})
    with pytest.raises(UserError, match="there is no agent 'walker_9'"):
        env.step({"walker_9": 0})
    with pytest.raises(UserError, match="render_mode='human' is not one of rgb_array"):
        to_pettingzoo(toys.chain(), render_mode="human")


@pytest.mark.parametrize("env_id", REGISTERED)
def test_rendering(env_id: str) -> None:
    env = to_pettingzoo(env_id, seed=0, render_mode="rgb_array")
    env.reset()
    picture = env.render()
    assert picture is not None
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 2, "something is drawn"


def test_instances_share_their_programs() -> None:
    first, second = (to_pettingzoo(toys.chain(length=9), seed=0) for _ in range(2))
    assert first._host._programs is second._host._programs
    other = to_pettingzoo(toys.chain(length=9, slip=0.5), seed=0)
    assert other._host._programs is not first._host._programs
