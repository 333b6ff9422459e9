"""ROAD: the imputation by Quantus' values and by its equation, and curves whose order is known."""

from pathlib import Path

import numpy as np
import pytest

import viz
from viz.road import NEIGHBOURS, SHARES, imputed

GOLDEN = Path(__file__).parents[1] / "golden" / "road.npz"


@pytest.fixture
def image():
    return np.random.default_rng(1).uniform(size=(3, 3, 8, 7))


@pytest.fixture
def weight():
    return np.random.default_rng(0).normal(size=(2, 3, 8, 7))


def test_the_imputation_is_that_of_quantus():
    with np.load(GOLDEN) as golden:
        for removed, expected in zip(golden["removed"], golden["imputed"], strict=True):
            found = imputed(golden["image"], removed, 0.0, np.random.default_rng(0))
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_every_removed_pixel_is_the_mean_of_its_neighbours(image):
    removed = np.random.default_rng(2).random((8, 7)) < 0.6
    found = imputed(image[0], removed, 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(found[:, ~removed], image[0][:, ~removed])
    for row, column in np.argwhere(removed):
        total, mean = 0.0, 0.0
        for (down, across), weight in NEIGHBOURS.items():
            r, c = row + down, column + across
            if 0 <= r < 8 and 0 <= c < 7:
                total, mean = total + weight, mean + weight * found[:, r, c]
        np.testing.assert_allclose(found[:, row, column], mean / total, rtol=1e-10)


def test_a_smooth_picture_is_hardly_changed_and_noise_is_of_its_deviation():
    ramp = np.broadcast_to(np.linspace(0, 1, 40)[:, None], (3, 40, 40)).copy()
    removed = np.zeros((40, 40), bool)
    removed[5:35, 5:35] = True
    np.testing.assert_allclose(imputed(ramp, removed, 0.0, np.random.default_rng(0)), ramp, atol=1e-10)
    noisy = imputed(ramp, removed, 0.1, np.random.default_rng(0)) - ramp
    assert abs(noisy[:, removed].std() - 0.1) < 0.005 and not noisy[:, ~removed].any()
    np.testing.assert_array_equal(imputed(ramp, ~removed & removed, 0.1, None), ramp)


def test_curves_step_by_step(linear_model, image, weight):
    rng = np.random.default_rng(3)
    model, maps = linear_model(weight.reshape(2, -1)), rng.normal(size=(3, 8, 7))
    found = viz.road(model, image, maps, [1, 0, 1], shares=[0.25, 0.5], noise=0.0)
    for n, c in enumerate([1, 0, 1]):
        order = np.argsort(-maps[n].ravel())
        for s, count in enumerate((14, 28)):
            for curve, gone in ((found.most, order[:count]), (found.least, order[-count:])):
                y = (
                    weight.reshape(2, -1)
                    @ imputed(image[n], np.isin(np.arange(56), gone).reshape(8, 7), 0.0, rng).ravel()
                )
                np.testing.assert_allclose(curve[n, s], 1 / (1 + np.exp(y[1 - c] - y[c])), rtol=1e-9)
    np.testing.assert_allclose(found.gap, (found.least - found.most).mean(1))


def test_the_right_order_has_a_gap_and_chance_has_none(linear_model, image, weight):
    model = linear_model(weight.reshape(2, -1) * 0.2)
    exact = viz.per_pixel(viz.input_x_gradient(model, viz.as_images(model, image), 1), "signed")
    right, wrong = (viz.road(model, image, sign * exact, 1).gap for sign in (1, -1))
    np.testing.assert_allclose(right, -wrong, atol=0.05)
    flat = np.stack([viz.road(model, image, 0 * exact, 1, seed=seed).gap for seed in range(20)])
    assert (right > 0.05).all() and abs(flat.mean()) < right.mean() / 3


def test_curves_do_not_depend_on_the_batch(linear_model, image, weight):
    model, maps = linear_model(weight.reshape(2, -1)), image.sum(1)
    whole, alone = viz.road(model, image, maps, 1), viz.road(model, image[1:2], maps[1:2], 1)
    assert len(whole.shares) == len(SHARES) and whole.most.shape == (3, 9)
    np.testing.assert_allclose(whole.most[1], alone.most[0], rtol=1e-9)


def test_what_makes_no_sense_is_refused(linear_model, image, weight):
    model = linear_model(weight.reshape(2, -1))
    with pytest.raises(ValueError, match="shares must be below 1"):
        viz.road(model, image, image[:, 0], 1, shares=[0.5, 1.0])
    with pytest.raises(ValueError, match="road: fraction must be above 0"):
        viz.road(model, image, image[:, 0], 1, shares=[0.0])
    with pytest.raises(ValueError, match=r"road: maps must be \(3, 8, 7\), one for each image, got \(3, 3, 8, 7\)"):
        viz.road(model, image, image, 1)
