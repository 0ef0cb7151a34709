"""The compiled training program: rollout, learn, repeat; several seeds side by side, on all devices."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from shoal.algorithms.blocks.learner import MEMBER_AXIS, Group, Learner, Metrics, TrainState
from shoal.algorithms.blocks.rollout import Play, Totals, open_play, rollout
from shoal.envs.core import Environment, PyTree, UserError, VectorEnv


@struct.dataclass
class ProgramState:
    """Everything that training changes; leaves have a leading member axis (seeds, swept values)."""

    learners: dict[str, TrainState]
    play: Play
    key: Array  # a key, never changed; with the update count it decides the exploration
    updates: Array  # [] i32


class Program:
    """One environment batch and the learners that own its agents, as compiled functions.

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
    ) -> None:
        """Fixes what is compiled.

        Raises:
            UserError: when agents are owned twice or not at all, or environments do not divide over devices.
        """
        owned = sorted(i for group, _ in learners.values() for i in group.indices)
        if owned != list(range(env.num_agents)):
            raise UserError(f"learners own agents {owned}, but {env.id} has agents 0 to {env.num_agents - 1}")
        devices = jax.devices()[:1] if devices is None else devices
        if num_envs % len(devices):
            raise UserError(f"num_envs={num_envs} does not divide over {len(devices)} devices")
        self.env = env
        self.venv = VectorEnv(env, num_envs)
        self.learners = dict(learners)
        self.rollout_length = rollout_length
        self.fresh_rollouts = any(learner.fresh_rollouts for _, learner in self.learners.values())
        self.mesh = Mesh(np.asarray(devices), ("env",))

    def init(self, keys: Array, hyper: Mapping[str, dict[str, Array]] | None = None) -> ProgramState:
        """Returns the opening state of every member, laid out over the devices.

        Args:
            keys: [members] keys, one per member.
            hyper: learner name -> float hyperparameters with leading axis ``members``.
        """
        hyper = {} if hyper is None else dict(hyper)

        def one(key: Array, hyper: dict[str, dict[str, Array]]) -> ProgramState:
            learn_key, play_key, key = jax.random.split(key, 3)
            states = {
                name: learner.init(jax.random.fold_in(learn_key, number), hyper.get(name))
                for number, (name, (_, learner)) in enumerate(self.learners.items())
            }
            return ProgramState(
                states, open_play(self.venv, self.learners, play_key), key, jnp.zeros((), jnp.int32)
            )

        return jax.jit(jax.vmap(one), out_shardings=self.shardings)(keys, hyper)

    def update(self, state: ProgramState) -> tuple[ProgramState, Totals, dict[str, Metrics]]:
        """Plays one rollout and learns from it, for one member; pure."""
        key = jax.random.fold_in(state.key, state.updates)
        play = state.play
        if self.fresh_rollouts:
            key, play_key = jax.random.split(key)
            play = open_play(self.venv, self.learners, play_key)
        play, trajectories, totals = rollout(
            self.venv, self.learners, state.learners, play, key, self.rollout_length
        )
        learned = {
            name: learner.learn(state.learners[name], trajectories[name])
            for name, (_, learner) in self.learners.items()
        }
        states = {name: state_and_metrics[0] for name, state_and_metrics in learned.items()}
        metrics = {name: state_and_metrics[1] for name, state_and_metrics in learned.items()}
        return ProgramState(states, play, state.key, state.updates + 1), totals, metrics

    def run(self, state: ProgramState, updates: int) -> tuple[ProgramState, Totals, dict[str, Metrics]]:
        """Runs ``updates`` updates of all members in one compiled call; the state given is consumed.

        The number is traced, so that chunks of any length share one compilation and reach the same numbers.

        Returns:
            The new state, what finished (summed), and the learners' metrics (averaged); leading axis members.
        """
        return self._run(state, jnp.asarray(updates, jnp.int32))

    def lower(self, state: ProgramState) -> Any:
        """Lowers `run` for shapes of ``state``, to compile ahead of time and to look inside."""
        return self._run.lower(state, jnp.asarray(1, jnp.int32))

    @cached_property
    def _run(self) -> Any:
        everywhere = self.shardings.key
        # The state must come out as it went in, or the second call would compile again.
        out = (self.shardings, everywhere, everywhere)
        return jax.jit(self._chunk, donate_argnums=0, out_shardings=out)

    def _chunk(self, state: ProgramState, updates: Array) -> tuple[ProgramState, Totals, dict[str, Metrics]]:
        # Jitted so that it is traced once for its shapes and for the loop.
        update = jax.jit(jax.vmap(self.update, axis_name=MEMBER_AXIS))
        _, totals, metrics = jax.eval_shape(update, state)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (totals, metrics))

        def body(_: Array, carried: tuple[ProgramState, PyTree]) -> tuple[ProgramState, PyTree]:
            state, sums = carried
            state, totals, metrics = update(state)
            return state, jax.tree.map(jnp.add, sums, (totals, metrics))

        state, (totals, metrics) = jax.lax.fori_loop(0, updates, body, (state, zeros))
        return state, totals, jax.tree.map(lambda x: x / updates.astype(jnp.float32), metrics)

    @cached_property
    def shardings(self) -> ProgramState:
        """How the state lies on the devices, as a tree prefix: environments split, all else everywhere."""
        everywhere: Any = NamedSharding(self.mesh, PartitionSpec())
        split: Any = NamedSharding(self.mesh, PartitionSpec(None, "env"))
        return ProgramState(learners=everywhere, play=split, key=everywhere, updates=everywhere)
