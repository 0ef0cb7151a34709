"""Shared resources and social dilemmas."""

from shoal.envs.core.registry import register

register("commons/water-v1", "shoal.envs.commons.water.env:Water")
register("commons/harvest-open-v1", "shoal.envs.commons.harvest.env:Harvest")
register("commons/harvest-closed-v1", "shoal.envs.commons.harvest.env:Harvest", map="closed")
register("commons/harvest-partnership-v1", "shoal.envs.commons.harvest.env:Harvest", map="partnership")
register("commons/cleanup-v1", "shoal.envs.commons.cleanup.env:Cleanup")

for _setting in ("fishery", "pasture", "pollution"):
    register(f"commons/govsim-{_setting}-v1", "shoal.envs.commons.govsim.env:Pool", setting=_setting)
register("commons/govsim-trash-v1", "shoal.envs.commons.govsim.env:Trash")
