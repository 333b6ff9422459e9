"""Inversion recovers what can be recovered, and its penalties are the ones of the formula."""

import numpy as np
import pytest

import minigrad as mg
import viz
from minigrad import nn


@pytest.fixture
def invertible():
    """A strided convolution with an orthogonal kernel (each 2x2 block becomes 12 channels), and a ReLU."""
    kernel = np.linalg.qr(np.random.default_rng(0).standard_normal((12, 12)))[0].reshape(12, 3, 2, 2)
    conv = nn.Conv2d(3, 12, 2, stride=2)
    conv.load_state_dict({"weight": kernel, "bias": np.zeros(12)})
    return nn.Sequential({"conv": conv, "relu": nn.ReLU()})


PLAIN = {"alpha_weight": 0.0, "tv_weight": 0.0}


@pytest.mark.parametrize("optimizer, steps", [("lbfgs", 40), ("adam", 250)])
def test_an_invertible_layer_gives_the_image_back(invertible, images, optimizer, steps):
    x = images(1 if optimizer == "lbfgs" else 2, shape=(3, 6, 8))
    result = viz.invert(invertible, x, "conv", optimizer=optimizer, steps=steps, **PLAIN)
    np.testing.assert_allclose(result.image, x, atol=1e-3)
    assert result.losses["features"][-1] < 1e-5


def test_what_a_layer_loses_does_not_come_back(invertible, images):
    x = images(1, shape=(3, 6, 8))
    result = viz.invert(invertible, x, "relu", optimizer="lbfgs", steps=60, **PLAIN)
    assert result.losses["features"][-1] < 0.1 * result.losses["features"][0]
    assert abs(result.image - x).mean() > 0.02


def test_the_terms_of_the_loss(small_network, images):
    model, x = small_network(), images(2, shape=(3, 8, 6))
    start = images(2, seed=9, shape=(3, 8, 6))
    result = viz.invert(model, x, "relu1", start, steps=1, alpha=4.0, alpha_weight=0.7, beta=3.0, tv_weight=0.3)
    wanted, found = (model.activations(mg.Tensor(i), ["relu1"])["relu1"].numpy() for i in (x, start))
    features = ((found - wanted) ** 2).sum((1, 2, 3)) / (wanted**2).sum((1, 2, 3))
    assert result.losses["features"][0] == pytest.approx(features.sum())
    assert result.losses["alpha"][0] == pytest.approx(0.7 / 48 * (abs(2 * start - 1) ** 4).sum())
    dx, dy = np.zeros_like(start), np.zeros_like(start)
    dx[..., :-1], dy[..., :-1, :] = np.diff(start, axis=3), np.diff(start, axis=2)
    assert result.losses["tv"][0] == pytest.approx(0.3 / 48 * ((dx**2 + dy**2) ** 1.5).sum())


def test_smoothness_costs_likeness(small_network, images):
    model, x = small_network(), images(1, shape=(3, 12, 12))
    rough, smooth = (
        viz.invert(model, x, "relu1", steps=60, alpha_weight=0.0, tv_weight=weight) for weight in (0.0, 3.0)
    )
    tv = [viz.total_variation(mg.Tensor(r.image), "l2").item() for r in (rough, smooth)]
    assert tv[1] < 0.5 * tv[0] and rough.losses["features"][-1] < smooth.losses["features"][-1]


def test_seed_ctrl_c_and_mistakes(small_network, images):
    model, x = small_network(), images(1, shape=(3, 8, 6))

    def interrupt(step, image, losses):
        if step == 2:
            raise KeyboardInterrupt

    first, again = (viz.invert(model, x, "relu1", steps=3, seed=2) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    stopped = viz.invert(model, x, "relu1", steps=9, seed=2, callback=interrupt)
    np.testing.assert_array_equal(stopped.image, viz.invert(model, x, "relu1", steps=2, seed=2).image)
    assert stopped.stopped
    dead = nn.Sequential({"relu": nn.ReLU()})
    with pytest.raises(ValueError, match="nothing to invert"):
        viz.invert(dead, np.zeros((1, 3, 4, 4), np.float32), "relu")
