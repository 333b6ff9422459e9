"""The networks, each from one table.

VGG (Simonyan and Zisserman 2014), SqueezeNet 1.1 (Iandola et al. 2016) and MiniVGG, a small VGG. Layers carry the
literature's names: conv1_1, relu1_1, ..., pool5, fc6, relu6, drop6, fc7, relu7, drop7, fc8; fire2.squeeze.
"""

import numpy as np

from minigrad import nn

from .labels import imagenet_labels, minivgg_labels, read_labels
from .layers import PREPROCESSING, Preprocess
from .model import Model

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

# Channels of squeeze, expand 1x1 and expand 3x3; "pool" is 3x3 with stride 2.
SQUEEZENET1_1 = {
    "pool1": "pool",
    "fire2": (16, 64, 64),
    "fire3": (16, 64, 64),
    "pool3": "pool",
    "fire4": (32, 128, 128),
    "fire5": (32, 128, 128),
    "pool5": "pool",
    "fire6": (48, 192, 192),
    "fire7": (48, 192, 192),
    "fire8": (64, 256, 256),
    "fire9": (64, 256, 256),
}

FEATURES = "_features"

NAMES = (*VGG, "squeezenet1_1", "minivgg")


def build(name, seed=0, batch_norm=False, labels=None):
    """A new network, in evaluation mode, with He-initialised weights drawn from `seed` (None: zeros, to be loaded).

    name        "vgg11", "vgg13", "vgg16", "vgg19", "squeezenet1_1" or "minivgg"; with "_features" appended, only the
                convolutional part: up to pool5 for VGG, fire9 for SqueezeNet, relu5_2 for MiniVGG.
    batch_norm  normalise after every convolution (bn1_1, ...; these convolutions have no bias), for training; VGG only.
                `fold_batch_norm` makes the plain network of it.
    labels      names of other classes than the original's, to be told apart by as many scores.

    The first layer, "preprocess", takes RGB images in [0, 1], (N, 3, H, W); out come scores, before the softmax.
    """
    base = name.removesuffix(FEATURES) if isinstance(name, str) else name
    if base not in NAMES:
        raise ValueError(f"there is no model {name!r}: choose from {', '.join(NAMES)}, each also with {FEATURES!r}")
    if batch_norm and base == "squeezenet1_1":
        raise ValueError("build: batch_norm is for the VGG models; squeezenet1_1 has none")
    rng = None if seed is None else np.random.default_rng(seed)
    labels = read_labels(labels) if labels else minivgg_labels() if base == "minivgg" else imagenet_labels()
    classes = len(labels) if name == base else None
    short_side = 256  # published accuracies are those of the centre of such photographs
    if base == "squeezenet1_1":
        layers, size, preprocessing = squeezenet_layers(classes, rng), 227, "caffe-squeezenet"
    elif base == "minivgg":
        layers = minivgg_layers(MINIVGG, MINIVGG_HIDDEN, classes, rng, batch_norm)
        size, preprocessing, short_side = 128, "torchvision", None
    else:
        layers = vgg_layers(VGG[base], VGG_HIDDEN, classes, rng, batch_norm)
        size, preprocessing = 224, "caffe"

    layers = {"preprocess": Preprocess(**PREPROCESSING[preprocessing]), **layers}
    origin = "zeros" if seed is None else f"He initialisation, seed {seed}"
    labels = labels if classes else None
    return Model(layers, name, (size, size), labels, {"source": origin}, short_side)


def vgg_layers(stages, hidden, classes, rng=None, batch_norm=False):
    """{name: layer} of a VGG with these channels and `hidden` units in fc6 and fc7; up to pool5 if `classes` is None.

    avgpool makes 7x7 of any larger map; at 224 px it changes nothing.
    """
    layers = _stages(stages, rng, batch_norm)
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


def minivgg_layers(stages, hidden, classes, rng=None, batch_norm=False):
    """{name: layer} of a MiniVGG, for any image from 16 px (it was made for 128); no head if `classes` is None."""
    layers = _stages(stages, rng, batch_norm)
    if classes is None:
        return layers
    layers["gap"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc6"] = nn.Linear(stages[-1][-1], hidden, rng=rng)
    layers["relu6"], layers["drop6"] = nn.ReLU(), nn.Dropout(0.2)
    layers["fc7"] = nn.Linear(hidden, classes, rng=rng)
    return layers


def _stages(stages, rng, batch_norm):
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


def squeezenet_layers(classes, rng=None):
    """{name: layer} of SqueezeNet 1.1, its scores rectified, as published (relu10); no head if `classes` is None."""
    layers = {"conv1": nn.Conv2d(3, 64, 3, stride=2, rng=rng), "relu1": nn.ReLU()}
    channels = 64
    for name, widths in SQUEEZENET1_1.items():
        if widths == "pool":
            layers[name] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        else:
            layers[name] = _fire(channels, *widths, rng)
            channels = widths[1] + widths[2]
    if classes is None:
        return layers
    layers["drop9"] = nn.Dropout()
    layers["conv10"] = nn.Conv2d(channels, classes, 1, rng=rng)
    layers["relu10"] = nn.ReLU()
    layers["gap"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    return layers


def _fire(channels, squeeze, expand1x1, expand3x3, rng):
    """Few channels, then many: fire2.squeeze, fire2.expand.1x1, fire2.expand.3x3. One ReLU serves both branches."""
    branches = {
        "1x1": nn.Conv2d(squeeze, expand1x1, 1, rng=rng),
        "3x3": nn.Conv2d(squeeze, expand3x3, 3, padding=1, rng=rng),
    }
    return nn.Sequential(
        {
            "squeeze": nn.Conv2d(channels, squeeze, 1, rng=rng),
            "relu_squeeze": nn.ReLU(),
            "expand": nn.Parallel(branches),
            "relu_expand": nn.ReLU(),
        }
    )
