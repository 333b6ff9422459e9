"""Scripts of docs, which is no package, as modules; and photographs for those that train."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"


def script(name):
    """docs/NAME.py as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{Path(name).name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def cats_and_zebras(folder, side):
    """Four pictures of each of two classes, reddish cats and greenish zebras, in train and in val of a folder."""
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for k, name in enumerate(("cat", "zebra")):
            (folder / part / name).mkdir(parents=True)
            for n in range(4):
                picture = rng.integers(0, 60, (side, side, 3), np.uint8)
                picture[..., k] += 190
                Image.fromarray(picture).save(folder / part / name / f"{n}.png")
