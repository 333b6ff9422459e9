"""The networks, each from one table in the file of its family."""

from collections.abc import Sequence

import numpy as np

from ..labels import imagenet_labels, minivgg_labels, read_labels
from ..layers import PREPROCESSING, Preprocess
from ..model import Model
from . import alexnet, densenet, efficientnet, googlenet, mobilenet, resnet, squeezenet, vgg

FAMILIES = (vgg, squeezenet, alexnet, googlenet, resnet, densenet, mobilenet, efficientnet)
ARCHITECTURES = {name: row for family in FAMILIES for name, row in family.TABLE.items()}
NAMES = tuple(ARCHITECTURES)
FEATURES = "_features"


def build(name: str, seed: int | None = 0, batch_norm: bool = False, labels: Sequence[str] | None = None) -> Model:
    """A new network, in evaluation mode, with He-initialised weights drawn from `seed` (None: zeros, to be loaded).

    name        "vgg16", "resnet50", "efficientnet_b0", ...: one of `models.architectures.NAMES`; with "_features"
                appended, only the convolutional part: up to pool5 for VGG, fire9 for SqueezeNet, relu5_2 for MiniVGG,
                layer4 for ResNet.
    batch_norm  normalise after every convolution (bn1_1, ...; these convolutions have no bias), for training; VGG only.
                `fold_batch_norm` makes the plain network of it.
    labels      names of other classes than the original's, to be told apart by as many scores.

    The first layer, "preprocess", takes RGB images in [0, 1], (N, 3, H, W); out come scores, before the softmax.
    """
    base = name.removesuffix(FEATURES) if isinstance(name, str) else name
    if base not in NAMES:
        raise ValueError(f"there is no model {name!r}: choose from {', '.join(NAMES)}, each also with {FEATURES!r}")
    row = ARCHITECTURES[base]
    if batch_norm and not row.batch_norm:
        raise ValueError(f"build: batch_norm is for the VGG models; {base} has its own norms, or none")
    rng = None if seed is None else np.random.default_rng(seed)
    labels = read_labels(labels) if labels else minivgg_labels() if base == "minivgg" else imagenet_labels()
    labels = labels if name == base else None
    arguments = (labels and len(labels), rng, *([batch_norm] if row.batch_norm else []))
    layers = {"preprocess": Preprocess(**PREPROCESSING[row.preprocessing]), **row.layers(*arguments)}
    origin = "zeros" if seed is None else f"He initialisation, seed {seed}"
    return Model(layers, name, (row.size, row.size), labels, {"source": origin}, row.short_side)
