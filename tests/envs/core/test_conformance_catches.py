"""Every conformance check fails for an environment that breaks what it guards, and names the defect."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shoal_toys as toys
from flax import struct
from jax.experimental import io_callback

from shoal.envs.core import Box, Discrete, EntityView, Environment, MetricSpec, conformance
from shoal.envs.core.conformance_harness import Harness

Check = Callable[[Any], None]
CASES: list[Any] = []


def breaks(check: Check, message: str, **overrides: Any) -> Callable[[type], type]:
    """Registers a broken environment: ``check`` must fail for it with ``message``."""

    def record(broken: type) -> type:
        name = f"{check.__name__}-{broken.__name__}"
        CASES.append(pytest.param(broken, check, message, overrides, id=name))
        return broken

    return record


class Chain(toys.Chain):
    """The sound environment, with a seam for changed metadata."""

    metadata_changes: dict[str, Any] = {}  # noqa: RUF012

    def make_metadata(self) -> Any:
        return dataclasses.replace(super().make_metadata(), **self.metadata_changes)


def test_a_sound_environment_passes() -> None:
    conformance.check_environment(toys.chain(slip=0.25))


@pytest.mark.parametrize(
    "overrides",
    [
        {"actions": "multi"},
        {"actions": "box"},
        {"refill": True},
        {"limit_terminates": True, "team_reward": "shared"},
    ],
    ids=str,
)
def test_sound_variants_pass(overrides: dict[str, Any]) -> None:
    harness = Harness(toys.chain(**overrides))
    for check in (*conformance.CHEAP_CHECKS, *conformance.PLAY_CHECKS):
        check(harness)


def test_every_check_is_run_and_proved() -> None:
    run = {*conformance.CHEAP_CHECKS, *conformance.PLAY_CHECKS}
    public = {getattr(conformance, name) for name in conformance.__all__ if name.startswith("check_")}
    assert run == public - {conformance.check_environment}
    assert {case.values[1] for case in CASES} == run


def test_checks_accept_ids_and_environments() -> None:
    with pytest.raises(Exception, match="there is no environment"):
        conformance.check_metadata("toy/nothing")
    conformance.check_metadata(toys.chain())


# Metadata ------------------------------------------------------------------------------------------


@breaks(conformance.check_metadata, "metadata.teams has not one entry for each of 2 agents")
class TooFewTeams(Chain):
    metadata_changes = {"teams": (0,)}  # noqa: RUF012


@breaks(conformance.check_metadata, "must hold each agent once")
class UncoveredAgent(Chain):
    metadata_changes = {"groups": {"walkers": (0,)}}  # noqa: RUF012


@breaks(conformance.check_metadata, "team_reward='max' is not one of")
class UnknownReduction(Chain):
    metadata_changes = {"team_reward": "max"}  # noqa: RUF012


@breaks(conformance.check_metadata, "repeats a name")
class TwinAgents(Chain):
    metadata_changes = {"agents": ("a", "a")}  # noqa: RUF012


@breaks(conformance.check_metadata, "citation is empty")
class NoSource(Chain):
    metadata_changes = {"citation": " "}  # noqa: RUF012


@breaks(conformance.check_metadata, "larger than the padded")
class TooLargeSpace(Chain):
    metadata_changes = {"action_spaces": (Discrete(4), Discrete(4))}  # noqa: RUF012


@breaks(conformance.check_metadata, "of one agent_type but differ")
class UnlikeTwins(Chain):
    metadata_changes = {"action_spaces": (Discrete(3), Discrete(2))}  # noqa: RUF012


@breaks(conformance.check_metadata, "must name 3 places, each once")
class WrongColumns(Chain):
    metadata_changes = {"action_columns": ((0, 1, 2), (0, 0, 1))}  # noqa: RUF012


@breaks(conformance.check_metadata, "idle_action")
class ImpossibleIdle(Chain):
    metadata_changes = {"extras": {"idle_action": 3}}  # noqa: RUF012


@breaks(conformance.check_metadata, "empty range")
class EmptyRange(Chain):
    metadata_changes = {"metric_specs": (MetricSpec("arrivals", "arrived", 1.0, 0.0, True),)}  # noqa: RUF012


@breaks(conformance.check_describe, "is not JSON")
class UnspeakableAgents(Chain):
    metadata_changes = {"teams": (np.int32(0), np.int32(0))}  # noqa: RUF012


@breaks(conformance.check_describe, "is not a Policy")
class WordsForPolicy(Chain):
    def scripted_policies(self) -> Any:
        return {"scripted": lambda: "go right"}


# Types ---------------------------------------------------------------------------------------------


@breaks(conformance.check_types, "step turns state.clock from int32")
class DriftingClock(Chain):
    def dynamics(self, state: Any, action: Any, draws: Any) -> Any:
        state, outcome = super().dynamics(state, action, draws)
        return state.replace(clock=state.clock.astype(jnp.float32)), outcome


@breaks(conformance.check_types, "weakly typed")
class WeakClock(Chain):
    def initial_state(self, level: Any) -> Any:
        return super().initial_state(level).replace(clock=jnp.asarray(0))

    def dynamics(self, state: Any, action: Any, draws: Any) -> Any:
        state, outcome = super().dynamics(state, action, draws)
        return state.replace(clock=state.clock.astype(jnp.int32)), outcome


@breaks(conformance.check_types, "timestep.reward is int32")
class WholeReward(Chain):
    def dynamics(self, state: Any, action: Any, draws: Any) -> Any:
        state, outcome = super().dynamics(state, action, draws)
        return state, outcome.replace(reward=outcome.reward.astype(jnp.int32))

    def reset(self, *args: Any, **kwargs: Any) -> Any:
        state, timestep = super().reset(*args, **kwargs)
        return state, timestep.replace(reward=timestep.reward.astype(jnp.int32))


@breaks(conformance.check_types, "observation.view is float32")
class WiderView(Chain):
    def observe(self, state: Any) -> Any:
        seen = super().observe(state)
        return seen.replace(view=jnp.concatenate([seen.view, seen.view], -1))


@breaks(conformance.check_types, "action_mask is bool")
class NarrowMask(Chain):
    def mask(self, state: Any) -> Any:
        return super().mask(state)[:, :2]


@breaks(conformance.check_types, "timestep.metrics has")
class UndeclaredMetric(Chain):
    metadata_changes = {"metric_specs": (MetricSpec("wins", "won", 0.0, 1.0, True),)}  # noqa: RUF012

    def no_metrics(self) -> Any:
        return {"arrivals": jnp.zeros(())}


@breaks(conformance.check_types, "needs metadata.entity_actions")
class UnnamedEntities(Chain):
    space = EntityView(Box(0.0, 1.0, (3,)), Box(0.0, 1.0, (1, 1)), Box(0, 1, (1,), np.bool_))
    metadata_changes = {"observation_space": space, "observation_spaces": (space, space)}  # noqa: RUF012

    def observe(self, state: Any) -> Any:
        seen = super().observe(state)
        return seen.replace(view=EntityView(seen.view, jnp.zeros((2, 1, 1)), jnp.zeros((2, 1), bool)))


@breaks(conformance.check_strict_numerics, "silent promotion")
class MixedSum(Chain):
    def global_state(self, state: Any) -> Any:
        return super().global_state(state) + state.clock * 0


# Purity and parameters -------------------------------------------------------------------------------


@breaks(conformance.check_purity, "two programs")
class DrawsInPython(Chain):
    generator = np.random.default_rng(0)

    def draws(self, key: Any, state: Any) -> Any:
        return jnp.asarray(self.generator.random(2, np.float32))


@breaks(conformance.check_purity, "two programs")
class ResetsInPython(Chain):
    generator = np.random.default_rng(0)

    def sample_level(self, key: Any, params: Any) -> Any:
        return toys.ChainLevel(jnp.asarray(self.generator.integers(0, 2, 2).astype(np.float32)), params)


@breaks(conformance.check_purity, "side effects")
class Counts(Chain):
    def draws(self, key: Any, state: Any) -> Any:
        io_callback(lambda: None, None)
        return super().draws(key, state)


@breaks(conformance.check_params, "step depends on env.params")
class ReadsDefaults(Chain):
    def dynamics(self, state: Any, action: Any, draws: Any) -> Any:
        return super().dynamics(state.replace(params=jax.tree.map(jnp.asarray, self.params)), action, draws)


@breaks(conformance.check_params, "reset.* depends on env.params")
class ResetsWithDefaults(Chain):
    def sample_level(self, key: Any, params: Any) -> Any:
        return super().sample_level(key, self.params)


@struct.dataclass
class HiddenParams(toys.ChainParams):
    slip: Any = struct.field(
        default=0.0, pytree_node=False, metadata={"doc": "hidden", "low": 0.0, "high": 1.0}
    )


@breaks(conformance.check_params, "must be a flax.struct dataclass")
class StaticParams(Chain):
    Params = HiddenParams


@breaks(conformance.check_exports, "does not lower for cpu")
class CannotBeLowered(Chain):
    primitive = jax.extend.core.Primitive("nowhere_implemented")
    primitive.def_abstract_eval(lambda x: x)

    def draws(self, key: Any, state: Any) -> Any:
        return self.primitive.bind(super().draws(key, state))


# Play ----------------------------------------------------------------------------------------------


@breaks(conformance.check_spaces, "outside of Box", max_steps=20)
class LooksTooFar(Chain):
    def observe(self, state: Any) -> Any:
        seen = super().observe(state)
        return seen.replace(view=seen.view * 1.5)


@breaks(conformance.check_spaces, "not zero outside of its own entries")
class FilledPadding(Chain):
    view = Box(0.0, 1.0, (2,))
    metadata_changes = {"observation_spaces": (view, view)}  # noqa: RUF012


@breaks(conformance.check_finite, "not finite", actions="box")
class LeaksNaN(Chain):
    def displacement(self, state: Any, action: Any) -> Any:
        return action[:, 0]


@breaks(conformance.check_finite, "not finite")
class DividesByZero(Chain):
    def dynamics(self, state: Any, action: Any, draws: Any) -> Any:
        state, outcome = super().dynamics(state, action, draws)
        remaining = jnp.sum(state.alive.astype(jnp.float32))
        return state, outcome.replace(reward=outcome.reward / jnp.minimum(remaining, 1.0))


@breaks(conformance.check_masks, "no legal action")
class EmptyMask(Chain):
    def mask(self, state: Any) -> Any:
        return super().mask(state) & state.alive[:, None]


@breaks(conformance.check_masks, "beyond its own")
class AllowsPadding(Chain):
    metadata_changes = {"action_spaces": (Discrete(2), Discrete(2))}  # noqa: RUF012


@breaks(conformance.check_metrics, "metric 'arrivals' was 0 to")
class ManyArrivals(Chain):
    metadata_changes = {"metric_specs": (MetricSpec("arrivals", "arrived", 0.0, 1.0, True),)}  # noqa: RUF012


@breaks(conformance.check_ends, "truncated after 8 steps, max_steps is 9")
class EarlyLimit(Chain):
    metadata_changes = {"max_steps": 9}  # noqa: RUF012


@breaks(conformance.check_ends, "an episode lasted 8 steps, max_steps is 7")
class LateLimit(Chain):
    metadata_changes = {"max_steps": 7}  # noqa: RUF012


@breaks(conformance.check_ends, "time_limit_is_termination is declared")
class WrongKindOfEnd(Chain):
    metadata_changes = {"time_limit_is_termination": True}  # noqa: RUF012


@breaks(conformance.check_ends, "both terminated and truncated")
class TwoEnds(Chain):
    def dynamics(self, state: Any, action: Any, draws: Any) -> Any:
        state, outcome = super().dynamics(state, action, draws)
        return state, outcome.replace(terminated=outcome.terminated | outcome.truncated)


@breaks(conformance.check_dead_agents, "view of an agent that is not alive is not zero")
class DeadSee(Chain):
    def observe(self, state: Any) -> Any:
        seen = super().observe(state)
        return seen.replace(view=jnp.maximum(seen.view, 0.5))


@breaks(conformance.check_dead_agents, "may do more than idle")
class DeadAct(Chain):
    def mask(self, state: Any) -> Any:
        return super().mask(state).at[:, toys.RIGHT].set(True)


@breaks(conformance.check_dead_agents, "not alive earned a reward")
class DeadEarn(Chain):
    def dynamics(self, state: Any, action: Any, draws: Any) -> Any:
        state, outcome = super().dynamics(state, action, draws)
        return state, outcome.replace(reward=outcome.reward - 1.0)


@breaks(conformance.check_dead_agents, "without agent_done")
class DiesSilently(Chain):
    def dynamics(self, state: Any, action: Any, draws: Any) -> Any:
        state, outcome = super().dynamics(state, action, draws)
        return state, outcome.replace(agent_done=jnp.zeros_like(outcome.agent_done))


@breaks(conformance.check_dead_agents, "lives on")
class LivesOn(Chain):
    def dynamics(self, state: Any, action: Any, draws: Any) -> Any:
        state, outcome = super().dynamics(state, action, draws)
        return state, outcome.replace(agent_done=jnp.ones_like(outcome.agent_done))


@breaks(conformance.check_dead_agents, "without being joined", refill=True)
class JoinsSilently(Chain):
    def dynamics(self, state: Any, action: Any, draws: Any) -> Any:
        state, outcome = super().dynamics(state, action, draws)
        return state, outcome.replace(joined=jnp.zeros_like(outcome.joined))


@breaks(conformance.check_dead_agents, "slots_refilled is not declared", refill=True)
class UndeclaredNewcomers(Chain):
    metadata_changes = {"slots_refilled": False}  # noqa: RUF012


@breaks(conformance.check_dead_agents, "that is not alive acted")
class DeadMove(Chain):
    def dynamics(self, state: Any, action: Any, draws: Any) -> Any:
        after, outcome = super().dynamics(state, action, draws)
        pushed = jnp.any(~state.alive & (action == toys.RIGHT))
        return after.replace(position=jnp.where(pushed & after.alive, 0.0, after.position)), outcome


@breaks(conformance.check_illegal_actions, "it must act as idling does")
class WrapsActions(Chain):
    def displacement(self, state: Any, action: Any) -> Any:
        return super().displacement(state, action % 3)


@breaks(conformance.check_illegal_actions, "forbidden actions", random_start=False)
class ForbiddenMoves(Chain):
    def displacement(self, state: Any, action: Any) -> Any:
        beyond = (action == toys.LEFT) & (state.position == 0)
        return super().displacement(state, action) + beyond.astype(jnp.float32)


@breaks(conformance.check_jit, "without and with jit")
class KnowsWhenTraced(Chain):
    def dynamics(self, state: Any, action: Any, draws: Any) -> Any:
        state, outcome = super().dynamics(state, action, draws)
        traced = isinstance(action, jax.core.Tracer)
        return state, outcome.replace(reward=outcome.reward + float(traced))


@breaks(conformance.check_vmap, "alone and in a batch")
class KnowsItsBatch(Chain):
    def transition(self, key: Any, state: Any, action: Any) -> Any:
        state, outcome = super().transition(key, state, action)
        return state, outcome.replace(reward=outcome.reward + 1.0)

    def step(self, key: Any, state: Any, action: Any) -> Any:
        state, outcome = super().transition(key, state, action)
        return state, self.timestep(self.observe(state), outcome)


@breaks(conformance.check_determinism, "the same play twice", slip=0.5)
class CallsBack(Chain):
    counter = itertools.count()

    def draws(self, key: Any, state: Any) -> Any:
        shape = jax.ShapeDtypeStruct((2,), np.float32)
        slips = jax.pure_callback(
            lambda _: np.full(2, next(self.counter) % 7 / 6, np.float32), shape, key, vmap_method="sequential"
        )
        return jnp.minimum(slips, super().draws(key, state))


@breaks(conformance.check_levels, "reset with its stored level")
class DrawsAfterTheLevel(Chain):
    def reset(self, key: Any, params: Any = None, level: Any = None) -> Any:
        state, timestep = super().reset(key, params, level)
        return state.replace(position=state.position + jax.random.uniform(key, (2,))), timestep


@breaks(conformance.check_next_step, "state of reset step")
class OpensOtherwise(Chain):
    def reset(self, key: Any, params: Any = None, level: Any = None) -> Any:
        state, timestep = super().reset(key, params, level)
        return state.replace(clock=state.clock + 1), timestep


@breaks(conformance.check_same_step, "state after the end")
class OpensOtherwiseToo(OpensOtherwise):
    pass


@jax.custom_batching.custom_vmap
def place_in_batch(x: Any) -> Any:
    return jnp.zeros_like(x)


@place_in_batch.def_vmap
def _(axis_size: int, in_batched: Any, x: Any) -> Any:
    return jnp.broadcast_to(jnp.arange(axis_size, dtype=x.dtype)[:, None], x.shape), True


@breaks(conformance.check_copies, "the same copies in two places", slip=1.0)
class KnowsItsPlace(Chain):
    def draws(self, key: Any, state: Any) -> Any:
        return super().draws(key, state) + place_in_batch(state.position) * 0.5


@breaks(conformance.check_traced_once, "step was traced")
class ChangesType(Chain):
    def dynamics(self, state: Any, action: Any, draws: Any) -> Any:
        state, outcome = super().dynamics(state, action, draws)
        return state.replace(clock=state.clock.astype(jnp.float32)), outcome

    def observe(self, state: Any) -> Any:
        return super().observe(state)


@pytest.mark.parametrize(("broken", "check", "message", "overrides"), CASES)
def test_caught(
    broken: type[Environment[Any, Any]], check: Check, message: str, overrides: dict[str, Any]
) -> None:
    harness = Harness(broken.from_overrides("toy/broken-v1", overrides))
    with pytest.raises(AssertionError, match=message):
        check(harness)
