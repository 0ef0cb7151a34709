"""JaxMARL's environments (arXiv 2311.10090) as Shoal's: ``jaxmarl/NAME`` for every name of `jaxmarl.make`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Float

from shoal.envs.adapters.bridge import Bridge, Played, Seen, State, flat_or_grid, imported
from shoal.envs.core.environment import Environment, Metadata, MetricSpec
from shoal.envs.core.errors import UserError, nearest
from shoal.envs.core.options import option, param
from shoal.envs.core.registry import Registration
from shoal.envs.core.spaces import Box, Discrete, Space
from shoal.envs.core.types import Key, PyTree

OVERCOOKED = ("overcooked", "overcooked_v2")
SHARED = ("hanabi", "SMAX", "HeuristicEnemySMAX")
"""Whose agents all get their team's reward, the dead ones too."""
OPPONENTS = ("adversary", "leadadversary", "eve", "enemy")
"""What JaxMARL calls agents that play against the others."""


@dataclass(frozen=True)
class Options:
    """Which environment, and what it is made with."""

    name: str = option("hanabi", "what `jaxmarl.make` knows the environment by")
    settings: tuple[tuple[str, Any], ...] = option((), "arguments of `jaxmarl.make`; each is an override too")


@dataclass(frozen=True)
class ShapedOptions(Options):
    """Overcooked's."""

    name: str = option("overcooked", "what `jaxmarl.make` knows the environment by")
    shaping_horizon: float = option(
        0.5, "share of the training in which the curriculum takes the shaping from 1 to 0", low=0.01, high=1.0
    )


@struct.dataclass
class ShapedParams:
    """What an episode is paid."""

    shaping: float = param(0.0, "weight of the shaped reward beside that for soups", low=0.0)


class JaxMARLBridge(Bridge):
    """Any environment of JaxMARL whose observations are arrays, one for each agent."""

    Options = Options

    @classmethod
    def from_overrides(cls, id: str, overrides: Mapping[str, Any]) -> Environment[Any, Any]:
        """Builds the environment; overrides that are neither options nor parameters go to `jaxmarl.make`.

        Raises:
            UserError: for what JaxMARL does not take.
        """
        own = {f.name for c in (cls.Options, cls.Params) for f in fields(c)} - {"settings"}
        settings = {**dict(overrides.get("settings", ())), **overrides}
        rest = tuple(sorted((k, v) for k, v in settings.items() if k not in own | {"settings"}))
        return super().from_overrides(
            id, {**{k: v for k, v in overrides.items() if k in own}, "settings": rest}
        )

    def make_metadata(self) -> Metadata:
        """Reads everything from the peer."""
        name = self.options.name
        peer = self._peer = peer_of(name, self.options.settings)
        stems = [re.sub(r"_?\d+$", "", agent) or "agent" for agent in peer.agents]
        teams = tuple(int(stem in OPPONENTS) for stem in stems)
        groups = {
            stem if stems.count(stem) < len(stems) else "agents": tuple(
                i for i, other in enumerate(stems) if other == stem
            )
            for stem in stems
        }
        kinds = list(zip(peer.views, peer.actions, stems, strict=True))
        return Metadata(
            agents=peer.agents,
            teams=tuple(team - min(teams) for team in teams),
            agent_types=tuple(kinds.index(kind) for kind in kinds),
            groups=groups,
            observation_spaces=peer.views,
            action_spaces=peer.actions,
            observation_space=peer.view,
            action_space=peer.action,
            state_space=peer.world,
            max_steps=peer.max_steps,
            time_limit_is_termination=True,
            team_reward="shared" if name in SHARED else "mean",
            metric_specs=(
                MetricSpec(
                    "unshaped_return",
                    "what JaxMARL pays besides shaped rewards, summed over the episode, mean over agents",
                    -np.inf,
                    np.inf,
                    True,
                ),
            ),
            citation="Rutherford et al. 2024, JaxMARL, arXiv 2311.10090",
            dead_agents_earn=True,
            extras={"idle_action": peer.idle},
        )

    def open_peer(self, key: Key) -> tuple[PyTree, Seen]:
        """Resets the peer."""
        views, peer = self._peer.env.reset(key)
        return peer, self._peer.seen(views, peer)

    def step_peer(self, key: Key, state: State, action: Array) -> Played:
        """Plays the peer's ``step_env``, which never resets."""
        env = self._peer.env
        actions = {agent: self._peer.own_action(action, i) for i, agent in enumerate(env.agents)}
        views, peer, rewards, dones, info = env.step_env(key, state.peer, actions)
        paid = self._stack(rewards)
        total = state.metrics["unshaped_return"] + jnp.mean(paid)
        return Played(
            peer=peer,
            seen=self._peer.seen(views, peer),
            reward=self.pay(state.params, paid, info),
            terminated=jnp.asarray(dones["__all__"], bool).reshape(()),
            truncated=jnp.zeros((), bool),
            gone=self._stack(dones).astype(bool),
            metrics={"unshaped_return": total},
        )

    def pay(self, params: Any, paid: Float[Array, " agents"], info: Mapping[str, Any]) -> Array:
        """Returns the agents' rewards, from what the peer pays and what it tells."""
        return paid

    def _stack(self, by_agent: Mapping[Any, Array]) -> Array:
        """Returns one number per agent [A] f32."""
        each = [jnp.asarray(by_agent[agent], jnp.float32).reshape(()) for agent in self._peer.env.agents]
        return jnp.stack(each)


