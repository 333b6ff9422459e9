"""Weight images and activation maps."""

import numpy as np
import pytest

import models
from minigrad import nn
from viz import inside


@pytest.fixture
def network():
    rng = np.random.default_rng(0)
    layers = {
        "preprocess": models.Preprocess(scale=255, mean=(104, 117, 123), channel_order="BGR"),
        "conv1": nn.Conv2d(3, 4, 3, padding=1, rng=rng),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(4 * 4 * 3, 10, rng=rng),
        "fc2": nn.Linear(10, 5, rng=rng),
    }
    return models.Model(layers, "small", (8, 6))


def test_kernels_come_as_rgb_each_from_its_smallest_to_its_largest(network):
    found = inside.weight_images(network, "conv1")
    kernel = network["conv1"].weight.numpy()[2, ::-1]  # stored for B, G, R
    np.testing.assert_allclose(found[2], (kernel - kernel.min()) / (kernel.max() - kernel.min()), rtol=1e-6)
    assert found.shape == (4, 3, 3, 3)
    np.testing.assert_array_equal(found.min((1, 2, 3)), 0)
    np.testing.assert_array_equal(found.max((1, 2, 3)), 1)


def test_a_shared_range_keeps_filters_comparable(network):
    found = inside.weight_images(network, "conv1", shared=True)
    kernel = network["conv1"].weight.numpy()[:, ::-1]
    np.testing.assert_allclose(found, (kernel - kernel.min()) / np.ptp(kernel), rtol=1e-6)


def test_rows_have_the_shape_of_what_was_flattened(network):
    found = inside.weight_images(network, "fc1")
    assert found.shape == (10, 4, 4, 3)
    row = network["fc1"].weight.numpy()[7]
    np.testing.assert_allclose(found[7].ravel(), (row - row.min()) / np.ptp(row), rtol=1e-6)
    assert inside.weight_images(network, "fc2").shape == (5, 1, 2, 5)


def test_a_flat_filter_is_grey_and_a_layer_without_weights_is_refused(network):
    np.testing.assert_array_equal(inside.to_unit_range(np.full((1, 3, 2, 2), 7.0)), 0.5)
    with pytest.raises(ValueError, match="relu1"):
        inside.weight_images(network, "relu1")


def test_activations_and_the_strongest_channels(network, images):
    x = images(2, shape=(3, 8, 6)).astype(np.float32)
    a = inside.activation_maps(network, x, "conv1")
    assert a.shape == (2, 4, 8, 6)
    np.testing.assert_array_equal(inside.activation_maps(network, x, "relu1"), np.maximum(a, 0))
    order = inside.strongest_channels(a, 4)
    mean = [a[:, c].mean() for c in order]
    assert mean == sorted(mean, reverse=True)
    np.testing.assert_array_equal(inside.strongest_channels(np.array([[1.0, 5, 3], [2, 4, 3]]), 2), [1, 2])
