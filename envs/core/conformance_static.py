"""Conformance checks that only read, trace or lower: nothing is compiled here."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from shoal.envs.core.conformance_harness import Harness, expect, flat, lowered_reset, lowered_step
from shoal.envs.core.environment import Environment
from shoal.envs.core.errors import UserError
from shoal.envs.core.options import check_value
from shoal.envs.core.policy import Policy
from shoal.envs.core.spaces import Box, Discrete, MultiDiscrete, Space
from shoal.envs.core.types import EntityView, PyTree

PLATFORMS = ("cpu", "cuda", "tpu")


def check_metadata(env: Environment[Any, Any] | Harness | str) -> None:
    """The metadata are complete and agree with each other."""
    env = Harness.of(env).env
    m, count = env.metadata, env.num_agents
    expect(count >= 1, "metadata.agents is empty")
    expect(len(set(m.agents)) == count, f"metadata.agents {m.agents} repeats a name")
    for name in ("teams", "agent_types", "observation_spaces", "action_spaces"):
        expect(
            len(getattr(m, name)) == count, f"metadata.{name} has not one entry for each of {count} agents"
        )
    members = sorted(i for group in m.groups.values() for i in group)
    expect(members == list(range(count)), f"metadata.groups must hold each agent once, not {dict(m.groups)}")
    expect(m.max_steps >= 1, f"metadata.max_steps={m.max_steps} must be at least 1")
    rewards = ("shared", "sum", "mean")
    expect(m.team_reward in rewards, f"metadata.team_reward={m.team_reward!r} is not one of {rewards}")
    expect(m.citation.strip(), "metadata.citation is empty: name the source, or say that there is none")
    names = [spec.name for spec in m.metric_specs]
    expect(len(set(names)) == len(names), f"metadata.metric_specs {names} repeats a name")
    for spec in m.metric_specs:
        expect(spec.low < spec.high, f"metric {spec.name!r} has an empty range {spec.low} to {spec.high}")
        expect(spec.meaning.strip(), f"metric {spec.name!r} has no meaning")
    for i in range(count):
        _check_true_space(m.action_space, m.action_spaces[i], f"action space of {m.agents[i]}")
        first = m.agent_types.index(m.agent_types[i])
        alike = m.action_spaces[i] == m.action_spaces[first]
        alike &= m.observation_spaces[i] == m.observation_spaces[first]
        expect(alike, f"{m.agents[i]} and {m.agents[first]} are of one agent_type but differ in their spaces")
    _check_padding(env)
    for name, spaces in (("observation_columns", m.observation_spaces), ("action_columns", m.action_spaces)):
        _check_columns(name, getattr(m, name), spaces)
    if m.entity_actions is not None and isinstance(m.observation_space, EntityView):
        slots = m.observation_space.entity_mask.shape[-1]
        expect(len(m.entity_actions) == slots, f"metadata.entity_actions must have {slots} entries")


def _check_columns(name: str, columns: Any, spaces: tuple[Any, ...]) -> None:
    if columns is None:
        return
    expect(len(columns) == len(spaces), f"metadata.{name} has not one entry for each of {len(spaces)} agents")
    for own, space in zip(columns, spaces, strict=True):
        size = space.n if isinstance(space, Discrete) else space.shape[0]
        expect(
            len(set(own)) == len(own) == size, f"metadata.{name}: {own} must name {size} places, each once"
        )


def _check_true_space(padded: Space, true: Space, what: str) -> None:
    expect(type(true) is type(padded), f"{what} is {true}, of another kind than the padded {padded}")
    if isinstance(padded, Discrete) and isinstance(true, Discrete):
        expect(1 <= true.n <= padded.n, f"{what} is {true}, larger than the padded {padded}")
    if isinstance(padded, MultiDiscrete) and isinstance(true, MultiDiscrete):
        fits = len(true.nvec) <= len(padded.nvec)
        fits &= all(1 <= n <= most for n, most in zip(true.nvec, padded.nvec, strict=False))
        expect(fits, f"{what} is {true}, larger than the padded {padded}")


def _check_padding(env: Environment[Any, Any]) -> None:
    m = env.metadata
    for agent, true in zip(m.agents, m.observation_spaces, strict=True):
        padded, structure = space_leaves(m.observation_space)
        leaves, other = space_leaves(true)
        expect(structure == other, f"observation space of {agent} is not built like the padded one")
        for small, large in zip(leaves, padded, strict=True):
            fits = len(small.shape) == len(large.shape)
            fits &= all(n <= most for n, most in zip(small.shape, large.shape, strict=False))
            expect(fits, f"observation space of {agent} has {small}, larger than the padded {large}")
    idle = m.extras.get("idle_action", 0)
    if not isinstance(m.action_space, Box):
        expect(
            bool(np.all(np.asarray(m.action_space.contains(jnp.asarray(_spread(idle, m.action_space)))))),
            f"metadata.extras['idle_action']={idle} is not in the action space {m.action_space}",
        )


def _spread(idle: Any, space: Space) -> np.ndarray:
    return np.broadcast_to(np.asarray(idle, np.int32), space.shape)


def space_leaves(space: PyTree) -> tuple[list[Space], Any]:
    """Returns the spaces in a nest of spaces, and the nest's structure."""
    leaves, structure = jax.tree.flatten(space)
    return leaves, structure


