"""Every notebook runs from its first cell to its last, and is kept without outputs."""

import json
import os
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))
SECONDS = 600  # for the slowest cell, compiling on a busy machine


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    for cell in json.loads(path.read_text())["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


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
    if path.stem == "quickstart":
        assert shown(notebook, "text/html", "<iframe") == 2  # both battles can be watched
        assert shown(notebook, "image/png", "") == 1  # the plot


def shown(notebook, kind: str, text: str) -> int:
    """How many outputs of this kind hold the text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    values = [str(output["data"][kind]) for output in outputs if kind in output.get("data", {})]
    return sum(text in value for value in values)
