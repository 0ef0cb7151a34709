"""The README's promises: its Python runs, its commands, targets, links and extras exist."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_python_runs(readme: str, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(readme, "python")
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert "episodes finished:" in capsys.readouterr().out


def test_commands_exist(readme: str) -> None:
    lines = [line for block in blocks(readme, "sh") for line in block.splitlines()]
    used = {line.split()[1] for line in lines if line.startswith("shoal ")}
    shown = subprocess.run(
        [Path(sys.executable).with_name("shoal"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert used
    assert {name for name in used if not re.search(rf"\b{name}\b", shown)} == set()


def test_make_targets_exist(readme: str, repository: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (repository / "Makefile").read_text(), flags=re.MULTILINE))
    used = set(re.findall(r"^make ([a-z]+)", "\n".join(blocks(readme, "sh")), flags=re.MULTILINE))
    assert used
    assert used <= targets


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(repository: Path, page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)", (repository / page).read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (repository / link).exists()] == []


def test_extras_exist(readme: str, repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    sentence = readme.partition("with the extras that you want:")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", sentence)) == set(project["optional-dependencies"])
