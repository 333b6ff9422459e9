"""One signature for every attribution: classes for all or for each, a neuron in their place, any Sequential."""

import inspect

import numpy as np
import pytest

import minigrad as mg
import viz
from minigrad import nn

SIGNATURE = ["image", "target", "layer", "unit"]
EXPLAINS = [
    name
    for name, function in vars(viz).items()
    if inspect.isfunction(function) and list(inspect.signature(function).parameters)[1:5] == SIGNATURE
]
CAMS = [name for name in EXPLAINS if name.endswith("cam") or name == "grad_cam_plus_plus"]
FEW = {
    "integrated_gradients": {"steps": 3},
    "smooth_grad": {"samples": 3},
    "rise": {"samples": 12, "cells": 2, "output": "logit"},
    "occlusion": {"patch": 2, "stride": 2},
    "lrp": {"rule": "epsilon"},
}


def explain(name, *asked, **named):
    return getattr(viz, name)(*asked, **named, **FEW.get(name, {}))


@pytest.fixture
def network(small_network):
    """A Sequential of named layers without preprocessing, labels or an input size."""
    return small_network(seed=3)


def test_all_methods_are_here():
    assert len(EXPLAINS) >= 16 and len(CAMS) == 8


@pytest.mark.parametrize("name", EXPLAINS)
@pytest.mark.filterwarnings("ignore:.*zero everywhere")
def test_a_class_for_each_image_of_a_batch(network, images, name):
    x = images(3, shape=(3, 8, 8))
    found = explain(name, network, x, [2, 0, 3])
    assert isinstance(found, np.ndarray) and found.dtype == np.float64
    assert found.shape in ((3, 8, 8), (3, 3, 8, 8))
    for i, target in enumerate([2, 0, 3]):
        np.testing.assert_allclose(found[i], explain(name, network, x[i : i + 1], target)[0], atol=1e-12)
    others = explain(name, network, x, 1)
    if name != "eigen_cam":  # which knows no class
        assert all(abs(found[i] - others[i]).max() > 1e-6 for i in range(3))

    top = explain(name, network, x)
    chosen = network(mg.Tensor(x)).numpy().argmax(1)
    np.testing.assert_allclose(top, explain(name, network, x, chosen.tolist()), atol=1e-12)


@pytest.mark.parametrize("name", [name for name in EXPLAINS if name not in CAMS])
def test_a_neuron_or_channel_in_the_classes_place(network, images, name):
    """As if the network ended there: with the neurons for classes, or with the channels' means."""
    x = images(2, shape=(3, 8, 8))
    until = {layer: network[layer] for layer in ("conv1", "relu1", "pool1", "conv2", "relu2")}
    neurons = nn.Sequential(until | {"flatten": nn.Flatten()})
    channels = nn.Sequential(until | {"gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()})
    strongest = int(neurons(mg.Tensor(x)).numpy().sum(0).argmax())
    neuron = tuple(int(i) for i in np.unravel_index(strongest, (8, 4, 4)))
    for unit, ending, index in ((neuron, neurons, strongest), (neuron[0], channels, neuron[0])):
        found = explain(name, network, x, layer="relu2", unit=unit)
        assert found.any()
        wanted = explain(name, ending, x, index)
        np.testing.assert_allclose(found, wanted, atol=1e-5 * abs(found).max())  # LRP has its epsilon


@pytest.mark.parametrize("name", CAMS)
def test_a_layer_of_a_cam_is_where_the_map_is_drawn(network, images, name):
    x = images(1, shape=(3, 8, 8))
    with pytest.raises(ValueError, match="takes no unit"):
        explain(name, network, x, 0, layer="relu1", unit=3)
    assert explain(name, network, x, 0, layer="relu1").shape[-2:] == (8, 8)
