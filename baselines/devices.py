"""What must be settled before JAX starts its backend: devices, flags, the cache of compiled programs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from shoal.envs.core.errors import UserError

AUTO = "auto"
DETERMINISTIC_FLAGS = ("--xla_gpu_deterministic_ops=true", "--xla_gpu_exclude_nondeterministic_ops=true")


def core_count() -> int:
    """Returns how many processor cores this process may use, container quotas included."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no quota
        pass
    return cores


def start(deterministic: bool = False, cpu_devices: int | None = None) -> None:
    """Prepares JAX; has no effect on a backend that already runs.

    Args:
        deterministic: ask the GPU for operations that give the same bits every time.
        cpu_devices: host devices on CPU, one per core by default.
    """
    if deterministic:
        flags = os.environ.get("XLA_FLAGS", "").split()
        os.environ["XLA_FLAGS"] = " ".join([*flags, *(f for f in DETERMINISTIC_FLAGS if f not in flags)])
    import jax

    # Refused where JAX already runs (a notebook, a test): its devices are what there is.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", core_count() if cpu_devices is None else cpu_devices)
    use_compile_cache()


def determinism_note(deterministic: bool, platform: str) -> str | None:
    """Returns one line about what ``deterministic`` does here and costs, if there is anything to say."""
    if not deterministic:
        return None
    if platform == "cpu":
        return "deterministic: nothing to switch; on CPU the same run gives the same bits anyway, at no cost"
    return (
        f"deterministic: {' '.join(DETERMINISTIC_FLAGS)}; scatters and reductions in a fixed order, which "
        "costs speed (commonly 5 to 30 % of a training run) and some compile time"
    )


def use_compile_cache() -> Path | None:
    """Keeps compiled programs in the user's cache folder, unless JAX was already told where.

    Returns:
        The folder, or None where it cannot be written.
    """
    import jax

    told: str | None = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if told:
        return Path(told)
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for entry in folder.glob("*-cache"):
            if entry.stat().st_size == 0:  # left by a killed process; JAX would warn about it for ever
                entry.unlink(missing_ok=True)
    except OSError:
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return folder


def cache_folder() -> Path:
    """Returns one folder per jaxlib and kind of processor: machine code must not wander elsewhere."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        features = platform.processor()
    machine = hashlib.sha256(f"{platform.machine()} {features}".encode()).hexdigest()[:12]
    return root / "shoal" / "jax" / f"{metadata.version('jaxlib')}-{machine}"


def choose(wanted: str | int, fits: Any, num_envs: int) -> tuple[list[Any], str | None]:
    """Returns the devices that a run uses, and a line to print when they are fewer than there are.

    Args:
        wanted: ``auto`` (on CPU one, elsewhere all that fit) or a number; for each of several processes.
        fits: devices -> whether environments and minibatches divide over so many.
        num_envs: environments of the run.

    Raises:
        UserError: when there are not so many, or the run does not divide over them.
    """
    import jax

    of_process: dict[int, list[Any]] = {}
    for device in jax.devices():
        of_process.setdefault(device.process_index, []).append(device)
    there = min(len(devices) for devices in of_process.values())
    platform, processes = jax.devices()[0].platform, len(of_process)

    def first(count: int) -> list[Any]:
        return [device for devices in of_process.values() for device in devices[:count]]

    # One CPU device already spreads its matrix products over all cores: docs/benchmarks.md, several devices.
    most = 1 if platform == "cpu" else there
    if wanted != AUTO:
        count = int(wanted)
        if count > there:
            raise UserError(f"devices={count}, but there are {there} ({platform}); use devices=auto")
    else:
        count = max((n for n in range(1, most + 1) if fits(n * processes)), default=1)
    if not fits(count * processes):
        asked = f"devices={count}" if processes == 1 else f"{processes} processes with devices={count}"
        raise UserError(
            f"{asked}: num_envs={num_envs} and the minibatches do not divide over {count * processes} devices"
        )
    note = None
    if wanted == AUTO and count < most:
        note = f"using {count} of {there} devices: num_envs={num_envs} does not divide over more"
    return first(count), note
