"""Learners: they know environments only through `shoal.envs.core`."""

if not __name__.startswith("shoal."):
    raise ImportError("import shoal.algorithms, not algorithms: this folder is a part of the package shoal")
