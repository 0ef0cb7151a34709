"""Plays whole battles, in the peer's SMAX and in ours, and counts what happens in them."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from shoal_jit import jit_to_run
from smax_bridge import Bridge, Difference, disagreeing
from smax_cases import SIDE, Battle, mixed_actions
from smax_margins import margin
from smax_peer import Peer, PeerStep

from shoal.envs.core import Environment, Policy, TimeStep

NEAR = 1e-5  # a comparison this close to its threshold may fall either way


class Comparison:
    """What was compared between the peer's steps and ours, and where they differ without excuse."""

    def __init__(self, peer: Any, ghosts: bool = False) -> None:
        self.inner = peer.inner
        self.ghosts = ghosts
        self.steps = 0
        self.excused = 0
        self.faults: list[str] = []
        self.events: Counter[str] = Counter()

    def add(self, before: Any, theirs: PeerStep, gaps: Difference) -> None:
        """Takes in one batch of compared steps."""
        battle = battle_of(before, self.inner.num_allies)
        after = battle_of(theirs.state, self.inner.num_allies)
        self.steps += len(battle.step)
        for row in np.flatnonzero(disagreeing(gaps)):
            near = margin(
                self.inner,
                battle,
                row,
                np.round(after.last_move[row]),
                after.last_attack[row],
                np.asarray(theirs.draws.deviation[row]),
                self.ghosts,
            )
            if near < NEAR:
                self.excused += 1
                continue
            sizes = {name: float(gap[row]) for name, gap in gaps._asdict().items() if gap[row] != 0}
            self.faults.append(f"row {row} of step {self.steps}, nearest threshold {near:.1e}: {sizes}")
        self.events += events(self.inner, battle, after, np.asarray(theirs.over))

    def check(self) -> None:
        """Fails where a difference has no excuse, or where too many had one."""
        assert not self.faults, f"{len(self.faults)} of {self.steps} steps differ; " + "; ".join(
            self.faults[:5]
        )
        assert self.excused <= 1e-3 * self.steps, f"{self.excused} of {self.steps} steps lie at a threshold"


def battle_of(state: Any, n_allies: int) -> Battle:
    """The peer's states as NumPy arrays."""
    memory = getattr(state, "enemy_policy_state", None)
    inner = state.state if memory is not None else state
    n_enemies = inner.unit_health.shape[1] - n_allies
    none = np.zeros((len(inner.step), n_enemies, 2), np.float32), np.full((len(inner.step), n_enemies), -1)
    goal, target = none if memory is None else (memory.default_target, memory.last_attacked_enemy)
    return Battle(
        position=np.asarray(inner.unit_positions),
        health=np.asarray(inner.unit_health),
        types=np.asarray(inner.unit_types),
        cooldown=np.asarray(inner.unit_weapon_cooldowns),
        last_move=np.asarray(inner.prev_movement_actions),
        last_attack=np.asarray(inner.prev_attack_actions),
        step=np.asarray(inner.step),
        goal=np.asarray(goal),
        target=np.asarray(target),
        n_allies=n_allies,
    )


def events(inner: Any, before: Battle, after: Battle, over: np.ndarray) -> Counter[str]:
    """Counts kills, wall deaths, pushed units, draws and time-outs in a batch of steps."""
    alive0, alive1 = before.health > 0, after.health > 0
    died = alive0 & ~alive1
    at_wall = np.any((after.position <= 0) | (after.position >= SIDE), axis=-1)
    speed = np.asarray(inner.unit_type_velocities)[before.types]
    seconds = inner.world_steps_per_env_step * inner.time_per_step
    walked = before.position + after.last_move * speed[..., None] * seconds
    pushed = alive0 & alive1 & (np.abs(after.position - walked).max(-1) > 1e-3)
    allies, enemies = alive1[:, : before.n_allies].any(1), alive1[:, before.n_allies :].any(1)
    was_on = alive0[:, : before.n_allies].any(1) & alive0[:, before.n_allies :].any(1)
    return Counter(
        kills=int((died & ~at_wall).sum()),
        wall_deaths=int((died & at_wall).sum()),
        pushes=int(pushed.sum()),
        draws=int((was_on & over & ~allies & ~enemies).sum()),
        timeouts=int((over & allies & enemies).sum()),
        episodes=int(over.sum()),
    )


