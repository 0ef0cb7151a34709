"""The compiled training program: rollout, learn, repeat; several seeds side by side, on all devices."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from shoal.algorithms.blocks.effort import EFFORTS, ONCE, Options, compiler_options
from shoal.algorithms.blocks.learner import MEMBER_AXIS, Group, Learner, Metrics, TrainState, Trajectory
from shoal.algorithms.blocks.opponents import (
    Opponent,
    PoolConfig,
    SwappingVectorEnv,
    draw,
    keep,
    met,
    open_pool,
)
from shoal.algorithms.blocks.packing import Packed
from shoal.algorithms.blocks.rollout import NOBODY, Play, Totals, open_play, rollout
from shoal.envs.core import Environment, PyTree, UserError, VectorEnv


@struct.dataclass
class ProgramState:
    """Everything that training changes; leaves have a leading member axis (seeds, swept values)."""

    learners: dict[str, TrainState]
    play: Play
    key: Array  # a key, never changed; with the update count it decides the exploration
    updates: Array  # [] i32
    pool: PyTree = ()  # past policies (blocks.opponents.Pool), where opponents play them
    env_params: PyTree = None  # the environment's numbers, where members differ in them


class Program:
    """One environment batch, the learners that own its agents and their opponents, as compiled functions.

    Members (seeds, swept hyperparameters) are vmapped over a leading axis named ``member``. Environments are
    sharded over ``devices``, parameters replicated.
    """

    def __init__(
        self,
        env: Environment[Any, Any],
        learners: Mapping[str, tuple[Group, Learner]],
        num_envs: int,
        rollout_length: int,
        devices: list[Any] | None = None,
        opponents: Mapping[str, Opponent] = NOBODY,
        pool: PoolConfig | None = None,
        swap_sides: bool = False,
        curriculum_updates: int | None = None,
        effort: str = "full",
    ) -> None:
        """Fixes what is compiled.

        Args:
            env: the environment.
            learners: by name, the group each owns.
            num_envs: environments side by side, per member.
            rollout_length: steps between two updates.
            devices: what the environments are split over, the first device by default.
            opponents: by other names, who plays the agents that no learner owns.
            pool: how the past policies are kept that opponents with ``blocks`` play; all play one learner's.
            swap_sides: two teams change places in every second environment.
            curriculum_updates: over how many updates the environment's curriculum goes; None: there is none.
            effort: how hard a CPU's compiler tries for the update, of ``EFFORTS``.

        Raises:
            UserError: when agents are owned twice or not at all, or environments do not divide over devices
                or blocks.
        """
        groups = [group for group, _ in learners.values()] + [o.group for o in opponents.values()]
        owned = sorted(i for group in groups for i in group.indices)
        if owned != list(range(env.num_agents)):
            raise UserError(f"learners own agents {owned}, but {env.id} has agents 0 to {env.num_agents - 1}")
        if pool is not None and num_envs % pool.blocks:
            raise UserError(f"num_envs={num_envs} does not divide into opponent_pool.blocks={pool.blocks}")
        devices = jax.devices()[:1] if devices is None else devices
        if num_envs % len(devices):
            raise UserError(f"num_envs={num_envs} does not divide over {len(devices)} devices")
        self.env = env
        self.venv = (SwappingVectorEnv if swap_sides else VectorEnv)(env, num_envs)
        self.learners = dict(learners)
        self.opponents = dict(opponents)
        self.pool = pool
        self.rollout_length = rollout_length
        self.curriculum_updates = curriculum_updates
        self.effort = effort
        self.fresh_rollouts = any(learner.fresh_rollouts for _, learner in self.learners.values())
        self.mesh = Mesh(np.asarray(devices), ("env",))

    def init(
        self, keys: Array, hyper: Mapping[str, dict[str, Array]] | None = None, env_params: PyTree = None
    ) -> ProgramState:
        """Returns the opening state of every member, laid out over the devices.

        Args:
            keys: [members] keys, one per member.
            hyper: learner name -> float hyperparameters with leading axis ``members``.
            env_params: the environment's numbers with leading axis ``members``; None: as configured.
        """
        return self._init(keys, {} if hyper is None else dict(hyper), env_params)

    def prepare(
        self, keys: Array, hyper: Mapping[str, dict[str, Array]] | None = None, env_params: PyTree = None
    ) -> tuple[ProgramState, Any]:
        """Returns what `init` does, and `run` compiled for it: sooner than one after the other."""
        given = keys, {} if hyper is None else dict(hyper), env_params
        lowered = self._init.lower(*given)
        with ThreadPoolExecutor(1) as other:  # XLA compiles one program while JAX traces the next
            state = other.submit(lambda: lowered.compile(self._options(ONCE))(*given))
            compiled = self.compile(self._laid_out(lowered.out_info))
            return state.result(), compiled

    @cached_property
    def _init(self) -> Any:
        def one(key: Array, hyper: dict[str, dict[str, Array]], env_params: PyTree) -> ProgramState:
            key, play_key, *learn_keys = jax.random.split(key, 2 + len(self.learners))
            states = {
                name: learner.init(learn_key, hyper.get(name))
                for learn_key, (name, (_, learner)) in zip(learn_keys, self.learners.items(), strict=True)
            }
            pool = () if self.pool is None else open_pool(self.pool, self._pooled(states))
            updates = jnp.zeros((), jnp.int32)
            params = self._env_params(updates, env_params)
            play = self._opened(play_key, params, self._opponent_params(states, pool))
            return ProgramState(states, play, key, updates, pool, env_params)

        return jax.jit(jax.vmap(one), out_shardings=self.shardings)

    def _laid_out(self, shapes: ProgramState) -> ProgramState:
        """Returns shapes of arrays with the shardings that the arrays will have."""

        def lay(sharding: Any, shapes: PyTree) -> PyTree:
            return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)

        return cast(ProgramState, jax.tree.map(lay, self.shardings, shapes))

    def update(self, state: ProgramState) -> tuple[ProgramState, Totals, dict[str, Metrics]]:
        """Plays one rollout and learns from it, for one member; pure."""
        play, pool, trajectories, totals = self.play(state)
        learned = {
            name: learner.learn(state.learners[name], trajectories[name])
            for name, (_, learner) in self.learners.items()
        }
        states = {name: state_and_metrics[0] for name, state_and_metrics in learned.items()}
        metrics = {name: state_and_metrics[1] for name, state_and_metrics in learned.items()}
        updates = state.updates + 1
        if self.pool is not None:
            pool = keep(self.pool, pool, self._pooled(states), updates)
        state = ProgramState(states, play, state.key, updates, pool, state.env_params)
        return state, totals, metrics

    def play(self, state: ProgramState) -> tuple[Play, PyTree, dict[str, Trajectory], Totals]:
        """Plays one rollout, for one member; returns the pool as well, with whom it was played against."""
        key, play, pool = jax.random.fold_in(state.key, state.updates), state.play, state.pool
        if self.pool is not None:
            key, pool_key = jax.random.split(key)
            pool = draw(self.pool, pool, pool_key)
        params = self._env_params(state.updates, state.env_params)
        against = self._opponent_params(state.learners, pool)
        if self.fresh_rollouts:
            key, play_key = jax.random.split(key)
            play = self._opened(play_key, params, against)
        elif self.pool is not None:
            play = self._reopened(play, against, pool.drawn != state.pool.drawn)
        play, trajectories, totals = rollout(
            self.venv,
            self.learners,
            state.learners,
            play,
            key,
            self.rollout_length,
            params,
            opponents=self.opponents,
            opponent_params=against,
        )
        return play, pool, trajectories, totals

    def _env_params(self, updates: Array, own: PyTree) -> PyTree:
        """Returns what the episodes that start now are played with; None: the environment's own numbers."""
        if self.curriculum_updates is None:
            return own
        return self.env.curriculum(updates.astype(jnp.float32) / self.curriculum_updates)

    def _opened(self, key: Array, params: PyTree, against: dict[str, PyTree]) -> Play:
        return open_play(
            self.venv, self.learners, key, params, opponents=self.opponents, opponent_params=against
        )

    def _reopened(self, play: Play, against: dict[str, PyTree], changed: Array) -> Play:
        """Empties the memory of opponents in the blocks that meet another policy than before."""
        carries = {
            name: opponent.reopened(against[name], play.carries[name], changed, self.venv.num_envs)
            for name, opponent in self.opponents.items()
            if opponent.blocks is not None
        }
        return replace(play, carries=play.carries | carries)

    def _opponent_params(self, states: Mapping[str, TrainState], pool: PyTree) -> dict[str, PyTree]:
        """Returns what each opponent plays with."""

        def of(opponent: Opponent) -> PyTree:
            if opponent.learner is None:
                return ()
            _, learner = self.learners[opponent.learner]
            present = learner.acting(states[opponent.learner].params)
            return present if opponent.blocks is None else met(pool, present)

        return {name: of(opponent) for name, opponent in self.opponents.items()}

    def _pooled(self, states: Mapping[str, TrainState]) -> PyTree:
        """Returns the parameters that go into the pool."""
        name = next(o.learner for o in self.opponents.values() if o.learner and o.blocks is not None)
        return self.learners[name][1].acting(states[name].params)

    def run(self, state: ProgramState, updates: int) -> tuple[ProgramState, Totals, dict[str, Metrics]]:
        """Runs ``updates`` updates of all members in one compiled call; the state given is consumed.

        The number is traced, so that chunks of any length share one compilation and reach the same numbers.

        Returns:
            The new state, what finished (summed), and the learners' metrics (averaged); leading axis members.
        """
        return self._run(state, jnp.asarray(updates, jnp.int32))

    def compile(self, state: ProgramState) -> Any:
        """Compiles `run` ahead of time for shapes of ``state``; what returns takes the updates as int32."""
        return self._run.lower(state, jnp.asarray(1, jnp.int32)).compile(self._options(EFFORTS[self.effort]))

    def _options(self, options: Options) -> dict[str, Any]:
        return compiler_options(options, self.mesh.devices.flat[0].platform)

    @property
    def _on_cpu(self) -> bool:
        return bool(self.mesh.devices.flat[0].platform == "cpu")

    @cached_property
    def _run(self) -> Any:
        everywhere = self.shardings.key
        # The state must come out as it went in, or the second call would compile again.
        out = (self.shardings, everywhere, everywhere)
        return jax.jit(self._chunk, donate_argnums=0, out_shardings=out)

    def _chunk(self, state: ProgramState, updates: Array) -> tuple[ProgramState, Totals, dict[str, Metrics]]:
        if not self._on_cpu:
            one = partial(self._updates, updates=updates)
            state, *sums = jax.vmap(one, axis_name=MEMBER_AXIS)(state)
            return state, *(packed.tree() for packed in sums)
        # Member after member: products of stacked matrices run at less than half the speed on CPU. In place,
        # where `jax.lax.map` would hold two copies of every replay.
        members = state.updates.shape[0]
        if members == 1:  # nothing to slice out and write back, a kernel for every leaf
            result = self._updates(jax.tree.map(lambda x: jnp.squeeze(x, 0), state), updates)
            state, *sums = jax.tree.map(lambda x: jnp.expand_dims(x, 0), result)
            return state, *(packed.tree() for packed in sums)
        shapes = jax.eval_shape(partial(self._updates, updates=updates), _member(state, 0))[1:]
        sums = jax.tree.map(lambda x: jnp.zeros((members, *x.shape), x.dtype), shapes)

        def train(member: Array, carried: PyTree) -> PyTree:
            trained, *sums = self._updates(_member(carried[0], member), updates)
            return jax.tree.map(
                lambda whole, one: jax.lax.dynamic_update_index_in_dim(whole, one, member, 0),
                carried,
                (trained, tuple(sums)),
            )

        state, sums = jax.lax.fori_loop(0, members, train, (state, sums))
        return state, *(packed.tree() for packed in sums)

    def _updates(self, state: ProgramState, updates: Array) -> tuple[ProgramState, Packed, Packed]:
        """Runs ``updates`` updates of one member; totals are summed, metrics averaged."""

        def once(state: ProgramState) -> tuple[ProgramState, tuple[Packed, Packed]]:
            state, totals, metrics = self._update(state)
            return state, (Packed.of(totals), Packed.of(metrics))

        _, shapes = jax.eval_shape(once, state)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

        def body(_: Array, carried: tuple[ProgramState, PyTree]) -> tuple[ProgramState, PyTree]:
            state, sums = once(carried[0])
            return state, jax.tree.map(jnp.add, carried[1], sums)

        state, (totals, metrics) = jax.lax.fori_loop(0, updates, body, (state, zeros))
        return state, totals, jax.tree.map(lambda x: x / updates.astype(jnp.float32), metrics)

    @cached_property
    def _update(self) -> Any:
        """`update`, jitted so that it is traced once for its shapes and for the loop."""
        return jax.jit(self.update)

    @cached_property
    def shardings(self) -> ProgramState:
        """How the state lies on the devices, as a tree prefix: environments split, all else everywhere."""
        everywhere: Any = NamedSharding(self.mesh, PartitionSpec())
        split: Any = NamedSharding(self.mesh, PartitionSpec(None, "env"))
        return ProgramState(
            learners=everywhere,
            play=split,
            key=everywhere,
            updates=everywhere,
            pool=everywhere,
            env_params=everywhere,
        )


def _member(state: PyTree, member: Array | int) -> PyTree:
    """Returns one member's part of a stacked state."""
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, member, keepdims=False), state)
