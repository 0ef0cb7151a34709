"""Our simple speaker-listener and particle physics beside those of mpe2, from the same states and actions.

mpe2 computes in float64 and we in float32, from states that float32 can hold. Tolerances: 1e-6 for what is of
order one, and one float32 rounding more per unit of magnitude (1e-6 relative) for what is larger: squared
distances, and contact forces that a soft margin of 1e-3 magnifies.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mpe2 import simple_speaker_listener_v4
from mpe2._mpe_utils.core import Agent, Landmark, World

from shoal.envs.common.particles import Bodies, Contact, Motion, Particles, contact_forces, integrate
from shoal.envs.core import make
from shoal.envs.particle.speaker_listener.types import Level

pytestmark = pytest.mark.parity

STEPS = 4000
KEY = jax.random.key(0)


def close(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(np.asarray(ours, np.float64), theirs, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def env() -> Any:
    return make("particle/simple-speaker-listener-v1")


class Theirs:
    """mpe2's environment, set to any state."""

    def __init__(self) -> None:
        self.parallel = simple_speaker_listener_v4.parallel_env()
        self.parallel.reset(seed=0)
        self.world = self.parallel.unwrapped.world

    def set(self, row: dict[str, np.ndarray]) -> None:
        """Puts the world into one row of `random_states`."""
        for i, entity in enumerate(self.world.entities):
            entity.state.p_pos = np.array([row["x"][i], row["y"][i]], np.float64)
            entity.state.p_vel = np.array([row["vx"][i], row["vy"][i]], np.float64)
        speaker, listener = self.world.agents
        speaker.goal_b = self.world.landmarks[int(row["goal"])]
        speaker.state.c = np.eye(3)[row["message"]] if row["message"] >= 0 else np.zeros(3)
        listener.state.c = np.zeros(3)

    def read(self) -> dict[str, np.ndarray]:
        """Positions and velocities [5] of all entities, the message [3], both observations in a row [14]."""
        place = np.stack([e.state.p_pos for e in self.world.entities])
        speed = np.stack([e.state.p_vel for e in self.world.entities])
        return {
            "x": place[:, 0],
            "y": place[:, 1],
            "vx": speed[:, 0],
            "vy": speed[:, 1],
            "heard": self.world.agents[0].state.c,
            "view": self.parallel.state(),
        }

    def step(self, say: int, move: int) -> dict[str, np.ndarray]:
        """Steps once; adds rewards [2] and whether the limit was hit."""
        _, rewards, terminated, truncated, _ = self.parallel.step({"speaker_0": say, "listener_0": move})
        assert not any(terminated.values())
        return self.read() | {
            "reward": np.array([rewards["speaker_0"], rewards["listener_0"]]),
            "truncated": np.array(truncated["listener_0"]),
        }


def random_states(count: int, seed: int) -> dict[str, np.ndarray]:
    """States within and beyond the square where episodes open, at all speeds that pushes can reach."""
    rng = np.random.default_rng(seed)
    spread = np.where(np.arange(count) % 2, 1.0, 6.0)[:, None]
    place = rng.uniform(-1, 1, (2, count, 5)) * spread
    speed = np.zeros((2, count, 5))
    speed[:, :, 1] = rng.uniform(-2.0, 2.0, (2, count)) * (np.arange(count) % 3 > 0)
    floats = {"x": place[0], "y": place[1], "vx": speed[0], "vy": speed[1]}
    return {name: value.astype(np.float32) for name, value in floats.items()} | {
        "goal": rng.integers(0, 3, count, np.int32),
        "message": rng.integers(-1, 3, count, np.int32),
        "say": rng.integers(0, 3, count, np.int32),
        "move": rng.integers(0, 5, count, np.int32),
    }


@pytest.fixture(scope="module")
def step(env: Any) -> Any:
    """Steps ours from rows like those of `random_states`, all at once."""

    @jax.jit
    @jax.vmap
    def one(row: dict[str, jax.Array]) -> Any:
        state = env.initial_state(Level(x=row["x"], y=row["y"], goal=row["goal"], params=env.params))
        particles = state.particles.replace(vx=row["vx"], vy=row["vy"])
        state = state.replace(particles=particles, message=row["message"])
        action = jnp.stack([row["say"], row["move"] + env.metadata.action_columns[1][0]])
        before = env.observe(state)
        state, timestep = env.step(KEY, state, action)
        return before, state, timestep, env.global_state(state)

    return lambda rows: jax.device_get(one(rows))


