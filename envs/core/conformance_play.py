"""Conformance checks of recorded play; see `shoal.envs.core.conformance`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from shoal.envs.core.conformance_harness import (
    Harness,
    Play,
    at,
    expect,
    expect_same,
    flat,
    outside,
    to_numpy,
)
from shoal.envs.core.conformance_static import nudge, space_leaves
from shoal.envs.core.environment import Environment
from shoal.envs.core.spaces import Box, Discrete, MultiDiscrete
from shoal.envs.core.types import Observation, PyTree

ROUNDING = 1e-5
"""How far floats of two compilations of one program may lie apart."""
Subject = Environment[Any, Any] | Harness | str


def check_spaces(env: Subject) -> None:
    """All that is seen lies in its space, whatever is played."""
    h = Harness.of(env)
    play = h.play("next_step")
    for what, seen in (("reset", play.opening.observation), ("step", play.timestep.observation)):
        _expect_inside(h.env.observation_space, seen.view, f"{what}: observation.view")
        _expect_padding(h.env, seen.view, f"{what}: observation.view")
    for what, world in (("reset", play.opening_state), ("step", play.global_state)):
        _expect_inside(h.env.state_space, world, f"{what}: global_state")


def _expect_padding(env: Environment[Any, Any], view: PyTree, what: str) -> None:
    """Entries of a flat view that are not an agent's own are zero."""
    for i, true in enumerate(env.metadata.observation_spaces):
        if not isinstance(true, Box) or len(true.shape) != 1:
            continue
        columns = env.metadata.observation_columns
        own = range(true.shape[0]) if columns is None else columns[i]
        beyond = np.delete(np.asarray(view)[..., i, :], list(own), axis=-1)
        expect(not np.any(beyond), f"{what} of agent {i} is not zero outside of its own entries")


def _expect_inside(space: PyTree, tree: PyTree, what: str) -> None:
    spaces, _ = space_leaves(space)
    paths, _ = flat(to_numpy(tree))
    for inner, (path, x) in zip(spaces, paths, strict=True):
        name = what + jax.tree_util.keystr(path)
        if isinstance(inner, Box):
            low, high = np.asarray(inner.low, np.float64), np.asarray(inner.high, np.float64)
        else:
            size = inner.n if isinstance(inner, Discrete) else np.asarray(inner.nvec)
            low, high = np.zeros(np.shape(size)), np.asarray(size, np.float64) - 1
        slack = 0.0 if x.dtype.kind in "biu" else ROUNDING
        value = x.astype(np.float64)
        wrong = (value < low - slack * (1 + np.abs(low))) | (value > high + slack * (1 + np.abs(high)))
        if np.any(wrong):
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise AssertionError(f"{name}[..., {place[-1]}] is {value[place]:g}, outside of {inner}")


def check_finite(env: Subject) -> None:
    """No NaN and no infinity comes out, whatever is played."""
    _expect_finite(Harness.of(env).play("next_step"))


def _expect_finite(play: Play) -> None:
    for name in ("opening", "after", "timestep", "episode", "global_state"):
        for path, x in flat(to_numpy(getattr(play, name)))[0]:
            wrong = ~np.isfinite(x) if np.issubdtype(x.dtype, np.floating) else np.zeros(1, bool)
            if np.any(wrong):
                leaf, place = jax.tree_util.keystr(path), [int(i) for i in np.argwhere(wrong)[0]]
                raise AssertionError(f"{name}{leaf} is not finite at (step, copy, ...) = {place}")


def check_masks(env: Subject) -> None:
    """Every agent always has a legal action, and none beyond its own true action space."""
    h = Harness.of(env)
    play = h.play("next_step")
    for what, seen in (("reset", play.opening.observation), ("step", play.timestep.observation)):
        for part, mask in enumerate(_masks(seen)):
            some = np.any(mask, axis=-1)
            where = np.argwhere(~some)
            expect(np.all(some), f"{what}: no legal action for agent {where[:1, -1]} (entry {part})")
            for i, true in enumerate(h.env.metadata.action_spaces):
                if isinstance(true, Box) or (isinstance(true, MultiDiscrete) and part >= len(true.nvec)):
                    continue
                own = tuple(range(true.n if isinstance(true, Discrete) else true.nvec[part]))
                if isinstance(true, Discrete) and h.env.metadata.action_columns is not None:
                    own = h.env.metadata.action_columns[i]
                beyond = np.delete(mask[..., i, :], own, axis=-1)
                expect(not np.any(beyond), f"{what}: agent {i} is allowed actions beyond its own {true}")


def _masks(seen: Observation) -> list[np.ndarray]:
    mask = seen.action_mask
    return [np.asarray(part) for part in (mask if isinstance(mask, tuple) else (mask,))]


