"""Intent-aware planning in heterogeneous traffic, iPLAN (Wu et al., CoRL 2023, arXiv 2306.06236).

Independent PPO whose policy also reads, for every slot of its view, what kind of agent seems to sit there
(the behavioural incentive) and what it seems to be about to do (the instant one). Both are learned by
foretelling what will be seen. With both off it is the IPPO of the paper. See docs/algorithms/iplan.md.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.algorithms.blocks import ppo
from shoal.algorithms.blocks.distributions import head_size
from shoal.algorithms.blocks.encoders import dense
from shoal.algorithms.blocks.inference.behaviour import FORMS, Behaviour, forgotten
from shoal.algorithms.blocks.inference.instant import Instant, logistic
from shoal.algorithms.blocks.initialisers import orthogonal
from shoal.algorithms.blocks.learner import Metrics, Moment, Setting, TrainState, Trajectory
from shoal.algorithms.blocks.minibatches import take_rows
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.normalisation import LayerNorm, standardised
from shoal.algorithms.blocks.packing import Packed, means
from shoal.algorithms.blocks.policies import from_distribution
from shoal.algorithms.blocks.ppo_learner import (
    PPOConfig,
    PPOLearner,
    adam_opening,
    adam_step,
    grad_norm,
    value_weight,
)
from shoal.algorithms.blocks.recurrent import GRU
from shoal.envs.core import Discrete, Key, Observation, Policy, PyTree, UserError

PLAYING = ("actor", "critic")
INFERRING = ("behaviour", "instant")


@dataclass(frozen=True)
class IPLANConfig(PPOConfig):
    """Hyperparameters; floats can be swept in one compiled program."""

    # off-by-one: the bootstrap stops one step early, and the step of a crash teaches nothing.
    # one-sided-huber: the critic's error costs nothing below -10. mask-bug: the dead teach behaviour.
    known_flags: ClassVar[tuple[str, ...]] = ("off-by-one", "one-sided-huber", "mask-bug")
    paper_flags: ClassVar[tuple[str, ...]] = ("off-by-one", "one-sided-huber")

    learning_rate: float = 5e-4
    anneal_learning_rate: bool = False
    max_grad_norm: float = 10.0
    rollout_length: int = 90
    epochs: int = 15
    minibatches: int = 1  # of single steps
    learn_from_dead: bool = False
    huber_delta: float = 10.0  # the critic's error counts linearly beyond
    behaviour: str = "soft"  # behavioural incentive: soft, hard, fc or none
    instant: bool = True  # instant incentive
    window: int = 10  # steps of a slot's history
    behaviour_size: int = 8
    instant_size: int = 32
    horizon: int = 5  # steps that the instant incentive foretells
    soft_update: float = 0.1
    temperature: float = 0.01  # of hard attention
    dropout: float = 0.1  # in what foretells
    behaviour_learning_rate: float = 1e-4
    instant_learning_rate: float = 2e-5
    inference_envs: int = 8  # environments of a rollout to each step of inference
    inference_pairs: int = 64  # moments drawn of them for the instant incentive
    inference_warmup: int = 20_000  # environment steps before inference is learned

    def __post_init__(self) -> None:
        """Refuses values that cannot train."""
        super().__post_init__()
        self.check_least(window=1, behaviour_size=1, instant_size=1, horizon=1, inference_envs=1)
        self.check_least(inference_pairs=1, inference_warmup=0)
        self.check_between("soft_update", "dropout")
        self.check_above("temperature", "huber_delta")
        if self.behaviour not in FORMS:
            raise UserError(f"algorithm.behaviour={self.behaviour!r} is not one of {', '.join(FORMS)}")
        if self.instant and self.rollout_length <= self.horizon:
            raise UserError(f"algorithm.rollout_length must be above algorithm.horizon={self.horizon}")
        if self.behaviour != "none" and self.rollout_length <= self.window + 1:
            raise UserError(f"algorithm.rollout_length must be above algorithm.window={self.window} and one")

    def batching(self, num_envs: int, group_size: int) -> tuple[int, int]:
        """Returns how many sequences, here single steps, are shuffled, and into how many minibatches."""
        return num_envs * self.rollout_length, self.minibatches


class NormedInput(nn.Module):
    """Layer normalisation and a dense layer, of rows that are `standardised` already.

    Scale and shift of the normalisation are folded into the layer: rows are the same in every epoch, so that
    nothing as wide as they are needs a gradient.
    """

    size: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [*B, D] to [*B, size]."""
        width = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones_init(), (width,))
        shift = self.param("shift", nn.initializers.zeros_init(), (width,))
        kernel = self.param("kernel", orthogonal(math.sqrt(2)), (width, self.size))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.size,))
        return x @ (scale[:, None] * kernel) + (shift @ kernel + bias)


