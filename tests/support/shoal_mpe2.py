"""mpe2's worlds, set to any state and stepped, beside ours from the same states."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from mpe2 import simple_reference_v3, simple_spread_v3, simple_tag_v3

MODULES = {"spread": simple_spread_v3, "reference": simple_reference_v3, "tag": simple_tag_v3}
RULES: dict[str, Any] = {"max_steps": 25, "time_limit_is_termination": False}
"""Our options for the length and the end of mpe2's episodes."""


class Theirs:
    """One of mpe2's environments."""

    def __init__(self, name: str, **options: Any) -> None:
        self.parallel = MODULES[name].parallel_env(**options)
        self.parallel.reset(seed=0)
        self.world = self.parallel.unwrapped.world
        self.agents = self.parallel.possible_agents

    def set(self, row: dict[str, np.ndarray]) -> None:
        """Puts the world into a state: x, y, vx, vy [N]; goal [A] and message [A, D] where there are some."""
        for i, entity in enumerate(self.world.entities):
            entity.state.p_pos = np.array([row["x"][i], row["y"][i]], np.float64)
            entity.state.p_vel = np.array([row["vx"][i], row["vy"][i]], np.float64)
        if "goal" not in row:
            return
        for agent, other in ((0, 1), (1, 0)):  # an agent's goal_b is where the other should go
            self.world.agents[agent].goal_b = self.world.landmarks[int(row["goal"][other])]
            self.world.agents[agent].state.c = row["message"][agent].astype(np.float64)

    def read(self) -> dict[str, np.ndarray]:
        """Positions and velocities [N], what agents say [A, D], and all observations in a row."""
        place = np.stack([e.state.p_pos for e in self.world.entities])
        speed = np.stack([e.state.p_vel for e in self.world.entities])
        said = np.stack([np.asarray(a.state.c, np.float64) for a in self.world.agents])
        x, y = place.T.copy()
        vx, vy = speed.T.copy()
        return {"x": x, "y": y, "vx": vx, "vy": vy, "message": said, "views": self.parallel.state()}

    def goals(self) -> np.ndarray:
        """[2], where each agent of the reference game should go."""
        marks = self.world.landmarks
        return np.array([marks.index(self.world.agents[other].goal_b) for other in (1, 0)], np.int32)

    def step(self, action: np.ndarray) -> dict[str, np.ndarray]:
        """Steps once; adds rewards [A] and whether the limit was hit."""
        rows = [int(a) if np.ndim(a) == 0 else a for a in action]
        _, rewards, terminated, truncated, _ = self.parallel.step(dict(zip(self.agents, rows, strict=True)))
        assert not any(terminated.values())
        return self.read() | {
            "reward": np.array([rewards[a] for a in self.agents]),
            "truncated": np.array(truncated[self.agents[0]]),
        }


def random_states(env: Any, count: int, seed: int) -> dict[str, np.ndarray]:
    """Crowded and wide worlds, at rest and at all speeds that agents reach; ours and mpe2's alike."""
    rng = np.random.default_rng(seed)
    agents, entities = env.num_agents, len(jax.eval_shape(env.reset, jax.random.key(0))[0].particles.x)
    spread = np.choose(np.arange(count) % 3, [0.3, 1.1, 3.0])[:, None]
    place = rng.uniform(-1, 1, (2, count, entities)) * spread
    speed = np.zeros((2, count, entities))
    speed[:, :, :agents] = rng.uniform(-1.0, 1.0, (2, count, agents)) * (np.arange(count) % 4 > 0)[:, None]
    floats = {"x": place[0], "y": place[1], "vx": speed[0], "vy": speed[1]}
    return {name: value.astype(np.float32) for name, value in floats.items()}


def random_actions(env: Any, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Actions [*shape, A] or [*shape, A, D], all legal."""
    rng = np.random.default_rng(seed)
    space = env.action_space
    if hasattr(space, "n"):
        return rng.integers(0, space.n, (*shape, env.num_agents), np.int32)
    return rng.uniform(0, 1, (*shape, env.num_agents, *space.shape)).astype(np.float32)


def set_state(env: Any, row: dict[str, Any]) -> Any:
    """Our state of the same row."""
    state, _ = env.reset(jax.random.key(0))
    moved = {name: row[name] for name in ("x", "y", "vx", "vy")}
    rest = {name: row[name] for name in ("goal", "message") if name in row}
    return state.replace(particles=state.particles.replace(**moved), **rest)


def stepper(env: Any) -> Any:
    """Steps ours from rows, all at once: what was seen before, the state, the timestep, the global state."""

    @jax.jit
    @jax.vmap
    def one(row: dict[str, jax.Array], action: jax.Array) -> Any:
        state = set_state(env, row)
        before = env.observe(state)
        state, timestep = env.step(jax.random.key(0), state, action)
        return before, state, timestep, env.global_state(state)

    return lambda rows, actions: jax.device_get(one(rows, jnp.asarray(actions)))


def true_views(env: Any, view: np.ndarray) -> np.ndarray:
    """[T, A, F] padded to [T, sum of the true sizes]: what the agents really see, in a row."""
    sizes = [space.shape[0] for space in env.metadata.observation_spaces]
    return np.concatenate([view[:, i, :size] for i, size in enumerate(sizes)], axis=1)


def decided_by_rounding(env: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[T] bool, whether two agents lie within 1e-5 of touching: float32 and float64 may differ there."""
    agents = env.num_agents
    size = np.asarray(env.options.bodies.size)[:agents]
    x, y = x[:, :agents].astype(np.float64), y[:, :agents].astype(np.float64)
    gap = np.hypot(x[:, :, None] - x[:, None], y[:, :, None] - y[:, None]) - (size[:, None] + size)
    return (np.abs(gap) < 1e-5).any(axis=(1, 2))
