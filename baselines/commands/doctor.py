"""``shoal doctor``: versions, devices, and what is missing."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Any

import typer

TESTED = ({"python": "3.11", "jax": "0.10.2", "flax": "0.12.8", "system": "Linux, CPU"},)
"""What the tests passed with; README.md has the same table."""


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what Shoal finds on this machine, what is missing, and how to get it.

    The exit status is 1 when something must be mended.

    Example: shoal doctor
    """
    from shoal.baselines.output import print_json, print_table

    report = examine()
    if json:
        print_json(report)
    else:
        print_table("Versions", ("", ""), report["versions"].items())
        print_table(
            "Devices", ("", ""), [(str(d["id"]), f"{d['platform']} {d['kind']}") for d in report["devices"]]
        )
        print_table("Machine", ("", ""), [(key, str(value)) for key, value in report["machine"].items()])
        rows = [
            (name, "yes" if not extra["missing"] else f"no: {', '.join(extra['missing'])}", extra["install"])
            for name, extra in report["extras"].items()
        ]
        print_table("Optional parts", ("extra", "complete", "to get it"), rows)
        for row in report["tested"]:
            print("tested with " + ", ".join(f"{key} {value}" for key, value in row.items()))
        for kind in ("problems", "hints"):
            for line in report[kind]:
                print(f"{kind[:-1]}: {line}")
        if not report["problems"]:
            print("all that Shoal needs is here")
    if report["problems"]:
        raise typer.Exit(1)


def examine() -> dict[str, Any]:
    """Returns everything that ``--json`` prints."""
    core, extras = _requirements()
    versions = {"shoal": _version("shoal"), "python": sys.version.split()[0]}
    versions |= {name: _version(name) for name in sorted({*core, "jaxlib"})}
    problems = [
        f"{name} is not installed; pip install {name!r}" for name in core if _version(name) == "missing"
    ]
    report: dict[str, Any] = {
        "versions": versions,
        "tested": list(TESTED),
        "devices": [],
        "machine": {},
        "extras": {
            name: {
                "missing": [package for package in packages if _version(package) == "missing"],
                "install": f"pip install 'shoal[{name}]'",
            }
            for name, packages in extras.items()
        },
        "problems": problems,
        "hints": [],
    }
    if not core:
        report["hints"].append("the installed package lists no requirements; install Shoal again")
    try:
        _look_at_machine(report)
    except Exception as error:  # a broken jax must not keep the doctor from speaking
        report["problems"].append(f"jax does not start: {str(error).splitlines()[0]}")
    if versions.get("jax", TESTED[0]["jax"]) not in {row["jax"] for row in TESTED}:
        report["hints"].append(f"jax {versions['jax']} is not among the versions tested")
    return report


def _look_at_machine(report: dict[str, Any]) -> None:
    """Adds devices and machine, with what is wrong with them."""
    import os
    import platform
    import shutil

    import jax

    from shoal.baselines import devices

    devices.start()
    found = jax.devices()
    folder = devices.use_compile_cache()
    x64 = bool(jax.config.read("jax_enable_x64"))
    report["devices"] = [
        {"id": device.id, "platform": device.platform, "kind": device.device_kind} for device in found
    ]
    report["machine"] = {
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": devices.core_count(),
        "memory_bytes": _memory(),
        "compile_cache": None if folder is None else str(folder),
        "x64": x64,
    }
    if folder is None:
        report["hints"].append(
            f"compiled programs cannot be kept: {devices.cache_folder()} is not writable; set XDG_CACHE_HOME"
        )
    elif not os.access(folder, os.W_OK):
        report["hints"].append(f"compiled programs cannot be kept: {folder} is not writable")
    if found[0].platform == "cpu" and shutil.which("nvidia-smi"):
        report["hints"].append("an NVIDIA driver is here but jax sees no GPU; pip install 'shoal[cuda]'")
    if x64:
        report["problems"].append("JAX_ENABLE_X64 is set; Shoal computes in 32 bits, so unset it")


def _memory() -> int | None:
    import os

    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _requirements() -> tuple[list[str], dict[str, list[str]]]:
    """Returns what Shoal declares: needed packages, and those of every extra."""
    from importlib import metadata

    try:
        lines = metadata.requires("shoal") or []
        names = metadata.metadata("shoal").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return [], {}
    core: list[str] = []
    extras: dict[str, list[str]] = {name: [] for name in names}
    for line in lines:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"""extra\s*==\s*["']([^"']+)["']""", line)
        if name and extra:
            extras.setdefault(extra[1], []).append(_accelerator(name[0], line))
        elif name:
            core.append(name[0])
    return core, extras


def _accelerator(name: str, line: str) -> str:
    """Returns the package that shows whether an extra of jax is there, such as ``jax[cuda12]``."""
    if name != "jax":
        return name
    return {"cuda12": "jax-cuda12-plugin", "cuda13": "jax-cuda13-plugin", "tpu": "libtpu"}.get(
        (re.search(r"\[([^]]+)\]", line) or ["", ""])[1], name
    )