def stacked(rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def test_single_steps_from_random_states(env: Any, step: Any) -> None:
    rows = random_states(STEPS, seed=1)
    before, after = [], []
    theirs = Theirs()
    for i in range(STEPS):
        if i % 20 == 0:  # before the time limit
            theirs.parallel.reset(seed=i)
        theirs.set({name: value[i] for name, value in rows.items()})
        before.append(theirs.read())
        after.append(theirs.step(int(rows["say"][i]), int(rows["move"][i])))
    seen, state, timestep, global_state = step(rows)
    compare(env, seen.view, stacked(before)["view"])
    compare_step(env, state, timestep, global_state, stacked(after))


def compare(env: Any, view: np.ndarray, theirs: np.ndarray) -> None:
    """Each agent's own columns hold its true observation, all others are zero."""
    offset = 0
    for agent, columns in enumerate(env.metadata.observation_columns):
        own = list(columns)
        close(view[:, agent, own], theirs[:, offset : offset + len(own)])
        rest = np.delete(view[:, agent], own, axis=1)
        assert not rest.any()
        offset += len(own)
    assert offset == theirs.shape[1]


def compare_step(
    env: Any, state: Any, timestep: Any, global_state: Any, theirs: dict[str, np.ndarray]
) -> None:
    for name in ("x", "y", "vx", "vy"):
        close(getattr(state.particles, name), theirs[name])
    np.testing.assert_array_equal(state.message, theirs["heard"].argmax(axis=1))
    compare(env, timestep.observation.view, theirs["view"])
    close(global_state, theirs["view"])
    close(timestep.reward, theirs["reward"])


def test_whole_episodes(env: Any) -> None:
    """From their resets with the same actions, without correction on the way; ends included."""
    episodes, theirs = 40, Theirs()
    rng = np.random.default_rng(2)
    actions = np.stack([rng.integers(0, 3, (episodes, 25)), 3 + rng.integers(0, 5, (episodes, 25))], axis=-1)
    # Half of the episodes keep pushing one way, so that speeds saturate and distances grow.
    actions[::2, :, 1] = actions[::2, :1, 1]
    opened, stepped = [], []
    for i in range(episodes):
        theirs.parallel.reset(seed=100 + i)
        goal = [mark is theirs.world.agents[0].goal_b for mark in theirs.world.landmarks].index(True)
        opened.append(theirs.read() | {"goal": np.array(goal, np.int32)})
        stepped.append(stacked([theirs.step(int(say), int(move) - 3) for say, move in actions[i]]))
    opened = stacked(opened)

    @jax.jit
    @jax.vmap
    def play(x: jax.Array, y: jax.Array, goal: jax.Array, actions: jax.Array) -> Any:
        level = Level(x=x, y=y, goal=goal, params=env.params)

        def one(state: Any, action: jax.Array) -> Any:
            state, timestep = env.step(KEY, state, action)
            return state, (state, timestep, env.global_state(state))

        state, timestep = env.reset(KEY, level=level)
        return timestep, jax.lax.scan(one, state, actions)[1]

    x, y = (opened[name].astype(np.float32) for name in ("x", "y"))
    first, (state, timestep, global_state) = jax.device_get(
        play(x, y, opened["goal"], actions.astype(np.int32))
    )
    compare(env, first.observation.view, opened["view"])
    flat = stacked(stepped)
    np.testing.assert_array_equal(timestep.truncated, flat["truncated"])
    assert flat["truncated"][:, -1].all() and not flat["truncated"][:, :-1].any()
    # The start is rounded to float32 once and 25 steps add up: allow ten roundings.
    for ours, name in ((state.particles.x, "x"), (state.particles.y, "y"), (global_state, "view")):
        np.testing.assert_allclose(ours, flat[name], rtol=3e-6, atol=3e-6)
    np.testing.assert_allclose(timestep.reward, flat["reward"], rtol=3e-6, atol=1e-5)


def test_resets_agree_in_distribution(env: Any) -> None:
    count = 1500
    theirs = Theirs()
    places, goals = [], []
    for i in range(count):
        theirs.parallel.reset(seed=i)
        now = theirs.read()
        places.append(np.concatenate([now["x"], now["y"]]))
        goals.append([mark is theirs.world.agents[0].goal_b for mark in theirs.world.landmarks].index(True))
        assert not now["vx"].any() and not now["heard"].any()
    keys = jax.random.split(jax.random.key(5), count)
    state, _ = jax.jit(jax.vmap(env.reset))(keys)
    assert not np.asarray(state.particles.vx).any() and (np.asarray(state.message) == -1).all()
    ours = np.concatenate([state.particles.x, state.particles.y], axis=1)
    # Kolmogorov-Smirnov distance of each coordinate; 0.1 is passed by chance less than once in 10^6 trials.
    grid = np.linspace(-1, 1, 201)
    for a, b in zip(ours.T, np.stack(places).T, strict=True):
        gap = (a[:, None] <= grid).mean(axis=0) - (b[:, None] <= grid).mean(axis=0)
        assert np.abs(gap).max() < 0.1
    shares = [np.bincount(g, minlength=3) / count for g in (np.asarray(state.goal), np.asarray(goals))]
    assert np.abs(shares[0] - shares[1]).max() < 5 * np.sqrt(2 * 2 / 9 / count)


# The physics that this environment does not use, for worlds in which entities touch ----------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_contacts_and_speed_limits(seed: int) -> None:
    """Crowded worlds of mixed entities: movable or not, colliding or not, of any size, mass and top speed."""
    rng = np.random.default_rng(seed)
    agents, count, worlds = 4, 7, 300
    size = tuple(rng.uniform(0.05, 0.2, count).astype(np.float32).tolist())
    movable = tuple((rng.random(count) < 0.7).tolist())
    collide = (True, *(rng.random(count - 1) < 0.8).tolist())
    mass = tuple(rng.uniform(0.5, 2.0, count).astype(np.float32).tolist())
    limit = tuple(np.where(rng.random(count) < 0.5, np.inf, rng.uniform(0.5, 1.5, count).astype(np.float32)))
    place = rng.uniform(-0.5, 0.5, (4, worlds, count)).astype(np.float32)
    controls = rng.choice([-5.0, 0.0, 5.0], (2, worlds, agents)).astype(np.float32)

    world = World()
    world.agents, world.landmarks = (
        [Agent() for _ in range(agents)],
        [Landmark() for _ in range(count - agents)],
    )
    for i, entity in enumerate(world.entities):
        entity.size, entity.movable, entity.collide = size[i], movable[i], collide[i]
        entity.initial_mass = mass[i]
        entity.max_speed = None if np.isinf(limit[i]) else limit[i]
        if i < agents:
            entity.silent, entity.action.c = True, np.zeros(0)
    expected = []
    for w in range(worlds):
        for i, entity in enumerate(world.entities):
            entity.state.p_pos = place[:2, w, i].astype(np.float64)
            entity.state.p_vel = place[2:, w, i].astype(np.float64)
            if i < agents:
                entity.action.u = controls[:, w, i].astype(np.float64)
        world.step()
        expected.append([np.concatenate([e.state.p_pos, e.state.p_vel]) for e in world.entities])

    bodies = Bodies(size=size, movable=movable, collide=collide, mass=mass, max_speed=limit)
    contact, motion = Contact(), Motion()

    @jax.jit
    @jax.vmap
    def step(x: Any, y: Any, vx: Any, vy: Any, ux: Any, uy: Any) -> Particles:
        particles = Particles(x=x, y=y, vx=vx, vy=vy)
        fx, fy = contact_forces(particles, bodies, contact)
        still = jnp.zeros(count - agents)
        return integrate(
            particles, fx + jnp.concatenate([ux, still]), fy + jnp.concatenate([uy, still]), bodies, motion
        )

    after = step(*place, *controls)
    theirs = np.array(expected).transpose(2, 0, 1)
    touched = np.abs(theirs[2:] - place[2:] * 0.75).max(axis=0) > 0.05
    assert touched.mean() > 0.3, "the test must see contacts"
    close(after.x, theirs[0])
    close(after.y, theirs[1])
    # Velocities change by force x 0.1 / mass, and a force by 100 per unit of position.
    np.testing.assert_allclose(after.vx, theirs[2], rtol=2e-6, atol=1e-5)
    np.testing.assert_allclose(after.vy, theirs[3], rtol=2e-6, atol=1e-5)
