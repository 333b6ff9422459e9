"""The peephole: a look at the next layers of a chain, and one kernel for several of them where that changes nothing.

A convolution, the ReLU behind it and a 2x2 max pool behind that are one pass over memory where no graph is recorded and
nobody asks for what lies between. With a graph they are functions of their own, which rules and observers can meet.
"""

import numpy as np

from .. import kernels
from ..autograd import is_recorded, looks_for_nan, without_gradient
from ..functional.conv import conv2d_arguments
from ..tensor import Tensor
from .observe import asked_for, seen


def in_turn(layers, x):
    """The output at x of [(name, layer)], one after the other; some by one kernel, where nobody looks between."""
    layers = list(layers)
    while layers:
        count, y = fused(layers, x)
        x = y if count else layers[0][1](x)
        del layers[: count or 1]
    return x


def fused(layers, x):
    """(how many, y): the output of the first layers of [(name, layer)] at x, done by one kernel; (0, None) for none."""
    from .layers import Conv2d, ReLU

    if len(layers) < 2 or not _is(layers[0][1], Conv2d) or not _is(layers[1][1], ReLU):
        return 0, None
    conv = layers[0][1]
    tensors = [x, conv.weight, *([] if conv.bias is None else [conv.bias])]
    if not isinstance(x, Tensor) or x.ndim != 4 or is_recorded(*tensors) or looks_for_nan():
        return 0, None
    if x.dtype == np.float16:  # which conv2d computes in float32
        return 0, None
    count = 3 if len(layers) > 2 and _halves(layers[2][1]) else 2
    while count > 1 and asked_for([layer for _, layer in layers[: count - 1]]):
        count -= 1
    if count == 1:
        return 0, None

    inputs, geometry, crop = conv2d_arguments(
        x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups
    )
    if crop is not None:
        return 0, None
    kernel = kernels.conv2d_relu if count == 2 else kernels.conv2d_relu_max_pool

    def forward(x):
        w, *bias = (tensor.data for tensor in inputs[1:])
        y = without_gradient(lambda x: kernel(x, w, bias[0] if bias else None, *geometry), x)
        if 0 in y.shape[2:]:
            size = f"{y.shape[2:]}: the window does not fit the convolution's output of x of shape {x.shape}"
            raise ValueError(f"max_pool2d: the output would have size {size}")
        return y

    return count, seen(layers[count - 1][1], inputs[:1], forward)


def _is(layer, kind):
    """Whether a layer is of this very kind, with its own forward."""
    return type(layer) is kind and "forward" not in vars(layer)


def _halves(layer):
    """Whether a layer is a max pool of 2x2 windows that do not overlap."""
    from .layers import MaxPool2d

    return _is(layer, MaxPool2d) and layer.describe() == MaxPool2d(2).describe()
