"""ONNX's operators, each as one of our layers or functions, or a few; those on shapes are in onnx_functions.py.

A function here takes the reader (onnx_file.Reader) and a node, and emits the layers. What it cannot express it refuses
with a ValueError, which the reader completes with the node's name and operator.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import nn

from .onnx_node import Node

if TYPE_CHECKING:
    from .onnx_file import Reader

OPERATORS: dict = {}
FLOATS, BOOL = (1, 10, 11, 16), 9  # ONNX's numbers of float32, float16, float64 and bfloat16


def operator(*names: str) -> Callable[..., Any]:
    def known(function: Callable[..., Any]) -> Callable[..., Any]:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return known


# ---- one layer without weights ---------------------------------------------------------------------------------------

LAYERS = {
    "Relu": lambda of: nn.ReLU(),
    "LeakyRelu": lambda of: nn.LeakyReLU(of("alpha", 0.01)),
    "Elu": lambda of: nn.ELU(of("alpha", 1.0)),
    "Sigmoid": lambda of: nn.Sigmoid(),
    "Tanh": lambda of: nn.Tanh(),
    "HardSwish": lambda of: nn.Hardswish(),
    "Softplus": lambda of: nn.Softplus(),
    "Gelu": lambda of: nn.GELU(of("approximate", "none")),
    "Mish": lambda of: nn.Mish(),
    "GlobalAveragePool": lambda of: nn.AdaptiveAvgPool2d(1),
    "GlobalMaxPool": lambda of: nn.AdaptiveMaxPool2d(1),
    "LRN": lambda of: nn.LocalResponseNorm(of("size"), of("alpha", 1e-4), of("beta", 0.75), of("bias", 1.0)),
    "Exp": lambda of: nn.Call("exp"),
    "Log": lambda of: nn.Call("log"),
    "Sqrt": lambda of: nn.Call("sqrt"),
    "Erf": lambda of: nn.Call("erf"),
    "Abs": lambda of: nn.Call("abs"),
    "Neg": lambda of: nn.Call("neg"),
    "Sign": lambda of: nn.Call("sign"),
    "Sin": lambda of: nn.Call("sin"),
    "Cos": lambda of: nn.Call("cos"),
    "Reciprocal": lambda of: nn.Call("pow", b=-1.0),
    "Transpose": lambda of: nn.Call("permute", dims=tuple(of("perm"))),
}


@operator(*LAYERS)
def _layer(reader: "Reader", node: Node) -> None:
    reader.emit(node, LAYERS[node.op](node.attribute), node.inputs[:1])


@operator("Identity")
def _nothing(reader: "Reader", node: Node) -> None:
    reader.same(node.outputs[0], node.inputs[0])


@operator("Dropout")
def _dropout(reader: "Reader", node: Node) -> None:
    if (training := reader.optional(node, 2)) is not None and training.any():
        raise ValueError("it is in training mode: export the network in evaluation mode")
    _nothing(reader, node)


@operator("Cast", "CastLike")
def _cast(reader: "Reader", node: Node) -> Any:
    """Floats stay what they are, float32, and a condition becomes 1 and 0; integers would be another network."""
    to = node.attribute("to") if node.op == "Cast" else reader.type_of(node.inputs[1])
    condition = not reader.is_constant(node.inputs[0]) and reader.tensors[node.inputs[0]].dtype == bool
    if to not in FLOATS and not (condition and to == BOOL):
        raise ValueError("it rounds to integers, or to floats of 8 bits or fewer")
    if condition and to != BOOL:
        return reader.emit(node, nn.Call("where", a=1.0, b=0.0), node.inputs[:1])
    return _nothing(reader, node)


@operator("HardSigmoid")
def _hard_sigmoid(reader: "Reader", node: Node) -> Any:
    alpha, beta = node.attribute("alpha", 0.2), node.attribute("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return reader.emit(node, nn.Hardsigmoid(), node.inputs)
    scaled = reader.emit(node, nn.Call("mul", b=alpha), node.inputs, "scaled")
    shifted = reader.emit(node, nn.Call("add", b=beta), [scaled], "shifted")
    return reader.emit(node, nn.Call("clamp", min=0.0, max=1.0), [shifted])


@operator("Selu")
def _selu(reader: "Reader", node: Node) -> None:
    grown = reader.emit(node, nn.ELU(node.attribute("alpha", 1.6732632)), node.inputs, "elu")
    reader.emit(node, nn.Call("mul", b=node.attribute("gamma", 1.050701)), [grown])


@operator("Celu")
def _celu(reader: "Reader", node: Node) -> Any:
    """alpha ELU(x / alpha)."""
    if (alpha := node.attribute("alpha", 1.0)) == 1:
        return reader.emit(node, nn.ELU(), node.inputs)
    narrowed = reader.emit(node, nn.Call("div", b=alpha), node.inputs, "narrowed")
    grown = reader.emit(node, nn.ELU(), [narrowed], "elu")
    return reader.emit(node, nn.Call("mul", b=alpha), [grown])


@operator("Swish")
def _swish(reader: "Reader", node: Node) -> Any:
    """x sigmoid(alpha x)."""
    if (alpha := node.attribute("alpha", 1.0)) == 1:
        return reader.emit(node, nn.SiLU(), node.inputs)
    scaled = reader.emit(node, nn.Call("mul", b=alpha), node.inputs, "scaled")
    gate = reader.emit(node, nn.Sigmoid(), [scaled], "gate")
    return reader.emit(node, nn.Call("mul"), [node.inputs[0], gate])


@operator("Softsign")
def _softsign(reader: "Reader", node: Node) -> None:
    """x / (1 + |x|)."""
    size = reader.emit(node, nn.Call("abs"), node.inputs, "size")
    more = reader.emit(node, nn.Call("add", b=1.0), [size], "more")
    reader.emit(node, nn.Call("div"), [node.inputs[0], more])


@operator("Clip")
def _clip(reader: "Reader", node: Node) -> Any:
    lowest, highest = (node.attribute(name, None) for name in ("min", "max"))
    for place, name in enumerate(("min", "max"), 1):
        if (bound := reader.optional(node, place)) is not None:
            lowest, highest = (float(bound.item()), highest) if name == "min" else (lowest, float(bound.item()))
    if lowest is None and highest is None:
        return _nothing(reader, node)
    if lowest == 0 and highest == 6:
        layer = nn.ReLU6()
    elif lowest == 0 and (highest is None or highest > 1e38):
        layer = nn.ReLU()
    else:
        layer = nn.Call("clamp", min=lowest, max=highest)
    reader.emit(node, layer, node.inputs[:1])


@operator("PRelu")
def _prelu(reader: "Reader", node: Node) -> None:
    slope = reader.constant(node, 1)
    if slope.size != 1 and not (slope.ndim in (3, 4) and slope.shape[-3] == slope.size):
        raise ValueError("its slopes are not one for each channel")
    reader.emit(node, nn.PReLU(slope.size), node.inputs[:1], weight=slope.ravel())


@operator("Softmax", "LogSoftmax")
def _softmax(reader: "Reader", node: Node) -> None:
    ndim = reader.shape(node.inputs[0]).__len__()
    dim = node.attribute("axis", -1 if node.opset >= 13 else 1) % ndim
    if node.opset < 13 and math.prod(reader.shape(node.inputs[0])[dim + 1 :]) != 1:
        raise ValueError(f"in opset {node.opset} it is over dimensions {dim} and all behind together")
    reader.emit(node, nn.Softmax(dim) if node.op == "Softmax" else nn.Call("log_softmax", dim=dim), node.inputs)


# ---- windows ---------------------------------------------------------------------------------------------------------


def _padding(node: Node, around: Any) -> Any:
    """Padding in our terms: an int pair, four ints (left, right, top, bottom), or "same_upper", "same_lower"."""
    auto = node.attribute("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        return auto.lower()
    top, left, bottom, right = (0,) * 4 if auto == "VALID" else node.attribute("pads", (0,) * 4)
    if max(top, left, bottom, right) > max(around, 64):
        raise ValueError(f"its padding, {max(top, left, bottom, right)}, is absurd")
    return (top, left) if (top, left) == (bottom, right) else (left, right, top, bottom)


def _windows(reader: "Reader", node: Node, kernel: Sequence[int]) -> tuple:
    """(kernel, stride, padding, dilation), of images only."""
    if len(kernel) != 2 or len(reader.shape(node.inputs[0])) != 4:
        raise ValueError(f"it goes over {len(kernel)} dimensions, and only images have layers here")
    stride, dilation = (tuple(node.attribute(name, (1, 1))) for name in ("strides", "dilations"))
    padding = _padding(node, max(d * k for d, k in zip(dilation, kernel, strict=True)))
    if max(*stride, *dilation, *kernel) > 1024:
        raise ValueError(f"its window {kernel}, stride {stride} or dilation {dilation} is absurd")
    return tuple(kernel), stride, padding, dilation


@operator("Conv")
def _conv(reader: "Reader", node: Node) -> None:
    weight, bias = reader.constant(node, 1), reader.optional(node, 2)
    kernel, stride, padding, dilation = _windows(reader, node, weight.shape[2:])
    groups = node.attribute("group", 1)
    channels = weight.shape[1] * groups
    reader.allow(
        (
            weight.shape[0],
            *(n + 2 * k * d + 128 for n, k, d in zip(reader.shape(node.inputs[0])[2:], kernel, dilation, strict=True)),
        )
    )
    layer = nn.Conv2d(channels, weight.shape[0], kernel, stride, padding, dilation, groups, bias is not None)
    reader.emit(node, layer, node.inputs[:1], weight=weight, bias=bias)


@operator("ConvTranspose")
def _conv_transpose(reader: "Reader", node: Node) -> None:
    weight, bias = reader.constant(node, 1), reader.optional(node, 2)
    kernel, stride, padding, dilation = _windows(reader, node, weight.shape[2:])
    groups, more = node.attribute("group", 1), tuple(node.attribute("output_padding", (0, 0)))
    before = reader.shape(node.inputs[0])[2:]
    geometry = zip(before, kernel, stride, dilation, more, strict=True)
    sides = [s * (n - 1) + d * (k - 1) + 1 + p for n, k, s, d, p in geometry]  # of the whole result
    reader.allow((weight.shape[1] * groups, *sides))
    cut = None
    if isinstance(padding, str) or len(padding) != 2 or node.attribute("output_shape", None) is not None:
        cut, padding = _cut_around(node, padding, sides, [n * s for n, s in zip(before, stride, strict=True)]), 0
    layer = nn.ConvTranspose2d(
        weight.shape[0], weight.shape[1] * groups, kernel, stride, padding, more, groups, bias is not None, dilation
    )
    whole = reader.emit(node, layer, node.inputs[:1], "whole" if cut else None, weight=weight, bias=bias)
    if cut:
        reader.emit(node, nn.Call("pad", pad=tuple(-n for n in cut)), [whole])


def _cut_around(node: Node, padding: Any, sides: Any, same: Any) -> Any:
    """(left, right, top, bottom) that go from a transposed convolution's whole result, of these sides; same: those that
    "same" padding leaves."""
    wanted = node.attribute("output_shape", None)
    if not isinstance(padding, str) and wanted is None:
        return padding
    wanted = same if wanted is None else wanted[-2:]
    rest = [side - n for side, n in zip(sides, wanted, strict=True)]
    if min(rest) < 0 or min(wanted) < 1:
        raise ValueError(f"its size {tuple(wanted)} is more than its {tuple(sides)}")
    top, left = (n // 2 if padding == "same_upper" else n - n // 2 for n in rest)
    return left, rest[1] - left, top, rest[0] - top


@operator("MaxPool", "AveragePool")
def _pool(reader: "Reader", node: Node) -> Any:
    if len(reader.shape(node.inputs[0])) == 5 and node.op == "AveragePool":
        return _pool_over_first(reader, node)
    kernel, stride, padding, dilation = _windows(reader, node, node.attribute("kernel_shape"))
    ceil_mode = bool(node.attribute("ceil_mode", 0))
    if node.op == "MaxPool":
        layer = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode)
    else:
        counted = bool(node.attribute("count_include_pad", 0))
        layer = nn.AvgPool2d(kernel, stride, padding, ceil_mode, counted, dilation=dilation)
    return reader.emit(node, layer, node.inputs)


def _pool_over_first(reader: "Reader", node: Node) -> None:
    """Over the first of three dimensions, without padding, as torch writes local response normalisation, with channels
    as that dimension: over rows, of pictures whose columns are all places."""
    _, channels, depth, *hw = reader.shape(node.inputs[0])
    kernel, stride, pads = (
        node.attribute("kernel_shape"),
        node.attribute("strides", [1] * 3),
        node.attribute("pads", ()),
    )
    if [*kernel[1:], *stride[1:]] != [1] * 4 or any(pads) or node.attribute("auto_pad", "NOTSET") != "NOTSET":
        raise ValueError("it goes over three dimensions, and only images have layers here")
    if node.attribute("ceil_mode", 0) or any(n != 1 for n in node.attribute("dilations", ())) or kernel[0] > depth:
        raise ValueError("its window is unusual")
    flat = reader.emit(node, nn.Call("reshape", shape=(-1, channels, depth, math.prod(hw))), node.inputs, "flat")
    means = reader.emit(node, nn.AvgPool2d((kernel[0], 1), (stride[0], 1)), [flat], "means")
    after = reader.shape(means)[2]
    reader.emit(node, nn.Call("reshape", shape=(-1, channels, after, *hw)), [means])


# ---- products and norms ----------------------------------------------------------------------------------------------


@operator("Gemm")
def _gemm(reader: "Reader", node: Node) -> None:
    weight, bias = reader.constant(node, 1), reader.optional(node, 2)
    if node.attribute("transA", 0):
        raise ValueError("its first matrix is transposed")
    weight = (weight if node.attribute("transB", 0) else weight.T) * np.float32(node.attribute("alpha", 1.0))
    if bias is not None and bias.size not in (1, weight.shape[0]):
        raise ValueError(f"its bias of shape {bias.shape} is not one for each output")
    if bias is not None:
        bias = np.broadcast_to(np.squeeze(bias) * np.float32(node.attribute("beta", 1.0)), weight.shape[:1])
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    reader.emit(node, layer, node.inputs[:1], weight=weight, bias=bias)


@operator("BatchNormalization")
def _batch_norm(reader: "Reader", node: Node) -> None:
    weight, bias, mean, var = (reader.constant(node, place) for place in (1, 2, 3, 4))
    if node.attribute("training_mode", 0):
        raise ValueError("it is in training mode: export the network in evaluation mode")
    layer = nn.BatchNorm2d(weight.size, node.attribute("epsilon", 1e-5))
    reader.emit(node, layer, node.inputs[:1], weight=weight, bias=bias, running_mean=mean, running_var=var)


@operator("InstanceNormalization")
def _instance_norm(reader: "Reader", node: Node) -> None:
    weight, bias, eps = reader.constant(node, 1), reader.constant(node, 2), node.attribute("epsilon", 1e-5)
    image = len(reader.shape(node.inputs[0])) == 4
    layer = nn.InstanceNorm2d(weight.size, eps, True) if image else nn.GroupNorm(weight.size, weight.size, eps)
    reader.emit(node, layer, node.inputs[:1], weight=weight, bias=bias)


@operator("GroupNormalization")
def _group_norm(reader: "Reader", node: Node) -> None:
    weight, bias, groups = reader.constant(node, 1), reader.constant(node, 2), node.attribute("num_groups")
    channels = reader.shape(node.inputs[0])[1]
    weight, bias = (np.repeat(one, channels // one.size) for one in (weight, bias))  # opset 18: one for each group
    reader.emit(
        node, nn.GroupNorm(groups, channels, node.attribute("epsilon", 1e-5)), node.inputs[:1], weight=weight, bias=bias
    )


@operator("LayerNormalization")
def _layer_norm(reader: "Reader", node: Node) -> None:
    weight, bias = reader.constant(node, 1), reader.optional(node, 2)
    shape = reader.shape(node.inputs[0])
    shape = shape[node.attribute("axis", -1) % len(shape) :]
    layer = nn.LayerNorm(shape, node.attribute("epsilon", 1e-5), bias=bias is not None)
    reader.emit(node, layer, node.inputs[:1], weight=np.broadcast_to(weight, shape), bias=bias)
