"""VGG (Simonyan and Zisserman 2014, arXiv:1409.1556), and MiniVGG, a small one.

Layers carry the literature's names: conv1_1, relu1_1, ..., pool5, fc6, relu6, drop6, fc7, relu7, drop7, fc8.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from minigrad import nn

from .architecture import Architecture, Rng

# Output channels of the 3x3 convolutions, stage by stage; a 2x2 max-pool halves the sides after each stage.
VGG = {
    "vgg11": ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    "vgg13": ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    "vgg16": ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
    "vgg19": ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512, 512, 512, 512)),
}
VGG_HIDDEN = 4096

# The same, with global average pooling in place of the last max-pool and of most of the fully connected weights.
MINIVGG = ((32,), (64, 64), (128, 128), (256, 256), (384, 384))
MINIVGG_HIDDEN = 256


def vgg_layers(
    stages: Sequence[Any], hidden: int, classes: int | None, rng: Rng | None = None, batch_norm: bool = False
) -> dict:
    """{name: layer} of a VGG with these channels and `hidden` units in fc6 and fc7; up to pool5 if `classes` is None.

    avgpool makes 7x7 of any larger map; at 224 px it changes nothing.
    """
    layers = stage_layers(stages, rng, batch_norm)
    layers["pool5"] = nn.MaxPool2d(2)
    if classes is None:
        return layers
    layers["avgpool"] = nn.AdaptiveAvgPool2d(7)
    layers["flatten"] = nn.Flatten()
    layers["fc6"] = nn.Linear(stages[-1][-1] * 49, hidden, rng=rng)
    layers["relu6"], layers["drop6"] = nn.ReLU(), nn.Dropout()
    layers["fc7"] = nn.Linear(hidden, hidden, rng=rng)
    layers["relu7"], layers["drop7"] = nn.ReLU(), nn.Dropout()
    layers["fc8"] = nn.Linear(hidden, classes, rng=rng)
    return layers


def minivgg_layers(
    stages: Sequence[Any], hidden: int, classes: int | None, rng: Rng | None = None, batch_norm: bool = False
) -> dict:
    """{name: layer} of a MiniVGG, for any image from 16 px (it was made for 128); no head if `classes` is None."""
    layers = stage_layers(stages, rng, batch_norm)
    if classes is None:
        return layers
    layers["gap"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc6"] = nn.Linear(stages[-1][-1], hidden, rng=rng)
    layers["relu6"], layers["drop6"] = nn.ReLU(), nn.Dropout(0.2)
    layers["fc7"] = nn.Linear(hidden, classes, rng=rng)
    return layers


def stage_layers(stages: Sequence[Any], rng: Rng | None = None, batch_norm: bool = False) -> dict:
    """{name: layer} of the convolutions, a max-pool between stages."""
    layers, channels = {}, 3
    for stage, widths in enumerate(stages, 1):
        if stage > 1:
            layers[f"pool{stage - 1}"] = nn.MaxPool2d(2)
        for place, width in enumerate(widths, 1):
            name = f"{stage}_{place}"
            layers[f"conv{name}"] = nn.Conv2d(channels, width, 3, padding=1, bias=not batch_norm, rng=rng)
            if batch_norm:
                layers[f"bn{name}"] = nn.BatchNorm2d(width)
            layers[f"relu{name}"] = nn.ReLU()
            channels = width
    return layers


TABLE = {
    name: Architecture(partial(vgg_layers, stages, VGG_HIDDEN), preprocessing="caffe", batch_norm=True)
    for name, stages in VGG.items()
}
TABLE["minivgg"] = Architecture(
    partial(minivgg_layers, MINIVGG, MINIVGG_HIDDEN), size=128, short_side=None, batch_norm=True
)
