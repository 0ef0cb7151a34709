"""What IQL, VDN and QMIX share: replayed sequences, temporal-difference targets, a target network.

A variant says how a team's value is made of its agents' (`mix`); IQL leaves them apart. Shape letters as in
`learner`: ``T`` steps, ``B`` sequences, ``G`` agents, ``N`` actions, ``S`` state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jax import Array

from shoal.algorithms.blocks import returns
from shoal.algorithms.blocks.encoders import flatten_state
from shoal.algorithms.blocks.learner import (
    Metrics,
    Setting,
    TrainState,
    Trajectory,
    agreed,
    hyper_of,
    nbytes,
)
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.optimisers import clipped_radam, descend
from shoal.algorithms.blocks.packing import Packed, means
from shoal.algorithms.blocks.ppo import weighted_mean
from shoal.algorithms.blocks.q_agents import QAgents, QConfig, best_action
from shoal.algorithms.blocks.q_networks import value_of
from shoal.algorithms.blocks.replay import Replay, Sequence
from shoal.algorithms.blocks.sharing import Sharing
from shoal.envs.core import Observation, PyTree, UserError
from shoal.envs.core.errors import nearest

TARGETS = ("n_step", "lambda")


@dataclass(frozen=True)
class QLearningConfig(QConfig):
    """Hyperparameters of every learner that replays; floats can be swept in one compiled program."""

    known_flags: ClassVar[tuple[str, ...]] = ("D1", "D2-pre", "D2-post", "D3", "D5")
    paper_flags: ClassVar[tuple[str, ...]] = ("D1", "D2-pre", "D3", "D5")

    buffer_size: int = 1000  # sequences of rollout_length steps
    half_precision_replay: bool = False  # what was seen is stored as float16 (D9)
    batch_size: int = 32  # sequences of one gradient step
    gradient_steps: int = 8  # of one update
    learning_starts: int = 10_000  # environment steps before the first gradient step
    target_interval: int = 10  # updates between two copies of the target network
    tau: float = 1.0  # how much of it is replaced by each copy
    targets: str = "n_step"  # n_step or lambda
    n_step: int = 1  # n_step: rewards before the bootstrap; 1 is Q-learning
    td_lambda: float = 0.6  # lambda: trace decay
    fresh_rollouts: bool = True  # every rollout opens new episodes, so that memory starts as it was played

    def __post_init__(self) -> None:
        """Refuses values that cannot train."""
        super().__post_init__()
        self.check_least(batch_size=1, gradient_steps=1, learning_starts=0, target_interval=1, n_step=1)
        self.check_between("tau", "td_lambda")
        if self.targets not in TARGETS:
            raise UserError(
                f"algorithm.targets={self.targets!r} is not one of {', '.join(TARGETS)}"
                f"{nearest(self.targets, TARGETS)}"
            )
        if self.buffer_size < self.batch_size:
            raise UserError(
                f"algorithm.buffer_size={self.buffer_size} must be at least batch_size={self.batch_size}"
            )
        if {"D2-pre", "D2-post"} <= self.flags:
            raise UserError("algorithm.compat has both D2-pre and D2-post, two forms of one defect; name one")

    def batching(self, num_envs: int, group_size: int) -> tuple[int, int]:
        """Returns how many sequences are shuffled, and into how many minibatches: replay draws freely."""
        return num_envs, 1


class QLearner(QAgents):
    """The common part; see `shoal.algorithms.blocks.learner.Learner` for the contract."""

    def __init__(self, config: Any, network: NetworkConfig, setting: Setting) -> None:
        """Fixes everything static.

        Raises:
            UserError: when the replay cannot hold one rollout.
        """
        super().__init__(config, network, setting)
        envs = setting.num_envs
        if config.buffer_size < envs:
            raise UserError(f"algorithm.buffer_size={config.buffer_size} must be at least num_envs={envs}")
        self.fresh_rollouts = config.fresh_rollouts
        self.replay = Replay(
            envs, config.buffer_size // envs, config.batch_size, config.half_precision_replay
        )
        stored, steps = -(-config.batch_size // envs), envs * config.rollout_length
        # Of the updates counted from 0, the first after which enough is stored and was played.
        self.first_learning_update = max(min(stored, self.replay.slots) - 1, config.learning_starts // steps)
        # Agents that learn apart are clipped and stepped apart; a team's loss is one.
        self.optimised = Sharing(None) if self.team_values else self.sharing

    # What a variant says -----------------------------------------------------------------------------

    def draw_mixer(self, key: Array, state: Array, hyper: dict[str, Array]) -> PyTree:
        """Returns the mixer's fresh parameters, shaped by a state [S]; none by default."""
        return ()

    def mix(self, params: PyTree, q: Array, state: Array) -> Array:
        """Returns the values [*B] (or [*B, G]) that are learned, of agents' values [*B, G]."""
        return q

    # The contract ------------------------------------------------------------------------------------

    def acting(self, params: PyTree) -> PyTree:
        """Returns the agents' parameters: nobody mixes when the policy plays."""
        return params["agent"]

    def init(self, key: Array, hyper: dict[str, Array] | None = None) -> TrainState:
        """Returns fresh parameters, a target network like them, and an empty replay."""
        hyper = hyper_of(self.config) if hyper is None else hyper
        agent_key, mixer_key, key = jax.random.split(key, 3)
        observation, state = self.imagine(self.needs_state)
        state = flatten_state(state, 0) if self.needs_state else jnp.zeros(0)
        params = {
            "agent": self.draw_agents(agent_key, observation.view),
            "mixer": self.draw_mixer(mixer_key, state, hyper),
        }
        opt_state = self._each(clipped_radam(hyper["max_grad_norm"]).init)(params)
        held = self.replay.init(self._example(observation, state))
        extra = {"target": params, "replay": held}
        return TrainState(params, opt_state, hyper, jnp.zeros((), jnp.int32), key, extra)

    def learn(self, train_state: TrainState, trajectory: Trajectory) -> tuple[TrainState, Metrics]:
        """Stores the rollout and takes ``gradient_steps`` on sequences drawn from all that is stored."""
        c, hyper, target = self.config, train_state.hyper, train_state.extra["target"]
        held = self.replay.add(train_state.extra["replay"], self.sequences(trajectory))
        key, sample_key = jax.random.split(train_state.key)
        rate = self.learning_rate(train_state)

        def gradient_step(carried: tuple[PyTree, PyTree], key: Array) -> tuple[tuple[PyTree, PyTree], Packed]:
            params, opt_state = carried
            batch = self.replay.sample(held, key)
            (_, metrics), grads = jax.value_and_grad(self.loss, has_aux=True)(params, target, batch, hyper)
            optimiser = clipped_radam(hyper["max_grad_norm"])
            direction, opt_state = self._each(optimiser.update)(self.optimised.own_means(grads), opt_state)
            metrics["grad_norm"] = optax.tree.norm(grads)
            return (descend(params, direction, rate), opt_state), Packed.of(metrics)

        def study(params: PyTree, opt_state: PyTree) -> tuple[PyTree, PyTree, Metrics]:
            keys = jax.random.split(sample_key, c.gradient_steps)
            (params, opt_state), metrics = jax.lax.scan(gradient_step, (params, opt_state), keys)
            return params, opt_state, means(metrics)

        def wait(params: PyTree, opt_state: PyTree) -> tuple[PyTree, PyTree, Metrics]:
            nothing = jnp.zeros(())
            names = ("loss", "q_mean", "target_mean", "grad_norm")
            return params, opt_state, dict.fromkeys(names, nothing)

        ready = agreed(train_state.updates >= self.first_learning_update)
        params, opt_state, metrics = jax.lax.cond(
            ready, study, wait, train_state.params, train_state.opt_state
        )
        metrics |= {
            "gradient_steps": jnp.where(ready, c.gradient_steps, 0).astype(jnp.float32),
            "epsilon": self.epsilon(train_state),
            "learning_rate": rate,
            "replay_fill": self.replay.fill(held),
        }
        target = self.next_target(target, params, train_state)
        extra = {"target": target, "replay": held}
        return TrainState(params, opt_state, hyper, train_state.updates + 1, key, extra), metrics

    # Parts -------------------------------------------------------------------------------------------

    def sequences(self, trajectory: Trajectory) -> Sequence:
        """Returns a rollout as replay keeps it, leaves [E, T or T+1, ...]."""
        moment = trajectory.moments()
        reset, (ended, cut), valid = self.agents_reset(moment), self.ends(trajectory), trajectory.valid
        if "D2-post" in self.flags:  # the done after a step stood for that before it: memory ends too early
            reset = jnp.concatenate([reset[1:], reset[-1:]])
        if "D2-pre" in self.flags:  # the done before a step stood for that after it: targets end too late
            ended, cut = (jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]]) for x in (ended, cut))
        if "D5" in self.flags:  # what followed the last step was not stored
            valid = valid.at[-1].set(False)
        state = flatten_state(moment.state, 2) if self.needs_state else jnp.zeros((*reset.shape[:2], 0))
        rows = Sequence(
            view=self.seen(moment),
            action_mask=moment.observation.action_mask,
            reset=reset,
            state=state,
            action=trajectory.action,
            reward=self.paid(trajectory),
            ended=ended,
            cut=cut,
            valid=valid,
        )
        return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), rows)

    def loss(
        self, params: PyTree, target_params: PyTree, batch: Sequence, hyper: dict[str, Array]
    ) -> tuple[Array, Metrics]:
        """Returns the mean squared temporal-difference error of sequences, leaves [T or T+1, B, ...].

        Double Q-learning (van Hasselt et al. 2016): the network at hand chooses the next action, the target
        network values it.
        """
        carry = self.initial_carry(batch.reset.shape[1:])
        _, q = self.q_values(params["agent"], carry, batch.view, batch.reset)
        _, target_q = self.q_values(target_params["agent"], carry, batch.view, batch.reset)
        value = self.mix(params["mixer"], value_of(q[:-1], batch.action), batch.state[:-1])
        best = best_action(q[1:], batch.action_mask[1:])
        next_value = self.mix(target_params["mixer"], value_of(target_q[1:], best), batch.state[1:])
        target = jax.lax.stop_gradient(self.target_of(batch, next_value, hyper))
        weight = batch.valid.astype(jnp.float32)
        weight = weight if self.team_values else jnp.broadcast_to(weight[..., None], value.shape)
        loss = weighted_mean((value - target) ** 2, weight)
        q_mean, target_mean = weighted_mean(value, weight), weighted_mean(target, weight)
        return loss, {"loss": loss, "q_mean": q_mean, "target_mean": target_mean}

    def next_target(self, target: PyTree, params: PyTree, train_state: TrainState) -> PyTree:
        """Returns the target network after an update, moved towards ``params`` in every so manieth."""
        tau = train_state.hyper["tau"]
        now = train_state.updates % self.config.target_interval == 0
        return jax.tree.map(lambda t, p: jnp.where(now, tau * p + (1.0 - tau) * t, t), target, params)

    def replay_bytes(self) -> int:
        """Returns what the replay of one member takes; allocates nothing."""
        held = jax.eval_shape(lambda key: self.init(key).extra["replay"], jax.random.key(0))
        return nbytes(held)

    def target_of(self, batch: Sequence, next_value: Array, hyper: dict[str, Array]) -> Array:
        """Returns what values are to be, given those of where each step led to."""
        reward = batch.reward * hyper["reward_scale"]
        if self.config.targets == "lambda":
            return returns.td_lambda(
                reward, next_value, batch.ended, batch.cut, hyper["gamma"], hyper["td_lambda"]
            )
        return returns.n_step(reward, next_value, batch.ended, batch.cut, hyper["gamma"], self.config.n_step)

    def _each(self, function: Any) -> Any:
        return self.optimised.each(function)

    def _example(self, observation: Observation, state: Array) -> Sequence:
        """Returns an empty sequence, for its shapes."""
        steps, agents = self.config.rollout_length, len(self.setting.group.indices)
        seen = (observation.view, observation.action_mask, state)
        view, mask, state = jax.tree.map(lambda x: jnp.zeros((steps + 1, *x.shape), x.dtype), seen)
        own = (steps,) if self.team_values else (steps, agents)
        return Sequence(
            view=view,
            action_mask=mask,
            reset=jnp.zeros((steps + 1, agents), bool),
            state=state,
            action=jnp.zeros((steps, agents), jnp.int32),
            reward=jnp.zeros(own),
            ended=jnp.zeros(own, bool),
            cut=jnp.zeros(own, bool),
            valid=jnp.zeros(steps, bool),
        )
