"""Grid swarms set up by hand: a task with its programs, compiled at first use and shared by all tests."""

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from shoal.envs.core import make
from shoal.envs.swarm.grid.physics import MARGIN

Cell = tuple[int, int]
KEY = jax.random.key(0)
NUMBERS = 225  # index of the first number behind a window of 5 x 5 cells with 9 layers
HEARD = NUMBERS + 5
WORDS = 8


@cache
def game(task: str, **options: Any) -> "Game":
    """The game of a task with these options; the same one for the same question."""
    return Game(task, options)


class Game:
    """One environment, and what tests do with it."""

    def __init__(self, task: str, options: Mapping[str, Any]) -> None:
        self.env: Any = make(f"swarm/{task}", **options)
        self.agents: int = self.env.num_agents

    @cached_property
    def reset(self) -> Any:
        return jax.jit(self.env.reset)

    @cached_property
    def opening(self) -> Any:
        """The state that a key opens with; `reset` without looking at it."""
        return jax.jit(lambda key: self.env.initial_state(self.env.sample_level(key, self.env.params)))

    @cached_property
    def observe(self) -> Any:
        return jax.jit(self.env.observe)

    @cached_property
    def step(self) -> Any:
        return jax.jit(self.env.step)

    @cached_property
    def transition(self) -> Any:
        return jax.jit(self.env.transition)

    @cached_property
    def blank(self) -> Any:
        """A state of zeros and the default numbers; cheaper than a reset, as nothing is compiled."""
        shapes, _ = jax.eval_shape(self.env.reset, KEY)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return zeros.replace(params=self.env.params)

    def state(self, cells: Sequence[Cell] | Mapping[int, Cell], **entries: Any) -> Any:
        """A state with agents on these cells, in order or by number; the others are not there."""
        numbered = dict(cells) if isinstance(cells, Mapping) else dict(enumerate(cells))
        place = np.full((self.agents, 2), -1, np.int32)
        for number, cell in numbered.items():
            place[number] = cell
        alive = np.isin(np.arange(self.agents), list(numbered))
        own = {"i": place[:, 0], "j": place[:, 1], "alive": alive}
        if "layout" in entries:
            own |= self._layout(entries.pop("layout"))
        blank = self.blank
        cast = {k: jnp.asarray(v, getattr(blank, k).dtype) for k, v in (own | entries).items()}
        return blank.replace(**cast)

    def _layout(self, number: int) -> dict[str, Any]:
        layouts = self.env.layouts
        if isinstance(layouts, tuple):
            return {"board": layouts.board[number], "box": layouts.box[number], "plan": layouts.plan[number]}
        return {"board": layouts[number]}

    def play(
        self, state: Any, primitives: Mapping[int, int], tokens: Mapping[int, int] | None = None
    ) -> tuple[Any, Any]:
        """Plays one round in which all others stay and are silent; NumPy state and timestep."""
        return jax.device_get(self.step(KEY, state, self.action(primitives, tokens or {})))

    def advance(self, state: Any, primitives: Mapping[int, int]) -> tuple[Any, Any]:
        """Plays one silent round without looking at it, which compiles faster; NumPy state and outcome."""
        return jax.device_get(self.transition(KEY, state, self.action(primitives, {})))

    def action(self, primitives: Mapping[int, int], tokens: Mapping[int, int]) -> np.ndarray:
        """Actions [A, 2] of agents by number; those not named stay and are silent."""
        action = np.zeros((self.agents, 2), np.int32)
        for column, given in enumerate((primitives, tokens)):
            for number, what in given.items():
                action[number, column] = what
        return action


def heard(view: np.ndarray) -> np.ndarray:
    """How many agents each agent hears say each word, [A, 8]; for views of 5 x 5 cells."""
    return np.asarray(view)[:, HEARD : HEARD + WORDS] * len(view)


def places(state: Any) -> list[Cell]:
    """The cells of all agents."""
    return list(zip(np.asarray(state.i).tolist(), np.asarray(state.j).tolist(), strict=True))


def box_at(state: Any) -> set[Cell]:
    """The cells of the box, those beyond the edges included."""
    return {(int(i) - MARGIN, int(j) - MARGIN) for i, j in np.argwhere(np.asarray(state.box))}
