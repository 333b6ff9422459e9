"""Photographs without class folders, for what needs no classes."""

import json

import numpy as np
import pytest

import models
from tests.scripts import tiny

COMMANDS = {
    "top_patches": ["--layer", "relu2_1", "--channels", 0, "--patches", 2],
    "embedding": [],
    "bias": [],
}


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """(weights, a folder of six pictures and a text)"""
    root, rng = tmp_path_factory.mktemp("flat"), np.random.default_rng(0)
    (root / "few").mkdir()
    for n in range(6):
        models.save_image(rng.random((3, 4, 4), np.float32).repeat(4, 1).repeat(4, 2), root / "few" / f"{n}.png")
    (root / "few" / "notes.txt").write_text("of a day")
    return tiny.write(root), root / "few"


@pytest.mark.parametrize("name", COMMANDS)
def test_pictures_will_do(script, flat, tmp_path, name):
    weights, folder = flat
    code, said, heard = script(name, "--data", folder, "--model", weights, "--out", tmp_path, *COMMANDS[name])
    assert code == 0, heard
    (record,) = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    numbers = record["numbers"]
    if name == "top_patches":
        assert all(found["class"] is None and found["activation"] > 0 for found in numbers["0"])
    elif name == "embedding":
        assert numbers["silhouette"] is None and numbers["images"] == 6 and "silhouette" not in said
    else:
        assert sum(row["images"] for row in numbers["rows"][:-1]) == numbers["rows"][-1]["images"] == 6
        assert set(numbers["rows"][0]) == {"class", "images", "area", "inside"} and "right" not in said


@pytest.mark.parametrize("name", ["evaluate_attribution", "robustness"])
def test_what_needs_classes_says_so(script, flat, name):
    code, _, heard = script(name, "--data", flat[1], "--model", flat[0])
    assert code == 2 and "holds no class folders" in heard
