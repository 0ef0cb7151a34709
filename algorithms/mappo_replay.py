"""MAPPO that learns from stored rollouts, most of which older policies played.

The MAPPO beside iPLAN (arXiv 2306.06236) is that of EPyMARL (Papoudakis et al. 2021, arXiv 2006.07869) on a
buffer that is never cleared: after every few episodes it draws nearly all of the last 256. Ratios are to the
policy before the update, not to the ones that played. docs/algorithms/mappo.md says more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from shoal.algorithms.blocks import ppo, returns
from shoal.algorithms.blocks.advantages import team_reward
from shoal.algorithms.blocks.learner import Metrics, Moment, Setting, TrainState, Trajectory, nbytes
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.ppo_learner import value_weight
from shoal.algorithms.mappo import MAPPO, MAPPOConfig
from shoal.envs.core import PyTree, UserError
from shoal.envs.core.types import select


@dataclass(frozen=True)
class ReplayMAPPOConfig(MAPPOConfig):
    """Hyperparameters, by default the published ones; ``gae_lambda`` is not used."""

    learning_rate: float = 5e-4
    anneal_learning_rate: bool = False
    max_grad_norm: float = 10.0
    value_coef: float = 1.0
    minibatches: int = 1
    normalise_advantage: bool = False
    agent_id: bool = True
    actor_id: bool = True
    normalise_state: bool = False
    buffer_size: int = 256  # rollouts of one environment that are kept
    batch_size: int = 255  # of them drawn, none twice, for an update
    n_step: int = 5  # rewards before the bootstrap
    target_interval: int = 200  # updates between two copies of the critic that bootstraps

    def __post_init__(self) -> None:
        """Refuses values that cannot train."""
        super().__post_init__()
        self.check_least(batch_size=1, n_step=1, target_interval=1)
        if self.buffer_size < self.batch_size:
            raise UserError(
                f"algorithm.buffer_size={self.buffer_size} must be at least batch_size={self.batch_size}"
            )
        if self.minibatches != 1:
            raise UserError(
                f"algorithm.minibatches={self.minibatches} must be 1; batch_size says what a step learns from"
            )

    def batching(self, num_envs: int, group_size: int) -> tuple[int, int]:
        """Returns how many sequences are shuffled, and into how many minibatches: replay draws freely."""
        return num_envs, 1


class ReplayMAPPO(MAPPO):
    """The learner: MAPPO's networks and steps, on rollouts drawn from those kept."""

    Config: ClassVar[type[Any]] = ReplayMAPPOConfig
    fresh_rollouts = True

    def __init__(self, config: ReplayMAPPOConfig, network: NetworkConfig, setting: Setting) -> None:
        """Fixes everything static.

        Raises:
            UserError: when rollouts do not fill the buffer evenly.
        """
        super().__init__(config, network, setting)
        envs = setting.num_envs
        if config.buffer_size % envs:
            raise UserError(
                f"algorithm.buffer_size={config.buffer_size} does not divide by num_envs={envs}; "
                f"choose {max(1, config.buffer_size // envs) * envs}"
            )

    @property
    def rows(self) -> int:
        """How many sequences an update learns from."""
        drawn: int = self.config.batch_size
        return drawn * (1 if self.whole_environments else len(self.setting.group.indices))

    # The contract ------------------------------------------------------------------------------------

    def init(self, key: Array, hyper: dict[str, Array] | None = None) -> TrainState:
        """Returns fresh parameters, a critic like them that bootstraps, and an empty buffer."""
        train_state = super().init(key, hyper)
        extra = {
            "moments": train_state.extra,
            "target": train_state.params["critic"],
            "stored": self._nothing_stored(),
        }
        return dataclasses.replace(train_state, extra=extra)

    def learn(self, train_state: TrainState, trajectory: Trajectory) -> tuple[TrainState, Metrics]:
        """Stores the rollout and takes ``epochs`` gradient steps on ``batch_size`` of those stored."""
        c, envs, extra = self.config, self.setting.num_envs, train_state.extra
        stored = _put(extra["stored"], _bare(trajectory), train_state.updates * envs % c.buffer_size)
        played = jnp.minimum((train_state.updates + 1) * envs, c.buffer_size)
        draw_key, key = jax.random.split(train_state.key)
        drawn = _pick(stored, _without_repeats(draw_key, c.buffer_size, played)[: c.batch_size])
        train_state = dataclasses.replace(train_state, key=key)
        learned, metrics = super().learn(train_state, self._noted(train_state, drawn))
        # While too little is stored nothing is learned; a step that is thrown away costs less than a branch.
        ready = played >= c.batch_size
        before = train_state.params, train_state.opt_state
        params, opt_state = select(ready, (learned.params, learned.opt_state), before)
        steps = train_state.updates + 2 - -(-c.batch_size // envs)  # updates that learned, with this one
        now = ready & (steps % c.target_interval == 0)
        extra = {
            "moments": super().next_extra(extra["moments"], trajectory),
            "target": select(now, params["critic"], extra["target"]),
            "stored": stored,
        }
        metrics["gradient_steps"] = jnp.where(ready, c.epochs, 0).astype(jnp.float32)
        metrics["replay_fill"] = played.astype(jnp.float32) / c.buffer_size
        return dataclasses.replace(learned, params=params, opt_state=opt_state, extra=extra), metrics

    def replay_bytes(self) -> int:
        """Returns what the buffer of one member takes; allocates nothing."""
        return nbytes(jax.eval_shape(self._nothing_stored))

    # Parts -------------------------------------------------------------------------------------------

    def prepared(self, extra: PyTree, moment: Moment) -> Moment:
        """Returns a moment as `forward` is to see it."""
        return super().prepared(extra["moments"], moment)

    def next_extra(self, extra: PyTree, trajectory: Trajectory) -> PyTree:
        """Leaves it: what was drawn is not what was played."""
        return extra

    def advantage(self, value: Array, batch: dict[str, Any]) -> Array:
        """Returns how far the targets are from the values at hand, which move from epoch to epoch."""
        return jax.lax.stop_gradient(batch["target"] - value)

    def value_loss(self, value: Array, batch: dict[str, Any], hyper: dict[str, Array]) -> Array:
        """Returns the mean squared error."""
        return ppo.weighted_mean((batch["target"] - value) ** 2, value_weight(batch))

    def _nothing_stored(self) -> Trajectory:
        return _bare(self.imagined_rollout(self.config.buffer_size))

    def _noted(self, train_state: TrainState, drawn: Trajectory) -> Trajectory:
        """Adds what the policy at hand would have noted when it played."""
        carry = self.initial_carry((self.config.batch_size, len(self.setting.group.indices)))
        moment = self.prepared(train_state.extra, drawn.moment)
        _, distribution, value = self._forward(train_state.params, carry, moment)
        noted = {"log_prob": distribution.log_prob(drawn.action), "value": value}
        return dataclasses.replace(drawn, extras=noted, carry=carry)

    def _advantages(self, train_state: TrainState, trajectory: Trajectory) -> tuple[Array, Array]:
        """Returns the advantages at the start, and n-step targets by the critic that bootstraps."""
        params = train_state.params | {"critic": train_state.extra["target"]}
        moments = self.prepared(train_state.extra, trajectory.moments())
        _, _, value = self.forward(params, trajectory.carry, moments)
        over = trajectory.terminated | trajectory.truncated
        terminated = trajectory.terminated if self.setting.final_observations else over
        paid: tuple[Array, ...] = (
            team_reward(self.setting.env.team_reward, trajectory.reward),
            terminated,
            over,
        )
        if not self.team_values:  # one for each agent, of what the team is paid
            paid = tuple(jnp.broadcast_to(x[..., None], trajectory.reward.shape) for x in paid)
        reward, terminated, over = paid
        gamma = train_state.hyper["gamma"]
        target = returns.n_step(reward, value[1:], terminated, over, gamma, self.config.n_step)
        return target - trajectory.extras["value"], target


def _bare(trajectory: Trajectory) -> Trajectory:
    """Leaves out what depends on the policy that played."""
    return dataclasses.replace(trajectory, extras={}, carry=(), last_carry=())


def _put(stored: Trajectory, rollout: Trajectory, place: Array) -> Trajectory:
    """Overwrites stored rollouts, one after the other from ``place``, by those of every environment."""

    def put(axis: int, old: Array, new: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(old, new, place, axis)

    return _along_environments(put, stored, rollout)


def _pick(stored: Trajectory, index: Array) -> Trajectory:
    """Returns some of the stored rollouts."""
    return _along_environments(lambda axis, x: jnp.take(x, index, axis=axis), stored)


def _along_environments(function: Callable[..., Array], *trajectories: Trajectory) -> Trajectory:
    """Calls ``function(axis, *leaves)``: 0 is the environments' axis after the last step, else 1."""

    def mapped(field: dataclasses.Field[Any]) -> PyTree:
        parts = [getattr(trajectory, field.name) for trajectory in trajectories]
        return jax.tree.map(partial(function, 0 if field.name == "last" else 1), *parts)

    return Trajectory(**{field.name: mapped(field) for field in dataclasses.fields(Trajectory)})


def _without_repeats(key: Array, size: int, filled: Array) -> Array:
    """Returns the places of a buffer in random order, those that hold something first."""
    lots = jnp.where(jnp.arange(size) < filled, jax.random.uniform(key, (size,)), 2.0)
    return jnp.argsort(lots)
