"""What a program costs as counted, and what the machine can do at most: how far a rate is from its limit."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from typing import Any

COPIED = 2**26  # numbers, 256 MiB: far beyond any cache
WIDTH = 2048  # of the square matrices that are multiplied
REPEATS = 5


def primitives(jaxpr: Any) -> Counter[str]:
    """Returns how often each primitive occurs in a jaxpr, programs inside of programs included."""
    found: Counter[str] = Counter()
    for equation in jaxpr.eqns:
        found[equation.primitive.name] += 1
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    found += primitives(inner)
    return found


def counted(compiled: Any) -> tuple[float, float] | None:
    """Returns the operations and the bytes read and written of a compiled program, loops counted once.

    None where the compiler does not count.
    """
    analysis = compiled.cost_analysis()
    if not analysis or "flops" not in analysis or "bytes accessed" not in analysis:
        return None
    return float(analysis["flops"]), float(analysis["bytes accessed"])


def limits() -> dict[str, float]:
    """Measures bytes copied (read and written) and operations of a matrix product per second, float32."""
    import jax
    import jax.numpy as jnp

    def seconds(function: Any, x: Any) -> float:
        compiled, taken = jax.jit(function, donate_argnums=0), []
        for _ in range(REPEATS + 1):  # the first compiles
            began = time.perf_counter()
            x = jax.block_until_ready(compiled(x))
            taken.append(time.perf_counter() - began)
        return statistics.median(taken[1:])

    copying = seconds(lambda x: x + 1.0, jnp.zeros(COPIED))
    multiplying = seconds(lambda x: x @ x, jnp.zeros((WIDTH, WIDTH)))
    return {
        "copied_bytes_per_second": 2 * 4 * COPIED / copying,
        "product_flops_per_second": 2 * WIDTH**3 / multiplying,
    }
