"""Where compiled test programs are kept between runs, and how that folder stays small and sound."""

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

MAX_BYTES = 4 * 2**30


def folder() -> Path:
    """One folder per jaxlib and per kind of processor: machine code must not wander to another machine."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        features = next(
            line
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith(("flags", "Features"))
        )
    except (OSError, StopIteration):
        features = platform.processor()
    machine = hashlib.sha256(f"{platform.machine()} {features}".encode()).hexdigest()[:12]
    return root / "shoal" / "jax" / f"{version('jaxlib')}-{machine}"


def tidy(path: Path, max_bytes: int = MAX_BYTES) -> None:
    """Drop what a killed process left half-written and, above `max_bytes`, the oldest entries.

    jax never overwrites an entry, so an empty one would cost a warning and a compilation for ever.
    """
    entries = []
    for entry in path.glob("*-cache"):
        try:
            status = entry.stat()
        except FileNotFoundError:  # another test run tidies too
            continue
        entries.append((status.st_mtime if status.st_size else 0.0, status.st_size, entry))
    total = sum(size for _, size, _ in entries)
    for _, size, entry in sorted(entries):
        if size and total <= max_bytes:
            break
        entry.unlink(missing_ok=True)
        total -= size