class OvercookedBridge(JaxMARLBridge):
    """Overcooked, which tells a shaped reward beside the one for soups.

    ``env.shaping`` weighs it. With ``curriculum=true`` the weight falls from 1 to 0 over the training's first
    `shaping_horizon`, as in JaxMARL's baselines; evaluations are played without it.
    """

    Options = ShapedOptions
    Params = ShapedParams

    def curriculum(self, progress: Float[Array, ""]) -> ShapedParams:
        """Returns params whose shaping fades linearly."""
        weight = jnp.clip(1.0 - progress / self.options.shaping_horizon, 0.0, 1.0)
        return ShapedParams(shaping=weight.astype(jnp.float32))  # type: ignore[arg-type]

    def pay(self, params: Any, paid: Float[Array, " agents"], info: Mapping[str, Any]) -> Array:
        """Adds the weighted shaped reward."""
        return paid + params.shaping * self._stack(info["shaped_reward"])


@dataclass(frozen=True)
class Peer:
    """An environment of JaxMARL, and what Shoal has to know about it; all sizes are true ones."""

    env: Any
    agents: tuple[str, ...]
    views: tuple[Box, ...]
    view: Box  # padded to one shape
    actions: tuple[Space, ...]
    action: Space  # padded
    world: Box
    max_steps: int
    idle: int
    legal: Callable[[Any], Mapping[Any, Array]] | None  # state -> agent -> mask

    def seen(self, views: Mapping[Any, Any], state: PyTree) -> Seen:
        """Stacks what the agents see, and may do, in one state."""
        stacked = []
        for agent in self.env.agents:
            own = as_array(views[agent])
            stacked.append(
                jnp.pad(own, [(0, n - m) for n, m in zip(self.view.shape, own.shape, strict=True)])
            )
        world = views.get("world_state")
        return Seen(
            view=jnp.stack(stacked),
            action_mask=self._mask(state),
            world=None if world is None else jnp.asarray(world, jnp.float32).ravel(),
        )

    def own_action(self, action: Array, agent: int) -> Array:
        """Cuts an agent's action out of the padded ones."""
        space = self.actions[agent]
        return action[agent][: space.shape[0]] if isinstance(space, Box) else action[agent]

    def _mask(self, state: PyTree) -> Array:
        if not isinstance(self.action, Discrete):
            return jnp.ones((len(self.agents), *self.action.shape), bool)
        n = self.action.n
        sizes = np.asarray([space.n for space in self.actions if isinstance(space, Discrete)])
        own = jnp.asarray(np.arange(n) < sizes[:, None])
        if self.legal is None:
            return own
        told = self.legal(state)
        masks = [jnp.asarray(told[agent]) > 0 for agent in self.env.agents]
        return own & jnp.stack([jnp.pad(mask, (0, n - mask.shape[0])) for mask in masks])


