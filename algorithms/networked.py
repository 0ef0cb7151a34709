"""Networked actor-critic: advantage actor-critic whose agents see, read or hear their neighbours.

One small recurrent core under seven information structures (IA2C, NA2C, FPrint, ConseNet, CommNet, DIAL,
NeurComm), as compared in arXiv 2010.07777 (NeurIPS 2020). n-step A2C is PPO with one epoch of one minibatch
and no trace decay, which is what the defaults say. See docs/algorithms/networked.md.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from shoal.algorithms.blocks import episode_batches
from shoal.algorithms.blocks.distributions import ActionDistribution
from shoal.algorithms.blocks.encoders import flatten_view
from shoal.algorithms.blocks.episode_batches import FILLED, WHOLE, Beyond
from shoal.algorithms.blocks.learner import Metrics, Moment, Setting, TrainState, Trajectory
from shoal.algorithms.blocks.messages.core import HearingCore
from shoal.algorithms.blocks.messages.graph import Graph
from shoal.algorithms.blocks.messages.structures import STRUCTURES, dense, layer
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.optimisers import clipped_adam, descend
from shoal.algorithms.blocks.policies import from_distribution
from shoal.algorithms.blocks.ppo_learner import ADAM_EPS, PPOConfig, PPOLearner, grad_norm, with_time
from shoal.envs.core import Discrete, Key, Observation, Policy, PyTree, UserError
from shoal.envs.core.errors import nearest
from shoal.envs.core.types import select

# Extras of a batch: what is paid after its last step [E, G], and what the value after that counts [E, 1].
PAID, FADE = "beyond/paid", "beyond/fade"


@dataclass(frozen=True)
class NetworkedConfig(PPOConfig):
    """Hyperparameters; floats can be swept in one compiled program."""

    # last-neighbour: na2c and fprint do not see it. stale-messages: an episode opens with those of the one
    # before. lost-batches: the joint structures learn nothing from what an episode's end leaves of a batch;
    # cropped-batches: the others fill it up from the next episode and drop what is over. in-order: consenet
    # averages one agent after the other.
    known_flags: ClassVar[tuple[str, ...]] = (
        "last-neighbour", "stale-messages", "lost-batches", "cropped-batches", "in-order",
    )  # fmt: skip
    paper_flags: ClassVar[tuple[str, ...]] = ("last-neighbour", "lost-batches", "cropped-batches", "in-order")

    structure: str = "neurcomm"  # who tells whom what: ia2c, na2c, fprint, consenet, commnet, dial, neurcomm
    learning_rate: float = 1e-3
    anneal_learning_rate: bool = False
    gae_lambda: float = 1.0
    entropy_coef: float = 0.05
    max_grad_norm: float = 40.0
    rollout_length: int = 50
    epochs: int = 1
    minibatches: int = 1  # of environments
    normalise_advantage: bool = False
    learn_from_dead: bool = False

    def __post_init__(self) -> None:
        """Refuses values that cannot train."""
        super().__post_init__()
        if self.structure not in STRUCTURES:
            known = ", ".join(STRUCTURES)
            raise UserError(
                f"algorithm.structure={self.structure!r} is not one of {known}"
                f"{nearest(self.structure, STRUCTURES)}"
            )

    def batching(self, num_envs: int, group_size: int) -> tuple[int, int]:
        """Returns how many sequences, here environments, are shuffled, and into how many minibatches."""
        return num_envs, self.minibatches


class Networked(PPOLearner):
    """The learner; every agent has parameters of its own with ``sharing=none``, as published."""

    Config: ClassVar[type[Any]] = NetworkedConfig
    needs_state = False

    def __init__(self, config: NetworkedConfig, network: NetworkConfig, setting: Setting) -> None:
        """Fixes everything static.

        Raises:
            UserError: for actions that are no choices, a network that it does not have, and parameters shared
                where they are to be averaged.
        """
        super().__init__(config, network, setting)
        if not isinstance(self.space, Discrete):
            raise UserError(f"networked needs discrete actions, and {setting.env.id} has {self.space}")
        if network.name != "mlp" or network.core == "none":
            raise UserError("networked brings an LSTM behind one dense layer: network=rnn sets its size")
        if config.structure == "dial" and network.hidden_size < self.space.n:
            raise UserError(
                f"structure=dial adds {self.space.n} actions to network.hidden_size={network.hidden_size} "
                "numbers, which must be as many"
            )
        structure, graph = STRUCTURES[config.structure], Graph.of(setting.env, setting.group)
        if structure.consensus and self.sharing.owner != tuple(range(len(setting.group.indices))):
            raise UserError("structure=consenet averages parameters of agents' own: it needs sharing=none")
        fewer = "last-neighbour" in self.flags and config.structure in ("na2c", "fprint")
        view = jax.eval_shape(lambda: flatten_view(self.imagine(False)[0].view, lead=1))
        self.core = HearingCore(
            structure=structure,
            graph=graph,
            seen=graph.without_last() if fewer else graph,
            view_size=view.shape[-1],
            choices=self.space.n,
            hidden=network.hidden_size,
            sharing=self.sharing,
            stale="stale-messages" in self.flags,
        )
        # One network to its authors, whose gradient is clipped as one and which is given whole batches only.
        self.joint = structure.hears or structure.consensus
        kind, flag = (WHOLE, "lost-batches") if self.joint else (FILLED, "cropped-batches")
        self.batches = kind if flag in self.flags else None  # None: rollouts, whatever ends within them
        self.mixing = graph.consensus("in-order" in self.flags) if structure.consensus else None

    @property
    def whole_environments(self) -> bool:
        """True: agents are neighbours, whoever owns the parameters."""
        return True

    # Parameters and memory -----------------------------------------------------------------------------

    def draw_params(self, key: Array, view: PyTree, state: PyTree) -> PyTree:
        """Returns fresh parameters of every set."""
        sizes = self.core.sizes
        others = sizes.neighbours * sizes.choices if self.core.structure.watched else 0

        def one(key: Array) -> PyTree:
            policy, value, key = jax.random.split(key, 3)
            return self.core.init(key) | {
                "policy": layer(policy, sizes.hidden, sizes.choices),
                "value": layer(value, sizes.hidden + others, 1),
            }

        return self.sharing.init(one, key)

    def initial_carry(self, batch: tuple[int, ...]) -> PyTree:
        """Returns fresh memory of leading shape ``batch`` (environments, agents)."""
        return self.core.start(batch)

    def acting(self, params: PyTree) -> PyTree:
        """Returns all but the critic."""
        return {name: part for name, part in params.items() if name != "value"}

    # Acting --------------------------------------------------------------------------------------------

    def think(self, params: PyTree, carry: PyTree, moment: Moment) -> tuple[PyTree, Array, Array]:
        """Runs the core and the policy over a sequence of moments [T, *B].

        Returns:
            The memory, all memories h [G, T, *B, H] and the policy head [T, *B, G, N].
        """
        seen, reset = moment.observation, self.agents_reset(moment)
        own = self.sharing.per_agent(dense)

        def speak(hidden: Array, mask: Array) -> Array:
            return self.chances(own(params["policy"], hidden), mask)

        view = flatten_view(seen.view, reset.ndim)
        carry, hidden = self.core.run(params, carry, view, reset, speak, seen.action_mask)
        return carry, hidden, jnp.moveaxis(own(params["policy"], hidden), 0, reset.ndim - 1)

    def chances(self, head: Array, mask: Array) -> Array:
        """Returns the probabilities [..., N] of the actions."""
        probabilities: Array = ActionDistribution.from_head(self.space, head, mask).parts[0].probs
        return probabilities

    def values(self, params: PyTree, hidden: Array, acts: Array) -> Array:
        """Returns values [T, *B, G].

        Args:
            params: of all agents.
            hidden: [G, T, *B, H].
            acts: actions one-hot, or probabilities (the head is linear: their value is the expected one),
                [T, *B, G, N].
        """
        agents = acts.ndim - 2
        if self.core.structure.watched:
            others = self.core.graph.heard(jnp.moveaxis(acts, agents, 0))
            hidden = jnp.concatenate([hidden, others.reshape(*hidden.shape[:-1], -1)], axis=-1)
        value = self.sharing.per_agent(dense)(params["value"], hidden)
        return jnp.moveaxis(value[..., 0], 0, agents)

    def explore(
        self, train_state: TrainState, key: Array, carry: PyTree, moment: Moment
    ) -> tuple[PyTree, Array, dict[str, Array]]:
        """Samples actions; notes their log-probabilities and the values that all actions together have."""
        moment = with_time(self.prepared(train_state.extra, moment))
        before = {f"memory/{name}": x for name, x in carry.items()} if self.batches else {}
        carry, hidden, head = self.think(train_state.params, carry, moment)
        distribution = ActionDistribution.from_head(self.space, head, moment.observation.action_mask)
        action, log_prob = distribution.sample_and_log_prob(key)
        value = self.values(train_state.params, hidden, self._one_hot(action))
        return carry, action[0], {"log_prob": log_prob[0], "value": value[0]} | before

    def _one_hot(self, action: Array) -> Array:
        return jax.nn.one_hot(action, self.core.choices)

    def policy(self, params: PyTree) -> Policy:
        """Returns the actors, and what they tell each other, as a policy."""
        return NetworkedPolicy(self, params)

    # Learning ------------------------------------------------------------------------------------------

    def forward(self, params: PyTree, carry: PyTree, moment: Moment) -> tuple[PyTree, Array, Array]:
        """Runs actors and critics over moments whose ``state`` is what was done, [T, *B, G]."""
        carry, hidden, head = self.think(params, carry, moment)
        return carry, head, self.values(params, hidden, self._one_hot(moment.state))

    def last_value(self, train_state: TrainState, trajectory: Trajectory) -> Array:
        """Returns the values after the last step, expected over what the neighbours may do there."""
        last = with_time(self.prepared(train_state.extra, trajectory.last))
        _, hidden, head = self.think(train_state.params, trajectory.last_carry, last)
        acts = self.chances(head, last.observation.action_mask)
        value = self.values(train_state.params, hidden, acts)[0]
        if PAID not in trajectory.extras:
            return value
        return trajectory.extras[PAID] + trajectory.extras[FADE] * value

    def _samples(self, train_state: TrainState, trajectory: Trajectory) -> tuple[dict[str, Any], PyTree]:
        """As every PPO's; moments know the actions, which critics read."""
        samples, carry = super()._samples(train_state, trajectory)
        samples["moment"] = dataclasses.replace(samples["moment"], state=trajectory.action)
        return samples, carry

    def open_optimiser(self, params: PyTree, max_grad_norm: Array) -> PyTree:
        """Returns Adam's opening state; every set of parameters has one, or all together."""
        return self._each(clipped_adam(max_grad_norm, ADAM_EPS).init)(params)

    def _each(self, function: Any) -> Any:
        return function if self.joint else self.sharing.each(function)

    def descend(
        self,
        params: PyTree,
        opt_state: PyTree,
        grads: PyTree,
        hyper: dict[str, Array],
        rates: dict[str, Array],
    ) -> tuple[PyTree, PyTree, Metrics]:
        """Takes one step of Adam down the sum of the agents' losses; neighbours then agree, in ConseNet."""
        grads = self.sharing.own_means(grads)
        optimiser = clipped_adam(hyper["max_grad_norm"], ADAM_EPS)
        direction, opt_state = self._each(optimiser.update)(grads, opt_state)
        params = descend(params, direction, rates["learning_rate"])
        if self.mixing is not None:
            params = params | {"lstm": jax.tree.map(self._agreed, params["lstm"])}
        return params, opt_state, {"grad_norm": grad_norm(grads)}

    def _agreed(self, leaf: Array) -> Array:
        return jnp.einsum("ij,j...->i...", self.mixing, leaf)

    def init(self, key: Array, hyper: dict[str, Array] | None = None) -> TrainState:
        """Returns fresh parameters, and where batches are cut room for the rollouts before."""
        train_state = super().init(key, hyper)
        if self.batches is None:
            return train_state
        rollout = self._noted_rollout(train_state)  # of which only shapes are used
        tape = episode_batches.blank(rollout, _memory(rollout), self.batches)
        return dataclasses.replace(train_state, extra=tape)

    def _noted_rollout(self, train_state: TrainState) -> Trajectory:
        """Returns a rollout of zeros, with the notes of one repeated step."""
        rollout = self.imagined_rollout(self.setting.num_envs)
        moment = jax.tree.map(lambda x: x[0], rollout.moment)
        _, _, extras = self.explore(train_state, train_state.key, rollout.carry, moment)
        steps = self.config.rollout_length
        extras = jax.tree.map(lambda x: jnp.broadcast_to(x, (steps, *x.shape)), extras)
        return dataclasses.replace(rollout, extras=extras)

    def learn(self, train_state: TrainState, trajectory: Trajectory) -> tuple[TrainState, Metrics]:
        """Takes a gradient step; where batches are cut, none if no environment has completed one."""
        if self.batches is None:
            return super().learn(train_state, trajectory)
        tape, memory = train_state.extra, _memory(trajectory)
        batch, beyond, whole, tape = episode_batches.episode_batch(tape, trajectory, memory, self.batches)
        if self.batches == FILLED:
            batch = self._with_beyond(batch, beyond, train_state.hyper["gamma"])
        learned, metrics = super().learn(train_state, batch)
        kept = train_state.params, train_state.opt_state
        params, opt_state = select(jnp.any(whole), (learned.params, learned.opt_state), kept)
        metrics["whole_batches"] = jnp.mean(whole.astype(jnp.float32))
        return dataclasses.replace(learned, params=params, opt_state=opt_state, extra=tape), metrics

    def _with_beyond(self, batch: Trajectory, beyond: Beyond, gamma: Array) -> Trajectory:
        """Notes what `last_value` is made of; exact for n-step returns, that is ``gae_lambda`` 1."""
        later = gamma ** jnp.arange(len(beyond.reward), dtype=jnp.float32)
        paid = jnp.tensordot(later, beyond.reward, axes=1)
        over = beyond.terminated if self.setting.final_observations else beyond.over
        fade = jnp.where(over, 0.0, gamma ** beyond.steps.astype(jnp.float32))
        return dataclasses.replace(batch, extras=batch.extras | {PAID: paid, FADE: fade[:, None]})


