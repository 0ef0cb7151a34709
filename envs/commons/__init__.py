"""Shared resources and social dilemmas."""

from shoal.envs.core.registry import register

register("commons/water-v1", "shoal.envs.commons.water.env:Water")
