"""Stylised copies in training: made once, kept, gone on with after Ctrl-C, and mixed in at the share asked for."""

import importlib
import json
import os
import signal

import numpy as np
import pytest

import models
import viz
from models.dataset import open_photographs

SIDE = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs of two classes, and two pictures to style them by."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for part, count in (("train", 15), ("val", 4)):
        for label, name in enumerate(("dark", "light")):
            for i in range(count):
                (root / "set" / part / name).mkdir(parents=True, exist_ok=True)
                noise = 0.4 * rng.random((3, SIDE, SIDE)) + 0.6 * label
                models.save_image(noise, root / "set" / part / name / f"{i}.png")
    (root / "styles").mkdir()
    for i in range(2):
        models.save_image(rng.random((3, 20, 24)), root / "styles" / f"{i}.png")
    return root


@pytest.fixture
def train(script, folder, tmp_path):
    """train(options...) with the folder's photographs, in a cache of the test's own."""
    common = ["--data", folder / "set", "--cache", tmp_path / "cache", "--model", "minivgg", "--batch-size", 8]
    sides = ["--store-size", SIDE, "--eval-size", SIDE, "--sizes", SIDE, "--epochs", 1, "--style-steps", 2]
    return lambda *options: script("train", *common, *sides, *options)


def copies(folder):
    """The one array of copies in a cache."""
    (path,) = folder.glob("styled-*.npy")
    return np.load(path)


def test_copies_are_mixed_in_with_the_classes_of_their_photographs(train, folder, tmp_path, monkeypatch):
    seen = {}

    def spy(model, images, labels, members, *rest):
        seen.update(images=images, labels=labels, members=members)
        return Trainer(model, images, labels, members, *rest)

    module = importlib.import_module("train")
    Trainer = module.Trainer
    monkeypatch.setattr(module, "Trainer", spy)
    code, output, errors = train("--style-augment", "0.5", "--styles", folder / "styles")
    assert code == 0, errors
    assert "15 stylised copies" in output

    photographs = open_photographs(folder / "set", SIDE, tmp_path / "cache")
    training, _ = photographs.split()
    members, labels = seen["members"], seen["labels"]
    assert len(members) == 45 and np.array_equal(members[:30], training)
    made = seen["images"][members[30:]]
    assert np.array_equal(made, copies(tmp_path / "cache"))
    dark = made.mean((1, 2, 3)) < 127  # the content keeps what tells the classes apart
    assert ((labels[members[30:]] == 0) == dark).mean() > 0.8
    originals = photographs.images[training]
    assert not any((one == originals).all((1, 2, 3)).any() for one in made)

    numbers = json.loads((tmp_path / "out" / "train_minivgg_confusion.json").read_text())["numbers"]
    assert numbers["photographs"] == {"training": 45, "of these stylised": 15, "validation": 8}
    assert (tmp_path / "out" / "train_minivgg_styled.png").is_file()


def test_ctrl_c_keeps_the_copies_and_the_same_command_goes_on(train, folder, tmp_path, monkeypatch):
    options = ("--style-augment", 1, "--styles", folder / "styles", "--quiet")
    counts = []

    def counted(model, content, *rest, **more):
        counts.append(len(content))
        if len(counts) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return stylize(model, content, *rest, **more)

    stylize = viz.stylize
    monkeypatch.setattr(viz, "stylize", counted)
    code, output, errors = train(*options)
    assert code == 130 and "the same command goes on" in output and counts == [8, 8], errors
    first = copies(tmp_path / "cache")[:16].copy()

    code, _, errors = train(*options)
    assert code == 0 and counts == [8, 8, 8, 6], errors
    whole = copies(tmp_path / "cache")
    assert np.array_equal(whole[:16], first) and whole[16:].any((1, 2, 3)).all()
    assert train(*options)[0] == 0 and len(counts) == 4  # nothing is made twice

    code, _, errors = train(*options[:3], folder / "styles" / "0.png", "--quiet")
    assert code == 2 and "is of another run (it differs in copies)" in errors


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--style-augment", "0.5"], "go together"),
        (["--styles", "."], "go together"),
        (["--style-augment", "1.5", "--styles", "."], "a share from 0 to 1, got 1.5"),
        (["--style-augment", "1", "--styles", "nowhere.jpg"], "nowhere.jpg: does not exist"),
        (["--style-augment", "1", "--styles", "empty"], "empty: holds no pictures"),
        (["--style-augment", "1", "--styles", "text.txt"], "not a picture"),
        (["--style-augment", "1", "--styles", "text.txt", "--style-steps", "0"], "--style-steps must be at least 1"),
    ],
)
def test_mistakes_are_one_sentence(train, tmp_path, monkeypatch, options, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("no picture")
    code, _, errors = train("--quiet", *options)
    assert code == 2 and errors.startswith("train: ") and errors.count("\n") == 1
    assert sentence in errors
