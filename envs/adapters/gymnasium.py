"""Shoal's environments as one Gymnasium environment, for a single learner that plays all agents."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces as gym

from shoal.envs.adapters.host import RENDER_MODES, Host
from shoal.envs.adapters.spaces import agent_mask, agent_view, gym_space, joint_action
from shoal.envs.core.environment import Environment
from shoal.envs.core.errors import UserError
from shoal.envs.core.spaces import Box, Discrete, MultiDiscrete
from shoal.envs.core.types import TimeStep


class ShoalGymEnv(gymnasium.Env[Any, np.ndarray]):
    """All agents as one: the actions and, where they are flat, the views of all agents end to end.

    Actions: ``MultiDiscrete`` with the entries of all agents in turn, or a flat ``Box``; agents that are not
    alive ignore theirs. Observations: one flat ``Box``, or a ``Dict`` by agent name for other views. The
    reward is the team's, reduced as ``team_reward`` says; ``info`` holds ``rewards`` and ``alive`` by agent,
    ``action_mask`` (for ``action_space.sample(mask=...)``) and, at the last step, ``metrics``.
    """

    metadata = {"render_modes": list(RENDER_MODES)}  # noqa: RUF012

    def __init__(
        self, env: Environment[Any, Any] | str, seed: int | None = None, render_mode: str | None = None
    ) -> None:
        """Adapts an environment or a registered id; see `shoal.envs.adapters.to_gymnasium`.

        Raises:
            UserError: when the agents form more than one team.
        """
        self._host = Host(env, seed, render_mode)
        self.shoal_env = self._host.env
        self.render_mode = render_mode
        m = self.shoal_env.metadata
        teams = len(set(m.teams))
        if teams > 1:
            raise UserError(f"{self.shoal_env.id} has {teams} teams and no single reward; use to_pettingzoo")
        self._flat = all(isinstance(s, Box) and len(s.shape) == 1 for s in m.observation_spaces)
        views = [gym_space(space) for space in m.observation_spaces]
        if self._flat:
            low, high = (np.concatenate([getattr(view, side) for view in views]) for side in ("low", "high"))
            self.observation_space: gym.Space[Any] = gym.Box(low, high, dtype=low.dtype.type)
        else:
            self.observation_space = gym.Dict(dict(zip(m.agents, views, strict=True)))
        self.action_space = _joint_space(self.shoal_env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Opens an episode; ``options`` are ignored."""
        super().reset(seed=seed)
        timestep = self._host.reset(seed)
        return self._observation(timestep), self._info(timestep)

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Steps all agents.

        Raises:
            UserError: for actions outside of the space.
        """
        actions = _apart(self.shoal_env, np.asarray(action))
        timestep = self._host.step(joint_action(self.shoal_env, actions, self._host.idle()))
        total = np.sum if self.shoal_env.team_reward == "sum" else np.mean  # shared: all have the same
        reward = float(total(timestep.reward))
        over, cut = bool(timestep.terminated), bool(timestep.truncated)
        return self._observation(timestep), reward, over, cut, self._info(timestep)

    def state(self) -> Any:
        """Returns the whole state, nested as the environment's ``state_space``."""
        return self._host.global_state()

    def render(self) -> Any:
        """Returns the current state as a picture [H, W, 3] uint8, in render mode ``rgb_array``."""
        return self._host.render()

    def _observation(self, timestep: TimeStep) -> Any:
        count, view = self.shoal_env.num_agents, timestep.observation.view
        views = [agent_view(self.shoal_env, view, i) for i in range(count)]
        return np.concatenate(views) if self._flat else dict(zip(self.shoal_env.agents, views, strict=True))

    def _info(self, timestep: TimeStep) -> dict[str, Any]:
        env, seen = self.shoal_env, timestep.observation
        info: dict[str, Any] = {
            "rewards": {a: float(r) for a, r in zip(env.agents, timestep.reward, strict=True)},
            "alive": {a: bool(x) for a, x in zip(env.agents, seen.alive, strict=True)},
        }
        masks = [agent_mask(env, seen.action_mask, i) for i in range(env.num_agents)]
        if masks[0] is not None:
            parts = [mask if isinstance(mask, tuple) else (mask,) for mask in masks]
            info["action_mask"] = tuple(entry for part in parts for entry in part)
        if timestep.terminated or timestep.truncated:
            info["metrics"] = {name: float(x) for name, x in timestep.metrics.items()}
        return info


def _joint_space(env: Environment[Any, Any]) -> gym.Space[Any]:
    spaces = env.metadata.action_spaces
    if isinstance(env.action_space, Box):
        low, high = (
            np.concatenate([np.full(s.size, getattr(s, side), s.dtype) for s in spaces if isinstance(s, Box)])
            for side in ("low", "high")
        )
        return gym.Box(low, high, dtype=low.dtype.type)
    sizes: list[int] = []
    for space in spaces:
        sizes += [space.n] if isinstance(space, Discrete) else []
        sizes += space.nvec if isinstance(space, MultiDiscrete) else []
    return gym.MultiDiscrete(np.asarray(sizes, np.int64))


def _apart(env: Environment[Any, Any], action: np.ndarray) -> dict[int, Any]:
    """Cuts the joint action into those of the agents."""
    sizes = [int(np.prod(space.shape, dtype=int)) for space in env.metadata.action_spaces]
    if action.shape != (sum(sizes),):
        raise UserError(f"an action of {env.id} has {sum(sizes)} entries, not shape {list(action.shape)}")
    pieces = np.split(action, np.cumsum(sizes)[:-1])
    shapes = [space.shape for space in env.metadata.action_spaces]
    return {i: piece.reshape(shape) for i, (piece, shape) in enumerate(zip(pieces, shapes, strict=True))}