def openings(rng: np.random.Generator, peer: Peer, batch: int) -> Any:
    """Starts of episodes in the peer: its own resets, an eighth of duels, an eighth near the limit."""
    state = jax.tree.map(np.array, peer.reset(jax.random.split(jax.random.key(rng.integers(2**31)), batch)))
    inner = state.state
    row = np.arange(batch)
    late, duel = row % 8 == 1, row % 8 == 5
    champions = np.stack(
        [rng.integers(0, peer.n_allies, batch), peer.n_allies + rng.integers(0, peer.n_enemies, batch)]
    )
    alone = np.zeros(inner.unit_health.shape, bool)
    alone[row, champions] = True
    health = np.where(duel[:, None], alone * np.float32(4.0), inner.unit_health)
    middle = rng.uniform(8, 24, (batch, 1, 2)).astype(np.float32)
    place = middle + rng.uniform(-0.6, 0.6, inner.unit_positions.shape).astype(np.float32)
    inner = inner.replace(
        step=np.where(late, 90, inner.step).astype(inner.step.dtype),
        unit_health=health,
        unit_alive=health > 0,
        unit_positions=np.where(duel[:, None, None], place, inner.unit_positions),
    )
    return state.replace(state=inner)


def follow(rng: np.random.Generator, peer: Peer, bridge: Bridge, batch: int, steps: int) -> Comparison:
    """Compares every step of many episodes of the peer; ours is put into its state before each of them."""
    pool = [openings(rng, peer, batch) for _ in range(2)]
    pool_mask = np.concatenate([np.asarray(peer.look(state)[1]) for state in pool])
    fresh = jax.tree.map(lambda *parts: np.concatenate(parts), *pool)
    state, mask = jax.tree.map(lambda x: x[:batch], fresh), pool_mask[:batch]
    key = jax.random.key(rng.integers(2**31))
    result = Comparison(peer)
    for t in range(steps):
        action = mixed_actions(rng, mask, t)
        theirs = peer.step(jax.random.split(jax.random.fold_in(key, t), batch), state, action)
        result.add(state, theirs, bridge.compare(bridge.env.params, state, action, theirs))
        over, pick = np.asarray(theirs.over), rng.integers(0, len(pool_mask), batch)

        def renew(new: Any, old: Any, over: np.ndarray = over, pick: np.ndarray = pick) -> np.ndarray:
            old = np.asarray(old)
            return np.where(over.reshape(-1, *[1] * (old.ndim - 1)), new[pick], old)

        state, mask = jax.tree.map(renew, fresh, theirs.state), renew(pool_mask, theirs.mask)
    return result


class Results(NamedTuple):
    """Whole episodes, one number each."""

    won: np.ndarray
    drawn: np.ndarray
    timed_out: np.ndarray
    length: np.ndarray
    returns: np.ndarray

    @staticmethod
    def join(parts: list[Results]) -> Results:
        """All episodes of several batches."""
        return Results(*(np.concatenate(column) for column in zip(*parts, strict=True)))


class Moment(NamedTuple):
    """Where a batch of battles stands, on either side."""

    state: Any
    observation: Any  # the peer's [B, A, F]; ours an Observation
    mask: np.ndarray  # [B, A, M]
    reward: np.ndarray  # [B]
    over: np.ndarray  # [B] bool
    won: np.ndarray  # [B], this and the next two are meaningful once over
    drawn: np.ndarray
    timed_out: np.ndarray


class Player(Protocol):
    """Plays the allies, keeping its own memory."""

    def start(self, batch: int) -> None:
        """Forgets everything."""

    def act(self, key: Array, moment: Moment) -> Any:
        """Returns actions [B, A]."""


class RandomPlayer:
    """Uniform over the legal actions."""

    def start(self, batch: int) -> None:
        """Has no memory."""

    def act(self, key: Array, moment: Moment) -> np.ndarray:
        """Draws on the host."""
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return np.argmax(moment.mask * rng.random(moment.mask.shape), axis=-1).astype(np.int32)


