"""Tiny one-step tasks whose views are grids or sets of entities."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from shoal.envs.core import (
    Discrete,
    EntityView,
    Environment,
    Metadata,
    MetricSpec,
    Observation,
    Outcome,
    option,
)
from shoal.envs.core.spaces import Box


@dataclass(frozen=True)
class Options:
    view: str = option("entities", "kind of view", choices=("entities", "grid"))
    size: int = option(4, "how many entities there are, or the side of the grid", low=2)


@struct.dataclass
class Params:
    pass


@struct.dataclass
class State:
    u: Array  # [K, 2] f32 or [side, side] f32, what is drawn
    done: Array  # [] bool


class Sights(Environment[State, State]):
    """One agent, one step, pay 1 for the right action.

    ``entities``: of the visible entities, aim at the one of the greatest value; action 0 is for none.
    ``grid``: say in which quarter the light is.
    """

    Options, Params = Options, Params

    def make_metadata(self) -> Metadata:
        o: Any = self.options
        sets = o.view == "entities"
        space: Any = Box(0.0, 1.0, (o.size, o.size, 1))
        if sets:
            view: Any = EntityView
            space = view(Box(0.0, 1.0, (1,)), Box(0.0, 1.0, (o.size, 1)), Box(0, 1, (o.size,), bool))
        action = Discrete(o.size + 1 if sets else 4)
        return Metadata(
            agents=("agent",),
            teams=(0,),
            agent_types=(0,),
            groups={"all": (0,)},
            observation_spaces=(space,),
            action_spaces=(action,),
            observation_space=space,
            action_space=action,
            state_space=Box(0.0, 1.0, (1,)),
            max_steps=1,
            time_limit_is_termination=True,
            team_reward="mean",
            metric_specs=(MetricSpec("right", "whether the action was right", 0.0, 1.0, True),),
            citation="",
            entity_actions=tuple(range(1, o.size + 1)) if sets else None,
        )

    def sample_level(self, key: Array, params: Any) -> State:
        o: Any = self.options
        u = jax.random.uniform(key, (o.size, 2 if o.view == "entities" else o.size))
        return State(u, jnp.zeros((), bool))

    def initial_state(self, level: State) -> State:
        return level

    def draws(self, key: Array, state: State) -> tuple[()]:
        return ()

    def dynamics(self, state: State, action: Array, draws: Any) -> tuple[State, Outcome]:
        o: Any = self.options
        if o.view == "entities":
            wanted = 1 + jnp.argmax(jnp.where(self.seen(state), state.u[:, 0], -1.0))
        else:
            row, column = jnp.divmod(jnp.argmax(state.u), o.size)
            wanted = 2 * (2 * row >= o.size) + (2 * column >= o.size)
        right = (action == wanted).astype(jnp.float32)
        nobody = jnp.zeros(1, bool)
        over = jnp.ones((), bool)
        outcome = Outcome(right, over, ~over, nobody, nobody, {"right": right[0]})
        return State(state.u, over), outcome

    def seen(self, state: State) -> Array:
        """Returns [K] bool; the first is always seen."""
        return (state.u[:, 1] < 0.7) | (jnp.arange(state.u.shape[0]) == 0)

    def observe(self, state: State) -> Observation:
        o: Any = self.options
        alive, n = jnp.ones(1, bool), self.action_space.n
        if o.view == "grid":
            light = (state.u == jnp.max(state.u)).astype(jnp.float32)
            return Observation(light[None, :, :, None], jnp.ones((1, n), bool), alive)
        seen = self.seen(state)
        values = jnp.where(seen, state.u[:, 0], 0.0)
        view = EntityView(jnp.ones((1, 1)), values[None, :, None], seen[None])
        return Observation(view, jnp.concatenate([jnp.ones(1, bool), seen])[None], alive)

    def global_state(self, state: State) -> Array:
        return state.done.astype(jnp.float32)[None]


def sights(**overrides: Any) -> Sights:
    """Builds one, by overrides of its options."""
    env = Sights.from_overrides("sights", overrides)
    assert isinstance(env, Sights)
    return env