def check_types(env: Environment[Any, Any] | Harness | str) -> None:
    """Reset and step return every array in its declared shape and dtype, and steps keep the state's types."""
    h = Harness.of(env)
    key, state, action, opening = h.shapes()
    after, timestep = jax.eval_shape(lambda k, s, a: h.env.step(k, s, a), key, state, action)
    _expect_same_types(state, after, "state")
    _expect_same_types(opening, timestep, "timestep")
    agents = (h.env.num_agents,)
    for which, ts in (("reset", opening), ("step", timestep)):
        wanted = {
            "reward": (agents, np.float32),
            "terminated": ((), np.bool_),
            "truncated": ((), np.bool_),
            "agent_done": (agents, np.bool_),
            "first": (agents, np.bool_),
            "valid": ((), np.bool_),
        }
        for name, (shape, dtype) in wanted.items():
            _expect_array(getattr(ts, name), shape, dtype, f"{which}: timestep.{name}")
        _expect_array(ts.observation.alive, agents, np.bool_, f"{which}: observation.alive")
        names = [spec.name for spec in h.env.metric_specs]
        expect(
            set(ts.metrics) == set(names),
            f"{which}: timestep.metrics has {sorted(ts.metrics)}, metric_specs {sorted(names)}",
        )
        for name, value in ts.metrics.items():
            _expect_array(value, (), np.float32, f"{which}: metric {name!r}")
        _expect_in_shape(h.env.observation_space, ts.observation.view, agents, f"{which}: observation.view")
        _check_mask_type(h.env.action_space, ts.observation.action_mask, agents, which)
    world = jax.eval_shape(lambda s: h.env.global_state(s), state)
    _expect_in_shape(h.env.state_space, world, (), "global_state")
    if isinstance(opening.observation.view, EntityView):
        expect(h.env.metadata.entity_actions is not None, "an EntityView needs metadata.entity_actions")


def _expect_array(x: Any, shape: tuple[int, ...], dtype: Any, what: str) -> None:
    expect(
        x.shape == shape and x.dtype == dtype,
        f"{what} is {x.dtype}{list(x.shape)}, must be {np.dtype(dtype)}{list(shape)}",
    )


def _expect_in_shape(space: PyTree, tree: PyTree, lead: tuple[int, ...], what: str) -> None:
    spaces, structure = space_leaves(space)
    paths, other = jax.tree_util.tree_flatten_with_path(tree)
    expect(structure == other, f"{what} is built as {other}, its space as {structure}")
    for inner, (path, x) in zip(spaces, paths, strict=True):
        _expect_array(x, (*lead, *inner.shape), inner.dtype, what + jax.tree_util.keystr(path))


def _check_mask_type(space: Space, mask: PyTree, agents: tuple[int, ...], which: str) -> None:
    sizes = {
        Discrete: lambda: [space.n],  # type: ignore[union-attr]
        MultiDiscrete: lambda: list(space.nvec),  # type: ignore[union-attr]
        Box: lambda: [space.shape],
    }[type(space)]()
    expect(
        isinstance(mask, tuple) == isinstance(space, MultiDiscrete),
        f"{which}: action_mask must be {'a tuple' if isinstance(space, MultiDiscrete) else 'one array'}",
    )
    masks = mask if isinstance(mask, tuple) else (mask,)
    expect(len(masks) == len(sizes), f"{which}: action_mask has {len(masks)} entries, must have {len(sizes)}")
    for part, size in zip(masks, sizes, strict=True):
        shape = (*agents, *size) if isinstance(size, tuple) else (*agents, size)
        _expect_array(part, shape, np.bool_, f"{which}: action_mask")


def _expect_same_types(before: PyTree, after: PyTree, what: str) -> None:
    left, structure = flat(before)
    right, other = flat(after)
    expect(structure == other, f"step turns the {what} {structure} into {other}")
    for (path, a), (_, b) in zip(left, right, strict=True):
        name = f"{what}{jax.tree_util.keystr(path)}"
        expect(
            a.shape == b.shape and a.dtype == b.dtype,
            f"step turns {name} from {a.dtype}{list(a.shape)} into {b.dtype}{list(b.shape)}",
        )
        expect(
            not getattr(a, "weak_type", False) and not getattr(b, "weak_type", False),
            f"{name} is weakly typed, so one that was stored would compile everything again; give it a dtype",
        )


