"""What a row of the tables of networks says, and the blocks that several families share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minigrad import nn

Rng = np.random.Generator | None  # None: weights that are still to come


@dataclass(frozen=True)
class Architecture:
    """A network: how its layers are made, and how the pictures that it was published with are prepared.

    layers: a function of (classes or None, rng) that gives {name: layer}, without the head for None. size: of the
    square input, in pixels. preprocessing: a name of `models.layers.PREPROCESSING`. short_side: of photographs whose
    centre is taken, in pixels. batch_norm: whether `layers` also takes a third argument, to normalise or not.
    """

    layers: Callable[..., dict]
    size: int = 224
    preprocessing: str = "torchvision"
    short_side: int | None = 256
    batch_norm: bool = False


def conv_norm(
    channels: int,
    width: int,
    kernel: int,
    rng: Rng,
    stride: int = 1,
    groups: int = 1,
    padding: int | None = None,
    eps: float = 1e-5,
    activation: Callable[[], nn.Module] | None = None,
) -> nn.Sequential:
    """{"0": Conv2d, "1": BatchNorm2d, "2": the activation, if any}, as torchvision numbers them."""
    padding = kernel // 2 if padding is None else padding
    conv = nn.Conv2d(channels, width, kernel, stride, padding, groups=groups, bias=False, rng=rng)
    layers = {"0": conv, "1": nn.BatchNorm2d(width, eps=eps)}
    return nn.Sequential(layers if activation is None else layers | {"2": activation()})


def numbered(layers: Sequence[nn.Module]) -> nn.Sequential:
    """A Sequential of layers named "0", "1", ..."""
    return nn.Sequential({str(place): layer for place, layer in enumerate(layers)})


def head(channels: int, classes: int, rng: Rng) -> dict:
    """{name: layer}: the mean over all places, and the scores."""
    return {
        "avgpool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(channels, classes, rng=rng),
    }


def dropped_head(channels: int, classes: int, rng: Rng) -> dict:
    """The same with dropout, named as in torchvision's mobile networks."""
    classifier = numbered([nn.Dropout(0.2), nn.Linear(channels, classes, rng=rng)])
    return {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "classifier": classifier}
