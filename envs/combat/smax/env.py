"""SMAX, assembled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.envs.combat.smax import dynamics, enemy, levels, observation, reward
from shoal.envs.combat.smax.bots import HeuristicPolicy
from shoal.envs.combat.smax.dynamics import Moving
from shoal.envs.combat.smax.types import (
    FIRST_ATTACK,
    OWN_FEATURES,
    STOP,
    TABLES,
    UNIT_FEATURES,
    UNIT_NAMES,
    Draws,
    Level,
    SmaxOptions,
    SmaxParams,
    State,
)
from shoal.envs.common.batching import batch_last
from shoal.envs.core.environment import Environment, Metadata, MetricSpec
from shoal.envs.core.errors import UserError
from shoal.envs.core.spaces import Box, Discrete
from shoal.envs.core.types import EntityView, Key, Observation, Outcome, Recording

if TYPE_CHECKING:
    from shoal.envs.scene import Clip

T = TypeVar("T")

_METRICS = (
    MetricSpec("win_rate", "all enemies dead and an ally alive", 0.0, 1.0, True),
    MetricSpec("draw_rate", "nobody left alive", 0.0, 1.0, False),
    MetricSpec("timeout_rate", "the time limit came first", 0.0, 1.0, False),
    MetricSpec("allies_alive", "share of the allies alive", 0.0, 1.0, True),
    MetricSpec("enemies_alive", "share of the enemies alive", 0.0, 1.0, False),
)


class Smax(Environment[State, Level]):
    """Two teams of units fight until one is gone; the agents are the allies, or both teams."""

    Options = SmaxOptions
    Params = SmaxParams
    options: SmaxOptions
    params: SmaxParams

    def __init__(self, id: str = "", options: Any = None, params: Any = None) -> None:
        """Turns the unit tables into arrays and checks everything.

        Raises:
            UserError: for a malformed unit list, or a number or table out of its range.
        """
        options = SmaxOptions() if options is None else options
        super().__init__(id, options, _as_tables(SmaxParams() if params is None else params))
        self._dynamics = batch_last(partial(_dynamics, self.options))
        self._initial_state = batch_last(partial(levels.initial_state, self.options))

    def make_metadata(self) -> Metadata:
        """Names allies first, then (where they are agents) enemies."""
        o = self.options
        n_a, n_e = o.num_allies, o.num_enemies
        both = o.control == "both"
        agents = tuple(f"ally_{i}" for i in range(n_a))
        sizes = [FIRST_ATTACK + n_e] * n_a
        groups = {"allies": tuple(range(n_a))}
        if both:
            agents += tuple(f"enemy_{i}" for i in range(n_e))
            sizes += [FIRST_ATTACK + n_a] * n_e
            groups["enemies"] = tuple(range(n_a, n_a + n_e))
        view = _view_space(o)
        slots = o.num_units - 1
        attack_of_slot = tuple(FIRST_ATTACK + k - (n_a - 1) if k >= n_a - 1 else -1 for k in range(slots))
        types = o.ally_types + (o.enemy_types if both else ())
        return Metadata(
            agents=agents,
            teams=(0,) * n_a + (1,) * (n_e if both else 0),
            agent_types=(0,) * n_a + (1,) * (n_e if both else 0),
            groups=groups,
            observation_spaces=(view,) * len(agents),
            action_spaces=tuple(Discrete(size) for size in sizes),
            observation_space=view,
            action_space=Discrete(max(sizes)),
            state_space=Box(-np.inf, np.inf, (o.num_units * (OWN_FEATURES + 2),)),
            max_steps=o.max_steps + 1,
            time_limit_is_termination=True,
            team_reward="shared",
            metric_specs=_METRICS,
            citation="Rutherford et al., JaxMARL: Multi-Agent RL Environments in JAX, arXiv 2311.10090",
            dead_agents_earn=True,
            entity_actions=attack_of_slot if not both or n_a == n_e else None,
            extras={
                "idle_action": STOP,
                "units": tuple(UNIT_NAMES[t] for t in types),
                "illegal_actions": "an attack out of range is remembered as the last attack, as published",
                **o.era.declared,
            },
        )

    def sample_level(self, key: Key, params: SmaxParams) -> Level:
        """Draws where the units stand and, in smacv2 maps, what they are."""
        return levels.sample_level(self.options, key, _as_arrays(params))

    def initial_state(self, level: Level) -> State:
        """Opens the battle: full health, units pushed apart once."""
        return self._initial_state(_as_arrays(level))

    def draws(self, key: Key, state: State) -> Draws:
        """Draws reload times and the scripted enemies' choices in one call."""
        o = self.options
        n, n_e = o.num_units, o.num_enemies
        scripted = o.control == "allies"
        choices = (1 + (o.attack_mode == "random")) if scripted else 0
        # Blocks below 15 numbers are unrolled by XLA and take three times as long to compile.
        u = jax.random.uniform(key, (max(n + choices * n_e, 16),))
        return Draws(
            reload_jitter=((3.0 * u[:n] - 1.0) * state.seconds_per_world_step)[None],
            goal_choice=u[n : n + n_e] if choices >= 1 else None,
            target_choice=u[n + n_e : n + 2 * n_e] if choices == 2 else None,
        )

    def dynamics(self, state: State, action: Array, draws: Draws) -> tuple[State, Outcome]:
        """Plays one step; an action outside the agent's own numbering stops."""
        return self._dynamics(state, action, draws)

    def observe(self, state: State) -> Observation:
        """Returns unit lists and action masks."""
        return observation.observe(self.options, state)

    def global_state(self, state: State) -> Array:
        """Returns the published world state, [12 N]."""
        return observation.global_state(self.options, state)

    @cached_property
    def frames(self) -> Callable[[Key, State, Array], tuple[State, Moving]]:
        """(key, state, action) -> the state after the step; x, y, health, cooldown after every world step.

        Compiled; plays the step once more, so that drawing needs no more than a `Recording`.
        """

        def frames(key: Key, state: State, action: Array) -> tuple[State, Moving]:
            draws = self.draws(key, state)
            ready, orders = _everybodys_orders(self.options, state, action, draws)
            after, moved = dynamics.play(self.options, ready, orders, draws, keep_frames=True)
            assert moved is not None
            return after, moved

        return jax.jit(frames)

    def scene(self, recording: Recording) -> Clip:
        """Draws every world step of an episode as a clip."""
        from shoal.envs.combat.smax.scene import clip

        return clip(self.options, self.frames, recording)

    def scripted_policies(self) -> Mapping[str, Callable[[], HeuristicPolicy]]:
        """Returns the published heuristic as ``scripted``; it is what the scripted enemy plays."""
        return {"scripted": lambda: HeuristicPolicy(self.options, self.params)}


