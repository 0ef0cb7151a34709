"""Battles between two teams of units."""

from shoal.envs.combat.smax.scenarios import SCENARIOS
from shoal.envs.core.registry import register

_SMAX = "shoal.envs.combat.smax.env:Smax"

for _name, _overrides in SCENARIOS.items():
    register(f"combat/smax-{_name}-v1", _SMAX, **_overrides)
register("combat/smax-custom-v1", _SMAX)
