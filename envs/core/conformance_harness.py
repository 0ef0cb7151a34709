"""What the conformance checks share: an environment's compiled programs, recorded play, comparisons."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from shoal.envs.core.environment import Environment
from shoal.envs.core.policy import IdlePolicy
from shoal.envs.core.registry import make
from shoal.envs.core.spaces import Box, Discrete, Space, sample_actions
from shoal.envs.core.types import Observation, PyTree, TimeStep
from shoal.envs.core.vector import Episode, VectorEnv, VectorState, step_keys

KINDS = ("random", "garbage", "idle", "half", "random")
"""How copy i plays: legal actions, no actions at all (out of range, NaN), idle, or half of them illegal."""
LONGEST = 1024  # steps of play; longer episodes are not played to their end
_INT = np.iinfo(np.int32)


@struct.dataclass
class Play:
    """What ``E`` copies went through in ``T`` steps; arrays lead with [T, E], an opening one with [E]."""

    opening: TimeStep  # [E]
    opening_state: PyTree  # [E], global
    before: PyTree  # [T, E], states that were stepped
    after: PyTree  # [T, E], states that came out (of the reset, where one happened)
    action: Array  # [T, E, A, ...]
    step_key: Array  # [T, E] keys
    reset_key: Array  # [T, E] keys
    timestep: TimeStep  # [T, E]
    episode: Episode  # [T, E]
    global_state: PyTree  # [T, E]

    @property
    def done(self) -> np.ndarray:
        """[T, E] bool, whether an episode ended in this step."""
        return np.asarray(self.episode.done)

    def seen(self) -> Observation:
        """Returns what was seen before each step, NumPy, [T, E]."""
        return jax.tree.map(
            lambda first, rest: np.concatenate([np.asarray(first)[None], np.asarray(rest)[:-1]]),
            self.opening.observation,
            self.timestep.observation,
        )


class Harness:
    """One environment with its programs, compiled at first use and shared by all checks."""

    def __init__(self, env: Environment[Any, Any], seed: int = 0) -> None:
        """Compiles nothing yet."""
        self.env = env
        self.key = jax.random.key(seed)
        self.steps = min(max(env.max_steps + 4, 24), LONGEST)
        self.step_traces = 0
        self.reset = jax.jit(env.reset)
        self.replay = jax.jit(lambda key, level: env.reset(key, level=level))
        self.sample_level = jax.jit(env.sample_level)
        self._plays: dict[tuple[str, int], Play] = {}

    @classmethod
    def of(cls, env: Environment[Any, Any] | Harness | str, seed: int = 0) -> Harness:
        """Returns the harness of an environment, an id or itself; the last few are kept."""
        if isinstance(env, Harness):
            return env
        return _harness(_made(env) if isinstance(env, str) else env, seed)

    @cached_property
    def step(self) -> Callable[..., Any]:
        """`Environment.step`, compiled; counts how often it is traced."""

        def counted(key: Any, state: PyTree, action: Array) -> Any:
            self.step_traces += 1
            return self.env.step(key, state, action)

        return jax.jit(counted)

    def play(self, mode: str, first_index: int = 0, again: bool = False) -> Play:
        """Returns recorded play in one mode of `VectorEnv`; ``again`` plays anew instead of remembering."""
        if again or (mode, first_index) not in self._plays:
            play = self._program(mode)(self.key, jnp.asarray(first_index, jnp.int32))
            if again:
                return play
            self._plays[mode, first_index] = play
        return self._plays[mode, first_index]

    def _program(self, mode: str) -> Callable[..., Play]:
        if mode not in self._programs:
            self._programs[mode] = jax.jit(_player(self.env, mode, self.steps))
        return self._programs[mode]

    @cached_property
    def _programs(self) -> dict[str, Callable[..., Play]]:
        return {}

    def idle(self, seen: Observation) -> np.ndarray:
        """Returns [A, ...], what doing nothing is to agents who see this."""
        _, action = IdlePolicy(self.env).act(self.key, (), jax.tree.map(jnp.asarray, seen))
        return np.asarray(action)

    @cached_property
    def lowered_reset(self) -> str:
        """The text of the reset program."""
        return lowered_reset(self.env)

    @cached_property
    def lowered_step(self) -> str:
        """The text of the step program."""
        return lowered_step(self.env)

    def shapes(self) -> tuple[Any, PyTree, Any, TimeStep]:
        """Returns abstract (key, state, action, timestep); see `abstract`."""
        return abstract(self.env)

    def midgame(self, count: int) -> list[tuple[int, int]]:
        """Returns up to ``count`` places (step, copy) of running episodes, spread over the play."""
        running = np.argwhere(np.asarray(self.play("next_step").timestep.valid))
        # Early steps are the busiest of most worlds, so the spread is quadratic in time.
        picks = (np.linspace(0.0, 1.0, count) ** 2 * (len(running) - 1)).astype(int)
        return [(int(t), int(e)) for t, e in running[np.unique(picks)]]


def abstract(env: Environment[Any, Any]) -> tuple[Any, PyTree, Any, TimeStep]:
    """Returns abstract (key, state, action, timestep) without compiling."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    state, timestep = jax.eval_shape(lambda k: env.reset(k), key)
    action = jax.ShapeDtypeStruct((env.num_agents, *env.action_space.shape), env.action_space.dtype)
    return key, state, action, timestep


