"""Intent-aware planning in heterogeneous traffic, iPLAN (Wu et al., CoRL 2023, arXiv 2306.06236).

Independent PPO whose policy also reads, for every slot of its view, what kind of agent seems to sit there
(the behavioural incentive) and what it seems to be about to do (the instant one). Both are learned by
foretelling what will be seen. With both off it is the IPPO of the paper. See docs/algorithms/iplan.md.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jax import Array

from shoal.algorithms.blocks import ppo
from shoal.algorithms.blocks.distributions import head_size
from shoal.algorithms.blocks.inference.behaviour import FORMS, Behaviour, forgotten
from shoal.algorithms.blocks.inference.incentives import NAMES, Incentives
from shoal.algorithms.blocks.inference.instant import Instant
from shoal.algorithms.blocks.learner import Metrics, Moment, Setting, TrainState, Trajectory
from shoal.algorithms.blocks.minibatches import take_rows
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.normalisation import standardised
from shoal.algorithms.blocks.normed import NormedNet
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
from shoal.envs.core import Discrete, Key, Observation, Policy, PyTree, UserError
from shoal.envs.core.types import select

PLAYING = ("actor", "critic")
RATES = ("soft_update", "temperature")


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
        behaviour = Behaviour(config.behaviour, config.behaviour_size, config.window)
        instant = Instant(config.instant_size, config.horizon)
        self.incentives = Incentives(
            None if config.behaviour == "none" else behaviour,
            instant if config.instant else None,
            slots[0],
            slots[1],
            self.sharing,
        )
        self.choices, self.agents = self.space.n, len(setting.group.indices)
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

    # Parameters and memory -----------------------------------------------------------------------------

    def init(self, key: Array, hyper: dict[str, Array] | None = None) -> TrainState:
        """Returns fresh parameters; the rates of acting are kept among them, where policies find them."""
        state = super().init(key, hyper)
        rates = {name: state.hyper[name] for name in RATES}
        return dataclasses.replace(state, params=state.params | {"rates": rates})

    def draw_params(self, key: Array, view: PyTree, state: PyTree) -> PyTree:
        """Returns fresh parameters of all networks."""
        width = self.incentives.slots * self.incentives.slot_size + self.choices + self.agents
        inputs, reset = jnp.zeros((1, width)), jnp.zeros(1, bool)
        memory = jnp.zeros(self.network_config.hidden_size)

        def one(key: Array) -> PyTree:
            actor_key, critic_key, key = jax.random.split(key, 3)
            return self.incentives.init(key) | {
                "actor": self.actor.init(actor_key, memory, inputs, reset),
                "critic": self.critic.init(critic_key, memory, inputs, reset),
            }

        return self.sharing.init(one, key)

    def initial_carry(self, batch: tuple[int, ...]) -> PyTree:
        """Returns fresh memory of leading shape ``batch`` (environments, agents)."""
        memory = jnp.zeros((*batch, self.network_config.hidden_size))
        last = jnp.zeros((*batch, self.choices))
        return self.incentives.start(batch) | {"actor": memory, "critic": memory, "last": last}

    def acting(self, params: PyTree) -> PyTree:
        """Returns all that playing needs: no critic, and nothing that only foretells."""
        return self.incentives.acting(params) | {"actor": params["actor"], "rates": params["rates"]}

    # Acting --------------------------------------------------------------------------------------------

    def think(
        self, params: PyTree, carry: PyTree, view: Array, reset: Array, noise: Array
    ) -> tuple[PyTree, Array]:
        """Infers what there is to infer.

        Args:
            params: of all agents.
            carry: as `initial_carry`.
            view: [*B, G, n * F].
            reset: [*B, G] where memory is zeroed.
            noise: of hard attention, [*B, G, n, n - 1].

        Returns:
            The memory, and the policy's input [*B, G, D]: slots, last action, the agent's number.
        """
        carry = forgotten(carry, reset)
        held = {name: carry[name] for name in NAMES if name in carry}
        held, slots = self.incentives.step(params, held, view, noise, params["rates"])
        identity = jnp.broadcast_to(jnp.eye(self.agents), (*view.shape[:-1], self.agents))
        return carry | held, jnp.concatenate([slots, carry["last"], identity], axis=-1)

    def explore(
        self, train_state: TrainState, key: Array, carry: PyTree, moment: Moment
    ) -> tuple[PyTree, Array, dict[str, Array]]:
        """Samples actions; notes what the policy read and remembered, log-probabilities and values."""
        noise_key, key = jax.random.split(key)
        reset = self.agents_reset(moment)
        noise = self.incentives.noise(noise_key, reset.shape)
        carry, inputs = self.think(train_state.params, carry, moment.observation.view, reset, noise)
        before = {name: carry[name] for name in PLAYING}
        seen = self._reading(inputs[None], moment.observation.action_mask[None])
        after, distribution, value = self._forward(train_state.params, before, seen)
        action, log_prob = distribution.sample_and_log_prob(key)
        carry = carry | after | {"last": jax.nn.one_hot(action[0], self.choices)}
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
        agents = inputs.ndim - 2  # their axis in what is returned
        never = jnp.zeros(inputs.shape[1:-1], bool)
        for name, network in (("actor", self.actor), ("critic", self.critic)):
            memory = jnp.moveaxis(carry[name], agents - 1, 0)
            run = self.sharing.per_agent(lambda p, h, x, net=network: net.apply(p, h, x, never))
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
        noise = self.incentives.silence(reset.shape)
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
        parts = {name: params[name] for name in PLAYING}
        for name in NAMES:
            parts |= {f"{name}/{net}": part for net, part in params.get(name, {}).items()}
        return {name: adam_opening(part, max_grad_norm, self.sharing) for name, part in parts.items()}

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
        if not self.incentives:
            return train_state, metrics
        train_state, losses = self._infer(train_state, trajectory)
        return train_state, metrics | losses

    def _infer(self, train_state: TrainState, trajectory: Trajectory) -> tuple[TrainState, Metrics]:
        """Takes a step of every network that infers for each part of the environments."""
        hyper, c = train_state.hyper, self.config
        key, next_key = jax.random.split(train_state.key)
        chunks = self.setting.num_envs // c.inference_envs
        moment = trajectory.moment
        alive = moment.observation.alive
        counts = ~alive if "mask-bug" in self.flags else alive
        rows = {
            "slots": trajectory.extras["inputs"][..., : self.incentives.slots * self.incentives.slot_size],
            "reset": moment.first,
            "counts": (counts & trajectory.valid[..., None]).astype(jnp.float32),
        }

        def split(leaf: Array) -> Array:  # [T, E, G, ...] -> [chunks, T, E', G, ...]
            parts = leaf.reshape(leaf.shape[0], chunks, c.inference_envs, *leaf.shape[2:])
            return jnp.moveaxis(parts, 1, 0)

        warm = (train_state.updates - 1) * self.rows >= c.inference_warmup
        rates = {"behaviour": hyper["behaviour_learning_rate"], "instant": hyper["instant_learning_rate"]}

        def step(carried: tuple[PyTree, PyTree], xs: tuple[Array, PyTree]) -> tuple[Any, Packed]:
            params, opt_state = carried
            own = {name: params[name] for name in NAMES if name in params}
            slope = jax.value_and_grad(self.incentives.loss, has_aux=True)
            (_, losses), grads = slope(own, *xs, hyper, c.inference_pairs)
            for name, nets in own.items():
                for net, part in nets.items():
                    state, limit = opt_state[f"{name}/{net}"], hyper["max_grad_norm"]
                    moved = adam_step(part, state, grads[name][net], limit, rates[name], self.sharing)
                    part, state = select(warm, moved, (part, state))
                    params = params | {name: params[name] | {net: part}}
                    opt_state = opt_state | {f"{name}/{net}": state}
            return (params, opt_state), Packed.of(losses)

        xs = jax.random.split(key, chunks), jax.tree.map(split, rows)
        (params, opt_state), losses = jax.lax.scan(step, (train_state.params, train_state.opt_state), xs)
        state = dataclasses.replace(train_state, params=params, opt_state=opt_state, key=next_key)
        return state, means(losses)


@dataclass(frozen=True)
class IPLANPolicy:
    """The actor and what it infers; see `shoal.envs.core.Policy` for the contract."""

    learner: IPLAN
    params: PyTree
    needs_state: bool = False

    def initial_carry(self, batch: tuple[int, ...] = ()) -> PyTree:
        """Returns fresh memory for ``batch`` copies of the group."""
        carry = self.learner.initial_carry((*batch, self.learner.agents))
        return {name: memory for name, memory in carry.items() if name != "critic"}

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
        incentives = learner.incentives
        noise = incentives.silence(reset.shape) if greedy else incentives.noise(noise_key, reset.shape)
        carry, inputs = learner.think(self.params, carry, observation.view, reset, noise)
        never = jnp.zeros((1, *reset.shape), bool)
        run = cast(Any, learner.actor.apply)
        inputs = standardised(inputs)[None]
        memory, head = learner.sharing.apply(run, self.params["actor"], carry["actor"], inputs, never)
        choose = from_distribution(learner.space, learner.config.squash)
        action = choose(key, head[0], observation.action_mask, greedy)
        return carry | {"actor": memory, "last": jax.nn.one_hot(action, learner.choices)}, action
