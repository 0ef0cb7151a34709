"""The contract that every environment fulfils: pure functions for one environment, and its metadata."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from shoal.envs.core.options import as_leaves, check_fields, describe_fields, split_overrides
from shoal.envs.core.spaces import Space
from shoal.envs.core.types import Key, Observation, Outcome, PyTree, Recording, TimeStep, first_timestep

StateT = TypeVar("StateT")
LevelT = TypeVar("LevelT")


@dataclass(frozen=True)
class MetricSpec:
    """One running value of an episode, reported at its last step."""

    name: str
    meaning: str
    low: float
    high: float
    higher_is_better: bool


@dataclass(frozen=True)
class Metadata:
    """What is fixed about an environment; see `Environment` for the meaning of each entry."""

    agents: tuple[str, ...]
    teams: tuple[int, ...]
    agent_types: tuple[int, ...]
    groups: Mapping[str, tuple[int, ...]]
    observation_spaces: tuple[Any, ...]
    action_spaces: tuple[Space, ...]
    observation_space: Any
    action_space: Space
    state_space: Any
    max_steps: int
    time_limit_is_termination: bool
    team_reward: str
    metric_specs: tuple[MetricSpec, ...]
    citation: str
    slots_refilled: bool = False
    dead_agents_earn: bool = False
    entity_actions: tuple[int, ...] | None = None
    # Unlike agents padded to one shape: which entries of the flat view, and which actions, are each agent's
    # own, in the order of its true space; None where those are simply the first ones. Adapters unpad by them.
    observation_columns: tuple[tuple[int, ...], ...] | None = None
    action_columns: tuple[tuple[int, ...], ...] | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)


class Environment(abc.ABC, Generic[StateT, LevelT]):
    """One environment; batches come from `jax.vmap` or `VectorEnv`.

    An author writes the seven abstract methods below and two dataclasses: ``Options`` (static: shapes
    and code paths) and ``Params`` (numbers, as pytree leaves: physics that can be swept and vmapped
    without recompiling). A user calls `reset` and `step`, both pure and jittable, without auto-reset.

    Shape letters: ``A`` agents. Actions are ``[A]`` int32 for Discrete, ``[A, D]`` otherwise.
    """

    Options: ClassVar[type[Any]]
    Params: ClassVar[type[Any]]

    def __init__(self, id: str = "", options: Any = None, params: Any = None) -> None:
        """Fixes the static options and the default numbers, and checks both.

        Raises:
            UserError: when an option or a number is out of its declared range.
        """
        self.options = self.Options() if options is None else options
        params = self.Params() if params is None else params
        check_fields(self.options)
        check_fields(params)
        self.id = id or type(self).__name__
        self.params = as_leaves(params)
        self.metadata = self.make_metadata()

    @classmethod
    def from_overrides(cls, id: str, overrides: Mapping[str, Any]) -> Environment[Any, Any]:
        """Builds the environment from overrides of its options and parameters by name.

        Raises:
            UserError: for a name that does not exist or a value out of range.
        """
        static, traced = split_overrides(id, overrides, cls.Options, cls.Params)
        return cls(id, cls.Options(**static), cls.Params(**traced))

    # What an author writes -----------------------------------------------------------------------

    @abc.abstractmethod
    def make_metadata(self) -> Metadata:
        """Returns the metadata that follow from the options."""

    @abc.abstractmethod
    def sample_level(self, key: Key, params: Any) -> LevelT:
        """Draws everything that a reset draws, together with the params that the episode keeps."""

    @abc.abstractmethod
    def initial_state(self, level: LevelT) -> StateT:
        """Returns the state that opens an episode on this level, without randomness."""

    @abc.abstractmethod
    def draws(self, key: Key, state: StateT) -> PyTree:
        """Returns every random number that one step consumes, in as few random calls as possible."""

    @abc.abstractmethod
    def dynamics(self, state: StateT, action: Array, draws: PyTree) -> tuple[StateT, Outcome]:
        """Steps without randomness. Illegal actions act as the no-op that the docs page names."""

    @abc.abstractmethod
    def observe(self, state: StateT) -> Observation:
        """Returns what the agents see; called once per state."""

    @abc.abstractmethod
    def global_state(self, state: StateT) -> PyTree:
        """Returns the whole state as centralised critics and mixers read it."""

    def scene(self, recording: Recording) -> Any:
        """Draws a recorded episode as a `shoal.envs.scene.Clip`.

        Raises:
            NotImplementedError: when the environment cannot be drawn.
        """
        raise NotImplementedError(f"{self.id} cannot be drawn")

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns the environment's own bots by name, each a maker of a `shoal.envs.core.policy.Policy`.

        ``scripted``, where present, is the one that `shoal evaluate ENV --policy scripted` plays.
        """
        return {}

    def curriculum(self, progress: Float[Array, ""]) -> Any:
        """Returns the params that training goes on with after this part of it, 0 to 1."""
        return self.params

    def restraint(self, state: StateT) -> Float[Array, " agents"]:
        """Returns for each agent in which share of the episode so far it held back, 0 to 1.

        What `shoal analyse` tells cooperators from defectors by; nothing else calls it.

        Raises:
            NotImplementedError: when the environment does not say what restraint is.
        """
        raise NotImplementedError(f"{self.id} does not say what restraint is")

    # What a user calls -----------------------------------------------------------------------------

    def transition(self, key: Key, state: StateT, action: Array) -> tuple[StateT, Outcome]:
        """Steps with its own randomness: `draws`, then `dynamics`."""
        return self.dynamics(state, action, self.draws(key, state))

    def reset(self, key: Key, params: Any = None, level: LevelT | None = None) -> tuple[StateT, TimeStep]:
        """Opens an episode.

        Args:
            key: decides the level; unused when ``level`` is given.
            params: numbers to play with, ``env.params`` by default; unused when ``level`` is given.
            level: a stored level to play instead of a new one.
        """
        if level is None:
            level = self.sample_level(key, self.params if params is None else params)
        state = self.initial_state(level)
        return state, first_timestep(self.observe(state), self.no_metrics())

    def step(self, key: Key, state: StateT, action: Array) -> tuple[StateT, TimeStep]:
        """Plays one step; what follows the end of an episode is undefined, so reset then."""
        state, outcome = self.transition(key, state, action)
        return state, self.timestep(self.observe(state), outcome)

    def timestep(self, observation: Observation, outcome: Outcome) -> TimeStep:
        """Joins what is seen and what happened."""
        return TimeStep(
            observation=observation,
            reward=outcome.reward,
            terminated=outcome.terminated,
            truncated=outcome.truncated,
            agent_done=outcome.agent_done,
            first=outcome.joined,
            valid=jnp.ones((), bool),
            metrics=outcome.metrics,
        )

    def no_metrics(self) -> dict[str, Array]:
        """Returns zero for every metric: the values before anything happened."""
        return {spec.name: jnp.zeros((), jnp.float32) for spec in self.metric_specs}

    # Metadata ----------------------------------------------------------------------------------------

    @property
    def num_agents(self) -> int:
        """How many agent slots there are: ``A``."""
        return len(self.metadata.agents)

    @property
    def agents(self) -> tuple[str, ...]:
        """The agents' names, in the order of the agent axis."""
        return self.metadata.agents

    @property
    def teams(self) -> np.ndarray:
        """[A] int, which team each agent belongs to."""
        return np.asarray(self.metadata.teams)

    @property
    def agent_types(self) -> np.ndarray:
        """[A] int, agents of one type have the same spaces and role."""
        return np.asarray(self.metadata.agent_types)

    @property
    def groups(self) -> Mapping[str, tuple[int, ...]]:
        """Group name -> agent indices: what sharing, opponents and per-group learners refer to."""
        return self.metadata.groups

    @property
    def observation_space(self) -> Any:
        """The space of one agent's view, padded to be the same for all."""
        return self.metadata.observation_space

    @property
    def action_space(self) -> Space:
        """The space of one agent's action, padded to be the same for all."""
        return self.metadata.action_space

    @property
    def state_space(self) -> Any:
        """The space of `global_state`."""
        return self.metadata.state_space

    @property
    def max_steps(self) -> int:
        """How many steps an episode can last."""
        return self.metadata.max_steps

    @property
    def time_limit_is_termination(self) -> bool:
        """Whether the published rules report the time limit as an ordinary end."""
        return self.metadata.time_limit_is_termination

    @property
    def team_reward(self) -> str:
        """How a team learner reduces ``reward[A]``: ``shared``, ``sum`` or ``mean``."""
        return self.metadata.team_reward

    @property
    def metric_specs(self) -> tuple[MetricSpec, ...]:
        """The episode's metrics, the headline first."""
        return self.metadata.metric_specs

    def describe(self) -> dict[str, Any]:
        """Returns the metadata, options and parameters as plain values, ready for JSON."""
        m = self.metadata
        return {
            "id": self.id,
            "agents": list(m.agents),
            "teams": list(m.teams),
            "agent_types": list(m.agent_types),
            "groups": {k: list(v) for k, v in m.groups.items()},
            "observation_space": str(m.observation_space),
            "action_space": str(m.action_space),
            "state_space": str(m.state_space),
            "max_steps": m.max_steps,
            "time_limit_is_termination": m.time_limit_is_termination,
            "team_reward": m.team_reward,
            "slots_refilled": m.slots_refilled,
            "dead_agents_earn": m.dead_agents_earn,
            "metrics": [_without_infinity(vars(spec)) for spec in m.metric_specs],
            "options": describe_fields(self.options),
            "params": describe_fields(self.params),
            "citation": m.citation,
        }


def _without_infinity(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the row with null for infinite bounds, which JSON does not know."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
