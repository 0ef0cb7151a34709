"""What our own learners share whatever they learn by: checked hyperparameters, flags, memory, shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jax import Array

from shoal.algorithms.blocks.compat import expand_flags
from shoal.algorithms.blocks.learner import Moment, Setting, Trajectory
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.sharing import Sharing
from shoal.envs.core import Observation, PyTree, UserError


@dataclass(frozen=True)
class LearnerConfig:
    """Hyperparameters of an algorithm; floats can be swept in one compiled program."""

    known_flags: ClassVar[tuple[str, ...]] = ()
    paper_flags: ClassVar[tuple[str, ...]] = ()

    compat: tuple[str, ...] = ()  # defects of the original to restore, or paper for those of its tables

    @property
    def flags(self) -> frozenset[str]:
        """The named defects that are restored.

        Raises:
            UserError: for a flag that the algorithm does not have.
        """
        return expand_flags(self.compat, known=self.known_flags, paper=self.paper_flags)

    def check_least(self, **least: int) -> None:
        """Refuses numbers below these."""
        for name, low in least.items():
            if getattr(self, name) < low:
                raise UserError(f"algorithm.{name}={getattr(self, name)} must be at least {low}")

    def check_between(self, *names: str) -> None:
        """Refuses what is no share."""
        for name in names:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"algorithm.{name}={getattr(self, name)} must be between 0 and 1")

    def check_above(self, *names: str) -> None:
        """Refuses what is not above zero."""
        for name in names:
            if not getattr(self, name) > 0.0:
                raise UserError(f"algorithm.{name}={getattr(self, name)} must be above 0")


class BaseLearner:
    """The common part; see `shoal.algorithms.blocks.learner.Learner` for the contract."""

    needs_state: bool

    def __init__(self, config: Any, network: NetworkConfig, setting: Setting) -> None:
        """Fixes everything static."""
        self.config = config
        self.network_config = network
        self.setting = setting
        self.flags = config.flags
        self.sharing = Sharing.of(setting.sharing, setting.env, setting.group)

    def initial_carry(self, batch: tuple[int, ...]) -> PyTree:
        """Returns fresh memory of leading shape ``batch`` (environments, agents)."""
        raise NotImplementedError

    def agents_reset(self, moment: Moment) -> Array:
        """Returns where an agent's memory is zeroed."""
        # D1 restores the original's memory, which only a dead agent's own done clears.
        return moment.done_before if "D1" in self.flags else moment.first | ~moment.observation.alive

    def imagine(self, needs_state: bool) -> tuple[Observation, PyTree]:
        """Returns zeros like the group's first observation [G, ...] and, if needed, the global state."""
        env = self.setting.env

        def look(key: Array) -> tuple[Observation, PyTree]:
            state, timestep = env.reset(key)
            seen = self.setting.group.rows(timestep.observation, env.num_agents, axis=0)
            return seen, env.global_state(state) if needs_state else ()

        shapes = jax.eval_shape(look, jax.random.key(0))
        return cast(Any, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes))

    def imagined_rollout(self, envs: int) -> Trajectory:
        """Returns zeros like a rollout of so many environments, with fresh memory and without notes."""
        steps, agents = self.config.rollout_length, len(self.setting.group.indices)

        def zeros(tree: PyTree, *lead: int) -> PyTree:
            return jax.tree.map(lambda x: jnp.zeros((*lead, *x.shape), x.dtype), tree)

        observation, state = self.imagine(self.needs_state)
        own, space = jnp.zeros(agents, bool), self.setting.env.action_space
        moment = Moment(observation, own, own, state)
        team, carry = jnp.zeros((steps, envs), bool), self.initial_carry((envs, agents))
        return Trajectory(
            moment=zeros(moment, steps, envs),
            action=jnp.zeros((steps, envs, agents, *space.shape), space.dtype),
            extras={},
            reward=jnp.zeros((steps, envs, agents)),
            terminated=team,
            truncated=team,
            agent_done=zeros(own, steps, envs),
            valid=team,
            last=zeros(moment, envs),
            carry=carry,
            last_carry=carry,
        )
