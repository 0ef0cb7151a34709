"""The built wheel: it holds exactly the package, and it works where the checkout is not."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
FOLDERS = ("envs", "algorithms", "baselines", "configs")


def run(command: list[str | Path], **options: object) -> str:
    """Run a command that must succeed; returns its standard output."""
    result = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return str(result.stdout)


@pytest.fixture(scope="module")
def tracked(repository: Path) -> list[str]:
    """Files that are, or would be, in the repository: tracked, or present and not ignored."""
    listing = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=repository)
    files = [name for name in listing.split("\0") if name]
    return sorted({name for name in files if os.path.lexists(repository / name)})


@pytest.fixture(scope="module")
def wheel(repository: Path, tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tracked files, so that nothing left over in the checkout can slip in."""
    source = tmp_path_factory.mktemp("source")
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(repository / name, source / name, follow_symlinks=False)
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", source / "out"], cwd=source)
    (built,) = (source / "out").glob("*.whl")
    return built


def test_wheel_holds_exactly_the_four_folders(wheel: Path, tracked: list[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.partition("/")[0].endswith(".dist-info")}
    expected = {f"shoal/{name}" for name in tracked if name.partition("/")[0] in FOLDERS}
    expected |= {"shoal/__init__.py", "shoal/py.typed"}
    missing, extra = sorted(expected - packed), sorted(packed - expected)
    assert not missing, f"not in the wheel (no __init__.py? kind of file not in package-data?): {missing}"
    assert not extra, f"in the wheel but not in the repository: {extra}"


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment's bin folder: the wheel itself, dependencies borrowed from this environment.

    Borrowed through a .pth line, which adds a folder but does not run that folder's own .pth files: the
    editable checkout stays out of reach.
    """
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False, symlinks=True)
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    (Path(paths["purelib"]) / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    python = Path(paths["scripts"]) / "python"
    pip = [sys.executable, "-m", "pip", "--python", python]
    run([*pip, "install", "--no-deps", "--no-index", "--ignore-installed", "--quiet", wheel])
    return Path(paths["scripts"])


def test_installed_wheel_is_what_gets_imported(installed: Path, repository: Path, tmp_path: Path) -> None:
    code = (
        "import shoal, shoal.envs as e, shoal.baselines as b; print(shoal.__file__, e.__file__, b.__file__)"
    )
    files = run([installed / "python", "-c", code], cwd=tmp_path).split()
    assert all(Path(file).is_relative_to(installed.parent) for file in files), files


def test_version_is_the_same_everywhere(installed: Path, tmp_path: Path) -> None:
    code = "import shoal, importlib.metadata as m; print(shoal.__version__, m.version('shoal'))"
    ours, recorded = run([installed / "python", "-c", code], cwd=tmp_path).split()
    assert ours == recorded


def test_command_line_works_from_another_folder(installed: Path, tmp_path: Path) -> None:
    assert "train" in run([installed / "shoal", "--help"], cwd=tmp_path)
    code = "import shoal; print('\\n'.join(shoal.list_environments()))"
    ids = run([installed / "python", "-c", code], cwd=tmp_path).split()
    listing = run([installed / "shoal", "envs"], cwd=tmp_path)
    assert ids
    assert all(env_id.rpartition("-v")[0] in listing for env_id in ids)
