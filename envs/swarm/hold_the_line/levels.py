"""Where the robots start."""

from __future__ import annotations

from shoal.envs.core.types import Key
from shoal.envs.swarm.hold_the_line.types import Level, Options, Params
from shoal.envs.swarm.planar import frame as planar

_STARTS = ((0.1, 0.1), (0.15, 0.3), (0.7, 0.01), (0.2, 0.18))
PUBLISHED = {n: _STARTS[:n] for n in range(1, 5)}
"""Number of robots -> starts; fewer than four are the first of them."""


def sample_level(options: Options, key: Key, params: Params) -> Level:
    """Places the robots."""
    x, y = planar.place(options, key, PUBLISHED)
    return Level(x=x, y=y, params=params)
