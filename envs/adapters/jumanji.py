"""Jumanji's level-based foraging and robot warehouse (arXiv 2306.09884) as Shoal's, by Mava's scenario names.

``jumanji/lbf-8x8-2p-2f-coop``, ``jumanji/lbf-2s-10x10-3p-3f``, ``jumanji/rware-tiny-4ag-easy``: any size in
these forms, those of the original suites (Papoudakis et al. 2021, arXiv 2006.07869).
"""

from __future__ import annotations

import abc
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.envs.adapters.bridge import Bridge, Played, Seen, State, imported
from shoal.envs.core.environment import Metadata, MetricSpec
from shoal.envs.core.errors import UserError
from shoal.envs.core.options import option
from shoal.envs.core.registry import Registration
from shoal.envs.core.spaces import Box, Discrete
from shoal.envs.core.types import Key, PyTree

LBF_ID = re.compile(r"lbf(-(?P<sight>\d+)s)?-(?P<x>\d+)x(?P<y>\d+)-(?P<p>\d+)p-(?P<f>\d+)f(?P<coop>-coop)?")
RWARE_ID = re.compile(r"rware-(?P<size>tiny|small|medium|large)-(?P<n>\d+)ag(-(?P<level>easy|hard))?")
RWARE_SIZES = {"tiny": (1, 3), "small": (2, 3), "medium": (2, 5), "large": (3, 5)}  # rows, columns of shelves
REQUESTS = {None: 1.0, "easy": 2.0, "hard": 0.5}  # open requests for each agent


@dataclass(frozen=True)
class LBFOptions:
    """Level-based foraging."""

    grid_size: int = option(8, "cells along a side", low=5)
    num_agents: int = option(2, "how many forage", low=1)
    num_food: int = option(2, "how many foods there are", low=1)
    sight: int = option(8, "how far agents see, in cells", low=1)
    max_agent_level: int = option(2, "levels are drawn from 1 to this", low=2)
    coop: bool = option(True, "every food takes all agents together")
    time_limit: int = option(100, "steps after which an episode is cut off", low=1)
    penalty: float = option(0.0, "what a vain attempt to load costs", low=0.0)
    reward: str = option("own", "each agent's own share, or all get the sum", choices=("own", "team"))


@dataclass(frozen=True)
class RWAREOptions:
    """The robot warehouse."""

    shelf_rows: int = option(1, "rows of shelf blocks", low=1)
    shelf_columns: int = option(3, "columns of shelf blocks, an odd number", low=1)
    column_height: int = option(8, "height of a shelf block, in cells", low=1)
    num_agents: int = option(4, "how many robots there are", low=1)
    sensor_range: int = option(1, "how far robots see, in cells", low=1)
    requests: int = option(4, "how many shelves are requested at a time", low=1)
    time_limit: int = option(500, "steps after which an episode ends", low=1)


class JumanjiBridge(Bridge):
    """An environment of Jumanji with flat views, discrete actions and masks.

    Episodes end as Jumanji reports: an end whose discount is zero is a termination, any other a truncation.
    """

    metric: MetricSpec
    team_reward_of: str
    limit_terminates: bool

    @staticmethod
    @abc.abstractmethod
    def make_peer(options: Any) -> Any:
        """Returns Jumanji's environment; the same object for the same options."""

    @abc.abstractmethod
    def measure(self, state: State, peer: PyTree, reward: Array, last: Array) -> Array:
        """Returns the running value of the metric after a step that led to ``peer``."""

    def make_metadata(self) -> Metadata:
        """Reads everything from the peer's specs."""
        peer = self._peer = self.make_peer(self.options)
        agents, names = peer.num_agents, tuple(f"agent_{i}" for i in range(peer.num_agents))
        view = peer.observation_spec.agents_view
        low, high = (float(f(getattr(view, side, v))) for f, side, v in _SIDES)
        space = Box(low, high, view.shape[1:])
        action = Discrete(int(peer.action_spec.num_values[0]))
        return Metadata(
            agents=names,
            teams=(0,) * agents,
            agent_types=(0,) * agents,
            groups={"agents": tuple(range(agents))},
            observation_spaces=(space,) * agents,
            action_spaces=(action,) * agents,
            observation_space=space,
            action_space=action,
            state_space=Box(low, high, view.shape),
            max_steps=peer.time_limit,
            time_limit_is_termination=self.limit_terminates,
            team_reward=self._team_reward(),
            metric_specs=(self.metric,),
            citation="Bonnet et al. 2024, Jumanji, arXiv 2306.09884",
            extras={"idle_action": 0},
        )

    def open_peer(self, key: Key) -> tuple[PyTree, Seen]:
        """Resets the peer."""
        peer, opening = self._peer.reset(key)
        return peer, _seen(opening.observation)

    def step_peer(self, key: Key, state: State, action: Array) -> Played:
        """Plays the peer's step, which never resets and draws from a key of its own, in its state."""
        peer, timestep = self._peer.step(state.peer, action)
        last, cut = timestep.last(), jnp.any(timestep.discount > 0)
        paid = jnp.broadcast_to(jnp.asarray(timestep.reward, jnp.float32), (self.num_agents,))
        return Played(
            peer=peer,
            seen=_seen(timestep.observation),
            reward=self.pay(paid),
            terminated=last & ~cut,
            truncated=last & cut,
            gone=jnp.zeros(self.num_agents, bool),
            metrics={self.metric.name: self.measure(state, peer, paid, last)},
        )

    def pay(self, paid: Array) -> Array:
        """Returns the agents' rewards from those of Jumanji."""
        return paid

    def _team_reward(self) -> str:
        return "shared"