@lru_cache(maxsize=64)
def peer_of(name: str, settings: tuple[tuple[str, Any], ...]) -> Peer:
    """Makes an environment of JaxMARL and reads what it is from its types, without compiling.

    Raises:
        UserError: for what JaxMARL does not take, or what cannot be bridged.
    """
    env = _made(name, dict(settings))
    views, _ = jax.eval_shape(env.reset, jax.random.key(0))
    if not isinstance(views, Mapping) or not set(env.agents) <= set(views):
        raise UserError(f"jaxmarl/{name} cannot be bridged: its observations are not by agent")
    shapes = [jax.eval_shape(as_array, views[agent]) for agent in env.agents]
    if len({x.ndim for x in shapes}) > 1 or len({x.dtype for x in shapes}) > 1:
        raise UserError(f"jaxmarl/{name} cannot be bridged: agents' observations are of different kinds")
    seen = tuple(
        Box(*_bounds(env.observation_space(agent)), x.shape, x.dtype)
        for agent, x in zip(env.agents, shapes, strict=True)
    )
    padded = tuple(int(n) for n in np.max([box.shape for box in seen], axis=0))
    view = Box(min(b.low for b in seen), max(b.high for b in seen), padded, seen[0].dtype)
    actions = tuple(_action_space(name, env.action_space(agent)) for agent in env.agents)
    world = views.get("world_state")
    return Peer(
        env=env,
        agents=tuple(map(str, env.agents)),
        views=seen,
        view=view,
        actions=actions,
        action=_padded(name, actions),
        world=Box(view.low, view.high, (len(seen), *view.shape), view.dtype)
        if world is None
        else Box(-np.inf, np.inf, (world.size,)),
        max_steps=_max_steps(name, env),
        idle=_idle(name, env),
        legal=_legal_moves(env),
    )


def as_array(view: Any) -> Array:
    """Returns one agent's observation as one array: nests end to end, flat ones as float32."""
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(view)]
    if len(leaves) > 1:
        return jnp.concatenate([leaf.ravel().astype(jnp.float32) for leaf in leaves])
    return flat_or_grid(leaves[0])


def _made(name: str, settings: dict[str, Any]) -> Any:
    if "layout" in settings and name == "overcooked":
        from jaxmarl.environments.overcooked import overcooked_layouts

        settings["layout"] = _named(overcooked_layouts, "layout", settings["layout"])
    if "scenario" in settings:
        from jaxmarl.environments.smax.smax_env import MAP_NAME_TO_SCENARIO

        settings["scenario"] = _named(MAP_NAME_TO_SCENARIO, "scenario", settings["scenario"])
    arrays = {k: np.asarray(v) if isinstance(v, tuple) else v for k, v in settings.items()}
    try:
        return imported("jaxmarl", f"jaxmarl/{name}").make(name, **arrays)
    except TypeError as error:
        takes = _arguments(name) if settings else []
        for key in settings:
            if takes and key not in takes:
                raise UserError(f"jaxmarl/{name} has no option {key!r}{nearest(key, takes)}") from error
        raise UserError(f"jaxmarl/{name} cannot be made: {error}") from error
    except (ImportError, ValueError, AssertionError, KeyError) as error:
        raise UserError(f"jaxmarl/{name} cannot be made: {str(error) or 'a setting is wrong'}") from error


def _arguments(name: str) -> list[str]:
    """Returns what an environment of JaxMARL takes; none where that cannot be told."""
    try:
        signature = inspect.signature(type(_made(name, {})).__init__)
    except UserError:  # it cannot be made without arguments
        return []
    kinds = [p.kind for p in signature.parameters.values()]
    return [] if inspect.Parameter.VAR_KEYWORD in kinds else [p for p in signature.parameters if p != "self"]


