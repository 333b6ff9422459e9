"""A network of VGG16's layers on a GPU: as right as float32 can be, and with few launches."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from tests.standin import cublas, raw_kernel

pytestmark = pytest.mark.host("kernels are called with arrays that the tests put on a device")


def vgg16(dtype, device, widths=(16, 32, 64, 128, 128), side=224):
    """VGG16 with a quarter of its channels and small linear layers."""
    rng, layers, c = np.random.default_rng(0), {}, 3
    for block, (width, depth) in enumerate(zip(widths, (2, 2, 3, 3, 3), strict=True), 1):
        for i in range(1, depth + 1):
            layers[f"conv{block}_{i}"] = nn.Conv2d(c, width, 3, padding=1, rng=rng)
            layers[f"relu{block}_{i}"] = nn.ReLU()
            c = width
        layers[f"pool{block}"] = nn.MaxPool2d(2)
    layers |= {"flatten": nn.Flatten(), "fc6": nn.Linear(c * (side // 32) ** 2, 64, rng=rng), "relu6": nn.ReLU()}
    layers |= {"fc7": nn.Linear(64, 64, rng=rng), "relu7": nn.ReLU(), "fc8": nn.Linear(64, 10, rng=rng)}
    model = nn.Sequential(layers).requires_grad_(False)
    for _, tensor in model.named_tensors():
        tensor.data = tensor.data.astype(dtype)
    return model.to(device)


def score_and_gradient(model, x, device):
    """The scores (N,10) and the gradient of the third by x, and what was launched for each."""
    x = mg.Tensor(mg.Tensor(x).to(device).data, requires_grad=True)
    raw_kernel.launches.clear()
    cublas.calls.clear()
    scores = model(x)
    forward = [*raw_kernel.launches], len(cublas.calls)
    gradient = mg.grad(scores[:, 3].sum(), x)
    backward = raw_kernel.launches[len(forward[0]) :], len(cublas.calls) - forward[1]
    return scores.numpy(), gradient.numpy(), forward, backward


def error(values, expected):
    return np.abs(values - expected).max() / np.abs(expected).max()


@pytest.fixture(scope="module")
def reference():
    """Two photographs' worth of noise, with scores and gradient in float64 on the CPU."""
    x = np.random.default_rng(1).standard_normal((2, 3, 64, 64)).astype(np.float32)
    return x, *score_and_gradient(vgg16(np.float64, "cpu", side=64), x.astype(np.float64), "cpu")[:2]


@pytest.mark.parametrize("algorithm", ["auto", "direct", "winograd"])
def test_scores_and_gradients_are_within_1e5_of_float64(gpu, reference, algorithm):
    x, scores, gradient = reference
    with mg.conv_algorithm(algorithm):
        got = score_and_gradient(vgg16(np.float32, "cuda", side=64), x, "cuda")
    assert error(got[0], scores) < 1e-5 and error(got[1], gradient) < 1e-5
    wide = score_and_gradient(vgg16(np.float64, "cuda", side=64), x.astype(np.float64), "cuda")
    assert error(wide[0], scores) < 1e-12 and error(wide[1], gradient) < 1e-12


def test_a_gpus_passes_are_the_same_in_every_run(gpu, reference):
    model = vgg16(np.float32, "cuda", side=64)
    first, second = (score_and_gradient(model, reference[0], "cuda") for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_launches_for_one_image_of_vgg16(gpu):
    """A launch costs some 5 microseconds of Python and CuPy: about as much as the work of a layer for one image.

    Besides those counted here, a linear layer is a product and a sum, and its rectifier one launch more: 8 forward, and
    3 products back.
    """
    if type(gpu).__name__ != "StandIn":
        pytest.skip("launches are counted on the stand-in")
    model = vgg16(np.float32, "cuda")
    x = np.random.default_rng(1).standard_normal((1, 3, 224, 224)).astype(np.float32)
    score_and_gradient(model, x, "cuda")
    *_, (forward, products), (backward, products_back) = score_and_gradient(model, x, "cuda")
    assert sorted(forward) == ["few_channels", *["max_pool"] * 5, *["winograd_input"] * 12, *["winograd_output"] * 12]
    assert products == 12
    expected = ["col2im", *["relu_grad"] * 15, *["window_scatter"] * 5]
    assert sorted(backward) == sorted([*expected, *["winograd_input"] * 12, *["winograd_output"] * 12])
    assert products_back == 13


def test_tf32_loses_three_digits_of_the_scores(gpu, reference):
    x, scores, gradient = reference
    with mg.tf32():
        got = score_and_gradient(vgg16(np.float32, "cuda", side=64), x, "cuda")
    assert error(got[0], scores) < 1e-2
    assert type(gpu).__name__ != "StandIn" or error(got[0], scores) > 1e-4
    assert np.corrcoef(got[1].ravel(), gradient.ravel())[0, 1] > 0.95
