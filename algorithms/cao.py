"""Cognitive adaptive optimisation (CAO): robots that plan anew in every round, from what their moves cost.

Source: "A distributed, plug-n-play algorithm for multi-robot applications with a priori non-computable
objective functions", IJRR 38(7), 2019, arXiv 2111.07441, and the parameters of its code.

Nothing is learned between episodes. Every robot keeps its last places and its private subcosts there, fits a
cubic to them, and goes to the best of some places drawn around it. It reads nothing but its own row of the
observation; ``metadata.extras["planning"]`` says where what it needs stands there.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array
from jaxtyping import Float, Int

from shoal.envs.core import Environment, Key, Observation, PyTree, UserError


@dataclass(frozen=True)
class CAOConfig:
    """The published parameters; an environment that declares planning has its own."""

    window: int = 5  # t_w: the estimator fits this many rounds and the present one
    candidates: int = 400  # K, places drawn; the present place is one more
    c_max: float = 1.2  # reach of the draws in the first round, units of space per unit of time
    c_min: float = 0.009  # and after ``rounds``
    rounds: int = 300  # T

    def __post_init__(self) -> None:
        """Refuses numbers that cannot plan.

        Raises:
            UserError: names the first of them.
        """
        for name, least in (("window", 1), ("candidates", 1), ("rounds", 1), ("c_max", 0.0), ("c_min", 0.0)):
            if not getattr(self, name) >= least:
                raise UserError(f"{name}={getattr(self, name)} must be at least {least}")


@struct.dataclass
class Window:
    """What each robot remembers: rounds in order, the present one last."""

    x: Array  # [*B, G, W] f32
    y: Array  # [*B, G, W] f32
    cost: Array  # [*B, G, W] f32, the private subcosts
    rounds: Array  # [*B, G] i32, how many the robot has played


class CAO:
    """Plans for every robot by itself; see `shoal.envs.core.Policy` for the contract.

    Candidates are always drawn, so ``greedy`` changes nothing and the key decides the episode.
    """

    needs_state = False

    def __init__(self, env: Environment[Any, Any], config: CAOConfig | None = None, **overrides: Any) -> None:
        """Reads where a view holds place and subcost, how far a robot may go, and the published parameters.

        Args:
            env: declares ``metadata.extras["planning"]``.
            config: parameters other than the published ones.
            **overrides: single ones.

        Raises:
            UserError: when the environment declares no planning, or for a number out of range.
        """
        planning = env.metadata.extras.get("planning")
        if planning is None:
            raise UserError(f"{env.id} declares no planning, so cao does not know what to read")
        config = CAOConfig(**planning["cao"]) if config is None else config
        self.config = dataclasses.replace(config, **overrides)
        self.place, self.subcost = planning["place"], planning["subcost"]
        self.low, self.high = planning["bounds"]
        self.time_step, self.reach = planning["time_step"], planning["reach"]
        self.rows = env.num_agents

    def initial_carry(self, batch: tuple[int, ...] = ()) -> Window:
        """Returns the memory of robots that have not played yet."""
        empty = jnp.zeros((*batch, self.rows, self.config.window + 1), jnp.float32)
        return Window(x=empty, y=empty, cost=empty, rounds=jnp.zeros((*batch, self.rows), jnp.int32))

    def act(
        self,
        key: Key,
        carry: PyTree,
        observation: Observation,
        state: PyTree = None,
        greedy: bool = True,
        first: Array | None = None,
    ) -> tuple[PyTree, Array]:
        """Moves the robots [*B, G, 2]; memory is empty where ``first``."""
        view = observation.view
        x, y = (view[..., column] for column in self.place)
        played = carry.rounds if first is None else jnp.where(first, 0, carry.rounds)
        window = Window(
            x=_pushed(carry.x, x),
            y=_pushed(carry.y, y),
            cost=_pushed(carry.cost, view[..., self.subcost]),
            rounds=played + 1,
        )
        theta = fit(window.x, window.y, window.cost, window.rounds)
        u = jax.random.uniform(key, (2, *x.shape, self.config.candidates))
        reach = self._reach(played)
        tried_x, tried_y = self._candidates(x, reach, u[0]), self._candidates(y, reach, u[1])
        predicted = jnp.einsum("...kf,...f->...k", monomials(tried_x, tried_y), theta, precision="highest")
        best = jnp.argmin(predicted, axis=-1, keepdims=True)  # the present place wins ties: it comes first
        ways = (
            jnp.take_along_axis(tried, best, axis=-1)[..., 0] - old
            for tried, old in ((tried_x, x), (tried_y, y))
        )
        return window, jnp.clip(jnp.stack(list(ways), axis=-1) / self.reach, -1.0, 1.0)

    def _reach(self, played: Int[Array, "*rows"]) -> Float[Array, "*rows"]:
        """Returns how far candidates lie: less from round to round."""
        c = self.config
        done = jnp.minimum(played.astype(jnp.float32) / c.rounds, 1.0)
        return jnp.minimum(self.time_step * (c.c_max - (c.c_max - c.c_min) * done), self.reach)

    def _candidates(
        self, old: Float[Array, "*rows"], reach: Float[Array, "*rows"], u: Float[Array, "*rows draws"]
    ) -> Float[Array, "*rows candidates"]:
        """Returns the present place, then places uniform within reach and bounds.

        Drawing between cut bounds is the same as drawing again whatever lies outside of the domain.
        """
        low, high = jnp.maximum(old - reach, self.low), jnp.minimum(old + reach, self.high)
        drawn = low[..., None] + u * (high - low)[..., None]
        return jnp.concatenate([old[..., None], drawn], axis=-1)


def _pushed(
    past: Float[Array, "*rows window"], newest: Float[Array, "*rows"]
) -> Float[Array, "*rows window"]:
    """Forgets the oldest round and adds one."""
    return jnp.concatenate([past[..., 1:], newest[..., None]], axis=-1)


def monomials(x: Float[Array, "*batch"], y: Float[Array, "*batch"]) -> Float[Array, "*batch features"]:
    """Returns the ten monomials of x and y up to the third order."""
    powers = (x, y, x * x, x * y, y * y, x * x * x, x * x * y, x * y * y, y * y * y, jnp.ones_like(x))
    return jnp.stack(powers, axis=-1)


def fit(
    x: Float[Array, "*rows window"],
    y: Float[Array, "*rows window"],
    cost: Float[Array, "*rows window"],
    rounds: Int[Array, "*rows"],
) -> Float[Array, "*rows features"]:
    """Fits cubics to the last ``rounds`` entries by least squares: of all best ones the smallest."""
    window = x.shape[-1]
    known = jnp.arange(window, dtype=jnp.int32) >= window - rounds[..., None]
    # Rows of zeros ask nothing of the coefficients.
    features = jnp.where(known[..., None], monomials(x, y), 0.0)
    inverse = jnp.linalg.pinv(features)
    return jnp.einsum("...fw,...w->...f", inverse, jnp.where(known, cost, 0.0), precision="highest")
