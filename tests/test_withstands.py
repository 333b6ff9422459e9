"""docs/withstands.py: what counts as withstood, and that a run goes on where it was stopped."""

import itertools
import sys

import numpy as np
import pytest
from PIL import Image

import models
from tests.docs_scripts import script


@pytest.fixture(scope="module")
def withstands():
    return script("withstands")


def test_only_what_is_named_right_is_attacked_and_counted_after_rounding(withstands):
    model, rng = models.load("minivgg"), np.random.default_rng(0)
    x = rng.random((4, 3, 112, 112), np.float32)
    y = withstands.viz.attacks.scores(model, withstands.viz.as_saved(x)).argmax(1)
    y[0] = (y[0] + 1) % 12  # named wrong already
    seen = []

    def black(model, images, labels):
        seen.append((len(images), labels.tolist()))
        return images * 0

    found = withstands.withstood(model, black, x, y)
    of_black = withstands.named_right(model, 0 * x, y)
    assert seen == [(3, y[1:].tolist())] and found.dtype == bool
    np.testing.assert_array_equal(found, np.stack([[False, True, True, True], [False, *of_black[1:]]], 1))
    np.testing.assert_array_equal(withstands.withstood(model, lambda m, x, y: x, x, y)[:, 1], found[:, 0])


def test_a_run_goes_on_where_it_was_stopped(withstands, tmp_path, monkeypatch, capsys):
    rng, calls = np.random.default_rng(1), []
    for part, name in itertools.product(("train", "val"), ("cat", "zebra")):
        folder = tmp_path / "data" / part / name
        folder.mkdir(parents=True)
        for k in range(3):
            Image.fromarray(rng.integers(0, 256, (112, 112, 3), np.uint8)).save(folder / f"{k}.png")

    def none(model, images, labels):
        calls.append(len(images))
        return images

    monkeypatch.setitem(withstands.ATTACKS, "pgd", none)
    monkeypatch.setattr(withstands, "BATCH", 2)
    monkeypatch.setattr(withstands, "named_right", lambda model, x, y: np.ones(len(x), bool))
    words = ["withstands.py", str(tmp_path / "data"), "--attack", "pgd", "--out", str(tmp_path / "out"), "--count"]
    monkeypatch.setattr(sys, "argv", [*words, "4"])
    withstands.main()
    monkeypatch.setattr(sys, "argv", [*words, "6"])
    withstands.main()
    assert calls == [2, 2, 2]
    assert (
        capsys.readouterr().out.splitlines()[-1].startswith("6 photographs: 100.0% (61.0% to 100.0%) right untouched")
    )
