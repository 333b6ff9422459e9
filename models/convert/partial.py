"""Files that hold only the beginning of a network, and become a network of just that.

vgg16_block1_block2   kernels of VGG16's first four convolutions as .npz (block1_conv1_W, ...). Biases are there as
                      16-bit fixed point, but how many bits are the fraction is known of the first one only (12): the
                      other three convolutions get none.
vgg19_normalised      VGG19 up to conv3_1, weights rescaled to a mean activation of 1 (Gatys et al. 2016), padding by
                      reflection, preprocessing as a 1x1 convolution: the .pth used by some style transfer programs.
"""

import numpy as np

from minigrad import nn

from ..hdf5 import WeightsError
from ..layers import PREPROCESSING, Preprocess, ReflectionPad2d
from ..model import Model

NAMES = ("vgg16_block1_block2", "vgg19_normalised")
FIRST_FOUR = ("1_1", "1_2", "2_1", "2_2")
FRACTION_BITS = 12


def recognised(layers):
    """The Model of {layer: {"weight": array, ...}} if this is one of the two files, else None."""
    if layers.keys() == {"0", "2", "5", "9", "12", "16"}:
        return _vgg19_normalised(layers)
    if [f"block{name.replace('_', '_conv')}" for name in FIRST_FOUR] == [n for n, a in layers.items() if "weight" in a]:
        return _vgg16_block1_block2(layers)
    return None


def _conv(weight, bias, padding):
    out_channels, in_channels, height, width = weight.shape
    conv = nn.Conv2d(in_channels, out_channels, (height, width), padding=padding, bias=bias is not None)
    conv.weight.data = np.ascontiguousarray(weight, dtype=np.float32)
    if bias is not None:
        conv.bias.data = np.ascontiguousarray(bias, dtype=np.float32)
    return conv


def _vgg16_block1_block2(layers):
    network = {"preprocess": Preprocess(**PREPROCESSING["caffe"])}
    for name in FIRST_FOUR:
        kernel = layers[f"block{name.replace('_', '_conv')}"]["weight"].transpose(3, 2, 0, 1)
        bias = layers["block1_conv1"]["bias_fix16"] / 2.0**FRACTION_BITS if name == "1_1" else None
        network[f"conv{name}"] = _conv(kernel, bias, padding=1)
        network[f"relu{name}"] = nn.ReLU()
        if name == "1_2":
            network["pool1"] = nn.MaxPool2d(2)
    note = "conv1_2, conv2_1 and conv2_2 have no bias: the file does not tell it"
    return Model(network, "vgg16_block1_block2", (224, 224), provenance={"note": note})


def _vgg19_normalised(layers):
    network = {"preprocess": _preprocess_of(layers["0"])}
    for key, name in zip(("2", "5", "9", "12", "16"), (*FIRST_FOUR, "3_1"), strict=True):
        network[f"pad{name}"] = ReflectionPad2d(1)
        network[f"conv{name}"] = _conv(layers[key]["weight"], layers[key]["bias"], padding=0)
        network[f"relu{name}"] = nn.ReLU()
        if name in ("1_2", "2_2"):
            network[f"pool{name[0]}"] = nn.MaxPool2d(2)
    return Model(network, "vgg19_normalised", (224, 224), provenance={"note": "mean activations are 1; no classifier"})


def _preprocess_of(conv):
    """The Preprocess that a 1x1 convolution of three channels is, if all it does is reorder, scale and shift."""
    matrix, shift = conv["weight"][:, :, 0, 0], conv["bias"]
    scale = float(matrix.max())
    for order, identity in (("RGB", np.eye(3)), ("BGR", np.eye(3)[::-1])):
        if np.array_equal(matrix, scale * identity):
            return Preprocess(scale=scale, mean=-shift.astype(np.float64), channel_order=order)
    raise WeightsError("its first convolution is no preprocessing: it mixes colours")