def check_metrics(env: Subject) -> None:
    """Metrics stay in the range that their specs declare."""
    h = Harness.of(env)
    metrics = to_numpy(h.play("next_step").timestep.metrics)
    for spec in h.env.metric_specs:
        low, high = float(np.min(metrics[spec.name])), float(np.max(metrics[spec.name]))
        slack = ROUNDING * (1 + max(abs(low), abs(high)))
        expect(
            low >= spec.low - slack and high <= spec.high + slack,
            f"metric {spec.name!r} was {low:g} to {high:g}, declared {spec.low:g} to {spec.high:g}",
        )


def check_ends(env: Subject) -> None:
    """Episodes end in exactly one way, and by the time limit exactly at ``max_steps``."""
    h = Harness.of(env)
    play, limit = h.play("next_step"), h.env.max_steps
    terminated, truncated = (np.asarray(x) for x in (play.timestep.terminated, play.timestep.truncated))
    length = np.asarray(play.episode.length)
    expect(not np.any(terminated & truncated), "a step is both terminated and truncated")
    if h.env.time_limit_is_termination:
        expect(not np.any(truncated), "time_limit_is_termination is declared, but a step is truncated")
    expect(np.all(length <= limit), f"an episode lasted {length.max()} steps, max_steps is {limit}")
    early = truncated & (length < limit)
    shortest = length[early].min(initial=limit)
    expect(not np.any(early), f"truncated after {shortest} steps, max_steps is {limit}")
    at_limit = (length == limit) & np.asarray(play.timestep.valid)
    expect(np.all(play.done[at_limit]), f"an episode goes on after max_steps={limit} steps")


def check_dead_agents(env: Subject) -> None:
    """The dead see zeros, can only idle, earn nothing, move nothing; who leaves or joins says so."""
    h = Harness.of(env)
    play, m = h.play("next_step"), h.env.metadata
    seen, following = to_numpy(play.seen()), to_numpy(play.timestep.observation)
    for what, observation in (("reset", to_numpy(play.opening.observation)), ("step", following)):
        dead = ~observation.alive
        for path, x in flat(observation.view)[0]:
            name = f"{what}: observation.view{jax.tree_util.keystr(path)}"
            expect(not np.any(x[dead]), f"{name} of an agent that is not alive is not zero")
        if not isinstance(m.action_space, Box):
            idle = np.broadcast_to(np.asarray(m.extras.get("idle_action", 0)), m.action_space.shape).reshape(
                -1
            )
            for still, mask in zip(idle, _masks(observation), strict=True):
                only = (mask[dead].sum(-1) == 1) & mask[dead][:, still]
                expect(np.all(only), f"{what}: an agent that is not alive may do more than idle ({still})")
    valid = np.asarray(play.timestep.valid)[..., None]
    reward = np.asarray(play.timestep.reward)
    if m.team_reward != "shared" and not m.dead_agents_earn:
        expect(not np.any(reward[valid & ~seen.alive]), "an agent that is not alive earned a reward")
    _check_comings_and_goings(h, play, seen, following)
    _check_inert(h, play, seen)


def _check_comings_and_goings(h: Harness, play: Play, seen: Observation, following: Observation) -> None:
    valid = np.asarray(play.timestep.valid)[..., None]
    first, gone = np.asarray(play.timestep.first), np.asarray(play.timestep.agent_done)
    left = valid & seen.alive & (~following.alive | first)
    expect(np.all(gone[left]), "an agent's life ended without agent_done")
    stayed = valid & seen.alive & following.alive & ~first & ~play.done[..., None]
    expect(not np.any(gone[stayed]), "agent_done is reported, but the same agent lives on")
    came = valid & ~seen.alive & following.alive
    expect(np.all(first[came]), "an agent came to life without being joined (timestep.first)")
    joined = valid & first
    expect(not np.any(joined & ~following.alive), "an agent joined and is not alive")
    if not h.env.metadata.slots_refilled:
        expect(not np.any(joined), "an agent joined during an episode, but slots_refilled is not declared")


