"""What a network is made of: for each layer its output, parameters, arithmetic and receptive field.

The receptive field of a unit is the rectangle of input pixels it can depend on. Along one axis it follows from the
kernel k, stride s, padding p and dilation d of each layer, with j the distance in pixels between neighbouring units:

    size   <- size + d*(k-1)*j        j <- s*j        offset <- offset - p*j

where offset is the first pixel seen by the first unit (negative: in the padding). Starting values are 1, 1, 0.
"""

from dataclasses import dataclass, replace

import numpy as np

from . import cost, nn
from .autograd import no_grad
from .functional import pair
from .tensor import Tensor


@dataclass(frozen=True)
class ReceptiveField:
    """Rows and columns of the input that a unit sees: unit (i, j) sees `size` pixels from offset + (i, j) * stride."""

    size: tuple = (1, 1)
    stride: tuple = (1, 1)
    offset: tuple = (0, 0)

    def box(self, row, column, image_hw):
        """(top, left, bottom, right) of the pixels that the unit at (row, column) sees, cut at the image's edges."""
        start = [o + i * s for o, i, s in zip(self.offset, (row, column), self.stride, strict=True)]
        stop = [min(a + n, full) for a, n, full in zip(start, self.size, image_hw, strict=True)]
        return max(start[0], 0), max(start[1], 0), stop[0], stop[1]

    def through(self, kernel, stride, padding, dilation):
        """The field one windowed layer further (all arguments pairs)."""
        sizes, strides, offsets = [], [], []
        fields = zip(self.size, self.stride, self.offset, kernel, stride, padding, dilation, strict=True)
        for size, jump, offset, k, s, p, d in fields:
            sizes.append(size + d * (k - 1) * jump)
            strides.append(jump * s)
            offsets.append(offset - p * jump)
        return ReceptiveField(tuple(sizes), tuple(strides), tuple(offsets))


@dataclass(frozen=True)
class Layer:
    """One row of `model.layers()`. A multiplication and an addition are two FLOPs; shapes are without the batch."""

    name: str
    kind: str
    output_shape: tuple
    parameters: int
    flops: int
    receptive_field: ReceptiveField


def summarize(model, input_shape=None):
    """A Layer record for each layer of a Sequential, inner ones included (see `Sequential.layers`)."""
    if input_shape is None:
        size = getattr(model, "input_size", None)
        if size is None:
            raise ValueError("layers: give input_shape, (C, H, W) of one image")
        input_shape = (3, size, size) if isinstance(size, int) else (3, *size)
    rows = []
    weights = [tensor for _, tensor in model.named_tensors()]
    dtype, device = (weights[0].dtype, weights[0].device) if weights else (np.float32, "cpu")
    x = Tensor(np.zeros((1, *input_shape), dtype)).to(device)
    with no_grad():
        _walk(model, x, ReceptiveField(), "", rows)
    return rows


def _walk(module, x, field, prefix, rows):
    """Run `module` layer by layer, adding rows; returns its output and that output's receptive field."""
    outputs = []
    for name, layer in module.children():
        start = len(rows)
        if isinstance(layer, nn.Sequential):
            y, seen = _walk(layer, x, field, f"{prefix}{name}.", rows)
        else:
            y, seen = layer(x), _field_after(layer, x, field)
        inner = rows[start:]
        count = sum(t.size for n, t in layer.named_tensors() if not n.split(".")[-1].startswith("running_"))
        flops = sum(row.flops for row in inner if "." not in row.name[len(f"{prefix}{name}.") :])
        flops = flops if isinstance(layer, nn.Sequential) else _flops(layer, x, y)
        rows.append(Layer(prefix + name, type(layer).__name__, y.shape[1:], count, flops, seen))
        if isinstance(module, nn.Parallel):
            outputs.append((y, seen))
        else:
            x, field = y, seen
    if isinstance(module, nn.Parallel):
        x = nn.F.cat([y for y, _ in outputs], 1)
        field = _union([seen for _, seen in outputs])
    return x, field


def _flops(layer, x, y):
    if isinstance(layer, nn.Conv2d):
        return cost.convolution(y.size, layer.weight.shape, layer.bias is not None)
    if isinstance(layer, nn.Linear):
        return cost.product(y.size, layer.in_features, layer.bias is not None)
    if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
        return cost.pooling(y.size, pair("layers", "kernel_size", layer.kernel_size, 1))
    if isinstance(layer, nn.Flatten | nn.Dropout):
        return 0
    return x.size


def _field_after(layer, x, field):
    if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        kernel = pair("layers", "kernel_size", layer.kernel_size, 1)
        stride = pair("layers", "stride", layer.stride, 1)
        dilation = pair("layers", "dilation", getattr(layer, "dilation", 1), 1)
        if layer.padding == "same":
            padding = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
        else:
            padding = (0, 0) if layer.padding == "valid" else pair("layers", "padding", layer.padding, 0)
        return field.through(kernel, stride, padding, dilation)
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        out = pair("layers", "output_size", layer.output_size, 1)
        stride = tuple(n // o for n, o in zip(x.shape[2:], out, strict=True))
        kernel = tuple(n - (o - 1) * s for n, o, s in zip(x.shape[2:], out, stride, strict=True))
        return field.through(kernel, stride, (0, 0), (1, 1))
    if isinstance(layer, nn.Flatten) and x.ndim == 4:  # whatever follows sees all positions
        return replace(field.through(x.shape[2:], (1, 1), (0, 0), (1, 1)), stride=(0, 0))
    return field


def _union(fields):
    """The field of branches joined over channels: from the first pixel any of them sees to the last."""
    offset = tuple(min(f.offset[i] for f in fields) for i in (0, 1))
    stop = tuple(max(f.offset[i] + f.size[i] for f in fields) for i in (0, 1))
    return ReceptiveField((stop[0] - offset[0], stop[1] - offset[1]), fields[0].stride, offset)
