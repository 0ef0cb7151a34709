"""Playing whole episodes with a policy, compiled.

Every environment of the batch plays the same number of episodes to their end, so that short episodes are not
counted more often than long ones (as they are where the first N that finish are taken).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from shoal.algorithms.blocks.learner import Group
from shoal.algorithms.blocks.opponents import Opponent
from shoal.algorithms.blocks.rollout import NOBODY
from shoal.envs.core import Environment, Episode, Observation, Policy, PyTree, TimeStep, UserError
from shoal.envs.core.vector import VectorEnv, VectorState

Records = dict[str, Array]
"""Per-episode values by name: ``episode_return``, ``episode_return_sum``, ``episode_length``, the metrics."""


@struct.dataclass
class _Play:
    """Where a batch of ``E`` environments stands that plays ``K`` episodes each; one member."""

    vector: VectorState
    timestep: TimeStep  # [E, ...]
    carry: PyTree  # the policy's memory
    count: Array  # [E] i32, episodes finished
    records: Records  # name -> [E, K] f32


class Evaluator:
    """Plays ``ceil(episodes / num_envs)`` whole episodes in each of ``num_envs`` environments.

    Compiled once per instance: parameters are an argument. Members (seeds, sweeps) lie on a leading axis
    and are played side by side.
    """

    def __init__(
        self,
        env: Environment[Any, Any],
        policy_of: Callable[[PyTree], Policy],
        episodes: int,
        num_envs: int | None = None,
        greedy: bool = True,
        learning: tuple[int, ...] | None = None,
        devices: list[Any] | None = None,
    ) -> None:
        """Fixes what is compiled.

        Args:
            env: the environment to play.
            policy_of: parameters of one member -> the policy of all agents (see `JointPolicy`).
            episodes: how many episodes are wanted, at least 1.
            num_envs: environments side by side; by default as many as episodes, 256 at most.
            greedy: the most probable actions instead of drawn ones.
            learning: the agents that ``episode_return`` speaks of, all by default.
            devices: environments are split over these where they divide, else the default device plays.

        Raises:
            UserError: for numbers below 1.
        """
        num_envs, self.episodes_each = side_by_side(episodes, num_envs)
        self.env = env
        self.policy_of = policy_of
        self.greedy = greedy
        self.episodes = self.episodes_each * num_envs
        self.learning = np.asarray(range(env.num_agents) if learning is None else learning)
        # A finished state may be replaced at once: nobody needs the final observation here.
        self.venv = VectorEnv(env, num_envs, "same_step")
        split = devices is not None and len(devices) > 1 and num_envs % len(devices) == 0
        self.mesh = Mesh(np.asarray(devices), ("env",)) if split else None

    def __call__(self, params: PyTree, keys: Array, env_params: Any = None) -> Records:
        """Plays, compiled.

        Args:
            params: policy parameters, leaves [members, ...].
            keys: [members] keys; with the parameters they decide everything.
            env_params: numbers to play with, leaves [members, ...]; the environment's own by default.

        Returns:
            Name -> [members, episodes] f32.
        """
        return self._compiled(params, keys, env_params)

    def compile(self, params: PyTree, keys: Array, env_params: Any = None) -> None:
        """Compiles ahead of the first call, for arguments like these."""
        self.__dict__["_compiled"] = self._compiled.lower(params, keys, env_params).compile()

    def play(self, params: PyTree, keys: Array, env_params: Any = None) -> Records:
        """What `__call__` compiles: pure and jittable, for use inside a larger program."""
        own = None if env_params is None else 0
        split = jax.vmap(jax.random.split)(keys)
        # Memory has the same form whatever the parameters are, so any member's policy can open it.
        carry = self.policy_of(jax.tree.map(lambda leaf: leaf[0], params)).initial_carry(
            (self.venv.num_envs,)
        )
        play = self._pinned(jax.vmap(partial(self._open, carry), in_axes=(0, own))(split[:, 0], env_params))
        members = jax.vmap(self._step, in_axes=(0, 0, 0, None, own))

        def running(carried: tuple[Array, _Play]) -> Array:
            # Reduced over members as well: a condition per member would run and select everything.
            return jnp.any(carried[1].count < self.episodes_each)

        def body(carried: tuple[Array, _Play]) -> tuple[Array, _Play]:
            clock, play = carried
            return clock + 1, self._pinned(members(params, split[:, 1], play, clock, env_params))

        _, play = jax.lax.while_loop(running, body, (jnp.zeros((), jnp.int32), play))
        return {name: value.reshape(value.shape[0], -1) for name, value in play.records.items()}

    @cached_property
    def _compiled(self) -> Any:
        if self.mesh is None:
            return jax.jit(self.play)
        # Whole on every device: with several processes, each reads all of it.
        return jax.jit(self.play, out_shardings=NamedSharding(self.mesh, PartitionSpec()))

    def _open(self, carry: PyTree, key: Array, env_params: Any) -> _Play:
        vector, timestep = self.venv.reset(key, env_params)
        envs = self.venv.num_envs
        names = ("episode_return", "episode_return_sum", "episode_length", *timestep.metrics)
        return _Play(
            vector=vector,
            timestep=timestep,
            carry=carry,
            count=jnp.zeros(envs, jnp.int32),
            records={name: jnp.zeros((envs, self.episodes_each), jnp.float32) for name in names},
        )

    def _step(self, params: PyTree, key: Array, play: _Play, clock: Array, env_params: Any) -> _Play:
        """Acts and steps once in all environments of one member; full records are left alone."""
        policy = self.policy_of(params)
        carry, action = policy.act(
            jax.random.fold_in(key, clock),
            play.carry,
            play.timestep.observation,
            state=play.vector.env if policy.needs_state else None,
            greedy=self.greedy,
            first=play.timestep.first,
        )
        vector, timestep, episode = self.venv.step(play.vector, action, env_params)
        slot = jnp.arange(self.episodes_each, dtype=jnp.int32) == play.count[:, None]
        slot = slot & episode.done[:, None]
        values = self._values(episode)
        return _Play(
            vector=vector,
            timestep=timestep,
            carry=carry,
            count=play.count + episode.done.astype(jnp.int32),
            records={name: jnp.where(slot, values[name][:, None], old) for name, old in play.records.items()},
        )

    def _values(self, episode: Episode) -> Records:
        returns = episode.returns[:, self.learning]
        return {
            **episode.metrics,
            "episode_return": jnp.mean(returns, axis=-1),
            "episode_return_sum": jnp.sum(returns, axis=-1),
            "episode_length": episode.length.astype(jnp.float32),
        }

    def _pinned(self, play: _Play) -> _Play:
        """Splits the environments over the devices."""
        if self.mesh is None:
            return play
        split = NamedSharding(self.mesh, PartitionSpec(None, "env"))
        return jax.lax.with_sharding_constraint(play, jax.tree.map(lambda _: split, play))


def side_by_side(episodes: int, num_envs: int | None) -> tuple[int, int]:
    """Returns how many environments play ``episodes``, and how often each plays one.

    Raises:
        UserError: for numbers below 1.
    """
    for name, value in (("episodes", episodes), ("num_envs", num_envs)):
        if value is not None and value < 1:
            raise UserError(f"{name}={value} must be at least 1")
    wanted = min(episodes, 256 if num_envs is None else num_envs)
    return wanted, math.ceil(episodes / wanted)


def play_rounds(
    evaluator: Evaluator, params: PyTree, rounds: int, seed: int, advance: Callable[[int], None]
) -> dict[str, np.ndarray]:
    """Plays an evaluator's episodes several times over, so that progress can be shown.

    Args:
        evaluator: what is played each time.
        params: of one policy, without an axis of members.
        rounds: how many times.
        seed: decides the keys; every round has its own.
        advance: told of the episodes that each round played.

    Returns:
        Name -> [rounds * episodes] f32.
    """
    params = jax.tree.map(lambda leaf: leaf[None], params)
    records = []
    for turn in range(rounds):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), turn), 1)
        records.append(jax.device_get(evaluator(params, keys)))
        advance(evaluator.episodes)
    return {name: np.concatenate([record[name][0] for record in records]) for name in records[0]}


class Plays(Protocol):
    """Who can be played: a policy of all agents with its environment and parameters, such as a `Player`."""

    params: PyTree
    policy_of: Callable[[PyTree], Policy]
    learning: tuple[int, ...]

    def env(self) -> Environment[Any, Any]:
        """Returns the environment that it plays in."""


def play_episodes(
    player: Plays,
    episodes: int,
    num_envs: int | None = None,
    greedy: bool = True,
    seed: int = 0,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, np.ndarray]:
    """Plays whole episodes: ``ceil(episodes / num_envs)`` in every environment.

    Returns:
        Name -> one value for each episode, at least ``episodes`` of them: the return, its sum over agents,
        the length, and the environment's metrics, headline first.

    Raises:
        UserError: for numbers below 1.
    """
    wanted, rounds = side_by_side(episodes, num_envs)
    env = player.env()
    # One episode per environment and call, so that the caller hears of progress.
    evaluator = Evaluator(
        env, player.policy_of, wanted, wanted, greedy, player.learning, devices=jax.local_devices()
    )
    joined = play_rounds(evaluator, player.params, rounds, seed, advance)
    names = ("episode_return", "episode_return_sum", "episode_length", *(m.name for m in env.metric_specs))
    return {name: joined[name] for name in names}


class JointPolicy:
    """The policies of several groups as one policy of all agents."""

    def __init__(self, env: Environment[Any, Any], policies: Mapping[str, tuple[Group, Policy]]) -> None:
        """Joins group policies that together own every agent once.

        Raises:
            UserError: when an agent has no policy or two.
        """
        self.policies = dict(policies)
        self.num_agents = env.num_agents
        indices = [i for group, _ in policies.values() for i in group.indices]
        if sorted(indices) != list(range(env.num_agents)):
            raise UserError(
                f"policies own agents {sorted(indices)}, but {env.id} has 0 to {env.num_agents - 1}"
            )
        self.order = np.argsort(indices)

    @property
    def needs_state(self) -> bool:
        """Whether any of the groups must be given the environment's whole state."""
        return any(policy.needs_state for _, policy in self.policies.values())

    def initial_carry(self, batch: tuple[int, ...] = ()) -> PyTree:
        """Returns the memory of every group by name."""
        return {name: policy.initial_carry(batch) for name, (_, policy) in self.policies.items()}

    def act(
        self,
        key: Array,
        carry: PyTree,
        observation: Observation,
        state: PyTree = None,
        greedy: bool = True,
        first: Array | None = None,
    ) -> tuple[PyTree, Array]:
        """Chooses the actions of all agents [*B, A, ...]; see `shoal.envs.core.Policy`."""
        axis = observation.alive.ndim - 1
        carries, actions = {}, []
        for number, (name, (group, policy)) in enumerate(self.policies.items()):
            rows = group.rows((observation, first), self.num_agents, axis)
            given = state if policy.needs_state else None
            carries[name], action = policy.act(
                jax.random.fold_in(key, number), carry[name], rows[0], given, greedy, rows[1]
            )
            actions.append(action)
        if len(actions) == 1:
            return carries, actions[0]
        return carries, jnp.take(jnp.concatenate(actions, axis), self.order, axis)


def learned_policy(
    env: Environment[Any, Any],
    learners: Mapping[str, tuple[Group, Any]],
    opponents: Mapping[str, Opponent] = NOBODY,
) -> Callable[[PyTree], Policy]:
    """Returns what makes the policy of all agents from ``{learner name: parameters}``, for `Evaluator`.

    Opponents play their script, or the parameters that are given for their learner.
    """

    def policy_of(params: PyTree) -> Policy:
        policies = {
            name: (group, learner.policy(params[name])) for name, (group, learner) in learners.items()
        }
        for name, opponent in opponents.items():
            held = () if opponent.learner is None else params[opponent.learner]
            policies[name] = (opponent.group, opponent.policy_of(held))
        return JointPolicy(env, policies)

    return policy_of