def _named(known: Mapping[str, Any], what: str, name: Any) -> Any:
    if name not in known:
        raise UserError(f"{what}={name!r} is not known to JaxMARL{nearest(str(name), known)}")
    return known[name]


def _bounds(space: Any) -> tuple[float, float]:
    """Returns the bounds of a peer's Box, widened to hold the zeros of padding; none of other spaces."""
    if not hasattr(space, "low"):
        return -np.inf, np.inf
    return min(float(np.min(space.low)), 0.0), max(float(np.max(space.high)), 0.0)


def _action_space(name: str, space: Any) -> Space:
    if type(space).__name__ == "Discrete":
        return Discrete(int(space.n))
    if type(space).__name__ == "Box":
        return Box(float(np.min(space.low)), float(np.max(space.high)), tuple(space.shape))
    raise UserError(f"jaxmarl/{name} cannot be bridged: its actions are {type(space).__name__}")


def _padded(name: str, spaces: tuple[Space, ...]) -> Space:
    discrete = [space.n for space in spaces if isinstance(space, Discrete)]
    if len(discrete) == len(spaces):
        return Discrete(max(discrete))
    boxes = [space for space in spaces if isinstance(space, Box)]
    if discrete or len({(box.low, box.high) for box in boxes}) > 1:
        raise UserError(f"jaxmarl/{name} cannot be bridged: agents' actions are of different kinds")
    return Box(boxes[0].low, boxes[0].high, (max(box.shape[0] for box in boxes),))


def _legal_moves(env: Any) -> Callable[[Any], Mapping[Any, Array]] | None:
    """Returns the peer's own masks: state -> agent -> [N]; None where it has none."""
    from jaxmarl.environments.multi_agent_env import MultiAgentEnv

    legal = getattr(env, "get_legal_moves", None)  # Hanabi's name for them
    if legal is not None:
        return legal
    own = type(env).get_avail_actions is not MultiAgentEnv.get_avail_actions
    return env.get_avail_actions if own else None


def _max_steps(name: str, env: Any) -> int:
    """Returns how long an episode can last, counted as JaxMARL's code counts."""
    if name == "hanabi":
        # Every turn but a hint uses up a card. Cards are drawn until the deck is empty, then all play once
        # more; hints cost tokens, of which there are those at first and at most one more for every card.
        cards = env.deck_size - env.num_agents * env.hand_size + env.num_agents + 1
        return int(2 * cards + env.max_info_tokens)
    if hasattr(env, "num_inner_steps"):
        return int(env.num_inner_steps * env.num_outer_steps)
    late = name.startswith("MPE") or name.endswith("SMAX")  # who look at the clock before it moves
    return int(env.max_steps) + late


def _idle(name: str, env: Any) -> int:
    """Returns the action that does nothing."""
    if name in OVERCOOKED or name == "coin_game" or name.endswith("SMAX"):
        return 4
    return int(env.num_moves) - 1 if name == "hanabi" else 0


def bridge(id: str) -> Registration:
    """Returns what ``jaxmarl/NAME``, ``jaxmarl/overcooked-LAYOUT`` or ``jaxmarl/SMAX-MAP`` stands for.

    Raises:
        UserError: when JaxMARL is not installed or does not know the name.
    """
    known = imported("jaxmarl", id).registered_envs
    bare = id.removesuffix("-v1")
    name, _, rest = bare.partition("/")[2].partition("-")
    if name not in known:
        raise UserError(f"JaxMARL has no environment {name!r}{nearest(name, known)}")
    overrides: dict[str, Any] = {"name": name}
    if rest:
        if name not in (*OVERCOOKED, "SMAX", "HeuristicEnemySMAX"):
            raise UserError(f"there is no environment {id!r}; did you mean 'jaxmarl/{name}'?")
        overrides["layout" if name in OVERCOOKED else "scenario"] = rest
    kind = OvercookedBridge if name in OVERCOOKED else JaxMARLBridge
    return Registration(f"{bare}-v1", f"{__name__}:{kind.__name__}", overrides)
