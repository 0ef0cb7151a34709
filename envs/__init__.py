"""Environments: pure functions that know nothing of learning."""

if not __name__.startswith("shoal."):
    raise ImportError("import shoal.envs, not envs: this folder is a part of the package shoal")

from shoal.envs import combat, commons, particle, swarm, traffic

__all__ = ["combat", "commons", "particle", "swarm", "traffic"]
