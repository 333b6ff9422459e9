"""The contact sheets of docs/sheets.py: both networks, every kind of picture, in very few steps."""

import numpy as np

import models
from tests.docs_scripts import script
from viz.commands.gallery.optimised import waves


def test_a_row_has_every_picture_of_one_network(monkeypatch):
    sheets = script("sheets")
    monkeypatch.setattr(sheets, "STEPS", dict.fromkeys(sheets.STEPS, 1))
    monkeypatch.setattr(sheets, "SIDE", 64)
    photograph = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    model = models.load("minivgg_robust")
    image = models.load_image(photograph, model.input_size)
    row = sheets.row(model, image, photograph, 3, waves(64))
    assert len(row) == 9 and all(picture.shape[0] == 3 and np.isfinite(picture).all() for picture in row.values())
    np.testing.assert_array_equal(row["photograph"], image[0])
    assert not np.allclose(row["dream"], photograph[0])
