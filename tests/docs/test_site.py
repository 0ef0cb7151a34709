"""The documentation builds strictly, says what the package knows, and a broken link ends the build."""

import html
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from shoal.algorithms.registry import PLANNERS, list_algorithms
from shoal.envs import core

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(words, cwd=repository, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def facts(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("facts", repository / "docs" / "hooks" / "facts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(site: Path, name: str) -> str:
    """The content of a page, without navigation."""
    found = re.search(r"<article.*?</article>", (site / name / "index.html").read_text(), re.DOTALL)
    assert found is not None
    return found[0]


def words(text: str) -> str:
    """What a reader sees, without code blocks; paragraphs apart."""
    text = re.sub(r"<pre.*?</pre>", "", text, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", "", re.sub(r"</?(p|li|h\d|td|tr)\b[^>]*>", "\n\n", text)))


def test_everything_is_laid_out(site: Path) -> None:
    pages = sorted(path.parent.relative_to(site).as_posix() for path in site.rglob("index.html"))
    assert len(pages) > 40
    for name in pages:
        text = words(page(site, name))
        assert "```" not in text, f"{name}: a code block was not understood"
        assert not re.search(r"[^\n]\n *(- |\|)", text), (
            f"{name}: a list or table needs an empty line before it"
        )
        assert not re.search(r"(?<![\\\w])\$[^$\s][^$\n]*\$", text), f"{name}: a formula was not understood"


def test_formulas_are_drawn(site: Path) -> None:
    assert '<span class="arithmatex">' in page(site, "environments/commons-water")
    assert "tex-mml-chtml.js" in (site / "environments" / "commons-water" / "index.html").read_text()


def test_code_of_a_file_bears_its_name(site: Path) -> None:
    assert re.search(r'<span class="filename">beacons\.py</span>', page(site, "guides/contract"))


def test_navigation_holds_every_page(site: Path, repository: Path) -> None:
    home = (site / "index.html").read_text()
    for folder in ("guides", "environments", "algorithms"):
        for path in (repository / "docs" / folder).glob("*.md"):
            assert f'href="{folder}/{path.stem}/"' in home
    headings = [
        path.read_text().partition("\n")[0].removeprefix("# ")
        for path in (repository / "docs" / "guides").glob("*.md")
    ]
    assert [heading for heading in headings if heading not in html.unescape(home)] == []


@pytest.mark.parametrize("name", ["changelog", "contributing"])
def test_pages_of_the_root_are_there(site: Path, repository: Path, name: str) -> None:
    heading = (repository / f"{name.upper()}.md").read_text().partition("\n")[0].removeprefix("# ")
    assert heading in words(page(site, name))


def test_environments_show_what_is_registered(site: Path, facts: ModuleType) -> None:
    shown = "".join(page(site, f"environments/{path.name}") for path in (site / "environments").glob("*-*"))
    assert [id for id in facts.our_environments() if f"<code>{id}</code>" not in shown] == []
    water = words(page(site, "environments/commons-water"))
    assert "global state: float32 [6]" in water
    assert "team reward: sum" in water
    assert "Not named above" not in water  # its own tables name everything
    cleanup = words(page(site, "environments/commons-cleanup"))
    assert "svo: ideal angle, degrees" in cleanup  # which its own do not


def test_algorithms_show_how_they_are_configured(site: Path) -> None:
    for name in list_algorithms():
        assert "As configured" in page(site, f"algorithms/{name.replace('_', '-')}")
    mappo = words(page(site, "algorithms/mappo"))
    assert re.search(r"Not named above:.*\bgae_lambda\s+0\.95\b", mappo, re.DOTALL)
    assert "Not named above" not in page(site, "algorithms/ippo")
    assert all(f"<code>{planner}</code>" in page(site, "algorithms") for planner in PLANNERS)


def test_reference_names_what_is_public(site: Path) -> None:
    named = set(re.findall(r'id="shoal\.envs\.core\.(\w+)"', page(site, "reference/core")))
    assert set(core.__all__) <= named
    blocks = page(site, "reference/blocks")
    for name in ("advantages.gae", "mixers", "replay", "learner.Learner.explore"):
        assert f'id="shoal.algorithms.blocks.{name}"' in blocks
    assert 'id="shoal.baselines.policies.load_policy"' in page(site, "reference/baselines")


def test_pages_and_registry_must_agree(facts: ModuleType) -> None:
    water = {"water.md": "# commons/water-v1\n"}
    with pytest.raises(ValueError, match=r"combat/smax-10m_vs_11m-v1 must have one page"):
        facts.environments_index(water)
    with pytest.raises(ValueError, match=r"wine\.md: its heading must name"):
        facts.environments_index(water | {"wine.md": "# commons/wine-v1\n"})
    with pytest.raises(ValueError, match=r"one page for each algorithm.*mappo"):
        facts.algorithms_index({"ippo.md": "# IPPO\n"})


def commands(text: str) -> list[list[str]]:
    """The lines of shell blocks that start with ``shoal``, as words, without comments."""
    block = "".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("shoal ")]


def test_commands_exist(repository: Path) -> None:
    known = {
        path.stem.replace("_", "-") for path in (repository / "baselines" / "commands").glob("[a-z]*.py")
    }
    used = {
        (path.name, line[1])
        for path in (repository / "docs").rglob("*.md")
        for line in commands(path.read_text())
        if not line[1].startswith("-")
    }
    assert len(used) > 20
    assert [(name, command) for name, command in sorted(used) if command not in known] == []


@pytest.mark.parametrize("name", ["index.md", "tutorial.md"])
def test_what_is_to_be_trained_can_be(repository: Path, name: str) -> None:
    from shoal.baselines.composition import compose

    trainings = [
        line[2:] for line in commands((repository / "docs" / name).read_text()) if line[1] == "train"
    ]
    assert trainings
    for training in trainings:
        assert compose(training).env_id == "combat/smax-3m-v1"


GOOD = {"index.md": "# Home\n\n[there](other.md#part)\n", "other.md": "# Other\n\n## Part\n"}


@pytest.mark.parametrize(
    ("pages", "complaint"),
    [
        (GOOD, None),
        (GOOD | {"index.md": "# Home\n\n[there](missing.md)\n"}, "missing.md"),
        (GOOD | {"index.md": "# Home\n\n[there](other.md#party)\n"}, "#party"),
        (GOOD | {"index.md": "# Home\n\n[there](/other/)\n"}, "absolute link"),
        (GOOD | {"orphan.md": "# Nobody leads here\n"}, "orphan.md"),
    ],
    ids=["good", "link", "anchor", "absolute", "orphan"],
)
def test_a_broken_link_ends_the_build(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    pages: dict[str, str],
    complaint: str | None,
) -> None:
    """With the site's own settings, without its hook and its reference."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config
    from mkdocs.exceptions import Abort

    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")  # the theme's note about its own future
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in pages.items():
        (docs / name).write_text(text)
    settings = {"docs_dir": str(docs), "site_dir": str(tmp_path / "site"), "nav": ["index.md", "other.md"]}
    config = load_config(str(repository / "mkdocs.yml"), **settings, hooks=[], plugins=[])
    if complaint is None:
        return build(config)
    with pytest.raises(Abort):
        build(config)
    assert complaint in caplog.text
