"""The frame of every social dilemma on the grid: growth, walking, eating, beams, rewards, and measures.

Source: SocialJax (arXiv 2503.14576, ICLR 2026) and its code.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Int

from shoal.envs.common.batching import batch_last
from shoal.envs.common.boards import look_up, over, place
from shoal.envs.commons import social
from shoal.envs.commons.gridworld import beams, fields, maps, movement, respawn, views
from shoal.envs.commons.gridworld.types import (
    APPLE,
    CITATION,
    EMPTY,
    FIRE,
    FLAGS,
    STAY,
    ZAP,
    Draws,
    Level,
    Options,
    State,
)
from shoal.envs.core.environment import Environment, Metadata, MetricSpec
from shoal.envs.core.errors import UserError, nearest
from shoal.envs.core.spaces import Box, Discrete
from shoal.envs.core.types import Key, Observation, Outcome, PyTree, Recording

StateT = TypeVar("StateT", bound=State)
Board = Int[Array, "rows columns *batch"]


class GridDilemma(Environment[StateT, Level]):
    """A game names its maps, what grows, what stands in the way, and what follows the zaps.

    Steps are written for one world and for a batch in trailing axes alike (`batch_last`); what opens an
    episode, what is drawn and what is seen are written for one world.
    """

    Options: ClassVar[type[Any]] = Options
    options: Any
    params: Any
    named_maps: ClassVar[Mapping[str, str]]
    """Maps by name; the first is the default."""
    characters: ClassVar[str]
    """That maps are written in."""
    items: ClassVar[int]
    """Number of the layers of a view for what lies on cells: the largest code."""
    solid: ClassVar[tuple[int, ...]] = ()
    """Codes of what nobody walks into."""
    shown: ClassVar[tuple[int, ...]]
    """Codes that a centralised critic is shown."""
    actions: ClassVar[int] = FIRE + 1
    """How many there are."""
    flags: ClassVar[tuple[str, ...]] = FLAGS
    """Known flags of ``compat``."""

    # What a game writes -------------------------------------------------------------------------------------

    @abc.abstractmethod
    def opening_items(self) -> np.ndarray:
        """Returns [H, W] i8, what lies on each cell at a reset."""

    @abc.abstractmethod
    def grow(self, state: StateT, covered: Bool[Array, "rows columns *batch"], draws: Any) -> Board:
        """Returns what lies on each cell after growth, `Draws.grow` decided.

        Args:
            state: at the start of the step.
            covered: cells that hold an agent.
            draws: of the step.
        """

    def work(self, before: StateT, after: StateT, action: Array, reach: beams.Reach, taken: Array) -> StateT:
        """Returns the state after what agents do beside eating and zapping.

        Args:
            before: the state at the start of the step.
            after: with everybody in place and zaps fired.
            action: what is done.
            reach: of everybody's beam.
            taken: [H, W, *B] bool, cells that hold an agent.
        """
        return after

    def own_colours(self) -> dict[int, str]:
        """Returns the colours of the game's own codes, for pictures."""
        return {}

    def own_metrics(self, state: StateT) -> dict[str, Array]:
        """Returns the game's own metrics, [*B] each."""
        return {}

    def own_specs(self) -> tuple[MetricSpec, ...]:
        """Declares the game's own metrics."""
        return ()

    # The frame ----------------------------------------------------------------------------------------------

    def __init__(self, id: str = "", options: Any = None, params: Any = None) -> None:
        """Reads the map and checks options and numbers.

        Raises:
            UserError: for one out of its range, an unknown map or flag, or a map without room.
        """
        options = self.Options() if options is None else options
        compat = (options.compat,) if isinstance(options.compat, str) else tuple(options.compat)
        options = replace(options, compat=compat, map=options.map or next(iter(self.named_maps)))
        self.compat = frozenset(flag for name in compat for flag in self._expanded(name))
        self.layout = maps.read(options.map, self.named_maps, self.characters)
        super().__init__(id, options, params)
        maps.check_room(self.layout, options.num_agents)
        self.spawns = self.layout.cells(maps.SPAWN)
        self._step = batch_last(self._play)

    def _expanded(self, flag: str) -> tuple[str, ...]:
        if flag == "paper":
            return self.flags
        if flag not in self.flags:
            raise UserError(f"compat has no flag {flag!r}{nearest(flag, (*self.flags, 'paper'))}")
        return (flag,)

    def sample_level(self, key: Key, params: Any) -> Level:
        """Draws where everybody opens."""
        inside = self.layout.cells(maps.INSIDE)
        row, column, heading = respawn.opening(key, inside, self.spawns, self.options.num_agents)
        return Level(row=row, column=column, heading=heading, params=params)

    def open(self, level: Level) -> dict[str, Any]:
        """Returns the entries of a state that opens an episode."""
        nothing = jnp.zeros((), jnp.int32)
        return {
            "items": jnp.asarray(self.opening_items()),
            "row": level.row,
            "column": level.column,
            "heading": level.heading,
            "next_row": level.row,
            "next_column": level.column,
            "next_heading": level.heading,
            "eaten": jnp.zeros_like(level.row),
            "eaten_time": jnp.zeros(level.row.shape, jnp.float32),
            "zaps": nothing,
            "hits": nothing,
            "t": nothing,
            "trace": jnp.zeros(level.row.shape, jnp.float32) if self.options.reward == "inequity" else None,
            "params": level.params,
        }

    def drawn(self, bits: Array) -> tuple[dict[str, Array], Array]:
        """Returns the entries of `Draws` made of random bits, and the bits that are left."""
        apples, spawns, agents = (
            len(self.layout.cells(maps.APPLE_CELL)),
            len(self.spawns),
            self.options.num_agents,
        )
        grow, order, each, rest = jnp.split(bits, np.cumsum([apples, spawns, agents]).tolist())
        made = {
            "grow": fields.uniform(grow),
            "priority": (each >> 8).astype(jnp.int32),
            "order": (order >> 1).astype(jnp.int32),
            "heading": ((each & np.uint32(255)) % np.uint32(respawn.HEADINGS)).astype(jnp.int32),
        }
        return made, rest

    def random_words(self) -> int:
        """Returns how many 32-bit words `drawn` takes."""
        return len(self.layout.cells(maps.APPLE_CELL)) + len(self.spawns) + self.options.num_agents

    def draws(self, key: Key, state: StateT) -> PyTree:
        """Draws all random numbers of a step at once."""
        return Draws(**self.drawn(jax.random.bits(key, (self.random_words(),), jnp.uint32))[0])

    def dynamics(self, state: StateT, action: Array, draws: PyTree) -> tuple[StateT, Outcome]:
        """Plays one step; actions out of range stay."""
        played: tuple[StateT, Outcome] = self._step(state, action, draws)
        return played

    def _play(self, state: StateT, action: Int[Array, "agents *batch"], draws: Any) -> tuple[StateT, Outcome]:
        action = jnp.where((action >= 0) & (action < self.actions), action, STAY)
        board = state.items.shape
        everybody = jnp.ones_like(action, jnp.int8)
        items = self.grow(state, place(everybody, state.row, state.column, board) > 0, draws)
        after = self._walk(replace(state, items=items, t=state.t + 1), action, draws)
        taken = place(everybody, after.row, after.column, board) > 0
        eats = look_up(after.items, after.row, after.column, np.int8(EMPTY)) == APPLE
        items = jnp.where((taken & (after.items == APPLE)) | self._is_sprite(after.items), EMPTY, after.items)
        own = eats.astype(jnp.float32)
        after = replace(
            after,
            items=items.astype(jnp.int8),
            eaten=state.eaten + eats.astype(jnp.int32),
            eaten_time=state.eaten_time + own * after.t.astype(jnp.float32)[None],
            trace=None if state.trace is None else state.params.smoothing[None] * state.trace + own,
        )
        reach = beams.reach(after.row, after.column, after.heading, board)
        after = self.work(state, self._zap(after, action, reach, taken, draws), action, reach, taken)
        return after, self._outcome(after, own)

    def _is_sprite(self, items: Board) -> Bool[Array, "rows columns *batch"]:
        return items == ZAP

    def _walk(self, state: StateT, action: Array, draws: Any) -> StateT:
        """Has everybody begin where it was sent, turn, and walk."""
        board = state.items.shape
        row, column = state.next_row, state.next_column
        to_row, to_column = movement.aimed(row, column, action, board)
        if self.solid:
            met = look_up(state.items, to_row, to_column, np.int8(EMPTY))
            stopped = jnp.any(met[None] == over(np.array(self.solid, np.int8), met[None], 1), axis=0)
            to_row, to_column = jnp.where(stopped, row, to_row), jnp.where(stopped, column, to_column)
        here, target = row * board[1] + column, to_row * board[1] + to_column
        goes = movement.resolve(here, target, draws.priority)
        return replace(
            state,
            row=jnp.where(goes, to_row, row),
            column=jnp.where(goes, to_column, column),
            heading=movement.turned(state.next_heading, action),
        )

    def _zap(self, state: StateT, action: Array, reach: beams.Reach, taken: Array, draws: Any) -> StateT:
        """Fires beams and decides where everybody begins the next step."""
        firing = action == FIRE
        hit = beams.hit(reach, firing, state.row, state.column, state.items.shape)
        next_row, next_column = respawn.relocate(self.spawns, hit, state.row, state.column, draws.order)
        return replace(
            state,
            items=self.sprites(state.items, firing, reach, taken, ZAP),
            next_row=next_row,
            next_column=next_column,
            next_heading=jnp.where(hit, draws.heading, state.heading),
            zaps=state.zaps + jnp.sum(firing, axis=0, dtype=jnp.int32),
            hits=state.hits + jnp.sum(hit, axis=0, dtype=jnp.int32),
        )

    def sprites(self, items: Board, firing: Array, reach: beams.Reach, taken: Array, code: int) -> Board:
        """Returns what lies on each cell where beams show on empty ones."""
        board = items.shape
        lasting = beams.lasting(reach, firing, board, "agents" if "beam-order" in self.compat else "none")
        shown = beams.lit(reach, lasting, board)
        return jnp.where(shown & (items == EMPTY) & ~taken, code, items).astype(jnp.int8)

    def _outcome(self, state: StateT, own: Array) -> Outcome:
        o = self.options
        late = state.t >= o.max_steps
        reward = social.mix(o.reward, own if state.trace is None else state.trace, state.params)
        if not o.last_step_pays:
            reward = jnp.where(late[None], 0.0, reward)
        nobody = jnp.zeros_like(own, bool)
        return Outcome(
            reward=reward,
            terminated=late & o.time_limit_is_termination,
            truncated=late & (not o.time_limit_is_termination),
            agent_done=nobody,
            joined=nobody,
            metrics=self._metrics(state),
        )

    def _metrics(self, state: StateT) -> dict[str, Array]:
        eaten = state.eaten.astype(jnp.float32)
        total = jnp.sum(eaten, axis=0)
        return {
            "apples": total,
            "apples_per_agent": total / self.options.num_agents,
            "equality": social.equality(eaten),
            "sustainability": social.mean_time(state.eaten_time, eaten),
            "apples_left": jnp.sum(state.items == APPLE, axis=(0, 1), dtype=jnp.float32),
            "zaps": state.zaps.astype(jnp.float32),
            "hits": state.hits.astype(jnp.float32),
            **self.own_metrics(state),
        }

    def _metric_specs(self) -> tuple[MetricSpec, ...]:
        steps, agents = float(self.options.max_steps), self.options.num_agents
        most = float(len(self.layout.cells(maps.APPLE_CELL)))
        return (
            MetricSpec("apples", "apples eaten by all agents", 0.0, agents * steps, True),
            MetricSpec("apples_per_agent", "apples eaten, mean over agents", 0.0, steps, True),
            MetricSpec("equality", "one minus the Gini coefficient of apples eaten", 0.0, 1.0, True),
            MetricSpec("sustainability", "step in which apples were eaten, mean", 0.0, steps, True),
            MetricSpec("apples_left", "apples on the map", 0.0, most, True),
            MetricSpec("zaps", "beams fired by all agents", 0.0, agents * steps, False),
            MetricSpec("hits", "times that agents were hit and moved away", 0.0, agents * steps, False),
            *self.own_specs(),
        )

    def observe(self, state: StateT) -> Observation:
        """Returns everybody's window; the docs page names the layers. All actions are always legal."""
        agents = self.options.num_agents
        return Observation(
            view=views.observe(self.options, state, self.items, "view" in self.compat),
            action_mask=jnp.ones((agents, self.actions), bool),
            alive=jnp.ones(agents, bool),
        )

    def global_state(self, state: StateT) -> Array:
        """Returns the cells, agents and time as a centralised critic reads them (`views.whole`)."""
        return views.whole(self.options, state, self.shown)

    def make_metadata(self) -> Metadata:
        """Returns like agents on one team."""
        o = self.options
        n = o.num_agents
        view = Box(-128, 127, views.shape(o, self.items), np.int8)
        action = Discrete(self.actions)
        size = views.whole_size(o, self.layout.marks.size, self.shown)
        return Metadata(
            agents=tuple(f"agent_{i}" for i in range(n)),
            teams=(0,) * n,
            agent_types=(0,) * n,
            groups={"agents": tuple(range(n))},
            observation_spaces=(view,) * n,
            action_spaces=(action,) * n,
            observation_space=view,
            action_space=action,
            state_space=Box(-np.inf, np.inf, (size,)),
            max_steps=o.max_steps,
            time_limit_is_termination=o.time_limit_is_termination,
            team_reward="shared" if o.reward == "common" else "mean",
            metric_specs=self._metric_specs(),
            citation=CITATION,
            extras={"idle_action": STAY, "raw_rewards": {"reward": "individual"}},
        )

    def scene(self, recording: Recording) -> Any:
        """Draws the board, one picture per state."""
        from shoal.envs.commons.gridworld.scene import clip

        return clip(self, recording)
