"""What the site has beside its pages: navigation by pattern, pages of the root, facts of the package."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))  # hooks are loaded by path
import facts

ROOT_PAGES = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
NAMED_FILE = re.compile(r"^(```\w+) file=(\S+)$", re.MULTILINE)  # as tests/docs/test_guides_run.py reads it
ENVIRONMENTS, ALGORITHMS = "environments", "algorithms"


# Events ----------------------------------------------------------------------------------------------


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Expands the patterns of the navigation."""
    folder = Path(config.docs_dir)
    found = sorted(folder.rglob("*.md"), key=lambda path: (path.parent, path.name != "index.md", path.name))
    pages = [path.relative_to(folder).as_posix() for path in found]
    nav = config.nav or []
    config.nav = _expanded(nav, [page for page in pages if page not in set(_named(nav))])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not files of docs/.

    Raises:
        PluginError: when an environment, an algorithm or a planner has no page.
    """
    root = Path(config.config_file_path).parent
    pages = {file.src_uri: file.content_string for file in files.documentation_pages()}
    contents = {page: _at_home((root / source).read_text()) for page, source in ROOT_PAGES.items()}
    try:
        for folder, index in ((ENVIRONMENTS, facts.environments_index), (ALGORITHMS, facts.algorithms_index)):
            own = {PurePosixPath(uri).name: text for uri, text in pages.items() if _folder(uri) == folder}
            contents[f"{folder}/index.md"] = index(own)
    except ValueError as error:
        raise PluginError(str(error)) from None
    for page, content in contents.items():
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Adds what the package knows about an environment or an algorithm, and its page does not say."""
    markdown = NAMED_FILE.sub(r'\1 title="\2"', markdown)
    folder, name = _folder(page.file.src_uri), PurePosixPath(page.file.src_uri).name
    blocks = {ENVIRONMENTS: facts.environment_block, ALGORITHMS: facts.algorithm_block}
    if folder not in blocks or name == "index.md":
        return markdown
    return f"{markdown.rstrip()}\n\n{blocks[folder](name, markdown)}\n"


# Navigation ------------------------------------------------------------------------------------------


def _expanded(entries: Iterable[Any], pages: list[str]) -> list[Any]:
    """Returns the entries with pages in the place of patterns; sections without any are left out."""
    found: list[Any] = []
    for entry in entries:
        if isinstance(entry, dict):
            for title, value in entry.items():
                inside = [value] if isinstance(value, str) and "*" in value else value
                expanded = _expanded(inside, pages) if isinstance(inside, list) else inside
                found += [{title: expanded}] if expanded else []
        elif "*" in entry:
            found += [_entry(page) for page in pages if fnmatch(page, entry)]
        else:
            found.append(entry)
    return found


def _entry(page: str) -> Any:
    """Returns a page as it stands in the navigation: by its heading, an environment by family and file."""
    return {PurePosixPath(page).stem.replace("-", "/", 1): page} if _folder(page) == ENVIRONMENTS else page


def _named(entries: Any) -> Iterator[str]:
    """Yields the pages that the navigation names itself."""
    if isinstance(entries, str):
        yield entries
    else:
        for entry in entries.values() if isinstance(entries, dict) else entries:
            yield from _named(entry)


def _folder(uri: str) -> str:
    return PurePosixPath(uri).parent.as_posix()


def _at_home(text: str) -> str:
    """Returns a page of the root with links as they are from docs/."""
    return re.sub(r"\]\(docs/", "](", text)