def lowered_reset(env: Environment[Any, Any]) -> str:
    """Traces a reset with given params anew and returns the program's text."""
    return jax.jit(lambda k, p: env.reset(k, params=p)).lower(abstract(env)[0], env.params).as_text()


def lowered_step(env: Environment[Any, Any]) -> str:
    """Traces a step anew and returns the program's text."""
    key, state, action, _ = abstract(env)
    return jax.jit(lambda k, s, a: env.step(k, s, a)).lower(key, state, action).as_text()


@lru_cache(maxsize=8)
def _harness(env: Environment[Any, Any], seed: int) -> Harness:
    return Harness(env, seed)


@lru_cache(maxsize=8)
def _made(id: str) -> Environment[Any, Any]:
    return make(id)


def _player(env: Environment[Any, Any], mode: str, steps: int) -> Callable[[Any, Array], Play]:
    """Returns the program behind `Harness.play`: (key, global index of copy 0) -> Play."""
    copies = len(KINDS)
    vector = VectorEnv(env, copies, mode)
    idle = IdlePolicy(env)
    draw = (env.num_agents, *env.action_space.shape, 3)

    def play(key: Any, first_index: Array) -> Play:
        state, opening = vector.reset(key, first_index=first_index)
        index = jnp.arange(copies, dtype=jnp.int32) + first_index
        # Far from the indices that VectorEnv folds in.
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index + 1_000_000)
        kind = index % copies

        def body(carry: tuple[VectorState, TimeStep], t: Array) -> tuple[Any, Any]:
            state, timestep = carry
            seen = timestep.observation
            now = jax.vmap(jax.random.fold_in, (0, None))(keys, t)
            u = jax.vmap(lambda k: jax.random.uniform(k, draw))(now)
            legal = sample_actions(env.action_space, u[..., 0], seen.action_mask)
            wild = garbage(env.action_space, u[..., 0], u[..., 1])
            _, still = idle.act(key, (), seen)
            mixed = jnp.where(u[..., 2] < 0.5, legal, anything(env.action_space, u[..., 1]))
            pick = jnp.reshape(kind, (copies,) + (1,) * (legal.ndim - 1))
            action = jnp.where(pick == 1, wild, legal)
            action = jnp.where(pick == 2, still, action)
            action = jnp.where(pick == 3, mixed, action)
            step_key, reset_key = step_keys(state.keys, state.clock)
            after, following, episode = vector.step(state, action)
            row = (state.env, after.env, action, step_key, reset_key, following, episode)
            return (after, following), (*row, vector.global_state(after))

        _, rows = jax.lax.scan(body, (state, opening), jnp.arange(steps, dtype=jnp.int32))
        return Play(opening, vector.global_state(state), *rows)

    return play


