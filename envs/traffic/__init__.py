"""Roads, junctions and the vehicles on them."""

from shoal.envs.core.registry import register
from shoal.envs.traffic.junction.scenarios import scenarios

_HIGHWAY = "shoal.envs.traffic.highway.env:Highway"
register("traffic/highway-mild-v1", _HIGHWAY)
register("traffic/highway-chaotic-v1", _HIGHWAY, aggressive=0.3, defensive=0.3)

for _name, (_entry, _overrides) in scenarios().items():
    register(f"traffic/{_name}-v1", _entry, **_overrides)
