"""Hand-made battles, with compiled functions shared by all tests of the family."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal import make
from shoal.envs.combat.smax.env import Smax
from shoal.envs.combat.smax.levels import state_from_arrays
from shoal.envs.combat.smax.types import Draws, State
from shoal.envs.core import Observation, Outcome

STOP = 4


class Arena:
    """One environment whose states, actions and draws are set by hand."""

    def __init__(self, env: Smax) -> None:
        self.env = env
        self.dynamics = jax.jit(env.dynamics)
        self.observe = jax.jit(env.observe)

    def state(self, places: list[tuple[float, float]], **given: Any) -> State:
        """A battle with these units; those not listed stand far off, alone and harmless."""
        n = self.env.options.num_units
        rest = [(1.5 + 1.7 * (i % 18), 29.0 - 3.0 * (i // 18)) for i in range(n - len(places))]
        x, y = np.asarray([*places, *rest], np.float32).T
        return state_from_arrays(self.env.params, self.env.options, x=x, y=y, **given)

    def units(self, where: dict[int, tuple[float, float]], **given: Any) -> State:
        """A battle with these units in these places; the others are dead."""
        n = self.env.options.num_units
        x, y = np.full(n, 16.0, np.float32), np.full(n, 16.0, np.float32)
        alive = np.zeros(n, bool)
        for i, place in where.items():
            (x[i], y[i]), alive[i] = place, True
        return state_from_arrays(self.env.params, self.env.options, x=x, y=y, alive=alive, **given)

    def step(
        self, state: State, actions: dict[int, int], jitter: float = 0.0, goal: float = 0.0
    ) -> tuple[State, Outcome]:
        """Steps with all other agents stopped and every draw at one value."""
        options = self.env.options
        action = np.full(self.env.num_agents, STOP, np.int32)
        for i, a in actions.items():
            action[i] = a
        scripted = options.control == "allies"
        choice = jnp.full(options.num_enemies, goal)
        draws = Draws(
            reload_jitter=jnp.full((1, options.num_units), jitter),
            goal_choice=choice if scripted else None,
            target_choice=choice if scripted and options.attack_mode == "random" else None,
        )
        return self.dynamics(state, jnp.asarray(action), draws)

    def look(self, state: State) -> Observation:
        """What everybody sees."""
        return self.observe(state)


@pytest.fixture(scope="session")
def arena() -> Callable[..., Arena]:
    """Makes arenas by scenario and options, each once."""

    @cache
    def build(scenario: str, **options: Any) -> Arena:
        return Arena(make(f"combat/smax-{scenario}", **options))

    return build