def _check_inert(h: Harness, play: Play, seen: Observation) -> None:
    places = np.argwhere(np.any(~seen.alive, axis=-1) & np.asarray(play.timestep.valid))
    for t, e in places[:: max(1, len(places) // 4)][:4]:
        t, e = int(t), int(e)
        alive = jnp.asarray(seen.alive[t, e])
        state, key, action = at((play.before, play.step_key, play.action), t, e)
        alive = alive.reshape((-1,) + (1,) * (action.ndim - 1))
        idle = jnp.asarray(h.idle(at(seen, t, e)))
        futures = [
            _future(h, key, state, jnp.where(alive, action, jnp.asarray(other, action.dtype)), idle)
            for other in (idle, *(jnp.full_like(action, x) for x in (0, 1)))
        ]
        for future in futures[1:]:
            expect_same(futures[0], future, f"step {t}: an agent that is not alive acted")


def _future(h: Harness, key: Any, state: PyTree, action: Any, idle: Any) -> list[Any]:
    """Returns what is seen and earned now and in two idle steps after; what is stored does not matter."""
    shown = []
    for k in range(3):
        state, timestep = h.step(key if k == 0 else jax.random.fold_in(key, k), state, action)
        shown.append(timestep)
        action = idle
        if bool(timestep.terminated | timestep.truncated):
            break
    return shown


def check_illegal_actions(env: Subject) -> None:
    """Actions outside of the space, and those that the mask forbids, act as the agent's idle action.

    For Box, entries beyond the bounds may also act as the nearest bound (NaN as zero). An environment whose
    published rules give forbidden actions inside the space another effect says so in
    ``metadata.extras["illegal_actions"]``; they still must not harm the state, which other checks see.
    """
    h = Harness.of(env)
    play, space = h.play("next_step"), h.env.action_space
    seen = play.seen()
    for t, e in h.midgame(3):
        state, key, observation = at(play.before, t, e), at(play.step_key, t, e), at(seen, t, e)
        idle = h.idle(observation)
        where = f"step {t} of copy {e}"
        for number in outside(space):
            bad = np.full_like(idle, number)
            clipped = (
                np.clip(np.nan_to_num(bad, nan=0.0), space.low, space.high)
                if isinstance(space, Box)
                else idle
            )
            _expect_acts_as(h, key, state, bad, [idle, clipped], f"{where}: action {number} for all")
            one, one_clipped = idle.copy(), idle.copy()
            one[-1], one_clipped[-1] = bad[-1], clipped[-1]
            _expect_acts_as(h, key, state, one, [idle, one_clipped], f"{where}: action {number} for the last")
        if "illegal_actions" not in h.env.metadata.extras and not isinstance(space, Box):
            forbidden = _forbidden(observation, idle)
            _expect_acts_as(h, key, state, forbidden, [idle], f"{where}: forbidden actions {forbidden}")


def _forbidden(observation: Observation, idle: np.ndarray) -> np.ndarray:
    """Returns an action that the mask forbids for every agent that has one, the idle action for the rest."""
    action = idle.reshape(len(idle), -1).copy()
    for part, mask in enumerate(_masks(observation)):
        # Only one entry is forbidden: a MultiDiscrete action is illegal as soon as one of its entries is.
        worst = np.argmin(mask, axis=-1)
        can = ~np.take_along_axis(mask, worst[:, None], axis=-1)[:, 0] & np.all(
            action == idle.reshape(action.shape), axis=-1
        )
        action[:, part] = np.where(can, worst, action[:, part])
    return action.reshape(idle.shape)


def _expect_acts_as(
    h: Harness, key: Any, state: PyTree, action: np.ndarray, like: list[np.ndarray], what: str
) -> None:
    result = h.step(key, state, jnp.asarray(action))
    problems = []
    for other in like:
        try:
            return expect_same(result, h.step(key, state, jnp.asarray(other)), what, ROUNDING)
        except AssertionError as error:
            problems.append(str(error))
    raise AssertionError(f"{problems[0]}: it must act as idling does (see check_illegal_actions)")


def check_jit(env: Subject) -> None:
    """A reset, a step and the global state are the same without compilation."""
    h = Harness.of(env)
    play = h.play("next_step")
    t, e = h.midgame(2)[-1]
    step = at((play.step_key, play.before, play.action), t, e)
    with jax.disable_jit():
        opened, stepped = h.env.reset(h.key), h.env.step(*step)
        world = h.env.global_state(stepped[0])
    expect_same(opened, h.reset(h.key), "reset without and with jit", ROUNDING)
    expect_same(stepped, h.step(*step), f"step {t} without and with jit", ROUNDING)
    expect_same(world, at(play.global_state, t, e), "global_state without and with jit", ROUNDING)


def check_vmap(env: Subject) -> None:
    """A batch does what its members do alone."""
    h = Harness.of(env)
    play = h.play("next_step")
    ends = [(int(t), int(e)) for t, e in np.argwhere(play.done)[:3]]
    for t, e in (*h.midgame(6), *ends):
        alone = h.step(*at((play.step_key, play.before, play.action), t, e))
        expect_same(alone, at((play.after, play.timestep), t, e), f"step {t} alone and in a batch", ROUNDING)


def check_determinism(env: Subject) -> None:
    """The same program with the same key gives bit-identical trajectories."""
    h = Harness.of(env)
    expect_same(h.play("next_step"), h.play("next_step", again=True), "the same play twice")


def check_levels(env: Subject) -> None:
    """A stored level opens the same episode again, whatever the key."""
    h = Harness.of(env)
    opened = h.reset(h.key)
    level = h.sample_level(h.key, h.env.params)
    expect(len(jax.tree.leaves(level)) > 0, "a level without arrays cannot be stored")
    other = jax.random.fold_in(h.key, 1)
    expect_same(opened, h.replay(other, level), "reset and reset with its stored level", ROUNDING)
    moved = nudge(h.env).params
    level = h.sample_level(h.key, moved)
    expect_same(
        h.reset(h.key, moved), h.replay(other, level), "reset with params and with its level", ROUNDING
    )


def check_next_step(env: Subject) -> None:
    """`VectorEnv` in next_step mode: the final observation, then a reset step that pays nothing."""
    h = Harness.of(env)
    play = h.play("next_step")
    valid, done = np.asarray(play.timestep.valid), play.done
    expect(
        np.array_equal(~valid[1:], done[:-1]) and valid[0].all(), "valid is false elsewhere than after an end"
    )
    opening = np.argwhere(~valid)
    for t, e in opening[:3]:
        t, e = int(t), int(e)
        state, timestep = h.reset(at(play.reset_key, t, e))
        expect_same(state, at(play.after, t, e), f"state of reset step {t}", ROUNDING)
        got = at(play.timestep, t, e)
        expect_same(timestep, got.replace(valid=timestep.valid), f"timestep of reset step {t}", ROUNDING)
    _check_statistics(play)


def check_same_step(env: Subject) -> None:
    """`VectorEnv` in same_step mode: an end pays, and what is observed is the next episode's opening."""
    h = Harness.of(env)
    play = h.play("same_step")
    _expect_finite(play)
    expect(np.all(np.asarray(play.timestep.valid)), "same_step mode has no invalid steps")
    for t, e in np.argwhere(play.done)[:3]:
        t, e = int(t), int(e)
        state, opening = h.reset(at(play.reset_key, t, e))
        _, ending = h.step(*at((play.step_key, play.before, play.action), t, e))
        got = at(play.timestep, t, e)
        expect_same(state, at(play.after, t, e), f"state after the end in step {t}", ROUNDING)
        wanted = ending.replace(observation=opening.observation, first=opening.first)
        expect_same(wanted, got, f"timestep of the end in step {t}", ROUNDING)
    _check_statistics(play)


def _check_statistics(play: Play) -> None:
    """Episode returns and lengths are those of the rewards and steps that were reported."""
    reward, valid = np.asarray(play.timestep.reward, np.float64), np.asarray(play.timestep.valid)
    total, length = np.zeros(reward.shape[1:]), np.zeros(valid.shape[1:], int)
    for t, done in enumerate(play.done):
        total, length = total + reward[t], length + valid[t]
        got, steps = np.asarray(play.episode.returns[t])[done], np.asarray(play.episode.length[t])[done]
        expect(
            np.array_equal(steps, length[done]), f"episode.length in step {t} is {steps}, not {length[done]}"
        )
        expect(
            np.allclose(got, total[done], 1e-3, 1e-3),
            f"episode.returns in step {t} is {got}, not {total[done]}",
        )
        total[done], length[done] = 0.0, 0


def check_copies(env: Subject) -> None:
    """A copy's draws follow its global index, wherever it stands in a batch."""
    h = Harness.of(env)
    few = slice(0, 8)  # rounding grows, so only the first steps are compared
    whole, part = h.play("next_step"), h.play("next_step", first_index=1)
    for name in ("before", "action", "timestep"):
        one = at(getattr(whole, name), few, slice(1, None))
        other = at(getattr(part, name), few, slice(None, -1))
        expect_same(one, other, f"{name} of the same copies in two places", 1e-4)


def check_traced_once(env: Subject) -> None:
    """Stepping and stepping again is one program, and so is resetting with other numbers."""
    h = Harness.of(env)
    state, timestep = h.reset(h.key)
    action = jnp.asarray(h.idle(timestep.observation))
    for _ in range(3):
        state, timestep = h.step(h.key, state, action)
    expect(h.step_traces == 1, f"step was traced {h.step_traces} times for one shape")
    traces = []

    def counted(key: Any, params: Any) -> Any:
        traces.append(1)
        return h.env.reset(key, params=params)

    reset = jax.jit(counted)
    jax.eval_shape(reset, h.key, h.env.params)
    jax.eval_shape(reset, h.key, nudge(h.env).params)
    expect(len(traces) == 1, f"reset was traced {len(traces)} times for params of one shape")