class NormedNet(nn.Module):
    """Layers and a recurrent core, each normalised; one linear output layer. Inputs are `standardised`."""

    config: NetworkConfig
    outputs: int
    gain: float  # of the output layer

    @nn.compact
    def __call__(self, carry: Array, inputs: Array, reset: Array) -> tuple[Array, Array]:
        """Maps memory [*B, H], inputs [T, *B, D] and reset [T, *B] to memory and outputs [T, *B, outputs]."""
        # Rows in one axis: XLA works slowly along the rows of larger arrays on CPU.
        lead, x = inputs.shape[:-1], inputs.reshape(-1, inputs.shape[-1])
        x = LayerNorm()(nn.relu(NormedInput(self.config.hidden_size)(x)))
        x = LayerNorm()(nn.relu(dense(self.config.hidden_size, math.sqrt(2))(x)))
        if self.config.core == "gru":
            carry, x = GRU(self.config.hidden_size)(carry, x.reshape(*lead, -1), reset)
            x = LayerNorm()(x.reshape(-1, x.shape[-1]))
        return carry, dense(self.outputs, self.gain)(x).reshape(*lead, self.outputs)


class IPLAN(PPOLearner):
    """The learner; every agent has networks of its own with ``sharing=none``, as published."""

    Config: ClassVar[type[Any]] = IPLANConfig
    needs_state = False
    fresh_rollouts = True

    def __init__(self, config: IPLANConfig, network: NetworkConfig, setting: Setting) -> None:
        """Fixes everything static.

        Raises:
            UserError: when views have no slots, actions are no choices, or environments do not divide.
        """
        super().__init__(config, network, setting)
        slots = setting.env.metadata.extras.get("slots")
        if slots is None or not isinstance(self.space, Discrete):
            raise UserError(
                f"iplan needs views made of slots and discrete actions, and {setting.env.id} has other ones; "
                "traffic/highway-* with env.view=history and particle/ncnav-* are such environments"
            )
        if setting.num_envs % config.inference_envs:
            raise UserError(
                f"num_envs={setting.num_envs} does not divide by "
                f"algorithm.inference_envs={config.inference_envs}"
            )
        self.slots, self.features = slots
        self.behaviour = (
            None
            if config.behaviour == "none"
            else Behaviour(config.behaviour, config.behaviour_size, config.window)
        )
        self.instant = (
            Instant(config.instant_size, config.horizon, config.temperature) if config.instant else None
        )
        self.actor = NormedNet(network, head_size(self.space), 0.01)
        self.critic = NormedNet(network, 1, 1.0)

    @property
    def rows(self) -> int:
        """How many sequences, here single steps of all agents, the minibatches are drawn of."""
        return self.setting.num_envs * self.config.rollout_length

    @property
    def whole_environments(self) -> bool:
        """True: an agent's steps lie beside those of the others, whoever owns the parameters."""
        return True

    @property
    def slot_size(self) -> int:
        """Numbers of a slot as the policy reads it."""
        size = self.features + (self.instant.size if self.instant else 0)
        return size + (self.behaviour.size if self.behaviour else 0)

    # Parameters and memory -----------------------------------------------------------------------------

    def draw_params(self, key: Array, view: PyTree, state: PyTree) -> PyTree:
        """Returns fresh parameters of all networks."""
        agents = len(self.setting.group.indices)
        width = self.slots * self.slot_size + self.space.n + agents  # type: ignore[union-attr]
        inputs, reset = jnp.zeros((1, width)), jnp.zeros(1, bool)
        memory = jnp.zeros(self.network_config.hidden_size)

        def one(key: Array) -> PyTree:
            keys = jax.random.split(key, 4)
            params = {
                "actor": self.actor.init(keys[0], memory, inputs, reset),
                "critic": self.critic.init(keys[1], memory, inputs, reset),
            }
            if self.behaviour:
                params["behaviour"] = self.behaviour.init(keys[2], self.slots, self.features)
            if self.instant:
                extra = self.behaviour.size if self.behaviour else 0
                params["instant"] = self.instant.init(keys[3], self.slots, self.features, extra)
            return params

        return self.sharing.init(one, key)

    def initial_carry(self, batch: tuple[int, ...]) -> PyTree:
        """Returns fresh memory of leading shape ``batch`` (environments, agents)."""
        memory = jnp.zeros((*batch, self.network_config.hidden_size))
        carry: dict[str, PyTree] = {
            "actor": memory,
            "critic": memory,
            "last": jnp.zeros((*batch, self.space.n)),  # type: ignore[union-attr]
        }
        if self.behaviour:
            carry["behaviour"] = self.behaviour.start(batch, self.slots, self.features)
        if self.instant:
            carry["instant"] = jnp.zeros((*batch, self.slots, self.instant.size))
        return carry

    def acting(self, params: PyTree) -> PyTree:
        """Returns all that playing needs: no critic, and nothing that only foretells."""
        parts = {"actor": params["actor"]}
        if self.behaviour:
            parts["behaviour"] = {"encoder": params["behaviour"]["encoder"]}
        if self.instant:
            parts["instant"] = {"attention": params["instant"]["attention"]}
        return parts

    # Acting --------------------------------------------------------------------------------------------

    def think(
        self, params: PyTree, carry: PyTree, view: Array, reset: Array, noise: Array
    ) -> tuple[PyTree, Array]:
        """Looks at the slots: the instant incentive by the old behavioural one, then the behavioural one.

        Args:
            params: of all agents.
            carry: as `initial_carry`.
            view: [*B, G, n * F].
            reset: [*B, G] where memory is zeroed.
            noise: of `noise`.

        Returns:
            The memory, and the policy's input [*B, G, D].
        """
        carry = forgotten(carry, reset)
        agents = view.ndim - 2  # their axis; first while networks run

        def front(tree: PyTree) -> PyTree:
            return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, agents, 0), tree)

        def back(tree: PyTree) -> PyTree:
            return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, agents), tree)

        seen = front(view.reshape(*view.shape[:-1], self.slots, self.features))
        parts, held = [seen], {name: front(carry[name]) for name in INFERRING if name in carry}
        if self.instant:
            known = seen
            if self.behaviour:
                known = jnp.concatenate([seen, held["behaviour"].incentive], axis=-1)
            step = self._each(self.instant.step)
            held["instant"] = step(params["instant"]["attention"], held["instant"], known, front(noise))
            parts.append(held["instant"])
        if self.behaviour:
            rate, module = jnp.asarray(self.config.soft_update), self.behaviour
            update = self._each(lambda p, history, seen: module.step(p, history, seen, rate))
            held["behaviour"] = update(params["behaviour"]["encoder"], held["behaviour"], seen)
            parts.append(held["behaviour"].incentive)
        slots = back(jnp.concatenate(parts, axis=-1))
        identity = jnp.eye(view.shape[-2])
        identity = jnp.broadcast_to(identity, (*view.shape[:-1], identity.shape[0]))
        inputs = jnp.concatenate([slots.reshape(*view.shape[:-1], -1), carry["last"], identity], axis=-1)
        return carry | back(held), inputs

    def noise(self, key: Array, batch: tuple[int, ...]) -> Array:
        """Draws what hard attention is perturbed by [*B, n, n - 1], for ``batch`` (environments, agents)."""
        shape = (*batch, self.slots, self.slots - 1)
        return logistic(key, shape) if self.instant else jnp.zeros(shape)

    def _each(self, function: Any) -> Any:
        """Returns ``function(params, *leaves)`` of one agent as one of all; leaves have agents in front."""

        def every(params: PyTree, *leaves: PyTree) -> PyTree:
            owner = self.sharing.owner
            if owner is not None and owner != tuple(range(self.sharing.count)):
                params = jax.tree.map(lambda leaf: jnp.take(leaf, jnp.asarray(owner), axis=0), params)
            if owner is None:
                return jax.vmap(function, in_axes=(None, *(0 for _ in leaves)))(params, *leaves)
            if jax.default_backend() == "cpu":  # half the time of products of batches
                return jax.lax.map(lambda xs: function(*xs), (params, *leaves))
            return jax.vmap(function)(params, *leaves)

        return every

    def explore(
        self, train_state: TrainState, key: Array, carry: PyTree, moment: Moment
    ) -> tuple[PyTree, Array, dict[str, Array]]:
        """Samples actions; notes what the policy read and remembered, log-probabilities and values."""
        noise_key, key = jax.random.split(key)
        reset = self.agents_reset(moment)
        noise = self.noise(noise_key, reset.shape)
        carry, inputs = self.think(train_state.params, carry, moment.observation.view, reset, noise)
        before = {name: carry[name] for name in PLAYING}
        seen = self._reading(inputs[None], moment.observation.action_mask[None])
        after, distribution, value = self._forward(train_state.params, before, seen)
        action, log_prob = distribution.sample_and_log_prob(key)
        carry = carry | after | {"last": jax.nn.one_hot(action[0], self.space.n)}  # type: ignore[union-attr]
        notes = {"log_prob": log_prob[0], "value": value[0], "inputs": inputs}
        return carry, action[0], notes | {f"{name}_memory": memory for name, memory in before.items()}

    def _reading(self, inputs: Array, mask: Array) -> Moment:
        """Returns what `forward` reads of ``inputs`` [T, *B, G, D]: standardised, agents in front."""
        nothing = jnp.zeros(())
        seen = Observation(view=standardised(jnp.moveaxis(inputs, -2, 0)), action_mask=mask, alive=nothing)
        return Moment(observation=seen, first=nothing, done_before=nothing, state=())

    def forward(self, params: PyTree, carry: PyTree, moment: Moment) -> tuple[PyTree, Array, Array]:
        """Runs actor and critic over what they read [G, T, *B, D]: agents lead, for fast products."""
        inputs, after, out = moment.observation.view, {}, {}
        agents = inputs.ndim - 2
        never = jnp.zeros(inputs.shape[1:-1], bool)
        for name, network in (("actor", self.actor), ("critic", self.critic)):
            memory = jnp.moveaxis(carry[name], agents - 1, 0)
            run = self._each(lambda p, h, x, net=network: cast(Any, net.apply(p, h, x, never)))
            memory, outputs = run(params[name], memory, inputs)
            after[name], out[name] = jnp.moveaxis(memory, 0, agents - 1), jnp.moveaxis(outputs, 0, agents)
        return after, out["actor"], out["critic"][..., 0]

    def policy(self, params: PyTree) -> Policy:
        """Returns the actor, and what it infers, as a policy."""
        return IPLANPolicy(self, params)

    # Learning to act -----------------------------------------------------------------------------------

    def last_value(self, train_state: TrainState, trajectory: Trajectory) -> Array:
        """Returns the values after the last step, without noise."""
        moment, carry = trajectory.last, trajectory.last_carry
        reset = self.agents_reset(moment)
        noise = jnp.zeros((*reset.shape, self.slots, self.slots - 1))
        carry, inputs = self.think(train_state.params, carry, moment.observation.view, reset, noise)
        reading = self._reading(inputs[None], moment.observation.action_mask[None])
        return self.forward(train_state.params, {name: carry[name] for name in PLAYING}, reading)[2][0]

    def ends(self, terminated: Array, cut: Array) -> tuple[Array, Array]:
        """Returns where bootstraps and traces stop: there, or a step earlier, as published."""
        if "off-by-one" not in self.flags:
            return terminated, cut
        return tuple(x | jnp.concatenate([x[1:], x[-1:]]) for x in (terminated, cut))  # type: ignore[return-value]

    def _samples(self, train_state: TrainState, trajectory: Trajectory) -> tuple[dict[str, Any], PyTree]:
        """Returns single steps [1, E * T, G, ...] and the memory that each began with [E * T, G, ...]."""
        advantage, target = self._advantages(train_state, trajectory)
        notes, observation = trajectory.extras, trajectory.moment.observation
        weight = jnp.broadcast_to(trajectory.valid[..., None], trajectory.reward.shape)
        if not self.config.learn_from_dead:
            weight = weight & observation.alive
        if "off-by-one" in self.flags:
            weight = weight & ~(trajectory.agent_done | trajectory.terminated[..., None])
        samples = {
            "action": trajectory.action,
            "log_prob": notes["log_prob"],
            "value": notes["value"],
            "advantage": advantage,
            "target": target,
            "weight": weight.astype(jnp.float32),
        }

        def single(leaf: Array) -> Array:
            return jnp.moveaxis(leaf, 0, 1).reshape(self.rows, *leaf.shape[2:])

        samples = jax.tree.map(lambda leaf: single(leaf)[None], samples)
        samples["moment"] = self._reading(
            single(notes["inputs"])[None], single(observation.action_mask)[None]
        )
        return samples, {name: single(notes[f"{name}_memory"]) for name in PLAYING}

    def minibatch(self, samples: dict[str, Any], index: Array) -> dict[str, Any]:
        """Selects the steps of one minibatch; what is read has agents in front."""
        seen = samples["moment"].observation
        rest = {name: leaf for name, leaf in samples.items() if name != "moment"}
        rest, mask = take_rows((rest, seen.action_mask), index)
        seen = dataclasses.replace(seen, view=take_rows(seen.view, index, axis=2), action_mask=mask)
        return rest | {"moment": dataclasses.replace(samples["moment"], observation=seen)}

    def value_loss(self, value: Array, batch: dict[str, Any], hyper: dict[str, Array]) -> Array:
        """Returns the critic's clipped Huber loss."""
        delta = hyper["huber_delta"]

        def huber(error: Array) -> Array:
            size = jnp.abs(error)
            cost = jnp.where(size <= delta, 0.5 * error * error, delta * (size - 0.5 * delta))
            return jnp.where(error < -delta, 0.0, cost) if "one-sided-huber" in self.flags else cost

        weight = value_weight(batch)
        return ppo.value_loss(value, batch["value"], batch["target"], weight, hyper["clip"], huber)

    def open_optimiser(self, params: PyTree, max_grad_norm: Array) -> PyTree:
        """Returns the opening state of an Adam for every network that learns on its own."""
        return {
            name: adam_opening(part, max_grad_norm, self.sharing) for name, part in _networks(params).items()
        }

    def descend(
        self,
        params: PyTree,
        opt_state: PyTree,
        grads: PyTree,
        hyper: dict[str, Array],
        rates: dict[str, Array],
    ) -> tuple[PyTree, PyTree, Metrics]:
        """Takes one step of the actor's and the critic's Adam."""
        rate, limit = rates["learning_rate"], hyper["max_grad_norm"]
        params, opt_state = dict(params), dict(opt_state)
        for name in PLAYING:
            params[name], opt_state[name] = adam_step(
                params[name], opt_state[name], grads[name], limit, rate, self.sharing
            )
        return params, opt_state, {"grad_norm": grad_norm({name: grads[name] for name in PLAYING})}

    # Learning to infer ---------------------------------------------------------------------------------

    def learn(self, train_state: TrainState, trajectory: Trajectory) -> tuple[TrainState, Metrics]:
        """Learns to act from single steps, then to infer, a few environments at a time."""
        train_state, metrics = super().learn(train_state, trajectory)
        if not (self.behaviour or self.instant):
            return train_state, metrics
        return self._infer(train_state, trajectory, metrics)

    def _infer(
        self, train_state: TrainState, trajectory: Trajectory, metrics: Metrics
    ) -> tuple[TrainState, Metrics]:
        hyper, c = train_state.hyper, self.config
        key, next_key = jax.random.split(train_state.key)
        chunks = self.setting.num_envs // c.inference_envs
        moment = trajectory.moment
        alive = moment.observation.alive
        counts = ~alive if "mask-bug" in self.flags else alive
        rows = {
            "inputs": trajectory.extras["inputs"][..., : self.slots * self.slot_size],
            "reset": self.agents_reset(moment),
            "counts": (counts & trajectory.valid[..., None]).astype(jnp.float32),
        }

        def split(leaf: Array) -> Array:  # [T, E, G, ...] -> [chunks, T, E', G, ...]
            parts = leaf.reshape(leaf.shape[0], chunks, c.inference_envs, *leaf.shape[2:])
            return jnp.moveaxis(parts, 1, 0)

        warm = (train_state.updates - 1) * self.rows >= c.inference_warmup
        rates = {"behaviour": hyper["behaviour_learning_rate"], "instant": hyper["instant_learning_rate"]}

        def step(carried: tuple[PyTree, PyTree], xs: tuple[Array, PyTree]) -> tuple[Any, Packed]:
            params, opt_state = carried
            parts = {name: params[name] for name in INFERRING if name in params}
            (_, losses), grads = jax.value_and_grad(self._inference_loss, has_aux=True)(parts, *xs, hyper)
            params, opt_state = dict(params), dict(opt_state)
            for name in parts:
                for net in parts[name]:
                    label = f"{name}/{net}"
                    moved, state = adam_step(
                        parts[name][net],
                        opt_state[label],
                        grads[name][net],
                        hyper["max_grad_norm"],
                        jnp.where(warm, rates[name], 0.0),
                        self.sharing,
                    )
                    params[name] = params[name] | {net: moved}
                    opt_state[label] = jax.tree.map(
                        lambda new, old: jnp.where(warm, new, old), state, opt_state[label]
                    )
            return (params, opt_state), Packed.of(losses)

        xs = jax.random.split(key, chunks), jax.tree.map(split, rows)
        (params, opt_state), losses = jax.lax.scan(step, (train_state.params, train_state.opt_state), xs)
        state = dataclasses.replace(train_state, params=params, opt_state=opt_state, key=next_key)
        return state, metrics | means(losses)

    def _inference_loss(
        self, params: PyTree, key: Array, rows: dict[str, Array], hyper: dict[str, Array]
    ) -> tuple[Array, Metrics]:
        """Returns what foretelling costs, a mean over agents; rows [T, E, G, ...]."""
        losses: Metrics = {}
        draws = jax.random.split(key, 4)
        if self.behaviour:
            module = self.behaviour
            seen = rows["inputs"].reshape(*rows["inputs"].shape[:-1], self.slots, self.slot_size)
            seen = seen[..., : self.features]
            width = module.decoder_width
            keep = self._kept(draws[0], (*seen.shape[:-1], width), hyper)

            def behaviour(p: PyTree, *xs: Array) -> Array:
                seen, reset, counts, keep = xs
                return module.loss(p, seen, reset, counts, hyper["soft_update"], keep)

            leaves = (jnp.moveaxis(x, 2, 0) for x in (seen, rows["reset"], rows["counts"], keep))
            losses["behaviour_loss"] = jnp.mean(self._each(behaviour)(params["behaviour"], *leaves))
        if self.instant:
            losses["instant_loss"] = self._instant_loss(params["instant"], draws[1:], rows, hyper)
        return sum(losses.values(), jnp.zeros(())), losses

    def _instant_loss(
        self, params: PyTree, draws: Array, rows: dict[str, Array], hyper: dict[str, Array]
    ) -> Array:
        """Returns what foretelling from some moments costs; a moment has all agents of an environment."""
        module, horizon = cast(Instant, self.instant), self.config.horizon
        time, envs = rows["reset"].shape[:2]
        pairs = min(self.config.inference_pairs, (time - horizon) * envs)
        drawn = jax.lax.top_k(jax.random.uniform(draws[0], ((time - horizon) * envs,)), pairs)[1]
        t, e = drawn // envs, drawn % envs
        slots = rows["inputs"].reshape(*rows["inputs"].shape[:-1], self.slots, self.slot_size)
        reset = rows["reset"][t, e]
        before = jnp.where(reset[..., None, None], 0.0, slots[jnp.maximum(t - 1, 0), e])  # [P, G, n, S]
        before = jnp.where((t == 0)[:, None, None, None], 0.0, before)
        features, size = self.features, module.size
        known = jnp.concatenate([slots[t, e][..., :features], before[..., features + size :]], axis=-1)
        later = t[:, None] + 1 + np.arange(horizon)  # [P, H]
        future = slots[later, e[:, None]][..., :features]  # [P, H, G, n, F]
        same = jnp.cumsum(rows["reset"][later, e[:, None]], axis=1) == 0
        counts = rows["counts"][later, e[:, None]] * same
        noise = self.noise(draws[1], (pairs, reset.shape[-1]))
        keep = self._kept(draws[2], (pairs, reset.shape[-1], horizon, self.slots, size), hyper)

        def loss(
            p: PyTree, memory: Array, known: Array, future: Array, counts: Array, *noises: Array
        ) -> Array:
            noise, keep = noises
            return module.loss(p, memory, known, future, counts, noise, jnp.moveaxis(keep, 1, 0))

        leaves = (before[..., features : features + size], known), (future, counts), (noise, keep)
        # Of the agents' axis: behind the pairs, or behind pairs and steps.
        own = (jnp.moveaxis(x, axis, 0) for xs, axis in zip(leaves, (1, 2, 1), strict=True) for x in xs)
        return jnp.mean(self._each(loss)(params, *own))

    def _kept(self, key: Array, shape: tuple[int, ...], hyper: dict[str, Array]) -> Array:
        """Draws dropout's factors: zero, or what keeps the mean."""
        keep = 1.0 - hyper["dropout"]
        return jnp.where(jax.random.uniform(key, shape) < keep, 1.0 / jnp.maximum(keep, 1e-6), 0.0)