def check_strict_numerics(env: Environment[Any, Any] | Harness | str) -> None:
    """Reset and step promote no dtypes and no ranks silently."""
    h = Harness.of(env)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        try:
            key, state, action, _ = h.shapes()
            jax.eval_shape(lambda k, s, a: h.env.step(k, s, a), key, state, action)
            jax.eval_shape(lambda s: h.env.global_state(s), state)
        except Exception as error:
            raise AssertionError(f"silent promotion of a dtype or a rank: {error}") from error


def check_describe(env: Environment[Any, Any] | Harness | str) -> None:
    """`describe` is plain JSON, and names the metrics, options and parameters."""
    env = Harness.of(env).env
    text = env.describe()
    try:
        json.dumps(text, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"describe() is not JSON: {error}") from error
    for kind, key in ((env.Options, "options"), (env.Params, "params")):
        for row in text[key]:
            expect(row["doc"].strip(), f"{kind.__name__}.{row['name']} has no doc")
    for name, maker in env.scripted_policies().items():
        expect(isinstance(maker(), Policy), f"scripted policy {name!r} is not a Policy")


def check_purity(env: Environment[Any, Any] | Harness | str) -> None:
    """Tracing twice gives one program without callbacks: nothing is drawn or kept outside of arguments."""
    h = Harness.of(env)
    key, state, action, _ = h.shapes()
    traced = jax.make_jaxpr(lambda k, s, a: h.env.step(k, s, a))(key, state, action)
    expect(not traced.effects, f"step has side effects: {traced.effects}")
    expect("callback" not in str(traced), "step calls back into Python")
    same = h.lowered_reset == lowered_reset(h.env) and h.lowered_step == lowered_step(h.env)
    expect(same, "tracing twice gives two programs: something is drawn in Python")


def check_params(env: Environment[Any, Any] | Harness | str) -> None:
    """Parameters are array leaves that resets can be vmapped over; steps read them from the state only."""
    h = Harness.of(env)
    for path, leaf in jax.tree_util.tree_flatten_with_path(h.env.params)[0]:
        name = f"params{jax.tree_util.keystr(path)}"
        expect(isinstance(leaf, np.ndarray | jax.Array), f"{name} is a {type(leaf).__name__}, not an array")
        expect(np.asarray(leaf).dtype != np.float64, f"{name} is float64")
    declared = len(dataclasses.fields(h.env.Params))
    expect(
        len(jax.tree.leaves(h.env.params)) >= declared,
        f"{h.env.Params.__name__} must be a flax.struct dataclass whose {declared} fields are pytree leaves",
    )
    stacked = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), h.env.params)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))
    action = jax.ShapeDtypeStruct((2, *h.shapes()[2].shape), h.shapes()[2].dtype)
    state, _ = jax.eval_shape(jax.vmap(lambda k, p: h.env.reset(k, params=p)), keys, stacked)
    jax.eval_shape(jax.vmap(lambda k, s, a: h.env.step(k, s, a)), keys, state, action)
    nudged = nudge(h.env)
    expect(h.lowered_reset == lowered_reset(nudged), "reset(key, params) depends on env.params as well")
    expect(
        h.lowered_step == lowered_step(nudged),
        "step depends on env.params: numbers must be read from the state, where the reset's params were put",
    )


def nudge(env: Environment[Any, Any]) -> Environment[Any, Any]:
    """Returns the environment with every float parameter moved a little, within its bounds."""
    params = env.params
    for field in dataclasses.fields(env.Params):
        for change in (lambda x: x * 0.99 - 0.001, lambda x: x * 1.01 + 0.001, lambda x: x * 0.99):
            value = jax.tree.map(
                lambda x, change=change: change(x).astype(x.dtype) if x.dtype == np.float32 else x,
                getattr(params, field.name),
            )
            try:
                check_value(field, value)
                candidate = dataclasses.replace(params, **{field.name: value})
                env = type(env)(env.id, env.options, candidate)
            except UserError:
                continue
            params = candidate
            break
    return env


def check_exports(env: Environment[Any, Any] | Harness | str, platforms: tuple[str, ...] = PLATFORMS) -> None:
    """The step lowers for every platform."""
    h = Harness.of(env)
    key, state, action, _ = h.shapes()
    program = jax.jit(lambda k, s, a: h.env.step(k, s, a))
    try:
        export.export(program, platforms=platforms)(key, state, action)
    except Exception:  # which of them?
        for platform in platforms:
            try:
                export.export(program, platforms=[platform])(key, state, action)
            except Exception as error:
                raise AssertionError(f"step does not lower for {platform}: {error}") from error
        raise
