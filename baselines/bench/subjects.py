"""What is timed: a batch of environments under random legal actions, ours and the peers', stepped alike.

Every leaf of what a step returns (observation, mask, world state, reward, flags, metrics) is added to a
checksum inside the compiled loop, so that no part of a step can be left uncomputed. Both suites draw actions
by the same cheap function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from shoal.baselines.bench.costs import primitives
from shoal.baselines.bench.processes import HOST_SUITES
from shoal.envs.core import PyTree, RandomPolicy, UserError, VectorEnv, make
from shoal.envs.core.spaces import choose


@struct.dataclass
class Stand:
    """Where a batch of ``E`` environments stands."""

    world: PyTree  # whatever the suite steps, leading axis E
    checksum: Array  # [E] f32, the sum of everything returned so far
    finished: Array  # [E] i32, episodes over so far
    key: Array  # a key, never changed
    clock: Array  # [] i32, steps so far


class Compiled(NamedTuple):
    """A subject ready to be timed."""

    opened: Any  # key -> Stand
    stepped: Any  # (Stand, steps) -> Stand
    equations: int  # of the traced loop


@dataclass(frozen=True)
class Subject:
    """One suite's batch: how it opens, and how all of it steps once."""

    open: Callable[[Array], PyTree]  # key -> world
    step: Callable[[PyTree, Array], tuple[PyTree, PyTree, Array]]  # world, key -> world, returned, done [E]
    devices: tuple[Any, ...]
    num_envs: int

    def compile(self, options: dict[str, Any] | None = None) -> Compiled:
        """Compiles opening and stepping ahead of time, with ``options`` for XLA."""
        mesh = Mesh(np.asarray(self.devices), ("env",))
        split, whole = NamedSharding(mesh, PartitionSpec("env")), NamedSharding(mesh, PartitionSpec())

        def begin(key: Array) -> Stand:
            open_key, key = jax.random.split(key)
            zeros = jnp.zeros(self.num_envs)
            return Stand(self.open(open_key), zeros, zeros.astype(jnp.int32), key, jnp.zeros((), jnp.int32))

        def once(_: Array, stand: Stand) -> Stand:
            key = jax.random.fold_in(stand.key, stand.clock)
            world, returned, done = self.step(stand.world, key)
            return Stand(
                world=world,
                checksum=stand.checksum + checksum(returned, self.num_envs),
                finished=stand.finished + done.astype(jnp.int32),
                key=stand.key,
                clock=stand.clock + 1,
            )

        def advance(stand: Stand, steps: Array) -> Stand:
            return jax.lax.fori_loop(0, steps, once, stand)

        key = jax.random.key(0)
        shapes = jax.eval_shape(begin, key)
        layout = jax.tree.map(lambda _: split, shapes).replace(key=whole, clock=whole)
        opened = jax.jit(begin, out_shardings=layout).lower(key).compile(options)
        placed = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, layout)
        stepped = jax.jit(advance, donate_argnums=0, out_shardings=layout)
        traced = stepped.trace(placed, jax.ShapeDtypeStruct((), jnp.int32))
        equations = primitives(traced.jaxpr.jaxpr).total()
        return Compiled(opened, traced.lower().compile(options), equations)


def checksum(returned: PyTree, num_envs: int) -> Array:
    """Sums every entry of every leaf per environment: [E] f32."""
    leaves = [leaf.reshape(num_envs, -1).astype(jnp.float32) for leaf in jax.tree.leaves(returned)]
    return sum((jnp.sum(leaf, axis=1) for leaf in leaves), jnp.zeros(num_envs))


