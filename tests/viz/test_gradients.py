"""Gradient methods: worked by hand, against captum, and by the properties that only the right formula has."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import minigrad as mg
import viz
from minigrad import nn
from tests.viz.reference_networks import reference
from viz.random import streams


@pytest.fixture(scope="module", params=["vgg", "squeezenet"])
def golden(request):
    return reference(request.param)


def hand_network(w1, w2):
    """x (N,3,1,1) -> w1 -> ReLU -> w2, without biases."""
    layers = {
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(3, len(w1), bias=False),
        "relu1": nn.ReLU(),
        "fc2": nn.Linear(len(w1), len(w2), bias=False),
    }
    model = nn.Sequential(layers)
    model.load_state_dict({"fc1.weight": np.array(w1, float), "fc2.weight": np.array(w2, float)})
    return model


# Hidden units: open with positive evidence, open with negative, exactly 0 with positive, closed with positive.
W1 = [[1, 2, 0], [0, 1, 1], [1, -1, 0], [-1, 0, 2]]
W2 = [[3, -2, 5, 7]]
X = np.array([2.0, 2.0, 0.5]).reshape(1, 3, 1, 1)  # hidden: 6, 2.5, 0, -1


def test_by_hand():
    model = hand_network(W1, W2)
    flat = {name: getattr(viz, name)(model, X, 0).ravel().tolist() for name in ("deconvnet", "guided_backprop")}
    assert viz.gradient(model, X, 0).ravel().tolist() == [3, 6 - 2, -2]  # 3 w_1 - 2 w_2: relu'(0) is 0
    assert flat["guided_backprop"] == [3, 6, 0]  # 3 w_1
    assert flat["deconvnet"] == [3 + 5 - 7, 6 - 5, 14]  # 3 w_1 + 5 w_3 + 7 w_4, signed
    plain = viz.guided_backprop(model, X, 0, only_convolutional=True)
    np.testing.assert_array_equal(plain, viz.gradient(model, X, 0))


def test_reductions_by_hand():
    model = hand_network(W1, W2)
    found = {how: viz.saliency(model, X, 0, reduce=how).ravel().tolist() for how in ("max", "sum", "l2", "none")}
    assert found == {"max": [4], "sum": [9], "l2": [np.sqrt(29)], "none": [3, 4, -2]}
    against = hand_network([[6, -7, 5]], [[1]])  # the channel that matters most speaks against the class
    assert viz.saliency(against, X, 0).ravel().tolist() == [7]
    assert viz.saliency(against, X, 0, reduce="sum").ravel().tolist() == [18]
    with pytest.raises(ValueError, match="max, sum, l2, none"):
        viz.saliency(model, X, 0, reduce="mean")


@settings(max_examples=40)
@given(st.floats(-37, 37), st.lists(st.floats(-9, 9), min_size=3, max_size=3))
def test_the_norm_of_gradients_of_any_size(exponent, direction):
    """One linear unit, whose gradient is its weights: squares that float32 does not hold. 0 stays 0."""
    weights = (np.array([direction]) * 10.0**exponent).astype(np.float32)
    model = hand_network(weights, [[1]])
    for layer in ("fc1", "fc2"):
        model[layer].weight.data = model[layer].weight.detach().astype(np.float32).data
    gradient = viz.gradient(model, X.astype(np.float32), 0).astype(np.float64)
    found = viz.saliency(model, X.astype(np.float32), 0, reduce="l2")
    np.testing.assert_allclose(found, np.linalg.norm(gradient, axis=1), rtol=1e-6, atol=1e-44)


@pytest.mark.parametrize("method", ["gradient", "deconvnet", "guided_backprop", "input_x_gradient"])
def test_captum(golden, method):
    model, image, target, found = golden
    ours = getattr(viz, method)(model, image, target)
    np.testing.assert_allclose(ours, found[method], rtol=1e-9, atol=1e-14)
    assert abs(found[method]).max() > 1e-3


def test_captum_integrated_gradients(golden):
    model, image, target, found = golden
    ours = viz.integrated_gradients(model, image, target, baseline=0.25, steps=7)
    np.testing.assert_allclose(ours, found["integrated_gradients"], rtol=1e-6, atol=1e-9)  # captum steps in float32


@pytest.mark.parametrize(
    "method", ["saliency", "deconvnet", "guided_backprop", "integrated_gradients", "smooth_grad", "loss_gradient"]
)
def test_an_image_in_a_batch_is_explained_as_if_alone(golden, method):
    model, image, target, _ = golden
    few = {"integrated_gradients": {"steps": 3}, "smooth_grad": {"samples": 3}}.get(method, {})
    function = getattr(viz, method)
    alone = [function(model, image[i : i + 1], target[i], **few) for i in range(2)]
    np.testing.assert_allclose(function(model, image, target, **few), np.concatenate(alone), rtol=1e-9, atol=1e-15)


def test_the_gradient_of_the_loss(golden):
    """d(-log softmax(y)_c)/dx = sum_k (p_k - [k = c]) dy_k/dx."""
    model, image, target, found = golden
    p = np.exp(found["scores"]) / np.exp(found["scores"]).sum(1, keepdims=True)
    expected = sum(
        (p[:, k] - (np.array(target) == k))[:, None, None, None] * viz.gradient(model, image, k) for k in range(5)
    )
    np.testing.assert_allclose(viz.loss_gradient(model, image, target), expected, atol=1e-14)


def test_deconvnet_unpools_an_empty_window_to_its_first_place():
    conv = nn.Conv2d(3, 1, 1, bias=False)
    conv.weight.data = np.full((1, 3, 1, 1), -1.0)
    layers = {"conv": conv, "relu": nn.ReLU(), "pool": nn.MaxPool2d(2), "gap": nn.AdaptiveAvgPool2d(1)}
    model = nn.Sequential(layers)
    image = np.random.default_rng(0).uniform(0.1, 1, (1, 3, 4, 4))  # so that after ReLU everything is 0
    expected = np.zeros((1, 3, 4, 4))
    expected[:, :, ::2, ::2] = -1 / 4
    np.testing.assert_array_equal(viz.deconvnet(model, image, 0), expected)
    assert not viz.guided_backprop(model, image, 0).any()


def as_leaf(image):
    return mg.Tensor(image, requires_grad=True)


# ---- integrated gradients and SmoothGrad -----------------------------------------------------------------------------


class Square(nn.Module):
    """(N,2): the sum of squares of each image, and of cubes."""

    def forward(self, x):
        return mg.functional.stack([(x**2).sum(axis=(1, 2, 3)), (x**3).sum(axis=(1, 2, 3))], 1)


SQUARE = nn.Sequential({"square": Square()})


def test_the_midpoint_rule():
    """It is exact for a gradient linear in x, in one step; for 3 x^2 its error is known, x^3 / (4 steps^2)."""
    image = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    np.testing.assert_allclose(viz.integrated_gradients(SQUARE, image, 0, steps=1), image**2, rtol=1e-12)
    against = viz.integrated_gradients(SQUARE, image, 0, steps=3, baseline=image[:, :1])
    np.testing.assert_allclose(against, image**2 - image[:, :1] ** 2, atol=1e-12)
    cubic = viz.integrated_gradients(SQUARE, image, 1, steps=5)
    np.testing.assert_allclose(cubic, image**3 * (1 - 1 / (4 * 5**2)), rtol=1e-12)


def test_integrated_gradients_add_up(golden):
    model, image, target, _ = golden
    few, many = (
        abs(viz.completeness(model, image, viz.integrated_gradients(model, image, target, steps=n), target)).max()
        for n in (4, 60)
    )
    assert many < 0.02 and many < few / 2


@pytest.mark.parametrize("method", [viz.integrated_gradients, viz.smooth_grad])
def test_the_class_of_the_image_itself_is_followed(method, linear_model):
    """Not the top class of each changed image: here class 1 wins near black, and with noise half the time."""
    weight = np.stack([np.ones(12), -np.ones(12)])
    model = linear_model(weight, np.array([0.0, 0.5]))
    image = np.full((1, 3, 2, 2), 0.1)
    image[0, 0, 0, 0] = 0.2  # scores 1.3 and -0.8
    options = {"steps": 8} if method is viz.integrated_gradients else {"samples": 8, "sigma": 1.0}
    expected = image if method is viz.integrated_gradients else np.ones((1, 3, 2, 2))
    np.testing.assert_allclose(method(model, image, **options), expected)


def test_input_x_gradient_adds_up_without_biases():
    model, image, target, found = reference("vgg")
    model.load_state_dict({k: tensor.numpy() * k.endswith("weight") for k, tensor in model.named_tensors()})
    sums = viz.input_x_gradient(model, image, target).sum((1, 2, 3))
    np.testing.assert_allclose(sums, score_of(model, image, target), rtol=1e-12)


def score_of(model, image, target):
    return viz.objective.score(model, as_leaf(image), target).numpy()


def test_smooth_grad_averages_over_noise_of_the_asked_size():
    """For y = sum x^2 it is 2 (x + sigma (max - min) mean noise), each image with its own noise of the seed."""
    image = np.random.default_rng(0).uniform(size=(2, 3, 4, 5)) * np.array([1.0, 7.0]).reshape(2, 1, 1, 1)
    rngs = streams(9, "smooth_grad", image)
    noise = np.stack([np.mean([rng.standard_normal((3, 4, 5)) for _ in range(4)], axis=0) for rng in rngs])
    spread = np.ptp(image, axis=(1, 2, 3)).reshape(2, 1, 1, 1)
    ours = viz.smooth_grad(SQUARE, image, 0, samples=4, sigma=0.2, seed=9)
    np.testing.assert_allclose(ours, 2 * (image + 0.2 * spread * noise), rtol=1e-12)
    stopped = viz.smooth_grad(
        SQUARE, image, 0, samples=9, sigma=0.2, seed=9, callback=lambda done, steps, so_far: done == 4
    )
    np.testing.assert_array_equal(stopped, ours)


def test_smooth_grad_without_noise_is_the_gradient(golden):
    model, image, target, found = golden
    ours = viz.smooth_grad(model, image, target, samples=2, sigma=0.0)
    np.testing.assert_allclose(ours, found["gradient"], rtol=1e-9, atol=1e-14)