def _memory(trajectory: Trajectory) -> dict[str, Array]:
    """Returns the memory before every step, which `Networked.explore` noted."""
    return {name: trajectory.extras[f"memory/{name}"] for name in trajectory.carry}


@dataclass(frozen=True)
class NetworkedPolicy:
    """The actors; see `shoal.envs.core.Policy` for the contract."""

    learner: Networked
    params: PyTree
    needs_state: bool = False

    def initial_carry(self, batch: tuple[int, ...] = ()) -> PyTree:
        """Returns fresh memory for ``batch`` copies of the group."""
        return self.learner.initial_carry((*batch, len(self.learner.setting.group.indices)))

    def act(
        self,
        key: Key,
        carry: PyTree,
        observation: Observation,
        state: PyTree = None,
        greedy: bool = True,
        first: Array | None = None,
    ) -> tuple[PyTree, Array]:
        """Chooses actions [*B, G]; memory is zeroed where ``first`` or not alive."""
        first = jnp.zeros_like(observation.alive) if first is None else first
        moment = with_time(Moment(observation=observation, first=first, done_before=first, state=()))
        carry, _, head = self.learner.think(self.params, carry, moment)
        choose = from_distribution(self.learner.space, squash=False)
        return carry, choose(key, head[0], observation.action_mask, greedy)
