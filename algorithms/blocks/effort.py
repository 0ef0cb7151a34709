"""How hard XLA tries for a program on a CPU, where compiling can take longer than running."""

from __future__ import annotations

from functools import cache

import jax

# The emitters that jaxlib had before make less code of many small operations: it compiles sooner and runs as
# fast. Without LLVM's optimisations a program that runs once compiles in less than half the time; at level 1
# training loses no speed that could be measured.
ONCE = (("xla_backend_optimization_level", 0), ("xla_cpu_use_fusion_emitters", False))
OFTEN = (("xla_backend_optimization_level", 1), ("xla_cpu_use_fusion_emitters", False))

Options = tuple[tuple[str, int | bool], ...]


@cache
def effort(options: Options, platform: str) -> dict[str, int | bool]:
    """Returns those of ``options`` that apply to ``platform`` and that this jaxlib knows, for ``compile``."""
    return {name: value for name, value in options if platform == "cpu" and _known(name, value)}


def _known(name: str, value: int | bool) -> bool:
    try:
        jax.jit(lambda: 0).lower().compile({name: value})
    except jax.errors.JaxRuntimeError:
        return False
    return True
