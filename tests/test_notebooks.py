"""Every notebook runs from its first cell to its last, and is kept without outputs."""

import json
import os
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 600  # for the slowest cell, compiling on a busy machine


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} >= {
        "first-steps",
        "own-environment-and-algorithm",
        "read-a-commons",
    }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_valid_and_stripped(path):
    import nbformat

    nbformat.validate(nbformat.read(path, as_version=4))
    for cell in json.loads(path.read_text())["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    text = "".join(
        "".join(cell["source"])
        for cell in json.loads(path.read_text())["cells"]
        if cell["cell_type"] == "markdown"
    )
    local = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in local if not (FOLDER / link).exists()] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, tmp_path, monkeypatch):
    import nbclient
    import nbformat

    monkeypatch.setitem(os.environ, "SHOAL_NOTEBOOK_STEPS", "8192")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    assert list(tmp_path.iterdir()) == []  # nothing is written where it runs
    assert shown(notebook, "image/png", "") == PLOTS[path.stem]
    CHECKS[path.stem](notebook)


def both_battles_can_be_watched(notebook) -> None:
    assert shown(notebook, "text/html", "<iframe") == 2


def the_suite_speaks_and_care_decides(notebook) -> None:
    assert "depends on env.params" in printed(notebook)  # what the deaf game does wrong
    gifts = dict(re.findall(r"care (\S+): gives (\S+)", printed(notebook)))
    assert [float(gifts[care]) < 0.1 for care in ("0", "0.5")] == [True, True]
    assert [float(gifts[care]) > 0.9 for care in ("0.8", "1")] == [True, True]


def the_commons_is_read_as_it_says(notebook) -> None:
    patterns = re.findall(r"^ +(\S+) +(True|False) +(\S.*?) +\[(.*)\]$", printed(notebook), re.MULTILINE)
    assert patterns == [
        ("0.03", "True", "prisoner's dilemma", "0, 3"),
        ("0.055", "True", "prisoner's dilemma", "0, 2"),
        ("0.08", "True", "chicken", "1"),
        ("0.1", "False", "harmony", "0, 1, 2, 3, 4"),
    ]


PLOTS = {"first-steps": 1, "own-environment-and-algorithm": 1, "read-a-commons": 3}
CHECKS = {
    "first-steps": both_battles_can_be_watched,
    "own-environment-and-algorithm": the_suite_speaks_and_care_decides,
    "read-a-commons": the_commons_is_read_as_it_says,
}


def shown(notebook, kind: str, text: str) -> int:
    """How many outputs of this kind hold the text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    values = [str(output["data"][kind]) for output in outputs if kind in output.get("data", {})]
    return sum(text in value for value in values)


def printed(notebook) -> str:
    """What was written to standard output."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output["text"] for output in outputs if output.get("name") == "stdout")
