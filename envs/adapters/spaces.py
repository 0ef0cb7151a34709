"""From Shoal's padded arrays to what each agent truly has, in Gymnasium's spaces, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces as gym

from shoal.envs.core.environment import Environment
from shoal.envs.core.errors import UserError
from shoal.envs.core.spaces import Box, Discrete, MultiDiscrete
from shoal.envs.core.types import PyTree


def gym_space(space: PyTree) -> gym.Space[Any]:
    """Converts a space or a nest of spaces: a dataclass or mapping to ``Dict``, a tuple to ``Tuple``.

    Box keeps its bounds; Box of bool becomes ``MultiBinary``.
    """
    if isinstance(space, Discrete):
        return gym.Discrete(space.n)
    if isinstance(space, MultiDiscrete):
        return gym.MultiDiscrete(np.asarray(space.nvec, np.int64))
    if isinstance(space, Box):
        if np.dtype(space.dtype) == np.bool_:
            return gym.MultiBinary(space.shape)
        return gym.Box(space.low, space.high, space.shape, np.dtype(space.dtype).type)
    if isinstance(space, tuple):
        return gym.Tuple([gym_space(part) for part in space])
    return gym.Dict({name: gym_space(part) for name, part in _fields(space).items()})


def _fields(nest: Any) -> dict[str, Any]:
    if isinstance(nest, dict):
        return nest
    return {field.name: getattr(nest, field.name) for field in dataclasses.fields(nest)}


def agent_view(env: Environment[Any, Any], view: PyTree, agent: int) -> Any:
    """Returns one agent's unpadded view, as its Gymnasium space has it, from the NumPy view [A, ...]."""
    columns = env.metadata.observation_columns
    return _unpad(
        view,
        env.metadata.observation_spaces[agent],
        agent,
        None if columns is None else list(columns[agent]),
    )


def _unpad(view: Any, space: Any, agent: int, columns: Sequence[int] | None) -> Any:
    if isinstance(space, Box):
        own = view[agent]
        own = own[columns] if columns is not None else own[tuple(slice(n) for n in space.shape)]
        return own.astype(np.int8) if own.dtype == np.bool_ else own
    if isinstance(space, Discrete):
        return np.int64(view[agent])
    if isinstance(space, MultiDiscrete):
        return view[agent].astype(np.int64)
    if isinstance(space, tuple):
        return tuple(_unpad(v, s, agent, columns) for v, s in zip(view, space, strict=True))
    inner = _fields(view)
    return {name: _unpad(inner[name], part, agent, columns) for name, part in _fields(space).items()}


def agent_mask(env: Environment[Any, Any], mask: PyTree, agent: int) -> Any:
    """Returns one agent's unpadded mask as int8, in the form that ``sample(mask=...)`` of its space takes.

    None where actions are real numbers.
    """
    space, columns = env.metadata.action_spaces[agent], env.metadata.action_columns
    if isinstance(space, Discrete):
        own = range(space.n) if columns is None else columns[agent]
        return mask[agent][list(own)].astype(np.int8)
    if isinstance(space, MultiDiscrete):
        entries = range(len(space.nvec)) if columns is None else columns[agent]
        return tuple(mask[k][agent][:n].astype(np.int8) for k, n in zip(entries, space.nvec, strict=True))
    return None


def joint_action(env: Environment[Any, Any], actions: dict[int, Any], idle: np.ndarray) -> np.ndarray:
    """Returns the padded actions [A, ...] of all agents.

    Args:
        env: the environment.
        actions: agent index -> its action, in its own true space.
        idle: [A, ...], what agents without an action do.

    Raises:
        UserError: for an action that is no element of the agent's space (Box: not of its shape).
    """
    joint = idle.copy()
    columns = env.metadata.action_columns
    for i, action in actions.items():
        space, value = env.metadata.action_spaces[i], np.asarray(action)
        fits = value.shape == space.shape
        if fits and not isinstance(space, Box):
            limit = space.n if isinstance(space, Discrete) else np.asarray(space.nvec)
            fits = value.dtype.kind in "iu" and bool(np.all((value >= 0) & (value < limit)))
        if not fits:
            raise UserError(f"action {action!r} of {env.agents[i]} is not in {space}")
        if isinstance(space, Discrete):
            joint[i] = value if columns is None else columns[i][int(value)]
        elif columns is None:
            joint[i][tuple(slice(n) for n in space.shape)] = value
        else:
            joint[i][list(columns[i])] = value
    return joint
