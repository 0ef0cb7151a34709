"""The run folder: its files, and what is written once."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from shoal.algorithms.registry import short_name
from shoal.baselines.config import RunConfig
from shoal.baselines.loggers import undefined_as_null
from shoal.envs.core.errors import UserError
from shoal.envs.core.registry import split_id

PACKAGES = (
    "shoal", "jax", "jaxlib", "flax", "optax", "chex", "distrax", "numpy", "scipy", "orbax-checkpoint",
    "hydra-core", "jaxmarl", "jumanji",
)  # fmt: skip


class RunFolder:
    """Paths of a run, and its files that are written once."""

    def __init__(self, path: Path) -> None:
        """Touches nothing."""
        self.path = path
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.summary = path / "summary.json"
        self.versions = path / "versions.json"

    @classmethod
    def create(cls, config: RunConfig) -> RunFolder:
        """Makes the folder of a new run.

        Raises:
            UserError: when it holds a run already or cannot be written.
        """
        folder = cls(Path(config.output_dir) if config.output_dir else _fresh(config))
        if folder.config.exists() or folder.metrics.exists():
            raise UserError(
                f"output_dir={folder.path} already holds a run; shoal train resume={folder.path} "
                "continues it, or choose another folder"
            )
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            probe = folder.path / ".write-test"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"output_dir={folder.path} cannot be written: {error.strerror}; choose a folder that can"
            ) from error
        return folder

    def write_json(self, path: Path, values: Mapping[str, Any]) -> None:
        """Writes an object; the file is whole or as it was."""
        part = path.with_suffix(".part")
        part.write_text(
            json.dumps(undefined_as_null(values), indent=2, allow_nan=False) + "\n", encoding="utf-8"
        )
        part.replace(path)


def _fresh(config: RunConfig) -> Path:
    """Returns a folder under runs/ that does not exist yet."""
    scenario = re.sub(r"-v\d+$", "", split_id(config.env_id)[1])
    algorithm = short_name(config.algorithm_name)
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{scenario}-{algorithm}-seed{config.seed}"
    path, number = Path("runs") / stem, 1
    while path.exists():
        number += 1
        path = Path("runs") / f"{stem}-{number}"
    return path


def versions(devices: Sequence[Any]) -> dict[str, Any]:
    """Returns what a run depends on beside its configuration: packages, device, git revision."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": {"platform": devices[0].platform, "kind": devices[0].device_kind, "count": len(devices)},
        "git": git_revision(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def git_revision() -> dict[str, Any] | None:
    """Returns the revision of the checkout that Shoal runs from, and whether it was changed since."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        command = ["git", "-C", str(here), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # not somebody else's repository around ours
        return {"revision": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
