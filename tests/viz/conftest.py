"""Networks small enough to know what they should do, and random images for them."""

import numpy as np
import pytest

from minigrad import nn


@pytest.fixture(scope="session")
def linear_model():
    """linear_model(weight (K,D), bias): a network whose scores are weight @ x + bias."""

    def build(weight, bias=None):
        layer = nn.Linear(weight.shape[1], len(weight))
        layer.load_state_dict({"weight": weight, "bias": np.zeros(len(weight)) if bias is None else bias})
        return nn.Sequential({"flatten": nn.Flatten(), "fc": layer})

    return build


@pytest.fixture(scope="session")
def small_network():
    """small_network(seed, classes, dtype): two convolutions, a pool and a linear layer, for images of any size."""

    def build(seed=0, classes=4, dtype=np.float64):
        rng = np.random.default_rng(seed)
        layers = {
            "conv1": nn.Conv2d(3, 6, 3, padding=1, rng=rng),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(6, 8, 3, padding=1, rng=rng),
            "relu2": nn.ReLU(),
            "gap": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(8, classes, rng=rng),
        }
        model = nn.Sequential(layers)
        model.load_state_dict({name: tensor.numpy().astype(dtype) for name, tensor in model.named_tensors()})
        return model

    return build


@pytest.fixture(scope="session")
def images():
    """images(count, seed, shape, low, high): (count, *shape) drawn uniformly from [low, high]."""

    def draw(count=3, seed=1, shape=(3, 6, 5), low=0.0, high=1.0):
        return np.random.default_rng(seed).uniform(low, high, (count, *shape))

    return draw
