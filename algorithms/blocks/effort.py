"""How hard XLA tries for a program on a CPU, where compiling can take longer than running."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax

Options = tuple[tuple[str, int | bool], ...]

# The emitters that jaxlib had before make less code, in two thirds of the time. It trains at 0.9 to 0.95 of
# the speed and plays large environments alone at 0.6 (docs/performance.md). LLVM at level 1 costs training no
# speed that could be measured, and at level 0 a program that runs once compiles in half the time.
FULL: Options = (("xla_backend_optimization_level", 1),)
QUICK: Options = (*FULL, ("xla_cpu_use_fusion_emitters", False))
ONCE: Options = (("xla_backend_optimization_level", 0), ("xla_cpu_use_fusion_emitters", False))

EFFORTS = {"quick": QUICK, "full": FULL}

SHORT = 300_000
"""Environment steps up to which a run is over sooner with the quick effort."""


def effort_for(env_steps: int) -> str:
    """Returns the effort with which a run of so many steps is over soonest."""
    return "quick" if env_steps <= SHORT else "full"


@cache
def compiler_options(options: Options, platform: str) -> dict[str, Any]:
    """Returns those of ``options`` that apply to ``platform`` and that this jaxlib knows, for ``compile``."""
    return {name: value for name, value in options if platform == "cpu" and _known(name, value)}


def _known(name: str, value: int | bool) -> bool:
    options: dict[str, Any] = {name: value}
    try:
        jax.jit(lambda: 0).lower().compile(options)
    except jax.errors.JaxRuntimeError:
        return False
    return True
