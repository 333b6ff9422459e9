"""The notebook of the guide runs from top to bottom and shows what it says it shows."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

nbclient = pytest.importorskip("nbclient", reason="nbclient and ipykernel run the notebook: pip install -e '.[test]'")
nbformat = pytest.importorskip("nbformat")

TOUR = Path(__file__).parents[1] / "docs" / "tour.ipynb"


def test_it_is_committed_without_outputs():
    assert TOUR.stat().st_size < 100_000
    for cell in nbformat.read(TOUR, 4).cells:
        assert cell.cell_type == "markdown" or not cell.outputs and cell.execution_count is None


@pytest.fixture(scope="module")
def executed():
    """The notebook after a run in a kernel of its own; an error in a cell is an error here."""
    notebook = nbformat.read(TOUR, 4)
    waits = {"timeout": 3000, "startup_timeout": 600}  # seconds for a cell, and for the kernel: of a slow machine
    nbclient.NotebookClient(notebook, **waits, resources={"metadata": {"path": str(TOUR.parent)}}).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_runs_without_errors_or_warnings(executed):
    outputs = [output for cell in executed for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]


def shown(executed, kind):
    return [
        output.data[kind] for cell in executed for output in cell.outputs if "data" in output and kind in output.data
    ]


def test_it_shows_pictures_and_tables(executed):
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))) for png in shown(executed, "image/png")]
    assert len(pictures) >= 11 and all(picture.std() > 5 for picture in pictures)
    (table,) = shown(executed, "text/html")
    assert "saved success" in table and "True" in table
    assert "(1, 300, 451)" in shown(executed, "text/plain")