def ours(env_id: str, num_envs: int) -> Subject:
    """Our environment through `VectorEnv`, on as many devices as the batch divides over."""
    env = make(env_id)
    venv, policy = VectorEnv(env, num_envs), RandomPolicy(env)

    def open_world(key: Array) -> PyTree:
        state, timestep = venv.reset(key)
        return state, replace(timestep.observation, view=())  # random play reads the masks alone

    def step(world: PyTree, key: Array) -> tuple[PyTree, PyTree, Array]:
        state, observation = world
        _, action = policy.act(key, (), observation)
        state, timestep, episode = venv.step(state, action)
        returned = timestep, venv.global_state(state)
        return (state, replace(timestep.observation, view=())), returned, episode.done

    devices = jax.local_devices()
    count = max(n for n in range(1, len(devices) + 1) if num_envs % n == 0)
    return Subject(open_world, step, tuple(devices[:count]), num_envs)


def jaxmarl(env_id: str, num_envs: int) -> Subject:
    """The same task in JaxMARL through its public auto-resetting ``step``, on the default device."""
    env = _jaxmarl_env(env_id)
    masked = env_id.startswith("combat/")

    def mask(state: PyTree) -> Array:
        if masked:
            legal = jax.vmap(env.get_avail_actions)(state)
            return jnp.stack([legal[agent] for agent in env.agents], axis=1) > 0
        sizes = [env.action_space(agent).n for agent in env.agents]
        each = [jnp.arange(max(sizes)) < size for size in sizes]
        return jnp.broadcast_to(jnp.stack(each), (num_envs, len(sizes), max(sizes)))

    def open_world(key: Array) -> PyTree:
        _, state = jax.vmap(env.reset)(jax.random.split(key, num_envs))
        return state, mask(state)

    def step(world: PyTree, key: Array) -> tuple[PyTree, PyTree, Array]:
        state, legal = world
        act_key, step_key = jax.random.split(key)
        action = choose(jax.random.uniform(act_key, legal.shape[:2]), legal)
        actions = {agent: action[:, i] for i, agent in enumerate(env.agents)}
        keys = jax.random.split(step_key, num_envs)
        observation, state, reward, done, info = jax.vmap(env.step)(keys, state, actions)
        legal = mask(state)
        # Its observation holds the world state too.
        return (state, legal), (observation, legal, reward, done, info), done["__all__"]

    return Subject(open_world, step, (jax.devices()[0],), num_envs)


def _jaxmarl_env(env_id: str) -> Any:
    import jaxmarl as package

    bare = env_id.rpartition("-v")[0]
    if bare.startswith("combat/smax-"):
        from jaxmarl.environments.smax import map_name_to_scenario

        return package.make(
            "HeuristicEnemySMAX", scenario=map_name_to_scenario(bare.removeprefix("combat/smax-"))
        )
    return package.make(JAXMARL_NAMES[bare])


JAXMARL_NAMES = {
    "particle/simple-reference": "MPE_simple_reference_v3",
    "particle/simple-speaker-listener": "MPE_simple_speaker_listener_v4",
    "particle/simple-spread": "MPE_simple_spread_v3",
    "particle/simple-tag": "MPE_simple_tag_v3",
}
SUBJECTS = {"shoal": ours, "jaxmarl": jaxmarl}
PEERS = ("jaxmarl", *HOST_SUITES)


def has_peer(peer: str, env_id: str) -> bool:
    """Whether the peer has this task.

    Raises:
        UserError: for an unknown peer or one that is not installed.
    """
    import importlib.util

    if peer not in PEERS:
        raise UserError(f"there is no peer {peer!r} to measure against; choose {' or '.join(PEERS)}")
    host = HOST_SUITES.get(peer)
    if importlib.util.find_spec(peer if host is None else host.package) is None:
        raise UserError(f"{peer} is not installed; pip install 'shoal[peers]'")
    bare = env_id.rpartition("-v")[0]
    if host is not None:
        return bare in host.settings
    return bare in JAXMARL_NAMES or (bare.startswith("combat/smax-") and bare != "combat/smax-custom")


def plays_the_same(peer: str) -> bool:
    """Whether episodes of a peer's tasks must end as often as ours."""
    return peer not in HOST_SUITES or HOST_SUITES[peer].same_game
