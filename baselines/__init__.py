"""What a person runs: command line, runner, evaluation, checkpoints, loggers, benchmark, tables."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if not __name__.startswith("shoal."):
    raise ImportError("import shoal.baselines, not baselines: this folder is a part of the package shoal")

if TYPE_CHECKING:
    from shoal.baselines.policies import load_policy
    from shoal.baselines.replay import record_episode

__all__ = ["load_policy", "record_episode"]

_MODULES = {"load_policy": "policies", "record_episode": "replay"}


def __getattr__(name: str) -> Any:
    """Imports what is named at its first use, so that the command line starts fast (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module 'shoal.baselines' has no attribute {name!r}")
    value = getattr(import_module(f"shoal.baselines.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
