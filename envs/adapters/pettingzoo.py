"""Shoal's environments as PettingZoo parallel environments."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from gymnasium import spaces as gym
from pettingzoo import ParallelEnv

from shoal.envs.adapters.host import RENDER_MODES, Host
from shoal.envs.adapters.spaces import agent_mask, agent_view, gym_space, joint_action
from shoal.envs.core.environment import Environment
from shoal.envs.core.errors import UserError
from shoal.envs.core.types import TimeStep


class ShoalParallelEnv(ParallelEnv[str, Any, Any]):
    """Dictionaries by agent name; every agent has its own true, unpadded spaces.

    ``infos[agent]["action_mask"]`` is what ``action_space(agent).sample(mask=...)`` takes (absent for real
    actions); ``infos[agent]["metrics"]`` holds the episode's metrics at its last step. Agents who are done
    leave before the episode ends, unless the environment fills slots again: then all stay to the end, and
    ``infos[agent]["alive"]`` and ``["first"]`` tell who is there.
    """

    def __init__(
        self, env: Environment[Any, Any] | str, seed: int | None = None, render_mode: str | None = None
    ) -> None:
        """Adapts an environment or a registered id; see `shoal.envs.adapters.to_pettingzoo`."""
        self._host = Host(env, seed, render_mode)
        self.shoal_env = self._host.env
        self.render_mode = render_mode
        self.metadata = {
            "name": self.shoal_env.id,
            "render_modes": list(RENDER_MODES),
            "is_parallelizable": True,
        }
        m = self.shoal_env.metadata
        self.possible_agents = list(m.agents)
        self.agents: list[str] = []
        self.observation_spaces = dict(zip(m.agents, map(gym_space, m.observation_spaces), strict=True))
        self.action_spaces = dict(zip(m.agents, map(gym_space, m.action_spaces), strict=True))
        self.state_space = gym_space(m.state_space)
        self._index = {agent: i for i, agent in enumerate(m.agents)}

    def observation_space(self, agent: str) -> gym.Space[Any]:
        """Returns the agent's own observation space, always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gym.Space[Any]:
        """Returns the agent's own action space, always the same object."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Opens an episode; ``options`` are ignored."""
        timestep = self._host.reset(seed)
        stay = self.shoal_env.metadata.slots_refilled
        alive = timestep.observation.alive
        self.agents = [a for a, i in self._index.items() if stay or alive[i]]
        return self._observations(timestep), self._infos(timestep)

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]:
        """Steps all agents; those present without an action idle.

        Raises:
            UserError: for actions of unknown agents, or outside of an agent's space.
        """
        for agent in actions:
            if agent not in self._index:
                raise UserError(f"there is no agent {agent!r}; agents are {', '.join(self.possible_agents)}")
        chosen = {self._index[a]: actions[a] for a in self.agents if a in actions}
        timestep = self._host.step(joint_action(self.shoal_env, chosen, self._host.idle()))
        over, cut = bool(timestep.terminated), bool(timestep.truncated)
        leaves = timestep.agent_done & (not self.shoal_env.metadata.slots_refilled)
        terminations = {a: over or bool(leaves[self._index[a]]) for a in self.agents}
        truncations = {a: cut and not terminations[a] for a in self.agents}
        rewards = {a: float(timestep.reward[self._index[a]]) for a in self.agents}
        observations, infos = self._observations(timestep), self._infos(timestep)
        self.agents = [a for a in self.agents if not (terminations[a] or truncations[a])]
        return observations, rewards, terminations, truncations, infos

    def state(self) -> Any:
        """Returns the whole state: one array, or nested as `state_space`."""
        state = self._host.global_state()
        return state if isinstance(state, np.ndarray) else jax.tree.map(np.asarray, state)

    def render(self) -> np.ndarray | None:
        """Returns the current state as a picture [H, W, 3] uint8, in render mode ``rgb_array``."""
        return self._host.render()

    def close(self) -> None:
        """Does nothing: there is nothing to free."""

    def _observations(self, timestep: TimeStep) -> dict[str, Any]:
        view = timestep.observation.view
        return {a: agent_view(self.shoal_env, view, self._index[a]) for a in self.agents}

    def _infos(self, timestep: TimeStep) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        for agent in self.agents:
            i = self._index[agent]
            infos[agent] = {"alive": bool(timestep.observation.alive[i]), "first": bool(timestep.first[i])}
            mask = agent_mask(self.shoal_env, timestep.observation.action_mask, i)
            if mask is not None:
                infos[agent]["action_mask"] = mask
            if timestep.terminated or timestep.truncated:
                infos[agent]["metrics"] = {name: float(x) for name, x in timestep.metrics.items()}
        return infos
