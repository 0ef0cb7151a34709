"""What importing costs, measured in fresh interpreters."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HEAVY = ("gymnasium", "pettingzoo", "wandb", "hydra", "omegaconf", "PIL", "matplotlib", "orbax", "distrax")
GIVEN = "import jax, flax, flax.struct, chex"
OURS = "import shoal.envs, shoal.envs.core"


def measure(code: str, folder: Path) -> dict[str, Any]:
    """Run `code` in a new interpreter; returns what it leaves in `report`."""
    program = f"import json, sys, time\nreport = {{}}\n{code}\nprint(json.dumps(report))"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True, timeout=120
    )
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return answer


def test_import_shoal_loads_nothing(tmp_path: Path) -> None:
    report = measure(
        "import shoal\n"
        "report['loaded'] = [m for m in ('jax', 'flax', 'shoal.envs', 'numpy') if m in sys.modules]",
        tmp_path,
    )
    assert report["loaded"] == []


def test_registry_functions_come_at_first_use(tmp_path: Path) -> None:
    report = measure(
        "import shoal, shoal.envs.core.registry as registry\n"
        "names = ('make', 'list_environments', 'describe', 'register')\n"
        "report['same'] = [getattr(shoal, n) is getattr(registry, n) for n in names]\n"
        "report['listed'] = set(names) <= set(dir(shoal))\n"
        "report['unknown'] = hasattr(shoal, 'mkae')",
        tmp_path,
    )
    assert report == {"same": [True] * 4, "listed": True, "unknown": False}


def test_import_envs_loads_nothing_heavy(tmp_path: Path) -> None:
    """Modules that flax and chex load themselves are theirs, not ours."""
    report = measure(
        f"{GIVEN}\nbefore = set(sys.modules)\n{OURS}\n"
        f"report['loaded'] = sorted(set({HEAVY!r}) & (set(sys.modules) - before))",
        tmp_path,
    )
    assert report["loaded"] == []


@pytest.mark.serial
def test_import_envs_is_quick(tmp_path: Path) -> None:
    """At most 0.5 s on top of jax, flax and chex; the best of three, because machines are shared."""
    code = f"{GIVEN}\nstart = time.perf_counter()\n{OURS}\nreport['seconds'] = time.perf_counter() - start"
    seconds = min(measure(code, tmp_path)["seconds"] for _ in range(3))
    assert seconds < 0.5
