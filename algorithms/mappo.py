"""Multi-agent proximal policy optimisation (Yu et al. 2021, arXiv 2103.01955): PPO with a centralised critic.

Agents act on their own observations; the critic, a network of its own, reads the environment's global
state. docs/algorithms/mappo.md lists what follows JaxMARL (arXiv 2311.10090) and what differs.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jax import Array

from shoal.algorithms.blocks import normalisation
from shoal.algorithms.blocks.distributions import head_size
from shoal.algorithms.blocks.encoders import flatten_state
from shoal.algorithms.blocks.learner import Metrics, Moment, Setting, Trajectory
from shoal.algorithms.blocks.minibatches import take_rows
from shoal.algorithms.blocks.networks import Actor, Critic, NetworkConfig, entity_actions_of, memory
from shoal.algorithms.blocks.policies import NetworkPolicy, from_distribution
from shoal.algorithms.blocks.ppo_learner import PPOConfig, PPOLearner, adam_opening, adam_step, grad_norm
from shoal.algorithms.blocks.q_networks import with_agent_id
from shoal.algorithms.blocks.sharing import Sharing
from shoal.envs.core import Policy, PyTree, UserError

_ONE_CRITIC = Sharing(None)  # whoever shares the actor's parameters


@dataclass(frozen=True)
class MAPPOConfig(PPOConfig):
    """Hyperparameters; floats can be swept in one compiled program."""

    # agent-critic: a value for every agent, from the same state, instead of one for the team.
    known_flags: ClassVar[tuple[str, ...]] = ("D1", "D6", "agent-critic")
    paper_flags: ClassVar[tuple[str, ...]] = ("D1", "D6", "agent-critic")

    critic_learning_rate: float = 0.0  # 0: the same as learning_rate
    agent_id: bool = False  # the critic is told whom it judges, so that every agent has a value of its own
    actor_id: bool = False  # actors are told their place in the group
    normalise_state: bool = True  # the critic sees each entry of the state less its mean, in deviations (D6)

    def __post_init__(self) -> None:
        """Refuses values that cannot train."""
        super().__post_init__()
        if self.critic_learning_rate < 0.0:
            raise UserError(f"algorithm.critic_learning_rate={self.critic_learning_rate} must be at least 0")

    @property
    def agent_values(self) -> bool:
        """Whether every agent has a value of its own, instead of one for the team."""
        return self.agent_id or "agent-critic" in self.flags

    def batching(self, num_envs: int, group_size: int) -> tuple[int, int]:
        """Returns how many sequences are shuffled, and into how many minibatches."""
        return num_envs * (group_size if self.agent_values else 1), self.minibatches


class MAPPO(PPOLearner):
    """The learner: an actor and a critic, each with its own optimiser and gradient clipping."""

    Config: ClassVar[type[Any]] = MAPPOConfig
    needs_state = True

    def __init__(self, config: MAPPOConfig, network: NetworkConfig, setting: Setting) -> None:
        """Fixes everything static.

        Raises:
            UserError: when the environments do not divide over the shuffle groups.
        """
        super().__init__(config, network, setting)
        self.team_values = not config.agent_values
        if setting.num_envs % setting.shuffle_groups:
            raise UserError(
                f"num_envs={setting.num_envs} does not divide into shuffle_groups={setting.shuffle_groups}"
            )
        self.normalises = config.normalise_state and "D6" not in self.flags
        self.actor = Actor(network, head_size(self.space), entity_actions_of(network, setting.env))
        self.critic_config = dataclasses.replace(network, name="mlp")  # a state is read as one vector
        self.critic = Critic(self.critic_config)

    # Parameters and memory -----------------------------------------------------------------------------

    def draw_params(self, key: Array, view: PyTree, state: PyTree) -> PyTree:
        """Returns fresh parameters of every actor and of the critic."""
        actor_key, critic_key = jax.random.split(key)
        agents = (len(self.setting.group.indices),)
        carry, reset = memory(self.network_config, agents), jnp.zeros((1, *agents), bool)
        view, row = self._told(view, 2), flatten_state(state, 1)
        if self.config.agent_id:
            row = jnp.concatenate([row, jnp.zeros((1, len(self.setting.group.indices)))], axis=-1)
        return {
            "actor": self.sharing.init(lambda k: self.actor.init(k, carry, view, reset), actor_key),
            "critic": self.critic.init(critic_key, memory(self.critic_config, ()), row, jnp.zeros(1, bool)),
        }

    def open_optimiser(self, params: PyTree, max_grad_norm: Array) -> PyTree:
        """Returns the opening state of two Adams."""
        return {name: adam_opening(params[name], max_grad_norm, sharing) for name, sharing in self._parts()}

    def descend(
        self,
        params: PyTree,
        opt_state: PyTree,
        grads: PyTree,
        hyper: dict[str, Array],
        rates: dict[str, Array],
    ) -> tuple[PyTree, PyTree, Metrics]:
        """Takes one step of each Adam."""
        rate = {"actor": rates["learning_rate"], "critic": rates["critic_learning_rate"]}
        limit, stepped, states = hyper["max_grad_norm"], {}, {}
        for name, sharing in self._parts():
            stepped[name], states[name] = adam_step(
                params[name], opt_state[name], grads[name], limit, rate[name], sharing
            )
        watch = {"grad_norm": grad_norm(grads["actor"]), "critic_grad_norm": grad_norm(grads["critic"])}
        return stepped, states, watch

    def learning_rates(self, hyper: dict[str, Array]) -> dict[str, Array]:
        """Returns the rates of actor and critic at the start of training."""
        own = hyper["critic_learning_rate"]
        rate = hyper["learning_rate"]
        return {"learning_rate": rate, "critic_learning_rate": jnp.where(own > 0.0, own, rate)}

    def initial_carry(self, batch: tuple[int, ...]) -> PyTree:
        """Returns fresh memory of actors [E, G, H] and critic ([E, H] where a value is the team's)."""
        judged = batch[:-1] if self.team_values else batch
        return memory(self.network_config, batch), memory(self.critic_config, judged)

    def open_extra(self, state: PyTree) -> PyTree:
        """Returns the moments of the state, of which nothing was seen yet."""
        return normalisation.no_moments(flatten_state(state, 1).shape[-1]) if self.normalises else ()

    def next_extra(self, extra: PyTree, trajectory: Trajectory) -> PyTree:
        """Adds the states of a rollout to their moments."""
        if not self.normalises:
            return extra
        return normalisation.seen(extra, flatten_state(trajectory.moment.state, 2))

    # Seeing and acting ---------------------------------------------------------------------------------

    def prepared(self, extra: PyTree, moment: Moment) -> Moment:
        """Flattens the state to [..., E, S] and normalises it; tells actors who they are."""
        state = flatten_state(moment.state, moment.first.ndim - 1)
        state = normalisation.normalised(extra, state) if self.normalises else state
        view = self._told(moment.observation.view, moment.first.ndim)
        observation = dataclasses.replace(moment.observation, view=view)
        return dataclasses.replace(moment, observation=observation, state=state)

    def forward(self, params: PyTree, carry: PyTree, moment: Moment) -> tuple[PyTree, Array, Array]:
        """Runs the actors on what they see and the critic on the state."""
        view, reset = moment.observation.view, self.agents_reset(moment)
        actor_carry, head = self.sharing.apply(self._act, params["actor"], carry[0], view, reset)
        state, opens = moment.state, reset
        if self.team_values:
            opens = jnp.all(moment.first, axis=-1)  # a team goes on when a single agent is replaced
        elif state.ndim == reset.ndim:  # [T, E, S] for agents [T, E, G]
            state = self._judged(state[..., None, :], jnp.arange(reset.shape[-1]), reset.shape)
        critic_carry, value = cast(Any, self.critic.apply(params["critic"], carry[1], state, opens))
        return (actor_carry, critic_carry), head, value

    def minibatch(self, samples: dict[str, Any], index: Array) -> dict[str, Any]:
        """Selects sequences; only here do single agents get a copy of their environment's state."""
        if self.whole_environments:
            return super().minibatch(samples, index)
        moment, agents = samples["moment"], len(self.setting.group.indices)
        bare = samples | {"moment": dataclasses.replace(moment, state=())}
        batch = super().minibatch(bare, index)
        state = take_rows(moment.state, index // agents)
        state = self._judged(state, index.reshape(-1) % agents, state.shape[:-1])
        return batch | {"moment": dataclasses.replace(batch["moment"], state=state)}

    def one_batch(self, samples: dict[str, Any]) -> dict[str, Any]:
        """Returns all sequences as one minibatch; a state for every agent that is judged by itself."""
        if self.whole_environments:
            return samples
        return self.minibatch(samples, jnp.arange(self.rows)[None])

    def acting(self, params: PyTree) -> PyTree:
        """Returns the actor's parameters: nobody judges when the policy plays."""
        return params["actor"]

    def policy(self, params: PyTree) -> Policy:
        """Returns the actor as a policy."""

        def actor(params: PyTree, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, Array]:
            return self.sharing.apply(self._act, params, carry, self._told(view, reset.ndim), reset)

        def carry(batch: tuple[int, ...]) -> PyTree:
            return memory(self.network_config, batch)

        choose = from_distribution(self.space, self.config.squash)
        return NetworkPolicy(params, actor, carry, choose, len(self.setting.group.indices))

    # Parts ---------------------------------------------------------------------------------------------

    def _parts(self) -> tuple[tuple[str, Sharing], ...]:
        return ("actor", self.sharing), ("critic", _ONE_CRITIC)

    def _act(self, params: PyTree, carry: PyTree, view: PyTree, reset: Array) -> tuple[PyTree, PyTree]:
        return cast(Any, self.actor.apply(params, carry, view, reset))

    def _told(self, view: PyTree, lead: int) -> PyTree:
        """Returns what actors read, of views with ``lead`` leading axes."""
        agents = len(self.setting.group.indices)
        return with_agent_id(view, agents, lead) if self.config.actor_id else view

    def _judged(self, state: Array, agent: Array, shape: tuple[int, ...]) -> Array:
        """Returns the state as the critic of single agents reads it, [*shape, S], with the agent's id."""
        state = jnp.broadcast_to(state, (*shape, state.shape[-1]))
        if not self.config.agent_id:
            return state
        identity = jax.nn.one_hot(agent, len(self.setting.group.indices))
        return jnp.concatenate([state, jnp.broadcast_to(identity, (*shape, identity.shape[-1]))], axis=-1)