def _networks(params: PyTree) -> dict[str, PyTree]:
    """Returns the networks that have an optimiser of their own, by name."""
    parts = {name: params[name] for name in PLAYING}
    for name in INFERRING:
        parts |= {f"{name}/{net}": part for net, part in params.get(name, {}).items()}
    return parts


@dataclass(frozen=True)
class IPLANPolicy:
    """The actor and what it infers; see `shoal.envs.core.Policy` for the contract."""

    learner: IPLAN
    params: PyTree
    needs_state: bool = False

    def initial_carry(self, batch: tuple[int, ...] = ()) -> PyTree:
        """Returns fresh memory for ``batch`` copies of the group."""
        carry: dict[str, PyTree] = dict(
            self.learner.initial_carry((*batch, len(self.learner.setting.group.indices)))
        )
        del carry["critic"]
        return carry

    def act(
        self,
        key: Key,
        carry: PyTree,
        observation: Observation,
        state: PyTree = None,
        greedy: bool = True,
        first: Array | None = None,
    ) -> tuple[PyTree, Array]:
        """Chooses actions [*B, G]; greedily also means hard attention without noise."""
        learner = self.learner
        reset = ~observation.alive if first is None else first | ~observation.alive
        noise_key, key = jax.random.split(key)
        noise = learner.noise(noise_key, reset.shape)
        noise = jnp.zeros_like(noise) if greedy else noise
        carry, inputs = learner.think(self.params, carry, observation.view, reset, noise)
        never = jnp.zeros((1, *reset.shape), bool)
        run = cast(Any, learner.actor.apply)
        inputs = standardised(inputs)[None]
        memory, head = learner.sharing.apply(run, self.params["actor"], carry["actor"], inputs, never)
        choose = from_distribution(learner.space, learner.config.squash)
        action = choose(key, head[0], observation.action_mask, greedy)
        last = jax.nn.one_hot(action, learner.space.n)  # type: ignore[union-attr]
        return carry | {"actor": memory, "last": last}, action
