"""DenseNet (Huang et al. 2017, arXiv:1608.06993): each layer sees the outputs of all before it, as channels.

As torchvision has it and names it. Its norms stand before their convolutions.
"""

from collections.abc import Sequence
from functools import partial

from minigrad import nn

from .architecture import Architecture, Rng

LAYERS = {"densenet121": (6, 12, 24, 16)}  # in each of the four blocks
GROWTH, BOTTLENECK, FIRST = 32, 4, 64


def densenet_layers(counts: Sequence[int], classes: int | None, rng: Rng | None = None) -> dict:
    """{name: layer}: features.conv0, ..., features.denseblock1.denselayer1.norm1, ..., relu, classifier."""
    features = {
        "conv0": nn.Conv2d(3, FIRST, 7, stride=2, padding=3, bias=False, rng=rng),
        "norm0": nn.BatchNorm2d(FIRST),
        "relu0": nn.ReLU(),
        "pool0": nn.MaxPool2d(3, stride=2, padding=1),
    }
    channels = FIRST
    for place, count in enumerate(counts, 1):
        features[f"denseblock{place}"] = dense_block(channels, count, rng)
        channels += count * GROWTH
        if place < len(counts):
            features[f"transition{place}"] = transition(channels, rng)
            channels //= 2
    features["norm5"] = nn.BatchNorm2d(channels)
    layers = {"features": nn.Sequential(features), "relu": nn.ReLU()}
    if classes is None:
        return layers
    layers["avgpool"], layers["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    layers["classifier"] = nn.Linear(channels, classes, rng=rng)
    return layers


def dense_block(channels: int, count: int, rng: Rng) -> nn.Graph:
    """Layers that add GROWTH channels each to what they see."""
    nodes, before = {}, "input"
    for place in range(1, count + 1):
        nodes[f"denselayer{place}"] = (dense_layer(channels, rng), before)
        nodes[f"cat{place}"] = (nn.Call("cat", dim=1), [before, f"denselayer{place}"])
        channels, before = channels + GROWTH, f"cat{place}"
    return nn.Graph(nodes)


def dense_layer(channels: int, rng: Rng) -> nn.Sequential:
    """GROWTH channels, by way of a 1x1 convolution to four times as many."""
    width = BOTTLENECK * GROWTH
    layers = {
        "norm1": nn.BatchNorm2d(channels),
        "relu1": nn.ReLU(),
        "conv1": nn.Conv2d(channels, width, 1, bias=False, rng=rng),
        "norm2": nn.BatchNorm2d(width),
        "relu2": nn.ReLU(),
        "conv2": nn.Conv2d(width, GROWTH, 3, padding=1, bias=False, rng=rng),
    }
    return nn.Sequential(layers)


def transition(channels: int, rng: Rng) -> nn.Sequential:
    """Half as many channels, in half as many rows and columns."""
    layers = {
        "norm": nn.BatchNorm2d(channels),
        "relu": nn.ReLU(),
        "conv": nn.Conv2d(channels, channels // 2, 1, bias=False, rng=rng),
        "pool": nn.AvgPool2d(2),
    }
    return nn.Sequential(layers)


TABLE = {name: Architecture(partial(densenet_layers, counts)) for name, counts in LAYERS.items()}
