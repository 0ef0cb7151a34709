"""The Python of the guides to the contract and the adapters is executed, top to bottom."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

from shoal.envs.core import conformance, registry

BLOCK = re.compile(r"^```python(?: file=(\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that modules are imported from; what is imported or registered meanwhile is forgotten."""
    registry.list_environments()
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("beacons",):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("guide", ["contract.md", "adapters.md"])
def test_guide(guide: str, repository: Path, workplace: Path) -> None:
    text = (repository / "docs" / "guides" / guide).read_text()
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```python")
    space: dict[str, object] = {"__name__": guide}
    for file, code in blocks:
        if file:
            (workplace / file).write_text(code)
            importlib.invalidate_caches()
        else:
            exec(compile(code, guide, "exec"), space)


def test_every_check_is_named(repository: Path) -> None:
    text = (repository / "docs" / "guides" / "contract.md").read_text()
    checks = {name for name in conformance.__all__ if name.startswith("check_")}
    assert set(re.findall(r"check_\w+", text)) == checks
