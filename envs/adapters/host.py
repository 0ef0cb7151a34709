"""One environment stepped from Python: compiled once, fed and read as NumPy."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import jax
import numpy as np

from shoal.envs.core.environment import Environment
from shoal.envs.core.errors import UserError
from shoal.envs.core.policy import IdlePolicy
from shoal.envs.core.registry import make
from shoal.envs.core.types import Observation, PyTree, Recording, TimeStep

RENDER_MODES = ("rgb_array",)


class _Alike:
    """An environment as a key: two of one class, options and numbers have the same programs."""

    def __init__(self, env: Environment[Any, Any]) -> None:
        leaves = [(x.shape, str(x.dtype), x.tobytes()) for x in map(np.asarray, jax.tree.leaves(env.params))]
        self.env = env
        self.identity = (type(env), env.options, tuple(leaves))

    def __hash__(self) -> int:
        return hash(self.identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Alike) and self.identity == other.identity


@lru_cache(maxsize=32)
def _programs(alike: _Alike) -> dict[str, Callable[..., Any]]:
    """Returns the compiled reset, step, global state and idle action of an environment."""
    env = alike.env
    idle = IdlePolicy(env)

    def idling(observation: Observation) -> Any:
        return idle.act(jax.random.key(0), (), observation)[1]

    programs: dict[str, Callable[..., Any]] = {
        "reset": env.reset,
        "step": env.step,
        "global_state": env.global_state,
        "idle": idling,
    }
    return {name: jax.jit(program) for name, program in programs.items()}


class Host:
    """The running episode of one environment."""

    def __init__(self, env: Environment[Any, Any] | str, seed: int | None, render_mode: str | None) -> None:
        """Makes the environment if an id is given.

        Raises:
            UserError: for an unknown id or render mode.
        """
        self.env = make(env) if isinstance(env, str) else env
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise UserError(f"render_mode={render_mode!r} is not one of {', '.join(RENDER_MODES)}, or None")
        self.render_mode = render_mode
        self.seed(secrets.randbits(31) if seed is None else seed)
        self._state: PyTree = None
        self._last: TimeStep | None = None

    @cached_property
    def _programs(self) -> dict[str, Callable[..., Any]]:
        return _programs(_Alike(self.env))

    def seed(self, seed: int) -> None:
        """Decides everything that is drawn from now on."""
        self._key = jax.random.key(seed)

    def reset(self, seed: int | None = None) -> TimeStep:
        """Opens an episode and returns its NumPy timestep."""
        if seed is not None:
            self.seed(seed)
        self._state, self._last = self._programs["reset"](self._next_key())
        return self._read(self._last)

    def step(self, action: np.ndarray) -> TimeStep:
        """Steps all agents by padded actions [A, ...] and returns the NumPy timestep."""
        self._require_episode()
        self._state, self._last = self._programs["step"](self._next_key(), self._state, action)
        return self._read(self._last)

    def idle(self) -> np.ndarray:
        """Returns [A, ...], what doing nothing is now."""
        self._require_episode()
        assert self._last is not None
        return np.array(self._programs["idle"](self._last.observation))

    def global_state(self) -> PyTree:
        """Returns the whole state as NumPy arrays."""
        self._require_episode()
        return jax.device_get(self._programs["global_state"](self._state))

    def render(self) -> np.ndarray | None:
        """Returns the current state as a picture [H, W, 3] uint8; None without a render mode.

        Raises:
            NotImplementedError: when the environment cannot be drawn.
        """
        if self.render_mode is None:
            return None
        self._require_episode()
        from shoal.envs.scene import rasterize

        assert self._last is not None
        state = jax.tree.map(lambda x: np.asarray(x) if not _is_key(x) else x, self._state)
        clip = self.env.scene(Recording((state,), (), (), (self._read(self._last),)))
        return rasterize(clip.frames[-1])

    def _next_key(self) -> Any:
        self._key, key = jax.random.split(self._key)
        return key

    def _read(self, timestep: TimeStep) -> TimeStep:
        read: TimeStep = jax.device_get(timestep)
        return read

    def _require_episode(self) -> None:
        if self._last is None:
            raise UserError("there is no episode yet: call reset() first")


def _is_key(x: Any) -> bool:
    return bool(jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key))
