"""Shoal's environments as JaxMARL's.

JaxMARL's scripts on them: ``python -m shoal.envs.adapters.as_jaxmarl SCRIPT ENV_NAME=particle.simple-spread``
"""

from __future__ import annotations

import runpy
import sys
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jaxmarl
import numpy as np
from flax import struct
from jax import Array
from jaxmarl.environments import spaces as theirs
from jaxmarl.environments.multi_agent_env import MultiAgentEnv
from jaxmarl.environments.multi_agent_env import State as BaseState

from shoal.envs.core.environment import Environment
from shoal.envs.core.registry import make
from shoal.envs.core.spaces import Box, Discrete, Space
from shoal.envs.core.types import Key, Observation, PyTree, TimeStep


@struct.dataclass
class JaxMARLState(BaseState):
    """Shoal's state, with what was seen in it, so that nothing is observed twice."""

    env: PyTree
    observation: Observation


class ShoalMultiAgentEnv(MultiAgentEnv):
    """Dictionaries by agent name; ``step`` resets as JaxMARL's always does, ``step_env`` does not.

    Views that are not one array are laid end to end. ``world_state`` stands among the observations, flat,
    for centralised critics. JaxMARL has one kind of end: a time limit ends an episode like any other, and
    ``info["truncated"]`` tells. Agents that are done stay done, unless their slots are filled again.
    """

    def __init__(self, env: Environment[Any, Any] | str, padded: bool = True) -> None:
        """Adapts an environment or a registered id; see `shoal.envs.adapters.to_jaxmarl`."""
        self.shoal_env = env = make(env) if isinstance(env, str) else env
        super().__init__(env.num_agents)
        m = env.metadata
        self.agents = list(m.agents)
        self._padded = padded
        views = (m.observation_space,) * env.num_agents if padded else m.observation_spaces
        actions = (m.action_space,) * env.num_agents if padded else m.action_spaces
        self.observation_spaces = dict(zip(m.agents, map(_view_space, views), strict=True))
        self.action_spaces = dict(zip(m.agents, map(_action_space, actions), strict=True))
        self.state_size = sum(space.size for space in _boxes(m.state_space))
        self.max_steps = env.max_steps

    @property
    def name(self) -> str:
        """The environment's id."""
        return self.shoal_env.id

    @property
    def agent_classes(self) -> dict[str, list[str]]:
        """The groups: name -> agents."""
        return {name: [self.agents[i] for i in group] for name, group in self.shoal_env.groups.items()}

    @partial(jax.jit, static_argnums=(0,))
    def reset(self, key: Key) -> tuple[dict[str, Array], JaxMARLState]:
        """Opens an episode."""
        env, timestep = self.shoal_env.reset(_typed(key))
        state = JaxMARLState(jnp.zeros((), bool), jnp.zeros((), jnp.int32), env, timestep.observation)
        return self.get_obs(state), state

    def step_env(  # type: ignore[override]
        self, key: Key, state: JaxMARLState, actions: dict[str, Array]
    ) -> tuple[dict[str, Array], JaxMARLState, dict[str, Array], dict[str, Array], dict[str, Array]]:
        """Steps once, without a reset."""
        joint = jnp.stack([self._joint(jnp.asarray(actions[a]), i) for i, a in enumerate(self.agents)])
        env, timestep = self.shoal_env.step(_typed(key), state.env, joint)
        over = timestep.terminated | timestep.truncated
        after = JaxMARLState(over, state.step + 1, env, timestep.observation)
        rewards = {a: timestep.reward[i] for i, a in enumerate(self.agents)}
        return self.get_obs(after), after, rewards, self._dones(timestep), self._info(timestep)

    def get_obs(self, state: JaxMARLState) -> dict[str, Array]:  # type: ignore[override]
        """Returns what each agent sees, and ``world_state`` [state_size] f32."""
        seen: dict[str, Array] = {}
        for i, agent in enumerate(self.agents):
            own = jax.tree.map(lambda x, i=i: x[i], state.observation.view)
            seen[agent] = self._true(own, i) if isinstance(own, Array) else _end_to_end(own)
        return seen | {"world_state": _end_to_end(self.shoal_env.global_state(state.env))}

    @partial(jax.jit, static_argnums=(0,))
    def get_avail_actions(self, state: JaxMARLState) -> dict[str, Array]:
        """Returns each agent's legal actions, uint8; those of MultiDiscrete's entries end to end."""
        mask, columns = state.observation.action_mask, self.shoal_env.metadata.action_columns
        avail = {}
        for i, agent in enumerate(self.agents):
            space = self.shoal_env.metadata.action_spaces[i]
            if isinstance(mask, tuple):
                own = jnp.concatenate([part[i] for part in mask])
            elif self._padded or not isinstance(space, Discrete):
                own = mask[i]
            else:
                own = mask[i][: space.n] if columns is None else mask[i][np.asarray(columns[i])]
            avail[agent] = own.astype(jnp.uint8)
        return avail

    def _true(self, view: Array, agent: int) -> Array:
        """Takes the padding off an agent's view."""
        m = self.shoal_env.metadata
        space = m.observation_spaces[agent]
        if self._padded or not isinstance(space, Box):
            return view
        if m.observation_columns is not None:
            return view[np.asarray(m.observation_columns[agent])]
        return view[tuple(slice(n) for n in space.shape)]

    def _joint(self, action: Array, agent: int) -> Array:
        """Returns an agent's action in the padded space."""
        m = self.shoal_env.metadata
        padded, columns = m.action_space, m.action_columns
        action = action.astype(padded.dtype).reshape(_action_shape(m, agent, self._padded))
        if self._padded:
            return action
        if isinstance(padded, Discrete):
            return action if columns is None else jnp.asarray(columns[agent], jnp.int32)[action]
        own = np.arange(action.shape[0]) if columns is None else np.asarray(columns[agent])
        return jnp.zeros(padded.shape, padded.dtype).at[own].set(action)

    def _dones(self, timestep: TimeStep) -> dict[str, Array]:
        over = timestep.terminated | timestep.truncated
        gone = ~timestep.observation.alive | timestep.agent_done
        gone = gone & (not self.shoal_env.metadata.slots_refilled)
        return {a: over | gone[i] for i, a in enumerate(self.agents)} | {"__all__": over}

    def _info(self, timestep: TimeStep) -> dict[str, Array]:
        """Returns the metrics, and whether the limit cut the episode, as [A]: scripts reshape by agents."""
        told = timestep.metrics | {"truncated": timestep.truncated}
        return {name: jnp.full((self.num_agents,), value) for name, value in told.items()}