_SIDES = ((np.min, "minimum", -np.inf), (np.max, "maximum", np.inf))


class LBFBridge(JumanjiBridge):
    """Level-based foraging: agents load foods, of whose level each gets a share; all foods sum to 1."""

    Options = LBFOptions
    metric = MetricSpec("eaten", "share of the foods that were loaded", 0.0, 1.0, True)
    limit_terminates = False

    @staticmethod
    @lru_cache(maxsize=32)
    def make_peer(options: LBFOptions) -> Any:
        """Returns Jumanji's environment."""
        from jumanji.environments.routing.lbf import LevelBasedForaging
        from jumanji.environments.routing.lbf.generator import RandomGenerator

        if options.sight > options.grid_size:
            raise UserError(f"sight={options.sight} must be at most grid_size={options.grid_size}")
        try:
            generator = RandomGenerator(
                grid_size=options.grid_size,
                num_agents=options.num_agents,
                num_food=options.num_food,
                fov=options.sight,
                max_agent_level=options.max_agent_level,
                force_coop=options.coop,
            )
        except AssertionError as error:
            raise UserError(f"Jumanji refuses num_food={options.num_food}: {error}") from error
        return LevelBasedForaging(generator, time_limit=options.time_limit, penalty=options.penalty)

    def pay(self, paid: Array) -> Array:
        """Pays each its own share, or all of them the sum."""
        return paid if self.options.reward == "own" else jnp.broadcast_to(jnp.sum(paid), paid.shape)

    def measure(self, state: State, peer: PyTree, reward: Array, last: Array) -> Array:
        """Returns the share that is eaten."""
        return jnp.mean(peer.food_items.eaten.astype(jnp.float32))

    def _team_reward(self) -> str:
        return "shared" if self.options.reward == "team" else "sum"


class RWAREBridge(JumanjiBridge):
    """The robot warehouse: all robots get 1 for a requested shelf at a goal; a collision ends the episode.

    Jumanji reports the time limit as a termination too.
    """

    Options = RWAREOptions
    metric = MetricSpec("shelves", "how many requested shelves were delivered", 0.0, np.inf, True)
    limit_terminates = True

    @staticmethod
    @lru_cache(maxsize=32)
    def make_peer(options: RWAREOptions) -> Any:
        """Returns Jumanji's environment."""
        from jumanji.environments.routing.robot_warehouse import RobotWarehouse
        from jumanji.environments.routing.robot_warehouse.generator import RandomGenerator

        if options.shelf_columns % 2 == 0:
            raise UserError(f"shelf_columns={options.shelf_columns} must be odd")
        generator = RandomGenerator(
            shelf_rows=options.shelf_rows,
            shelf_columns=options.shelf_columns,
            column_height=options.column_height,
            num_agents=options.num_agents,
            sensor_range=options.sensor_range,
            request_queue_size=options.requests,
        )
        if generator.not_in_queue_size < 1:
            count = len(generator.shelf_ids)
            raise UserError(f"requests={options.requests} must be less than the number of shelves, {count}")
        return RobotWarehouse(generator, time_limit=options.time_limit)

    def measure(self, state: State, peer: PyTree, reward: Array, last: Array) -> Array:
        """Counts deliveries."""
        return state.metrics["shelves"] + reward[0]


def _seen(observation: Any) -> Seen:
    view = jnp.asarray(observation.agents_view, jnp.float32)
    return Seen(view=view, action_mask=jnp.asarray(observation.action_mask, bool))


def bridge(id: str) -> Registration:
    """Returns what a scenario's name stands for.

    Raises:
        UserError: when Jumanji is not installed or the name is of no such form.
    """
    imported("jumanji", id)
    bare = id.removesuffix("-v1")
    scenario = bare.partition("/")[2]
    if match := LBF_ID.fullmatch(scenario):
        if match["x"] != match["y"]:
            raise UserError(f"{id}: fields of level-based foraging are square, such as 8x8")
        size, count, foods = int(match["x"]), int(match["p"]), int(match["f"])
        sight = size if match["sight"] is None else int(match["sight"])
        lbf = LBFOptions(size, count, foods, sight, coop=match["coop"] is not None)
        return Registration(f"{bare}-v1", f"{__name__}:LBFBridge", vars(lbf))
    if match := RWARE_ID.fullmatch(scenario):
        rows, columns = RWARE_SIZES[match["size"]]
        count = int(match["n"])
        requests = max(1, int(count * REQUESTS[match["level"]]))
        rware = RWAREOptions(rows, columns, num_agents=count, requests=requests)
        return Registration(f"{bare}-v1", f"{__name__}:RWAREBridge", vars(rware))
    forms = "jumanji/lbf-8x8-2p-2f-coop, jumanji/lbf-2s-10x10-3p-3f, jumanji/rware-tiny-4ag-easy"
    raise UserError(f"there is no environment {id!r}; names look like {forms}")
