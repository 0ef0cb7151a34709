"""The links in src/shoal, the import guard, and the import rules that import-linter cannot express."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

FOLDERS = ("envs", "algorithms", "baselines", "configs")


@pytest.mark.parametrize("folder", FOLDERS)
def test_link_resolves(repository: Path, folder: str) -> None:
    link = repository / "src" / "shoal" / folder
    assert link.is_symlink(), f"src/shoal/{folder} must be a link (was the checkout unpacked without links?)"
    assert link.readlink().as_posix() == f"../../{folder}"
    assert link.resolve() == repository / folder


def test_src_holds_nothing_else(repository: Path) -> None:
    entries = {path.name for path in (repository / "src" / "shoal").iterdir()} - {"__pycache__"}
    assert entries == {"__init__.py", "py.typed", *FOLDERS}


@pytest.mark.parametrize("folder", FOLDERS)
def test_bare_import_is_refused(repository: Path, folder: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", f"import {folder}"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert f"ImportError: import shoal.{folder}, not {folder}" in result.stderr


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("shoal", exclude_type_checking_imports=True, cache_dir=None)


def _inside(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def test_blocks_import_nothing_above_them(graph: grimp.ImportGraph) -> None:
    blocks = "shoal.algorithms.blocks"
    allowed = (blocks, "shoal.envs.core")
    wrong = [
        f"{module} imports {imported}"
        for module in graph.modules
        if _inside(module, blocks)
        for imported in graph.find_modules_directly_imported_by(module)
        if not any(_inside(imported, package) for package in allowed)
    ]
    assert not wrong


def environments(modules: set[str]) -> list[str]:
    """The packages that are one environment each: those with an env.py."""
    return sorted(
        m.removesuffix(".env") for m in modules if m.startswith("shoal.envs.") and m.endswith(".env")
    )


def sideways(graph: grimp.ImportGraph, packages: list[str]) -> list[str]:
    """Imports that lead from inside one of `packages` into another."""
    return [
        f"{module} imports {imported}"
        for package in packages
        for module in graph.modules
        if _inside(module, package)
        for imported in graph.find_modules_directly_imported_by(module)
        if any(_inside(imported, other) for other in packages if not _inside(package, other))
        and not _inside(imported, package)
    ]


def test_one_environment_never_imports_another(graph: grimp.ImportGraph) -> None:
    assert not sideways(graph, environments(graph.modules))


def test_sideways_imports_would_be_seen() -> None:
    graph = grimp.ImportGraph()
    for module in (
        "shoal.envs.f.a.env",
        "shoal.envs.f.b.env",
        "shoal.envs.f.b.dynamics",
        "shoal.envs.f.common",
    ):
        graph.add_module(module)
    graph.add_import(importer="shoal.envs.f.b.env", imported="shoal.envs.f.b.dynamics")
    graph.add_import(importer="shoal.envs.f.b.env", imported="shoal.envs.f.common")
    packages = environments(graph.modules)
    assert packages == ["shoal.envs.f.a", "shoal.envs.f.b"]
    assert not sideways(graph, packages)
    graph.add_import(importer="shoal.envs.f.b.dynamics", imported="shoal.envs.f.a.env")
    assert sideways(graph, packages) == ["shoal.envs.f.b.dynamics imports shoal.envs.f.a.env"]
