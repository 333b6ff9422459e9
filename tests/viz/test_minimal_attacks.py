"""DeepFool and Carlini and Wagner, against exact distances of linear networks."""

import numpy as np
import pytest

import minigrad as mg
from viz import minimal_attacks as attacks
from viz.attack_report import distances
from viz.attacks import scores

SIZE = 3 * 6 * 5


@pytest.fixture
def affine(linear_model, images):
    """affine(seed, classes): a linear network, and x in the middle of the range, of which it is not very sure."""

    def build(seed=0, classes=5):
        rng = np.random.default_rng(seed)
        weight, bias = rng.standard_normal((classes, SIZE)), rng.standard_normal(classes)
        return linear_model(weight, bias - weight.sum(1) / 2), weight, images(4, seed, low=0.45, high=0.55)

    return build


def border_distances(model, weight, x, order):
    """(N,K): the exact distance to the border with each class, infinite for the image's own."""
    z = scores(model, x)
    own = z.argmax(1)
    gap = z.max(1)[:, None] - z
    length = np.linalg.norm(weight[own][:, None] - weight[None], ord=order, axis=2)
    with np.errstate(invalid="ignore"):
        return np.where(np.arange(z.shape[1]) == own[:, None], np.inf, gap / length)


@pytest.mark.parametrize("norm, dual", [("l2", 2), ("linf", 1)])
def test_deepfool_on_an_affine_classifier_is_the_exact_projection(norm, dual, affine):
    model, weight, x = affine()
    exact = border_distances(model, weight, x, dual)
    found = attacks.deepfool(model, x, norm=norm, overshoot=0.01)
    np.testing.assert_allclose(distances(x, found)[norm], 1.01 * exact.min(1), rtol=1e-9)
    np.testing.assert_array_equal(scores(model, found).argmax(1), exact.argmin(1))  # over the nearest border
    if norm == "l2":
        own, other = scores(model, x).argmax(1), exact.argmin(1)
        w = weight[other] - weight[own]
        expected = 1.01 * exact.min(1)[:, None] * w / np.linalg.norm(w, axis=1, keepdims=True)
        np.testing.assert_allclose((found - x).reshape(len(x), -1), expected, rtol=1e-8, atol=1e-12)


def test_deepfool_leaves_alone_what_is_wrong_already_and_batches_agree_with_single_images(small_network, images):
    model, x = small_network(), images(3)
    own = scores(model, x).argmax(1)
    labels = own.copy()
    labels[1] = (labels[1] + 1) % 4
    found = attacks.deepfool(model, x, label=labels)
    np.testing.assert_array_equal(found[1], x[1])
    for n in (0, 2):
        np.testing.assert_allclose(attacks.deepfool(model, x[n : n + 1], label=own[n])[0], found[n], atol=1e-12)
    z, rows = scores(model, found), np.arange(len(x))
    others = np.where(np.arange(4) == labels[:, None], -np.inf, z).max(1)
    assert (others >= z[rows, labels] - 1e-12).all()  # at the border rounding decides, which depends on the batch
    assert found.min() >= 0 and found.max() <= 1


def test_deepfool_looks_only_at_the_candidates(affine):
    model, weight, x = affine(seed=4)
    exact = border_distances(model, weight, x, 2)
    second = np.argsort(-scores(model, x), axis=1)[:, 1]
    found = attacks.deepfool(model, x, candidates=2, overshoot=0.0, steps=1)
    np.testing.assert_allclose(distances(x, found)["l2"], exact[np.arange(4), second], rtol=1e-9)


def test_the_margin_of_all_negative_scores():
    z = mg.Tensor(np.array([[-5.0, -2.0, -9.0], [-1.0, -2.0, -3.0], [4.0, 3.0, 2.0]]))
    np.testing.assert_array_equal(attacks.cw_margin(z, [1, 1, 2]).numpy(), [-3, 1, 2])
    x = mg.Tensor(z.numpy(), requires_grad=True)
    gradient = mg.grad(attacks.cw_margin(x, [1, 1, 2]).sum(), x).numpy()
    np.testing.assert_array_equal(gradient, [[1, -1, 0], [1, -1, 0], [1, 0, -1]])


@pytest.mark.parametrize("offset", [0.0, -1000.0])
def test_carlini_wagner_on_an_affine_classifier_comes_near_the_exact_distance(offset, affine):
    model, weight, x = affine(seed=2, classes=3)
    model["fc"].bias.data = (model["fc"].bias.detach() + offset).data  # all scores negative: nothing may change
    target = (scores(model, x).argmax(1) + 1) % 3
    found = attacks.carlini_wagner(model, x, target=target, searches=2, steps=60)
    assert (scores(model, found).argmax(1) == target).all()

    found = attacks.carlini_wagner(model, x, searches=5, steps=70)
    exact = border_distances(model, weight, x, 2).min(1)
    moved = distances(x, found)["l2"]
    assert (scores(model, found).argmax(1) != scores(model, x).argmax(1)).all()
    assert (moved >= exact * (1 - 1e-9)).all() and (moved <= 1.1 * exact).all()


def test_kappa_is_the_lead_that_is_reached(affine):
    model, _, x = affine(seed=2, classes=3)
    target = (scores(model, x).argmax(1) + 1) % 3
    near, sure = (
        attacks.carlini_wagner(model, x, target=target, kappa=k, c=1.0, searches=2, steps=50) for k in (0.0, 1.0)
    )
    z, rows = scores(model, sure), np.arange(len(x))
    others = np.where(np.arange(3) == target[:, None], -np.inf, z).max(1)
    assert (z[rows, target] - others >= 1.0 - 1e-9).all()
    assert (distances(x, sure)["l2"] > distances(x, near)["l2"]).all()


def test_where_none_is_found_the_image_comes_back(linear_model, images):
    weight = np.zeros((2, SIZE))
    model = linear_model(weight, np.array([1.0, 0.0]))
    x = images(2)
    np.testing.assert_array_equal(attacks.carlini_wagner(model, x, searches=2, steps=3), x)
