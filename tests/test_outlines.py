"""The outlines of docs/outlines.py lie on the pictures, and its table's shares are those of the masks."""

import numpy as np
import pytest

import models
import viz
from tests.docs_scripts import script


@pytest.fixture(scope="module")
def outlines():
    pytest.importorskip("skimage")
    return script("outlines")


def test_a_polygon_is_the_pixels_of_which_most_lie_inside(outlines):
    side = outlines.SIDE
    left = outlines.mask_of([(0, 0, side / 2, 0, side / 2, side, 0, side)], 28, 28)
    np.testing.assert_array_equal(left, np.arange(28) < 14 + np.zeros((28, 1)))
    for (name, _, what), polygons in outlines.OUTLINES.items():
        points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in polygons])
        assert points.min() >= 0 and points.max() <= side, (name, what)
        assert 0 < outlines.mask_of(polygons, 112, 112).mean() < 1, (name, what)


def test_a_row_says_what_is_named_and_where_the_maps_lie(outlines):
    model, picture = models.load("minivgg"), outlines.data.cat()
    key = ("sample", "cat", "eyes, nose and muzzle")
    row = outlines.row(model, key[0], picture, *key[1:], outlines.OUTLINES[key])
    mask = outlines.mask_of(outlines.OUTLINES[key], 112, 112)
    heat = viz.grad_cam(model, models.load_image(picture, model.input_size), "cat")  # has no negative part
    inside = (heat[0] * mask).sum() / heat.sum()
    assert row["named"].startswith("cat 0.9") and row["area"] == mask.mean()
    assert row["grad_cam"] == f"{inside:.0%} ({inside / mask.mean():.1f})"


def test_a_blur_costs_what_the_score_loses_less_the_mean_of_all(outlines):
    rng = np.random.default_rng(0)
    image = rng.uniform(size=(1, 3, 32, 32)).astype(np.float32)
    mask = np.zeros((32, 32), bool)
    mask[4:10, 8:12] = True
    places = outlines.elsewhere(mask, np.random.default_rng(0))
    assert len(places) == 12 and all((~(place & mask)).all() and 18 <= place.sum() <= 24 for place in places)
    assert outlines.elsewhere(np.ones((16, 16), bool), np.random.default_rng(0)) == []

    network = models.build("minivgg", seed=0)
    target = 1
    lost = outlines.losses(network, image, mask, target)
    blurred = np.where(mask, outlines.gaussian_filter(image[0], (0, 6, 6)), image[0])[None]
    before, after = (viz.attacks.scores(network, x)[0] for x in (image, blurred))
    expected = (before[target] - before.mean()) - (after[target] - after.mean())
    assert lost[0] == pytest.approx(expected, abs=1e-4) and abs(lost[0]) > 1e-3 and np.isfinite(lost[1])
