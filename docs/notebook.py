"""Run docs/tour.ipynb and keep its outputs, small, in it: `python docs/notebook.py`. Do so when a cell has changed."""

import base64
import io
from pathlib import Path

import nbclient
import nbformat
from PIL import Image

TOUR = Path(__file__).with_name("tour.ipynb")
WIDTH, QUALITY = 640, 80  # of a picture, in pixels at most, and of JPEG


def executed(notebook):
    """The notebook after a run in a kernel of its own, in docs/."""
    waits = {"timeout": 3000, "startup_timeout": 600}  # seconds for a cell, and for the kernel: of a slow machine
    nbclient.NotebookClient(notebook, **waits, resources={"metadata": {"path": str(TOUR.parent)}}).execute()
    return notebook


def small(notebook):
    """Its pictures as JPEG of few pixels, without the text that stands for them; cells without the times they ran."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                output.data = nbformat.from_dict({"image/jpeg": reduced(output.data["image/png"])})
    return notebook


def reduced(png):
    """JPEG as base64 of a PNG as base64."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    picture.thumbnail((WIDTH, picture.height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


if __name__ == "__main__":
    nbformat.write(small(executed(nbformat.read(TOUR, 4))), TOUR)
