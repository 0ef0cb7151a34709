"""Swarms: on a grid, where bodies push each other, and in the plane, where robots spread out."""

from shoal.envs.core.registry import register
from shoal.envs.swarm.grid.scenarios import scenarios

for _name, (_entry, _overrides) in scenarios().items():
    register(f"swarm/{_name}-v1", _entry, **_overrides)

register("swarm/coverage-v1", "shoal.envs.swarm.coverage.env:AdaptiveCoverage")
register("swarm/hold-the-line-v1", "shoal.envs.swarm.hold_the_line.env:HoldTheLine")
