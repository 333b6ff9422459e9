"""The same command and seed give the same files, to the bit; only a record says when it was written, and how fast."""

import json
import os

import numpy as np
import pytest

import models
from models.model import Model

SMALL = ["--size", 32, "--steps", 2]
COMMANDS = {
    "classify": [],
    "smooth_grad": ["--samples", 2],
    "grad_cam": [],
    "maximize": ["--target", "cat", *SMALL, "--gif", 1],
    "dream": [*SMALL, "--octaves", 2, "--jitter", 4],
    "texture": [*SMALL],
    "invert": [*SMALL, "--layers", "relu2_1"],
    "attack": ["--method", "pgd", "--steps", 2],
}
SLOW = {
    "saliency": [],
    "lrp": [],
    "rise": ["--samples", 40],
    "integrated_gradients": [],
    "reconstruct_content": [*SMALL, "--layers", "relu2_1"],
    "localize": [],
    "weights": [],
}
WITHOUT_PHOTOGRAPH = ("maximize", "weights")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The weights of a MiniVGG for pictures of 32 pixels, before training."""
    model = models.build("minivgg", seed=0)
    path = tmp_path_factory.mktemp("weights") / "tiny.h5"
    models.save_weights(Model(dict(model.children()), "minivgg", (32, 32), model.labels), path)
    return path


def files(folder):
    """{name: bytes} of what a script wrote; of a record, what does not tell the time."""
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in [name for name in found if name.endswith(".json")]:
        record = json.loads(found[name])
        found[name] = {key: record[key] for key in ("numbers", "arrays", "files", "target", "image", "weights")}
    return found


@pytest.mark.parametrize("name", [*COMMANDS, *SLOW])
def test_the_same_seed_gives_the_same_files(script, photograph, tiny, tmp_path, name):
    if name in SLOW and "MINIGRAD_SLOW" not in os.environ:
        pytest.skip("needs MINIGRAD_SLOW=1: as the others")
    picture = [] if name in WITHOUT_PHOTOGRAPH else [photograph]
    written = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        options = (COMMANDS | SLOW)[name]
        code, _, err = script(name, *picture, *options, "--model", tiny, "--seed", 3, "--out", folder, "--quiet")
        assert (code, err) == (0, "")
        written.append(files(folder))
    assert written[0] == written[1] and any(file.endswith(".npz") for file in written[0])


def test_equal_arrays_have_equal_bytes(tmp_path, monkeypatch):
    from viz.commands.record import save_arrays

    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(True), "ü": np.zeros((0, 3), np.float32)}
    for name in ("one.npz", "other.npz"):
        save_arrays(arrays, tmp_path / name)
        monkeypatch.setattr("time.localtime", lambda *_: (2031, 1, 2, 3, 4, 5, 0, 2, 0))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as file:
        assert all(np.array_equal(file[key], array) and file[key].dtype == array.dtype for key, array in arrays.items())
