"""ONNX's operators of arithmetic, of sums and on shapes, as functions of ours: onnx_operators.py goes on here."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import nn

from .onnx_node import Node
from .onnx_operators import operator

if TYPE_CHECKING:
    from .onnx_file import Reader

# ---- arithmetic ------------------------------------------------------------------------------------------------------

ARITHMETIC = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Pow": "pow", "MatMul": "matmul"}
ARITHMETIC |= {"Max": "maximum", "Min": "minimum", "Sum": "add", "Mean": "add"}
WITH_NUMBERS = ("add", "sub", "mul", "div", "pow", "gt", "ge", "lt", "le", "eq")
COMMUTING = ("add", "mul", "maximum", "minimum")
GATED = {nn.Sigmoid: nn.SiLU, nn.Hardsigmoid: nn.Hardswish}


@operator(*(name for name in ARITHMETIC if name != "MatMul"))
def _binary(reader: "Reader", node: Node) -> Any:
    function, (first, *others) = ARITHMETIC[node.op], node.inputs
    axis = node.attribute("axis", None)  # before opset 7
    if axis is not None and axis + len(reader.shape(others[0])) != len(reader.shape(first)):
        raise ValueError("it broadcasts as before opset 7: bring the file up to date by onnx.version_converter")
    if node.op == "Mul" and (gated := _gated(reader, *node.inputs)):
        return reader.emit(node, *gated)
    for place, other in enumerate(others):
        output = None if place == len(others) - 1 and node.op != "Mean" else f"partial{place}"
        first = of_two(reader, node, function, first, other, output)
    if others and node.op == "Mean":
        return reader.emit(node, nn.Call("div", b=float(len(node.inputs))), [first])
    return None if others else reader.same(node.outputs[0], first)


def _gated(reader: "Reader", a: Any, b: Any) -> tuple | None:
    """(layer, [x]) of x sigmoid(x) or x hardsigmoid(x), in which exporters write SiLU and Hardswish; None of others."""
    for x, gate in ((a, b), (b, a)):
        layers = (step.module for step in reader.steps if step.output == gate and step.inputs == [x])
        if (layer := next(layers, None)) is not None and type(layer) in GATED:
            return GATED[type(layer)](), [x]
    return None


def of_two(reader: "Reader", node: Node, function: str, a: Any, b: Any, output: int | str | None) -> Any:
    """Emit the function of two values, of which one may be a constant."""
    left = reader.is_constant(a)
    if function == "matmul":
        if min(len(reader.shape(one)) for one in (a, b)) < 2:
            raise ValueError("it is a product with a vector: only matrices have one here")
        (*stack, rows, _), (*others, _, columns) = (reader.shape(one) for one in (a, b))
        reader.allow((*np.broadcast_shapes(tuple(stack), tuple(others)), rows, columns))
    else:
        reader.allow(np.broadcast_shapes(reader.shape(a), reader.shape(b)))
    if not (left or reader.is_constant(b)):
        return reader.emit(node, nn.Call(function), [a, b], output)
    array, x = (reader.array(a), b) if left else (reader.array(b), a)
    if array.size == 1 and array.ndim <= len(reader.shape(x)) and (not left or function in COMMUTING):
        layer = _with_number(function, float(array.item()))
        if layer is not None:
            return reader.emit(node, layer, [x], output)
    layer = nn.WeightedCall(function, array.shape, first=left)
    return reader.emit(node, layer, [x], output, weight=array)


def _with_number(function: str, number: Any) -> nn.Call:
    return nn.Call(function, b=number) if function in WITH_NUMBERS else None


@operator("MatMul")
def _matmul(reader: "Reader", node: Node) -> Any:
    if reader.is_constant(node.inputs[1]) and (weight := reader.constant(node, 1)).ndim == 2:
        reader.allow((*reader.shape(node.inputs[0])[:-1], weight.shape[1]))
        return reader.emit(node, nn.Linear(*weight.shape, bias=False), node.inputs[:1], weight=weight.T)
    return _binary(reader, node)


# ---- reductions ------------------------------------------------------------------------------------------------------

REDUCTIONS = {"ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "max", "ReduceMin": "min"}
REDUCTIONS |= dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum"), "sum")
REDUCTIONS |= {"ReduceLogSumExp": "logsumexp"}
BEFORE = {"ReduceL1": "abs", "ReduceL2": "square", "ReduceSumSquare": "square"}
AFTER = {"ReduceL2": "sqrt", "ReduceLogSum": "log"}


@operator(*REDUCTIONS)
def _reduce(reader: "Reader", node: Node) -> Any:
    shape, axes = reader.shape(node.inputs[0]), node.attribute("axes", None)
    if axes is None and (given := reader.optional(node, 1)) is not None:
        axes = given.tolist()
    if not axes and node.attribute("noop_with_empty_axes", 0) and node.op not in BEFORE | AFTER:
        return reader.same(node.outputs[0], node.inputs[0])
    axes = tuple(axis % len(shape) for axis in (axes or range(len(shape))))
    if 0 in axes:
        raise ValueError("it is over the pictures of a batch")
    keepdims = bool(node.attribute("keepdims", 1))
    function, x = REDUCTIONS[node.op], node.inputs[0]
    if node.op == "ReduceMean" and sorted(axes) == [2, 3] and len(shape) == 4 and keepdims:
        return reader.emit(node, nn.AdaptiveAvgPool2d(1), [x])
    if node.op in BEFORE:
        x = reader.emit(node, nn.Call(BEFORE[node.op]), [x], BEFORE[node.op])
    named = ("dim", "keepdim") if function == "logsumexp" else ("axis", "keepdims")
    layer = nn.Call(function, **dict(zip(named, (axes, keepdims), strict=True)))
    if node.op not in AFTER:
        return reader.emit(node, layer, [x])
    total = reader.emit(node, layer, [x], function)
    return reader.emit(node, nn.Call(AFTER[node.op]), [total])


# ---- shapes ----------------------------------------------------------------------------------------------------------


@operator("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def _reshape(reader: "Reader", node: Node) -> Any:
    """By the shape that comes out; the number of images, which may be fixed in the file, stays free."""
    before, after = reader.shape(node.inputs[0]), _shape_after(reader, node)
    if after[1:] == (math.prod(before[1:]),) and before[0] == after[0]:
        return reader.emit(node, nn.Flatten(), node.inputs[:1])
    if len(after) == 1 and before[0] == 1:
        reader.rows[node.outputs[0]] = node.inputs[0]
    return reader.emit(node, nn.Call("reshape", shape=(-1, *after[1:])), node.inputs[:1])


def _shape_after(reader: "Reader", node: Node) -> tuple:
    shape = list(reader.shape(node.inputs[0]))
    if node.op == "Flatten":
        axis = node.attribute("axis", 1)
        axis += len(shape) if axis < 0 else 0
        return math.prod(shape[:axis]), math.prod(shape[axis:])
    axes = node.attribute("axes", None) if node.op != "Reshape" else None
    given = reader.optional(node, 1)
    given = axes if given is None else given.tolist()
    if node.op == "Squeeze":
        axes = [a % len(shape) for a in given] if given is not None else [a for a, n in enumerate(shape) if n == 1]
        return tuple(n for axis, n in enumerate(shape) if axis not in axes)
    if node.op == "Unsqueeze":
        for axis in sorted(a % (len(shape) + len(given)) for a in given):
            shape.insert(axis, 1)
        return tuple(shape)
    after = [shape[i] if n == 0 and not node.attribute("allowzero", 0) else n for i, n in enumerate(given)]
    rest = math.prod(n for n in after if n != -1)
    return tuple(math.prod(shape) // max(rest, 1) if n == -1 else n for n in after)


@operator("Concat")
def _concat(reader: "Reader", node: Node) -> None:
    dim = node.attribute("axis") % len(reader.shape(node.inputs[0]))
    if dim == 0:
        raise ValueError("it joins images of a batch")
    reader.emit(node, nn.Call("cat", dim=dim), node.inputs)


def _cut(
    reader: "Reader", node: Node, x: str, axis: int, start: int, stop: int, output: int | str | None = None
) -> Any:
    """x[..., start:stop, ...], as padding by negative widths."""
    shape = reader.shape(x)
    widths = [0] * (2 * (len(shape) - axis))
    widths[-2:] = [-start, stop - shape[axis]]
    return reader.emit(node, nn.Call("pad", pad=tuple(widths)), [x], output)


@operator("SplitToSequence")
def _split_to_sequence(reader: "Reader", node: Node) -> None:
    shape, sizes = reader.shape(node.inputs[0]), reader.optional(node, 1)
    axis = node.attribute("axis", 0) % len(shape)
    if sizes is None or axis == 0 or not node.attribute("keepdims", 1):
        raise ValueError("it cuts the batch, or every element apart")
    each = int(sizes) if sizes.ndim == 0 else 0
    sizes = [min(each, shape[axis] - start) for start in range(0, shape[axis], each)] if each else sizes.tolist()
    if len(sizes) > shape[axis] or sum(sizes) != shape[axis]:
        raise ValueError(f"it cuts dimension {axis} of {shape} into {sizes}")
    stops = np.cumsum(sizes).tolist()
    reader.sequences[node.outputs[0]] = [
        _cut(reader, node, node.inputs[0], axis, stop - size, stop, f"part{stop}")
        for size, stop in zip(sizes, stops, strict=True)
    ]


@operator("SequenceAt")
def _sequence_at(reader: "Reader", node: Node) -> None:
    reader.same(node.outputs[0], reader.sequences[node.inputs[0]][int(reader.constant(node, 1))])


@operator("Split")
def _split(reader: "Reader", node: Node) -> None:
    shape = reader.shape(node.inputs[0])
    axis, sizes = node.attribute("axis", 0) % len(shape), node.attribute("split", None)
    if sizes is None and (given := reader.optional(node, 1)) is not None:
        sizes = given.tolist()
    if sizes is None:
        each = -(-shape[axis] // len(node.outputs))
        sizes = [min(each, shape[axis] - place * each) for place in range(len(node.outputs))]
    if axis == 0 or sum(sizes) != shape[axis] or min(sizes) < 1 or len(sizes) != len(node.outputs):
        raise ValueError(f"it cuts dimension {axis} of {shape} into {sizes}")
    start = 0
    for size, output in zip(sizes, node.outputs, strict=True):
        reader.same(output, _cut(reader, node, node.inputs[0], axis, start, start + size, f"part{start}"))
        start += size


@operator("Slice")
def _slice(reader: "Reader", node: Node) -> None:
    x = node.inputs[0]
    shape = reader.shape(x)
    if len(node.inputs) > 1:
        starts, ends, axes, steps = (reader.optional(node, place) for place in (1, 2, 3, 4))
    else:
        starts, ends, axes, steps = (node.attribute(name, None) for name in ("starts", "ends", "axes", "steps"))
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    for place, (axis, start, stop, step) in enumerate(zip(axes, starts, ends, steps, strict=True)):
        axis = int(axis) % len(shape)
        taken = range(shape[axis])[slice(int(start), int(stop), int(step))]
        if axis == 0 and taken != range(shape[0]):
            raise ValueError("it cuts the batch")
        x = _picked(reader, node, x, axis, taken, f"cut{place}")
    reader.same(node.outputs[0], x)


def _picked(reader: "Reader", node: Node, x: str, axis: int, taken: Sequence[int], part: int | str) -> Any:
    """The elements `taken`, a list or range, of x along an axis."""
    shape, taken = reader.shape(x), [int(one) for one in taken]
    if taken == list(range(shape[axis])):
        return x
    if taken == list(range(shape[axis]))[::-1]:
        return reader.emit(node, nn.Call("flip", dims=axis), [x], part)
    if taken and taken == list(range(taken[0], taken[-1] + 1)):
        return _cut(reader, node, x, axis, taken[0], taken[-1] + 1, part)
    reader.allow((len(taken), *shape[:axis], *shape[axis + 1 :]))
    swapped = [axis if place == 0 else 0 if place == axis else place for place in range(len(shape))]
    front = reader.emit(node, nn.Call("permute", dims=tuple(swapped)), [x], f"{part}_front")
    some = reader.emit(node, nn.Call("getitem", index=taken), [front], f"{part}_taken")
    return reader.emit(node, nn.Call("permute", dims=tuple(swapped)), [some], part)


@operator("Gather")
def _gather(reader: "Reader", node: Node) -> Any:
    index, shape = reader.constant(node, 1), reader.shape(node.inputs[0])
    axis = node.attribute("axis", 0) % len(shape)
    if node.inputs[0] in reader.rows and index.shape[:1] == (1,):  # torch's as_strided, of a batch of one
        flat = reader.emit(node, nn.Flatten(), [reader.rows[node.inputs[0]]], "flat")
        taken = _picked(reader, node, flat, 1, index.ravel() % shape[0], "picked")
        return reader.emit(node, nn.Call("reshape", shape=(-1, *index.shape[1:])), [taken])
    if index.ndim > 1 or axis == 0:
        raise ValueError("it picks by a matrix, or images of a batch")
    if any(not -shape[axis] <= one < shape[axis] for one in index.ravel()):
        raise ValueError(f"it picks elements beyond the {shape[axis]} that there are")
    taken = [int(one) % shape[axis] for one in index.ravel()]
    found = _picked(reader, node, node.inputs[0], axis, taken, "picked")
    if index.ndim:
        return reader.same(node.outputs[0], found)
    reader.emit(node, nn.Call("squeeze", dim=axis), [found])


@operator("Pad")
def _pad(reader: "Reader", node: Node) -> None:
    shape, pads = reader.shape(node.inputs[0]), node.attribute("pads", None)
    pads = reader.constant(node, 1).tolist() if pads is None else pads
    value = reader.optional(node, 2)
    value = node.attribute("value", 0.0) if value is None else float(value.item())
    axes = reader.optional(node, 3)
    axes = range(len(shape)) if axes is None else [int(axis) % len(shape) for axis in axes]
    before, after = dict(zip(axes, pads, strict=False)), dict(zip(axes, pads[len(pads) // 2 :], strict=False))
    widths = [n for axis in reversed(range(len(shape))) for n in (before.get(axis, 0), after.get(axis, 0))]
    if max(widths) > 1024:
        raise ValueError(f"its padding, {max(widths)}, is absurd")
    reader.allow([n + max(before.get(i, 0), 0) + max(after.get(i, 0), 0) for i, n in enumerate(shape)])
    while len(widths) > 2 and widths[-2:] == [0, 0]:
        widths = widths[:-2]
    if len(widths) == 2 and node.attribute("mode", "constant") != "constant":
        widths += [0, 0]
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}.get(
        node.attribute("mode", "constant"), "unknown"
    )
    given = {"value": value} if mode == "constant" else {}
    reader.emit(node, nn.Call("pad", pad=tuple(widths), mode=mode, **given), node.inputs[:1])


def _as_meant(scale: float) -> float:
    """The number that a float32 stands for: 0.7, and not 0.699999988, by which 20 pixels would become 13."""
    simple = Fraction(float(scale)).limit_denominator(1000)
    return float(simple) if np.float32(float(simple)) == scale else float(str(scale))


@operator("Resize", "Upsample")
def _resize(reader: "Reader", node: Node) -> None:
    shape = reader.shape(node.inputs[0])
    at = 2 if node.op == "Resize" and node.opset > 10 else 1
    scales, sizes = reader.optional(node, at), reader.optional(node, 3)
    scales = node.attribute("scales", None) if scales is None or scales.size == 0 else map(_as_meant, scales)
    size = None if sizes is None else sizes.tolist()
    axes = [axis % len(shape) for axis in node.attribute("axes", range(len(shape)))]
    given = dict(zip(axes, scales if size is None else size, strict=True))
    if len(shape) != 4 or any(
        given.get(axis, 1) != (1 if size is None else shape[axis]) for axis in (0, 1) if axis in given
    ):
        raise ValueError("it changes more than height and width")
    old = node.op == "Upsample" or node.opset <= 10
    coordinates = node.attribute("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    if node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ValueError("its size keeps the aspect ratio: give it as it is")
    mode = {"nearest": "nearest", "linear": "bilinear", "bilinear": "bilinear"}.get(node.attribute("mode", "nearest"))
    if mode is None or node.attribute("antialias", 0):
        raise ValueError(f"its mode {node.attribute('mode', 'nearest')!r}, or antialias, has no counterpart here")
    rounding = node.attribute("nearest_mode", "floor" if old else "round_prefer_floor") if mode == "nearest" else None
    if (coordinates, rounding) == ("asymmetric", "floor"):  # torch's nearest, whose rounding is that of float32
        coordinates = rounding = None
    pair = (given[2], given[3])
    reader.allow(
        (shape[1], *(n if size is not None else n * s for n, s in zip(pair if size else shape[2:], pair, strict=True)))
    )
    which = {"scale_factor": pair} if size is None else {"size": tuple(map(int, pair))}
    layer = nn.Upsample(**which, mode=mode, coordinates=coordinates, rounding=rounding)
    reader.emit(node, layer, node.inputs[:1])


@operator("DepthToSpace")
def _depth_to_space(reader: "Reader", node: Node) -> Any:
    (_, channels, rows, columns), size = reader.shape(node.inputs[0]), node.attribute("blocksize")
    if node.attribute("mode", "DCR") == "CRD":
        return reader.emit(node, nn.PixelShuffle(size), node.inputs)
    split, joined = (size, size, channels // size**2, rows, columns), (channels // size**2, rows * size, columns * size)
    _regrouped(reader, node, split, (0, 3, 4, 1, 5, 2), joined)


@operator("SpaceToDepth")
def _space_to_depth(reader: "Reader", node: Node) -> None:
    (_, channels, rows, columns), size = reader.shape(node.inputs[0]), node.attribute("blocksize")
    split = (channels, rows // size, size, columns // size, size)
    dims = (0, 1, 3, 5, 2, 4) if node.attribute("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    _regrouped(reader, node, split, dims, (channels * size**2, rows // size, columns // size))


def _regrouped(reader: "Reader", node: Node, split: Sequence[int], dims: Sequence[int], joined: Sequence[int]) -> None:
    """Reshaped, permuted and reshaped."""
    x = reader.emit(node, nn.Call("reshape", shape=(-1, *split)), node.inputs, "split")
    x = reader.emit(node, nn.Call("permute", dims=dims), [x], "moved")
    reader.emit(node, nn.Call("reshape", shape=(-1, *joined)), [x])