class PeerBot:
    """The peer's heuristic, for the allies."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def start(self, batch: int) -> None:
        """Opens an episode."""
        self.memory = self.peer.bot_memory(batch)

    def act(self, key: Array, moment: Moment) -> Array:
        """Asks the peer."""
        keys = jax.random.split(key, len(moment.over))
        actions, self.memory = self.peer.bot(keys, self.memory, moment.observation)
        return actions


class OurPlayer:
    """One of our policies."""

    def __init__(self, policy: Policy, greedy: bool = True) -> None:
        self.policy = policy
        self.choose = jit_to_run(lambda key, carry, seen: policy.act(key, carry, seen, greedy=greedy))

    def start(self, batch: int) -> None:
        """Opens an episode."""
        self.carry = self.policy.initial_carry((batch,))

    def act(self, key: Array, moment: Moment) -> Array:
        """Asks the policy."""
        self.carry, action = self.choose(key, self.carry, moment.observation)
        return action


class PeerGame:
    """The peer's SMAX, whole episodes without its auto-reset."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def reset(self, key: Array, batch: int) -> Moment:
        """Opens ``batch`` episodes."""
        state = self.peer.reset(jax.random.split(key, batch))
        observation, mask = self.peer.look(state)
        no = np.zeros(batch, bool)
        return Moment(state, observation, np.asarray(mask), np.zeros(batch), no, no, no, no)

    def step(self, key: Array, moment: Moment, action: Any) -> Moment:
        """Steps all of them."""
        after = self.peer.step(jax.random.split(key, len(moment.over)), moment.state, action)
        alive = np.asarray(after.state.state.unit_alive)
        allies, enemies = alive[:, : self.peer.n_allies].any(1), alive[:, self.peer.n_allies :].any(1)
        reward, over, mask = (np.asarray(x) for x in (after.reward[:, 0], after.over, after.mask))
        ends = allies & ~enemies, ~allies & ~enemies, allies & enemies
        return Moment(after.state, after.observation, mask, reward, over, *ends)


class OurGame:
    """Our environment as a user plays it."""

    def __init__(self, env: Environment[Any, Any]) -> None:
        self.env = env
        self._reset = jit_to_run(jax.vmap(env.reset))
        self._step = jit_to_run(jax.vmap(env.step))

    def reset(self, key: Array, batch: int) -> Moment:
        """Opens ``batch`` episodes."""
        return self._moment(*self._reset(jax.random.split(key, batch)))

    def step(self, key: Array, moment: Moment, action: Any) -> Moment:
        """Steps all of them."""
        keys = jax.random.split(key, len(moment.over))
        return self._moment(*self._step(keys, moment.state, jnp.asarray(action)))

    def _moment(self, state: Any, now: TimeStep) -> Moment:
        ends = (np.asarray(now.metrics[name]) > 0 for name in ("win_rate", "draw_rate", "timeout_rate"))
        reward, over = np.asarray(now.reward).mean(1), np.asarray(now.terminated | now.truncated)
        return Moment(state, now.observation, np.asarray(now.observation.action_mask), reward, over, *ends)


def play(game: PeerGame | OurGame, player: Player, seed: int, batch: int, episodes: int) -> Results:
    """Plays at least ``episodes`` whole episodes, in batches that are all played to their end."""
    parts = []
    key = jax.random.key(seed)
    for i in range(-(-episodes // batch)):
        now = game.reset(jax.random.fold_in(key, 1000 * i), batch)
        player.start(batch)
        length, returns, on = np.zeros(batch), np.zeros(batch), np.ones(batch, bool)
        ends = np.zeros((3, batch), bool)
        for t in range(1, 1000):
            act_key, step_key = jax.random.split(jax.random.fold_in(key, 1000 * i + t))
            now = game.step(step_key, now, player.act(act_key, now))
            length += on
            returns += on * now.reward
            ends |= on & now.over & np.stack([now.won, now.drawn, now.timed_out])
            on = on & ~now.over
            if not on.any():
                break
        parts.append(Results(*ends, length, returns))
    return Results.join(parts)


def unlike(a: Results, b: Results, errors: float = 3.0) -> list[str]:
    """Says in what two samples of episodes differ by more than ``errors`` combined standard errors."""
    differences = []
    for name in ("won", "length", "returns"):
        x, y = (np.asarray(getattr(sample, name), float) for sample in (a, b))
        spread = np.hypot(standard_error(x), standard_error(y))
        if abs(x.mean() - y.mean()) > errors * spread:
            differences.append(f"{name} {x.mean():.4f} and {y.mean():.4f}, standard error {spread:.4f}")
    return differences


def standard_error(x: np.ndarray, n: int | None = None) -> float:
    """Of the mean of ``n`` values that scatter like ``x`` (by default, as many as there are).

    Never less than one case in the sample makes, so that a rate of 0 or 1 is not taken for exact.
    """
    n = len(x) if n is None else n
    return float(max(np.std(x, ddof=1), 1 / np.sqrt(n)) / np.sqrt(n))
