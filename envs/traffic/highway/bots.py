"""A scripted driver that plays every action ahead and takes the one that pays without meeting anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Float

from shoal.envs.core.policy import Scripted
from shoal.envs.core.types import Key, Observation, PyTree
from shoal.envs.traffic.highway import motion
from shoal.envs.traffic.highway.observation import PLACE, SPEED
from shoal.envs.traffic.highway.types import (
    ACTIONS,
    FASTER,
    FEATURES,
    IDLE,
    LANE_WIDTH,
    LEFT,
    LENGTH,
    RIGHT,
    SLOWER,
    SPEEDS,
    WIDTH,
)

if TYPE_CHECKING:
    from shoal.envs.traffic.highway.env import Highway

_TICK, _HORIZON = 0.2, 5.0  # s, how finely and how far it looks ahead
_CUSHION, _ASIDE = 1.0, 0.8  # m, kept to others along and across the road
_FEAR, _PATIENCE = 10.0, 1.5  # cost of a meeting now, and the seconds in which it falls to a third
_EFFORT = 0.1  # cost of changing lanes, in rewards
_TRAFFIC = 22.5  # m/s, what scripted drivers aim at, about
_STEADY = (-11.0, 5.0)  # m/s, relative speeds of who may be going at that
_SPEED_SECONDS, _LANE_SECONDS = 0.5, 0.45  # in which speed and place across the road settle
_ROLL = 0.6  # s, that a vehicle's lateral speed carries it on


def _per_action(**values: float) -> np.ndarray:
    named = {"LEFT": LEFT, "RIGHT": RIGHT, "FASTER": FASTER, "SLOWER": SLOWER}
    row = np.zeros(ACTIONS, np.float32)
    for name, value in values.items():
        row[named[name]] = value
    return row


_SIDE = _per_action(LEFT=-1.0, RIGHT=1.0)
_CHANGE = _per_action(FASTER=1.0, SLOWER=-1.0)


@struct.dataclass
class _Sight:
    """What a view says, in m and m/s: own numbers [*B, A], those of others [*B, A, K]."""

    speed: Array  # one's own, estimated
    y: Array
    vy: Array
    there: Array  # bool, others
    ahead: Array
    closing: Array  # negative where they are slower
    other_y: Array
    other_vy: Array


class GapDriver(Scripted):
    """Goes as fast and as far right as nobody is in the way, by where everybody in view will be.

    Decides from the flat view, in either form. A view says nothing of one's own speed above 20 m/s, so it is
    read off the others', most of whom go at about 22.5.
    """

    def __init__(self, env: Highway) -> None:
        """Reads the lanes, and what speed and lanes pay."""
        self.lanes = env.options.lanes
        self.speed_pays = jnp.asarray(env.params.speed_reward, jnp.float32)
        self.lane_pays = jnp.asarray(env.params.right_lane_reward, jnp.float32)

    def choose(self, key: Key, observation: Observation, state: PyTree) -> Array:
        """Drives; deterministic."""
        view = observation.view
        seen = _read(view.reshape(*view.shape[:-1], -1, FEATURES))
        low, high = SPEEDS[0], SPEEDS[-1]
        step = SPEEDS[1] - low
        aim = jnp.round((seen.speed[..., None] - low) / step) * step + low
        side, change = (_in_last_axis(row, aim.ndim) for row in (_SIDE, _CHANGE))
        aim = jnp.clip(aim + step * change, low, high)
        lane = motion.lane_at(seen.y + _ROLL * seen.vy, self.lanes)[..., None]
        lane = jnp.clip(lane.astype(jnp.float32) + side, 0.0, float(self.lanes - 1))

        pays = self.speed_pays * (aim - low) / (high - low) + self.lane_pays * lane / max(self.lanes - 1, 1)
        danger = _FEAR * jnp.exp(-_seconds_free(seen, aim, lane) / _PATIENCE)
        score = pays - danger - _EFFORT * np.abs(side)
        return jnp.where(observation.alive, jnp.argmax(score, axis=-1).astype(jnp.int32), IDLE)


def _in_last_axis(row: np.ndarray, axes: int) -> np.ndarray:
    return row.reshape((1,) * (axes - 1) + (-1,))


def _read(rows: Float[Array, "*batch rows features"]) -> _Sight:
    """Reads a view; oneself stands in the first row or slot."""
    there = rows[..., 1:, 0] > 0
    ahead, y, vx, vy = (rows[..., 1:, k] * scale for k, scale in enumerate((PLACE, PLACE, SPEED, SPEED), 1))
    own_y, own_vy = rows[..., 0, 2] * PLACE, rows[..., 0, 4] * SPEED
    steady = there & (vx > _STEADY[0]) & (vx < _STEADY[1])
    count = jnp.sum(steady, axis=-1).astype(jnp.float32)
    mean = jnp.sum(jnp.where(steady, vx, 0.0), axis=-1) / jnp.maximum(count, 1.0)
    speed = jnp.where(count > 0, jnp.clip(_TRAFFIC - mean, SPEEDS[0], SPEEDS[-1]), SPEEDS[1])
    return _Sight(speed, own_y, own_vy, there, ahead, vx, own_y[..., None] + y, own_vy[..., None] + vy)


def _seconds_free(
    seen: _Sight, aim: Float[Array, "*batch actions"], lane: Float[Array, "*batch actions"]
) -> Float[Array, "*batch actions"]:
    """Returns how long one meets nobody, at most infinity, with each target speed and target lane.

    Others keep their speed and end in the middle of the lane that they drift to.
    """
    t = np.arange(1, round(_HORIZON / _TICK) + 1, dtype=np.float32) * np.float32(_TICK)
    t = _in_last_axis(t, aim.ndim + 1)
    turned = 1.0 - np.exp(-t / _LANE_SECONDS)
    gained = t - _SPEED_SECONDS * (1.0 - np.exp(-t / _SPEED_SECONDS))
    x = (aim - seen.speed[..., None])[..., None] * gained  # [*B, actions, T], beyond one's present speed
    start = seen.y[..., None, None]
    y = start + (LANE_WIDTH * lane[..., None] - start) * turned
    end = LANE_WIDTH * jnp.round((seen.other_y + _ROLL * seen.other_vy) / LANE_WIDTH)
    other_x = seen.ahead[..., None] + seen.closing[..., None] * t  # [*B, K, T]
    other_y = seen.other_y[..., None] + (end - seen.other_y)[..., None] * turned
    along = jnp.abs(other_x[..., None, :, :] - x[..., None, :]) < LENGTH + _CUSHION
    across = jnp.abs(other_y[..., None, :, :] - y[..., None, :]) < WIDTH + _ASIDE
    meets = jnp.any(along & across & seen.there[..., None, :, None], axis=-2)
    return jnp.min(jnp.where(meets, t, jnp.inf), axis=-1)
