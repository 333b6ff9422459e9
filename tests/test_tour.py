"""The notebook of the guide runs from top to bottom, shows what it says it shows, and keeps what it showed."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.docs_scripts import script

pytest.importorskip("nbclient", reason="nbclient and ipykernel run the notebook: pip install -e '.[test]'")
nbformat = pytest.importorskip("nbformat")

DOCS = Path(__file__).parents[1] / "docs"
TOUR = DOCS / "tour.ipynb"
ROUNDED = r"-?\d+\.\d+(e[+-]?\d+)?|\d{4,}"  # what rounding may change: fractions, and how many values an attack moved


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def kept():
    return code(nbformat.read(TOUR, 4))


@pytest.fixture(scope="module")
def executed():
    """Its code cells after a run, with small outputs as they are kept; an error in a cell is an error here."""
    notebook = script("notebook")
    return code(notebook.small(notebook.executed(nbformat.read(TOUR, 4))))


def test_every_cell_has_a_title_and_was_run_in_order(kept):
    assert all(re.match(r"# \w", cell.source) for cell in kept)
    assert [cell.execution_count for cell in kept] == list(range(1, len(kept) + 1))
    assert TOUR.stat().st_size < 1_500_000


def test_it_runs_without_errors_or_warnings(executed):
    outputs = [output for cell in executed for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]


def shown(cells, kind):
    return [output.data[kind] for cell in cells for output in cell.outputs if kind in output.get("data", {})]


def words(cells, kind):
    """Texts without their decimals, which are another machine's to rounding."""
    return [re.sub(r"-?\d+\.\d+(e[+-]?\d+)?", "#", text) for text in shown(cells, kind)]


def pictures(cells):
    """Grey pictures of 64 pixels a side."""
    found = [Image.open(io.BytesIO(base64.b64decode(jpeg))) for jpeg in shown(cells, "image/jpeg")]
    return [(picture.size, np.asarray(picture.convert("L").resize((64, 64)), np.float64)) for picture in found]


def test_it_shows_pictures_and_tables(executed):
    found = pictures(executed)
    assert len(found) >= 11 and all(grey.std() > 5 and size[0] <= 640 for size, grey in found)
    (table,) = shown(executed, "text/html")
    assert "saved success" in table and "True" in table
    assert "(1, 300, 451)" in shown(executed, "text/plain")


def test_what_is_kept_is_what_a_run_shows(kept, executed):
    """To rounding: the same outputs, words and sizes, pictures that look alike. `python docs/notebook.py` renews it."""
    assert [[sorted(o.get("data", o)) for o in cell.outputs] for cell in kept] == [
        [sorted(o.get("data", o)) for o in cell.outputs] for cell in executed
    ]
    for kind in ("text/plain", "text/html"):
        words = [[re.sub(ROUNDED, "#", text) for text in shown(cells, kind)] for cells in (kept, executed)]
        assert words[0] == words[1]
    for (size, grey), (wanted_size, wanted) in zip(pictures(kept), pictures(executed), strict=True):
        assert size == wanted_size and np.corrcoef(grey.ravel(), wanted.ravel())[0, 1] > 0.9
