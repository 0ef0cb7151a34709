"""The frame of every swarm task on the grid: messages, physics, the task's own update, and measures.

Source: "Benchmarking LLMs' Swarm Intelligence" (SwarmBench), arXiv 2505.04364 v4, and its code.
"""

from __future__ import annotations

import abc
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from shoal.envs.common.batching import batch_last
from shoal.envs.core.environment import Environment, Metadata, MetricSpec
from shoal.envs.core.errors import UserError
from shoal.envs.core.spaces import Box, Discrete, MultiDiscrete, Space
from shoal.envs.core.types import Key, Observation, Outcome, PyTree, Recording
from shoal.envs.swarm.grid import boards, group, messages, observation, physics
from shoal.envs.swarm.grid.physics import PRIMITIVES, STAY, SWITCH
from shoal.envs.swarm.grid.types import CITATION, Options, State

StateT = TypeVar("StateT", bound=State)
LevelT = TypeVar("LevelT")


class Draws(NamedTuple):
    """Every random number of a round."""

    noise: Any  # of the messages
    task: Any  # of the task


class GridSwarm(Environment[StateT, LevelT]):
    """A task names how it opens, what follows the physics, its potential, and what it shows.

    Steps are written for one world and for a batch in trailing axes alike (`batch_last`); what opens an
    episode and what is seen are written for one world.
    """

    Options: ClassVar[type[Any]] = Options
    options: Any
    params: Any
    switches: ClassVar[bool] = False
    """Whether agents have lights to switch."""
    shows_flags: ClassVar[bool] = False
    """Whether others' flags can be seen."""

    agents_leave: ClassVar[bool] = False
    """Whether agents can leave the board for good."""

    # What a task writes -------------------------------------------------------------------------------------

    @abc.abstractmethod
    def board(self, state: StateT) -> Int[Array, "rows columns"]:
        """Returns what stands where, agents left out, for one world (`observation.cells`)."""

    @abc.abstractmethod
    def settle(self, before: StateT, after: StateT, draws: PyTree) -> tuple[StateT, Array]:
        """Applies the task's own update to what physics made; returns whether the task is done [*B], too."""

    @abc.abstractmethod
    def own_metrics(self, state: StateT) -> dict[str, Array]:
        """Returns the task's metrics, ``score`` left out, [*B] each."""

    @abc.abstractmethod
    def own_specs(self) -> tuple[MetricSpec, ...]:
        """Declares the task's metrics, ``score`` first."""

    def task_draws(self, key: Key, state: StateT) -> PyTree:
        """Returns the task's random numbers of a round."""
        return ()

    def move(self, state: StateT, primitive: Int[Array, "agents *batch"]) -> StateT:
        """Returns the state after the physics of a round; by default of agents between walls."""
        bodies = physics.Bodies(state.i, state.j, state.alive, primitive)
        bodies = physics.push(bodies, self.static(state) > 0)
        return replace(state, i=bodies.i, j=bodies.j)

    def static(self, state: StateT) -> Int[Array, "rows columns *batch"]:
        """Returns what never moves; by default the ring of walls."""
        ring = self.ring().astype(np.int32)
        return jnp.broadcast_to(ring.reshape(*ring.shape, *[1] * state.t.ndim), (*ring.shape, *state.t.shape))

    def potential(self, state: StateT) -> Float[Array, "*batch"] | Float[Array, "agents *batch"]:
        """Returns the team's potential that shapes rewards where ``reward=shaped``, or each agent's own."""
        return jnp.zeros_like(state.score)

    def shaped(self, before: StateT, after: StateT) -> Array:
        """Returns in which worlds the round's growth of the potential is paid, [*B] bool."""
        return jnp.ones_like(after.t, bool)

    def credits_agents(self) -> bool:
        """Returns whether rewards are each agent's own: tasks with an option ``credit``."""
        return getattr(self.options, "credit", "team") == "agent"

    def individual(self, before: StateT, after: StateT) -> Float[Array, "agents *batch"]:
        """Returns each agent's part of the score's growth, where the acting agent is credited."""
        raise NotImplementedError(f"{self.id} does not tell whose the points are")

    def may_act(self, state: StateT) -> Array:
        """Returns who may act, [A, *B] bool."""
        return state.alive

    def shown_score(self, state: StateT) -> Float[Array, ""]:
        """Returns what agents see of the score."""
        return jnp.zeros((), jnp.float32)

    def target_size(self) -> float:
        """Returns what agents see of the size of the shape that they are to form."""
        return 0.0

    def extra(self, state: StateT) -> Float[Array, " extra"]:
        """Returns what a centralised critic reads beside cells, agents and time, for one world."""
        return jnp.zeros(0, jnp.float32)

    # The frame ----------------------------------------------------------------------------------------------

    def __init__(self, id: str = "", options: Any = None, params: Any = None) -> None:
        """Checks options and numbers.

        Raises:
            UserError: for one out of its range, a view without a centre, more agents than cells.
        """
        super().__init__(id, options, params)
        o = self.options
        if o.view_size % 2 == 0:
            raise UserError(f"view_size={o.view_size} must be odd, so that an agent stands in its centre")
        self._round = batch_last(self._play)

    def ring(self) -> np.ndarray:
        """Returns [H, W] int8, a board with walls around."""
        return boards.ring(self.options.height, self.options.width)

    def open(self, level: Any, flag: Array | None = None) -> dict[str, Any]:
        """Returns the entries of a state that opens an episode, for one world."""
        nobody = jnp.zeros(self.options.num_agents, bool)
        nothing = jnp.zeros(self.options.num_agents, jnp.int32)
        return {
            "i": level.i,
            "j": level.j,
            "alive": ~nobody,
            "flag": nobody if flag is None else flag,
            "primitive": nothing,
            "token": nothing,
            "post": messages.empty_post(self.options),
            "t": jnp.zeros((), jnp.int32),
            "score": jnp.zeros((), jnp.float32),
            "potential": jnp.zeros(self.options.num_agents, jnp.float32),
            "group": group.opening(self.options, level.i, level.j),
            "params": level.params,
        }

    def opened(self, state: StateT) -> StateT:
        """Returns an opening state with its potential."""
        return replace(state, potential=self._potentials(state)) if self.options.reward == "shaped" else state

    def _potentials(self, state: StateT) -> Float[Array, "agents *batch"]:
        potential = self.potential(state)
        own = potential if potential.ndim == state.alive.ndim else potential[None]
        return jnp.broadcast_to(own, state.alive.shape)

    def draws(self, key: Key, state: StateT) -> Draws:
        """Returns the noise of the messages and the task's own random numbers."""
        noise_key, task_key = jax.random.split(key) if self._draws_both else (key, key)
        return Draws(messages.draw(self.options, noise_key), self.task_draws(task_key, state))

    @property
    def _draws_both(self) -> bool:
        return self.options.noisy_messages and self.options.speaks

    def dynamics(self, state: StateT, action: Array, draws: PyTree) -> tuple[StateT, Outcome]:
        """Plays one round; actions out of range or illegal stay and are silent."""
        primitive, token = self._parts(action)
        played: tuple[StateT, Outcome] = self._round(state, primitive, token, draws)
        return played

    def _parts(self, action: Array) -> tuple[Array, Array]:
        o = self.options
        if not o.speaks:
            return action, jnp.zeros_like(action)
        if o.joint_actions:
            known = (action >= 0) & (action < PRIMITIVES * o.vocabulary)
            action = jnp.where(known, action, 0)
            return action // o.vocabulary, action % o.vocabulary
        return action[..., 0], action[..., 1]

    def _play(
        self,
        state: StateT,
        primitive: Int[Array, "agents *batch"],
        token: Int[Array, "agents *batch"],
        draws: Draws,
    ) -> tuple[StateT, Outcome]:
        o, may = self.options, self.may_act(state)
        highest = SWITCH if self.switches else SWITCH - 1
        primitive = jnp.where(may & (primitive > STAY) & (primitive <= highest), primitive, STAY)
        token = jnp.where(may & (token > 0) & (token < o.vocabulary), token, 0)
        after = self.move(replace(state, primitive=primitive, token=token, t=state.t + 1), primitive)
        after, done = self.settle(state, after, draws.task)
        after = replace(
            after,
            post=messages.send(o, state.params, state.post, token, draws.noise),
            group=group.measure(state, after),
        )
        reward, after = self._reward(state, after, done)
        late = after.t >= o.max_steps
        outcome = Outcome(
            reward=reward,
            terminated=done,
            truncated=late & ~done,
            agent_done=state.alive & ~after.alive,
            joined=jnp.zeros_like(state.alive),
            metrics={"score": after.score, **self.own_metrics(after), **group.metrics(after.group, after.t)},
        )
        return after, outcome

    def _reward(self, before: StateT, after: StateT, done: Array) -> tuple[Array, StateT]:
        """Pays the growth of the score and, where shaped, that of the potential, which is 0 at the end."""
        scale = jnp.asarray(after.params.reward_scale)
        if self.credits_agents():
            parts = self.individual(before, after)
        else:
            parts = jnp.broadcast_to((after.score - before.score)[None], after.alive.shape)
        reward = parts * scale[None]
        if self.options.reward != "shaped":
            return reward, after
        potential = jnp.where(done[None], 0.0, self._potentials(after))
        growth = jnp.asarray(after.params.discount)[None] * potential - before.potential
        weight = jnp.where(self.shaped(before, after), after.params.shaping, 0.0)
        return reward + weight[None] * growth, replace(after, potential=potential)

    def observe(self, state: StateT) -> Observation:
        """Returns windows and numbers; the docs page names the columns."""
        o = self.options
        return Observation(
            view=observation.view(
                o, state, self.board(state), self.shows_flags, self.shown_score(state), self.target_size()
            ),
            action_mask=observation.masks(o, state, self.may_act(state), self.switches),
            alive=state.alive,
        )

    def global_state(self, state: StateT) -> Float[Array, " features"]:
        """Returns cells with 8 layers each, agents with 5 numbers each, time, and what the task adds."""
        return observation.whole(self.options, state, self.board(state), self.extra(state))

    def action_form(self) -> Space:
        """Returns the space of an agent's action."""
        o = self.options
        if not o.speaks:
            return Discrete(PRIMITIVES)
        if o.joint_actions:
            return Discrete(PRIMITIVES * o.vocabulary)
        return MultiDiscrete((PRIMITIVES, o.vocabulary))

    def make_metadata(self) -> Metadata:
        """Returns like agents on one team."""
        o = self.options
        agents = tuple(f"agent_{i}" for i in range(o.num_agents))
        view, action = Box(-np.inf, np.inf, observation.view_shape(o)), self.action_form()
        whole = o.height * o.width * (observation.LAYERS - 1) + 5 * o.num_agents + 1 + self.extra_size()
        return Metadata(
            agents=agents,
            teams=(0,) * o.num_agents,
            agent_types=(0,) * o.num_agents,
            groups={"agents": tuple(range(o.num_agents))},
            observation_spaces=(view,) * o.num_agents,
            action_spaces=(action,) * o.num_agents,
            observation_space=view,
            action_space=action,
            state_space=Box(-np.inf, np.inf, (whole,)),
            max_steps=o.max_steps,
            time_limit_is_termination=False,
            team_reward="sum" if self.credits_agents() else "shared",
            metric_specs=(*self.own_specs(), *group.metric_specs(o)),
            citation=CITATION,
            dead_agents_earn=True,  # the points are the team's, also of those who left
        )

    def extra_size(self) -> int:
        """Returns how many numbers `extra` holds."""
        return 0

    def scene(self, recording: Recording) -> Any:
        """Draws the board, one picture per state."""
        from shoal.envs.swarm.grid.scene import clip

        return clip(self, recording)
