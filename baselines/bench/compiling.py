"""What a program's compile time is made of: tracing, lowering to StableHLO, and XLA's own part.

The seconds are those that JAX reports of itself (`jax.monitoring`), so a peer's programs are counted as ours.
Programs may be compiled at the same time, so the parts can add up to more than a clock on the wall shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PARTS = {
    "/jax/core/compile/jaxpr_trace_duration": "tracing_seconds",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lowering_seconds",
    "/jax/core/compile/backend_compile_duration": "backend_seconds",
}
SMALLEST = 0.1  # seconds; what takes less is an eager operation, not a program


class Programs:
    """Collects the parts by the name of the program."""

    def __init__(self) -> None:
        """Starts with none."""
        self._found: dict[str, dict[str, float]] = {}

    def note(self, event: str, duration_secs: float, **details: Any) -> None:
        """Takes one report of JAX's."""
        if event in PARTS:
            name = str(details.get("fun_name", "unnamed")).removeprefix("jit(").removesuffix(")")
            parts = self._found.setdefault(name, {})
            parts[PARTS[event]] = parts.get(PARTS[event], 0.0) + duration_secs

    def rows(self) -> list[dict[str, Any]]:
        """Returns the programs that reached the compiler, slowest first; inner functions are in theirs."""
        whole = [
            {"name": name, **{part: parts.get(part, 0.0) for part in PARTS.values()}}
            for name, parts in self._found.items()
            if "backend_seconds" in parts and sum(parts.values()) >= SMALLEST
        ]
        return sorted(whole, key=lambda row: -sum(row[part] for part in PARTS.values()))


@contextmanager
def programs() -> Iterator[Programs]:
    """Collects what is compiled meanwhile, in all threads."""
    import jax

    found = Programs()
    jax.monitoring.register_event_duration_secs_listener(found.note)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(found.note)
