"""ONNX's comparisons, logic and choices, such as torch.where(x > 0, x, 0.1 * x), and what is spread over a shape."""

from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import nn

from .onnx_functions import of_two
from .onnx_node import Node
from .onnx_operators import operator

if TYPE_CHECKING:
    from .onnx_file import Reader

COMPARISONS = {"Greater": "gt", "GreaterOrEqual": "ge", "Less": "lt", "LessOrEqual": "le", "Equal": "eq"}
TURNED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge", "eq": "eq"}
LOGIC = {"And": "logical_and", "Or": "logical_or", "Not": "logical_not"}


@operator(*COMPARISONS)
def _comparison(reader: "Reader", node: Node) -> None:
    function, (a, b) = COMPARISONS[node.op], node.inputs
    if reader.is_constant(a):
        function, a, b = TURNED[function], b, a
    of_two(reader, node, function, a, b, None)


@operator(*LOGIC)
def _logic(reader: "Reader", node: Node) -> None:
    if any(map(reader.is_constant, node.inputs)):
        raise ValueError("one of its conditions is a constant")
    reader.allow(np.broadcast_shapes(*map(reader.shape, node.inputs)))
    reader.emit(node, nn.Call(LOGIC[node.op]), node.inputs)


@operator("Where")
def _where(reader: "Reader", node: Node) -> None:
    """Numbers stand second in a layer: of one that is first, the condition is turned round."""
    condition, *either = node.inputs
    if reader.is_constant(condition):
        raise ValueError("its condition is a constant")
    numbers = [reader.array(one).ravel() if reader.is_constant(one) else None for one in either]
    if any(one is not None and (one.size < 1 or (one != one[0]).any()) for one in numbers):
        raise ValueError("one of its choices is an array of different constants")
    after = np.broadcast_shapes(*map(reader.shape, node.inputs))
    reader.allow(after)
    if after != np.broadcast_shapes(*(reader.shape(one) for one in node.inputs if not reader.is_constant(one))):
        raise ValueError("one of its choices spreads the others over a shape")
    numbers = [None if one is None else float(one[0]) for one in numbers]
    values = [one for one, number in zip(either, numbers, strict=True) if number is None]
    if numbers[0] is not None and numbers[1] is None:
        condition, numbers = reader.emit(node, nn.Call("logical_not"), [condition], "not"), numbers[::-1]
    given = {name: number for name, number in zip("ab", numbers, strict=True) if number is not None}
    reader.emit(node, nn.Call("where", **given), [condition, *values])


@operator("ThresholdedRelu")
def _thresholded(reader: "Reader", node: Node) -> None:
    """x where it is above alpha, elsewhere 0."""
    above = reader.emit(node, nn.Call("gt", b=node.attribute("alpha", 1.0)), node.inputs, "above")
    reader.emit(node, nn.Call("where", b=0.0), [above, *node.inputs])


@operator("Expand")
def _expand(reader: "Reader", node: Node) -> Any:
    """Spread over a shape, by a product with ones; the number of images stays free."""
    x, shape = node.inputs[0], reader.shape(node.inputs[0])
    after = np.broadcast_shapes(shape, tuple(reader.constant(node, 1).tolist()))
    if after == shape:
        return reader.same(node.outputs[0], x)
    if len(after) != len(shape) or after[0] != shape[0]:
        raise ValueError(f"it spreads {shape} over {after}, more than one picture")
    reader.allow(after)
    return reader.emit(node, nn.WeightedCall("mul", after[1:]), [x], weight=np.ones(after[1:], np.float32))
