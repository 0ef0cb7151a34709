"""Adaptive coverage, assembled: the testbed AdaptiveCoverage2D of the plug-n-play robot teams.

Source: IJRR 38(7), 2019, arXiv 2111.07441, and its code; density and estimator are those of Schwager, Rus and
Slotine, "Decentralized, adaptive coverage control for networked robots", IJRR 28(3), 2009.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import jax.numpy as jnp
from jax import Array

from shoal.envs.core.types import Key, Observation, Outcome, Recording
from shoal.envs.swarm.coverage import dynamics, levels, reward, types
from shoal.envs.swarm.coverage.types import Level, State
from shoal.envs.swarm.planar import frame as planar

if TYPE_CHECKING:
    from shoal.envs.scene import Clip


def _rules(options: types.Options, state: State, action: Array) -> tuple[State, Outcome]:
    """Plays one round: robots move, J is measured, then the estimate learns from their samples."""
    params = state.params
    x, y = planar.move(state.team, action, params)
    near = reward.stand(options, x, y)
    evidence = dynamics.sample(options, params, state.evidence, x, y, near)
    estimate = dynamics.follow(options, params, state.estimate, state.weights, evidence)
    truth = dynamics.density_on_lattice(options, params, state.weights)
    if options.density == "known":
        density = before = judging = truth
    else:
        density = dynamics.density_on_lattice(options, params, state.estimate)
        before = dynamics.density_on_lattice(options, params, state.judged)
        judging = density
        if options.counterfactual == "updated":
            judging = dynamics.density_on_lattice(options, params, estimate)
    seen = reward.measure(options, state, near, density, before, judging)
    state = State(
        team=planar.remember(state.team, x, y, seen),
        weights=state.weights,
        estimate=estimate,
        judged=state.estimate,
        evidence=evidence,
        true_cost=reward.cost(near, truth),
        true_start_cost=state.true_start_cost,
        params=params,
    )
    return state, planar.outcome(options, state.team, seen, params, reward.metrics(state))


class AdaptiveCoverage(planar.Planar[State, Level]):
    """Points of a square want a robot near, each as much as a density says that must first be sampled."""

    Options = types.Options
    Params = types.Params
    options: types.Options
    params: types.Params
    metrics = reward.METRICS
    published = levels.PUBLISHED
    cao: ClassVar[Mapping[str, float]] = {"window": 30, "candidates": 200, "c_max": 1.2, "c_min": 0.8}
    extra_view = 1
    rules = staticmethod(_rules)

    @property
    def state_size(self) -> int:
        """How many numbers the global state has."""
        o = self.options
        return planar.whole_size(o) + 2 * o.basis**2 + (2 * o.basis - 1) ** 2 + 2

    def sample_level(self, key: Key, params: types.Params) -> Level:
        """Places the robots."""
        return levels.sample_level(self.options, key, params)

    def initial_state(self, level: Level) -> State:
        """Returns the robots before their first move, their places measured and the first samples taken."""
        o, params = self.options, level.params
        near = reward.stand(o, level.x, level.y)
        guess = jnp.full((o.basis, o.basis), params.floor, jnp.float32)
        evidence = dynamics.sample(
            o, params, jnp.zeros((2 * o.basis - 1, 2 * o.basis - 1)), level.x, level.y, near
        )
        truth = reward.cost(near, dynamics.density_on_lattice(o, params, level.weights))
        cost = reward.cost(near, dynamics.density_on_lattice(o, params, guess))
        return State(
            team=planar.opened(o, level.x, level.y, truth if o.density == "known" else cost),
            weights=level.weights,
            estimate=dynamics.follow(o, params, guess, level.weights, evidence),
            judged=guess,
            evidence=evidence,
            true_cost=truth,
            true_start_cost=truth,
            params=params,
        )

    def observe(self, state: State) -> Observation:
        """Shows every robot its own rounds and the density where it is."""
        o, params, team = self.options, state.params, state.team
        here = dynamics.density_at(o, params, state.weights, team.x, team.y)
        peak = jnp.maximum(params.hot, 1e-9) / (2.0 * math.pi * params.variance)
        return planar.observe(o, team, [here / peak])

    def global_state(self, state: State) -> Array:
        """Returns all remembered rounds, costs, time, true and estimated weights, and the evidence."""
        params = state.params
        unit = jnp.maximum(params.hot, 1e-9)
        costs = jnp.stack([state.true_cost, state.true_start_cost]) / planar.USUAL
        return jnp.concatenate(
            [
                planar.whole(self.options, state.team),
                costs,
                state.weights.ravel() / unit,
                state.estimate.ravel() / unit,
                state.evidence.ravel(),
            ]
        )

    def scene(self, recording: Recording) -> Clip:
        """Draws the square and the robots, one picture per state."""
        from shoal.envs.swarm.coverage.scene import clip

        return clip(self.options, recording)

    def scripted_policies(self) -> Mapping[str, Callable[[], Any]]:
        """Returns ``bcd``, block coordinate descent on J, which is also ``scripted``."""
        from shoal.envs.swarm.coverage.bots import BlockDescent

        return {"scripted": lambda: BlockDescent(self), "bcd": lambda: BlockDescent(self)}
