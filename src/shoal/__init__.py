"""Shoal: multi-agent reinforcement learning environments and baselines in JAX.

`import shoal` costs next to nothing: the four functions below load `shoal.envs.core` at their first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.envs.core.registry import describe, list_environments, make, register

__version__ = "0.1.0"

__all__ = ["__version__", "describe", "list_environments", "make", "register"]

_FROM_REGISTRY = frozenset({"describe", "list_environments", "make", "register"})


def __getattr__(name: str) -> Any:
    """Fetch a registry function at its first use and keep it (PEP 562)."""
    if name not in _FROM_REGISTRY:
        raise AttributeError(f"module 'shoal' has no attribute {name!r}")
    value = getattr(import_module("shoal.envs.core.registry"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
