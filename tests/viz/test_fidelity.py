"""Infidelity by captum's definition, and the share left unexplained, whose value by chance is known."""

import numpy as np
import pytest

import viz
from minigrad import nn
from tests.viz.reference_networks import reference
from viz import fidelity
from viz.random import streams


@pytest.fixture
def image():
    return np.random.default_rng(1).uniform(size=(2, 3, 6, 5))


@pytest.fixture
def weight():
    return np.random.default_rng(0).normal(size=(2, 3, 6, 5))


def test_infidelity_is_captums(monkeypatch):
    """On the very noise: it was drawn in the same order there, the same for both images."""
    monkeypatch.setattr(fidelity, "streams", lambda seed, method, x, key: [np.random.default_rng(seed) for _ in x])
    model, image, target, found = reference("vgg")
    g = viz.gradient(model, image, target)
    plain = viz.infidelity(model, image, g, target, samples=6, sigma=0.1, seed=3)
    np.testing.assert_allclose(plain, found["infidelity"], rtol=1e-9)
    scaled = viz.infidelity(model, image, 7 * g, target, samples=6, sigma=0.1, scaled=True, seed=3)
    np.testing.assert_allclose(scaled, found["infidelity_scaled"], rtol=1e-9)


def test_the_gradient_of_a_linear_score_has_no_infidelity(linear_model, image, weight):
    model = linear_model(weight.reshape(2, -1))
    exact = np.broadcast_to(weight[1], image.shape)
    assert viz.infidelity(model, image, exact, 1).max() < 1e-20
    assert viz.infidelity(model, image, 2 * exact, 1, scaled=True).max() < 1e-20
    assert viz.infidelity(model, image, 2 * exact, 1).min() > 0.1
    assert viz.infidelity(model, image, exact[:, 0], 1, scaled=True).min() > 1e-3
    assert viz.relative_infidelity(model, image, -3 * exact, 1).max() < 1e-12
    assert viz.relative_infidelity(model, image, exact[:, 0], 1).min() > 1e-3


class Bowl(nn.Module):
    """y = w . x + 40 |x|^2, for which any noise raises the score."""

    def __init__(self, weight):
        self.weight = weight

    def forward(self, x):
        return ((x * self.weight).sum((1, 2, 3)) + (x * x).sum((1, 2, 3)) * 40.0).reshape(-1, 1)


def test_the_share_left_unexplained_is_one_less_the_squared_correlation(image, weight):
    model = nn.Sequential({"bowl": Bowl(weight[0])})
    found = viz.relative_infidelity(model, image, weight[:1].repeat(2, 0), 0, samples=20, sigma=0.3, seed=4)
    for one, x, rng in zip(found, image, streams(4, "relative_infidelity", image), strict=True):
        noise = np.stack([0.3 * rng.standard_normal(x.shape) for _ in range(20)])
        change = [(n * weight[0]).sum() + 40 * ((x**2).sum() - ((x - n) ** 2).sum()) for n in noise]
        r = np.corrcoef((noise * weight[0]).sum((1, 2, 3)), change)[0, 1]
        assert one == pytest.approx(1 - r**2) and one < 0.99


def test_what_a_map_that_knows_nothing_gets_on_average(linear_model):
    rng = np.random.default_rng(2)
    images, maps, weight = rng.uniform(size=(1500, 48)), rng.normal(size=(1500, 48)), rng.normal(size=48)
    maps -= (maps @ weight)[:, None] * weight / (weight @ weight)  # so that they know nothing
    images, maps = images.reshape(-1, 3, 4, 4), maps.reshape(-1, 3, 4, 4)
    found = viz.relative_infidelity(linear_model(weight[None]), images, maps, 0, samples=6)
    exact = viz.estimate(found)
    assert exact.low < viz.chance_infidelity(6) < exact.high and viz.chance_infidelity(6) == 0.8


def test_a_flat_map_explains_nothing_and_two_noises_say_nothing(linear_model, image, weight):
    model = linear_model(weight.reshape(2, -1))
    assert viz.relative_infidelity(model, image, 0 * image, 1).tolist() == [1, 1]
    with pytest.raises(ValueError, match="samples must be at least 3"):
        viz.relative_infidelity(model, image, image, 1, samples=2)


def test_the_parts_of_a_linear_score_predict_what_their_loss_does(linear_model, image, weight):
    model = linear_model(weight.reshape(2, -1), np.array([3.0, -1]))
    exact = weight[1] * image
    np.testing.assert_allclose(viz.faithfulness_correlation(model, image, exact, 1), 1, rtol=1e-9)
    np.testing.assert_allclose(viz.faithfulness_correlation(model, image, -exact.sum(1), 1), -1, rtol=1e-9)
    against_grey = weight[1] * (image - 0.5)
    np.testing.assert_allclose(viz.faithfulness_correlation(model, image, against_grey, 1, fill=0.5), 1, rtol=1e-9)
    assert (viz.faithfulness_correlation(model, image, exact, 1, fill=0.5) < 0.999).all()


def test_faithfulness_is_the_correlation_over_the_very_sets():
    model, x, _, _ = reference("vgg")
    x = x[:2]
    a = np.random.default_rng(5).normal(size=(2, *x.shape[2:]))
    found = viz.faithfulness_correlation(model, x, a, 1, fraction=0.3, samples=7, seed=3)
    for n in range(2):
        (rng,) = streams(3, "faithfulness_correlation", x[n : n + 1])
        said, fell = [], []
        for _ in range(7):
            chosen = (rng.permutation(a[n].size) < round(0.3 * a[n].size)).reshape(a[n].shape)
            said.append(a[n][chosen].sum())
            fell.append(-fidelity.watched(model, np.where(chosen, 0.0, x[n])[None], 1)[0])
        np.testing.assert_allclose(found[n], np.corrcoef(said, fell)[0, 1], rtol=1e-6)


def test_faithfulness_of_a_map_that_knows_nothing(linear_model, image, weight):
    model = linear_model(weight.reshape(2, -1))
    assert not viz.faithfulness_correlation(model, image, np.ones((2, 6, 5)), 1).any()
    random = np.random.default_rng(6).normal(size=(40, 2, 6, 5))
    values = [viz.faithfulness_correlation(model, image, one, 1, samples=20, seed=k) for k, one in enumerate(random)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(40)
    with pytest.raises(ValueError, match="samples must be at least 3, got 2"):
        viz.faithfulness_correlation(model, image, random[0], 1, samples=2)
