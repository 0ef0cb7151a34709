"""Hold the line, assembled: the testbed HoldTheLine of the plug-n-play robot teams.

Source: IJRR 38(7), 2019, arXiv 2111.07441, and its code; the testbed is of the code, not of the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import jax.numpy as jnp
from jax import Array

from shoal.envs.core.types import Key, Observation, Outcome, Recording
from shoal.envs.swarm.hold_the_line import levels, reward, types
from shoal.envs.swarm.hold_the_line.types import Level, State
from shoal.envs.swarm.planar import frame as planar

if TYPE_CHECKING:
    from shoal.envs.scene import Clip


def _rules(options: types.Options, state: State, action: Array) -> tuple[State, Outcome]:
    """Plays one round and settles it."""
    params = state.params
    x, y = planar.move(state.team, action, params)
    standing = reward.stand(options, params, x, y)
    seen = reward.measure(options, state, standing)
    state = _settled(planar.remember(state.team, x, y, seen), standing, params)
    metrics = reward.metrics(state.team, state.idle)
    return state, planar.outcome(options, state.team, seen, params, metrics)


def _settled(team: planar.Team, standing: reward.Standing, params: types.Params) -> State:
    """Returns the state of a team that stands so."""
    return State(
        team=team,
        idle_cost=standing.idle_cost,
        idle=jnp.sum(standing.idle, dtype=jnp.int32),
        params=params,
    )


class HoldTheLine(planar.Planar[State, Level]):
    """Every point of a curve wants a robot near; a robot that no point needs costs its way to the curve."""

    Options = types.Options
    Params = types.Params
    options: types.Options
    params: types.Params
    metrics = reward.METRICS
    published = levels.PUBLISHED
    cao: ClassVar[Mapping[str, float]] = {"window": 5, "candidates": 400, "c_max": 1.2, "c_min": 0.009}
    rules = staticmethod(_rules)

    @property
    def state_size(self) -> int:
        """How many numbers the global state has."""
        return planar.whole_size(self.options)

    def sample_level(self, key: Key, params: types.Params) -> Level:
        """Places the robots."""
        return levels.sample_level(self.options, key, params)

    def initial_state(self, level: Level) -> State:
        """Returns the robots before their first move, their places measured."""
        standing = reward.stand(self.options, level.params, level.x, level.y)
        team = planar.opened(self.options, level.x, level.y, reward.cost(standing))
        return _settled(team, standing, level.params)

    def observe(self, state: State) -> Observation:
        """Shows every robot its own rounds."""
        return planar.observe(self.options, state.team)

    def global_state(self, state: State) -> Array:
        """Returns all rounds that are remembered, the costs and the time."""
        return planar.whole(self.options, state.team)

    def scene(self, recording: Recording) -> Clip:
        """Draws the line and the robots, one picture per state."""
        from shoal.envs.swarm.hold_the_line.scene import clip

        return clip(self.options, recording)

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``bcd``, block coordinate descent on the true cost, which is also ``scripted``."""
        from shoal.envs.swarm.hold_the_line.bots import BlockDescent

        return {"scripted": lambda: BlockDescent(self), "bcd": lambda: BlockDescent(self)}