def _typed(key: Array) -> Key:
    """Returns a typed key; JaxMARL's scripts pass raw ones."""
    return key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)


def _end_to_end(tree: PyTree) -> Array:
    return jnp.concatenate([leaf.astype(jnp.float32).ravel() for leaf in jax.tree.leaves(tree)])


def _boxes(nest: PyTree) -> list[Box]:
    """Returns the spaces of a nest; discrete entries count as numbers."""
    return [s if isinstance(s, Box) else Box(-np.inf, np.inf, s.shape) for s in jax.tree.leaves(nest)]


def _view_space(nest: PyTree) -> Any:
    boxes = _boxes(nest)
    low, high = min(box.low for box in boxes), max(box.high for box in boxes)
    if isinstance(nest, Box):
        return theirs.Box(low, high, nest.shape, nest.dtype)
    return theirs.Box(low, high, (sum(box.size for box in boxes),))


def _action_space(space: Space) -> Any:
    if isinstance(space, Discrete):
        return theirs.Discrete(space.n)
    if isinstance(space, Box):
        return theirs.Box(space.low, space.high, space.shape)
    return theirs.MultiDiscrete(space.nvec)


def _action_shape(metadata: Any, agent: int, padded: bool) -> tuple[int, ...]:
    shape: tuple[int, ...] = (metadata.action_space if padded else metadata.action_spaces[agent]).shape
    return shape


def teach_jaxmarl() -> None:
    """Makes `jaxmarl.make` know Shoal's ids beside its own names, which have neither slash nor dot.

    A dot may stand for the slash: scripts put the name into file names.
    """
    own = jaxmarl.make

    def make_either(env_id: str, **env_kwargs: Any) -> Any:
        if "/" not in env_id and "." not in env_id:
            return own(env_id, **env_kwargs)
        padded = bool(env_kwargs.pop("padded", True))
        id = env_id if "/" in env_id or ":" in env_id else env_id.replace(".", "/", 1)
        return ShoalMultiAgentEnv(make(id, **env_kwargs), padded)

    jaxmarl.make = make_either


def main() -> None:
    """Runs a script of JaxMARL, unchanged, in which ``ENV_NAME`` may be one of Shoal's ids."""
    if len(sys.argv) < 2:
        raise SystemExit(
            "name a script, such as baselines/IPPO/ippo_ff_mpe.py ENV_NAME=particle.simple-spread"
        )
    teach_jaxmarl()
    script, sys.argv = sys.argv[1], sys.argv[1:]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