def _everybodys_orders(
    options: SmaxOptions, state: State, action: Array, draws: Draws
) -> tuple[State, Array]:
    """Adds the scripted enemies' actions, with their memory of them."""
    action = action.astype(jnp.int32)
    if options.era.ghosts:  # a dead agent may only stop: it must not steer the body that it leaves behind
        action = jnp.where(state.alive[: action.shape[0]], action, STOP)
    if options.control == "both":
        return state, action
    enemy_action, memory = enemy.act(options, state, draws)
    action = jnp.concatenate([action, enemy_action])
    return dataclasses.replace(state, enemy=memory), action


def _dynamics(options: SmaxOptions, state: State, action: Array, draws: Draws) -> tuple[State, Outcome]:
    """Plays one step and settles it; batches lie in trailing axes."""
    ready, action = _everybodys_orders(options, state, action, draws)
    after, _ = dynamics.play(options, ready, action, draws)
    return after, reward.outcome(options, state, after)


def _as_arrays(tree: T) -> T:
    return jax.tree.map(jnp.asarray, tree)


def _as_tables(params: SmaxParams) -> SmaxParams:
    """Turns the unit tables into [6] arrays.

    Raises:
        UserError: when a table does not hold one number per unit type.
    """
    tables = {}
    for name in TABLES:
        value = getattr(params, name)
        wanted = f"{name}={value!r} must be {len(UNIT_NAMES)} numbers, for {', '.join(UNIT_NAMES)}"
        try:
            table = np.asarray(value, np.float32)
        except (TypeError, ValueError) as error:
            raise UserError(wanted) from error
        if table.shape != (len(UNIT_NAMES),):
            raise UserError(wanted)
        tables[name] = table
    return dataclasses.replace(params, **tables)


def _view_space(options: SmaxOptions) -> Any:
    """Returns the bounds; own positions leave [0, 1] a little where units are pushed over the border.

    Raw features have none: a loaded weapon's cooldown falls as long as the battle lasts.
    """
    slots = options.num_units - 1
    own, others = (np.inf, np.inf) if options.era.raw_features else (2.0, 1.0)
    if options.view == "entities":
        view: Any = EntityView  # of spaces instead of arrays
        return view(
            own=Box(-own, own, (OWN_FEATURES,)),
            entities=Box(-others, others, (slots, UNIT_FEATURES)),
            entity_mask=Box(0, 1, (slots,), np.bool_),
        )
    return Box(-own, own, (slots * UNIT_FEATURES + OWN_FEATURES,))
