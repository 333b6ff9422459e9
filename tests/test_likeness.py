"""docs/likeness.py: optimised pictures and an attacked photograph, layer by layer, beside photographs of the class."""

import sys

import numpy as np

import models
from tests.docs_scripts import cats_and_zebras, script

likeness = script("likeness")


def test_a_row_for_each_picture_and_a_number_for_each_class(tmp_path, monkeypatch, capsys):
    cats_and_zebras(tmp_path / "data", 32)
    network = models.build("minivgg", seed=0, labels=("cat", "zebra"))
    network.input_size = (32, 32)
    models.save_weights(network, tmp_path / "net.h5")
    monkeypatch.setattr(likeness, "STEPS", 2)
    words = [str(tmp_path / "data"), "--model", str(tmp_path / "net.h5"), "--targets", "cat,zebra"]
    monkeypatch.setattr(sys, "argv", ["likeness.py", *words])
    likeness.main()
    head, _, *rows = capsys.readouterr().out.strip().splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["made by", *likeness.LAYERS]
    assert [row.split("|")[1].strip() for row in rows] == [
        "Fourier, robust, 2 steps",
        "pixels alone, 2 steps",
        "PGD 8/255 on a photograph of another class",
    ]
    assert all(len(cell.split("/")) == 2 for row in rows for cell in row.strip("|").split("|")[1:])


def test_a_photograph_of_the_class_is_nearer_to_it_than_one_of_the_others(tmp_path, monkeypatch):
    cats_and_zebras(tmp_path / "data", 32)
    network = models.build("minivgg", seed=0, labels=("cat", "zebra"))
    data = likeness.labelled_images(tmp_path / "data", 32, 8, 0, network)
    for target, label in (("cat", 0), ("zebra", 1)):
        own, other = (data.images[data.labels == n][:1] for n in (label, 1 - label))
        monkeypatch.setattr(likeness, "made", lambda *_, own=own, other=other: {"own": own, "other": other})
        found = likeness.relative(network, data, target)
        assert (found["own"] > found["other"]).all() and (abs(found["own"] - 1) < abs(found["other"] - 1)).all()
        assert np.isfinite(found["own"]).all()