def anything(space: Space, u: Array) -> Array:
    """Turns uniforms [..., *space.shape] into elements of the space, whatever the mask says."""
    if isinstance(space, Box):
        return space.low + u * (space.high - space.low)
    sizes = np.asarray(space.n if isinstance(space, Discrete) else space.nvec, np.int32)
    sizes = sizes.reshape((1,) * (u.ndim - sizes.ndim) + sizes.shape)
    return jnp.minimum((u * sizes.astype(np.float32)).astype(jnp.int32), sizes - 1)


def outside(space: Space) -> list[float]:
    """Returns numbers that no entry of an action may have: the same for every entry of the space."""
    if isinstance(space, Box):
        return [float("nan"), float("inf"), float("-inf"), 1e30, -1e30, space.low - 1.0, space.high + 1.0]
    n = space.n if isinstance(space, Discrete) else max(space.nvec)
    return [-1, -n, n, n + 7, int(_INT.max), int(_INT.min)]


def garbage(space: Space, u: Array, v: Array) -> Array:
    """Turns two uniforms into mostly impossible entries, some possible ones among them."""
    bad = np.asarray(outside(space), space.dtype)
    which = (u * (len(bad) + 2)).astype(jnp.int32)
    chosen = jnp.asarray(bad)[jnp.minimum(which, len(bad) - 1)]
    return jnp.where(which < len(bad), chosen, anything(space, v))


def at(tree: PyTree, *index: int | slice) -> PyTree:
    """Returns an entry (or a slice) of every leaf's leading axes."""

    def leaf(x: Any) -> Any:
        part = to_numpy(x)[index]  # with jax every shape would be a program of its own
        if _is_key(x):
            return jax.random.wrap_key_data(part, impl=jax.random.key_impl(x))
        return jax.device_put(part)

    return jax.tree.map(leaf, tree)


def to_numpy(tree: PyTree) -> PyTree:
    """Returns the leaves as NumPy arrays, keys as their data."""
    return jax.tree.map(lambda x: np.asarray(jax.random.key_data(x) if _is_key(x) else x), tree)


def _is_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def expect(condition: Any, message: str) -> None:
    """Fails a check; unlike ``assert`` it stays under ``python -O``."""
    if not condition:
        raise AssertionError(message)


def flat(tree: PyTree) -> tuple[list[tuple[Any, Any]], Any]:
    """Returns (path, leaf) of every leaf, and the structure."""
    return jax.tree_util.tree_flatten_with_path(tree)


def expect_same(one: PyTree, other: PyTree, what: str, tolerance: float = 0.0) -> None:
    """Fails unless two pytrees agree: integers, booleans and keys exactly, floats to ``tolerance``."""
    left, structure = flat(to_numpy(one))
    right, other_structure = flat(to_numpy(other))
    expect(structure == other_structure, f"{what}: structures {structure} and {other_structure} differ")
    for (path, a), (_, b) in zip(left, right, strict=True):
        name = jax.tree_util.keystr(path) or "value"
        expect(
            a.shape == b.shape and a.dtype == b.dtype,
            f"{what}: {name} is {a.dtype}{list(a.shape)} and {b.dtype}{list(b.shape)}",
        )
        if np.issubdtype(a.dtype, np.floating) and tolerance:
            same = np.isclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
        else:
            same = (a == b) | ((a != a) & (b != b))
        if not np.all(same):
            place = tuple(int(i) for i in np.argwhere(~same)[0])
            raise AssertionError(f"{what}: {name}{list(place)} is {a[place]} and {b[place]}")
