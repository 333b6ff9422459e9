"""A picture of how a Tensor was computed: every Function with its parameters and result, every leaf it began with.

    mg.graph(loss, names={"image": image, **dict(model.named_parameters())}).save("graph.svg")

Neither the DOT text nor the SVG needs the graphviz programs.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import Function, functions_before
from ..device import is_array
from ..functional import conv, pool
from ..tensor import Tensor
from .graph_layout import Box, svg

_MOST_DRAWN = 1500  # boxes
_LONGEST = 44  # characters of a parameter's value
_CONVOLUTION = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
_POOL = {"kernel": None, "stride": None, "padding": (0, 0), "dilation": (1, 1)}
_GEOMETRY: dict[type, dict] = {  # what `geometry` of these Functions holds, with the values that go without saying
    conv.Conv2d: _CONVOLUTION,
    conv.Conv2dInputGrad: _CONVOLUTION,
    conv.Conv2dWeightGrad: _CONVOLUTION,
    pool.MaxPool2d: _POOL,
    pool.WindowScatter: _POOL,
    pool.WindowGather: _POOL,
    pool.AvgPool2d: _POOL,
    pool.AvgPool2dInputGrad: _POOL,
}
_SHAPES = {  # Graphviz's words for our kinds of boxes
    "function": "shape=box",
    "asked": "shape=box, penwidth=2.4",
    "variable": 'shape=box, style="rounded,filled", fillcolor="#fbe5c8"',
    "constant": 'shape=box, style="rounded,filled", fillcolor="#eceef1"',
}


class Graph:
    """What `graph` returns: shown as a picture by a notebook.

    `boxes` are the nodes, inputs before what was computed from them; each has `lines` (its text), `kind` and `inputs`.
    """

    def __init__(self, boxes: list[Box]) -> None:
        self.boxes = boxes

    def dot(self) -> str:
        """The graph in Graphviz's language."""
        number = {box: i for i, box in enumerate(self.boxes)}
        nodes = [f"  n{i} [label={_quoted(box.lines)}, {_SHAPES[box.kind]}];" for box, i in number.items()]
        edges = [f"  n{number[source]} -> n{number[box]};" for box in self.boxes for source in box.inputs]
        return "\n".join(["digraph {", '  node [fontname="monospace", fontsize=10];', *nodes, *edges, "}"])

    def svg(self) -> str:
        """The drawing, from the leaves at the top to the results at the bottom.

        Raises ValueError for a graph of more boxes than anyone can look at: draw a part, or use dot().
        """
        if len(self.boxes) > _MOST_DRAWN:
            raise ValueError(
                f"graph: {len(self.boxes)} boxes are too many to draw (at most {_MOST_DRAWN}); take an intermediate "
                "tensor, or dot()"
            )
        functions = self._functions()
        title = f"Graph of {functions} operations on {len(self.boxes) - functions} tensors"
        copies: dict[Box, Box] = {}  # to be placed, so that drawing twice begins anew
        for box in self.boxes:
            copies[box] = Box(box.lines, box.kind, [copies[source] for source in box.inputs])
        return svg(list(copies.values()), title)

    def save(self, path: str | Path) -> Path:
        """Write the drawing (.svg) or the text (.dot) to a file; returns its path."""
        path = Path(path)
        if path.suffix not in (".svg", ".dot"):
            raise ValueError(f"graph: path {str(path)!r} must end in .svg or .dot")
        path.write_text(self.svg() if path.suffix == ".svg" else self.dot(), encoding="utf-8")
        return path

    def _repr_svg_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        functions = self._functions()
        return f"Graph({functions} operations, {len(self.boxes) - functions} leaves)"

    def _functions(self) -> int:
        return sum(box.kind in ("function", "asked") for box in self.boxes)


def graph(outputs: Tensor | Iterable[Tensor], names: Mapping[str, Tensor] | None = None) -> Graph:
    """How `outputs`, a Tensor or several, were computed.

    names: {name: Tensor} for leaves and intermediates that shall carry a name, such as
    `dict(model.named_parameters())` or what `model.activations` returned.

    Only what was recorded is known: a tensor computed from none that requires grad, or under no_grad, is a leaf. A
    function's box shows the shape and dtype of its result; leaves that require grad are orange and tell of their
    `.grad` if they have one, constants are grey. Raises TypeError for anything but Tensors, ValueError for none.
    """
    asked = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    for i, tensor in enumerate(asked):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"graph: outputs[{i}] is {type(tensor).__name__}, expected a Tensor")
    if not asked:
        raise ValueError("graph: outputs is empty; give a Tensor or several")

    named = {id(tensor): name for name, tensor in (names or {}).items()}
    wanted = {tensor.function for tensor in asked if tensor.function}
    boxes: dict[Any, Box] = {}  # by Function, and by id for leaves
    for function in functions_before(asked):
        inputs = []
        for x in function.inputs:
            if x.function is None and id(x) not in boxes:
                boxes[id(x)] = _leaf(x, named.get(id(x)))
            inputs.append(boxes[id(x) if x.function is None else x.function])
        lines = _function_lines(function, named)
        boxes[function] = Box(lines, "asked" if function in wanted else "function", inputs)
    for tensor in asked:
        if tensor.function is None and id(tensor) not in boxes:
            boxes[id(tensor)] = _leaf(tensor, named.get(id(tensor)))
    return Graph(list(boxes.values()))


# ---- what boxes say --------------------------------------------------------------------------------------------------


def _leaf(tensor, name):
    lines = [name] if name else []
    if tensor.size == 1 and not name:
        lines.append(f"{tensor.item():.6g}")
    lines.append(f"{tensor.shape} {tensor.dtype}")
    if tensor.grad is not None:
        lines.append(f"grad {tensor.grad.shape} {tensor.grad.dtype}")
    return Box(lines, "variable" if tensor.requires_grad else "constant", [])


def _function_lines(function, named):
    output, result = function._output(), function._used[-1]
    name = named.get(id(output)) if output is not None else None
    kind = type(function).__name__
    parameters = ", ".join(f"{key} {value}" for key, value in _parameters(function))
    return [
        f"{name}: {kind}" if name else kind,
        *([parameters] if parameters else []),
        f"{result.shape} {result.dtype}",
    ]


def _parameters(function: Function):
    """(name, text) of what the Function was made with: numbers, not arrays."""
    usual = next((_GEOMETRY[kind] for kind in type(function).__mro__ if kind in _GEOMETRY), {})
    for (name, default), value in zip(usual.items(), getattr(function, "geometry", ()), strict=False):
        if value != default:
            yield name, _text(value)
    for name, value in vars(function).items():
        known = name.startswith("_") or name in ("inputs", "needs_input_grad", "geometry", "input_hw", "ceil_mode")
        if not known and not is_array(value):
            yield name, _text(value)


def _text(value):
    """Short text: 1 for (1, 1), 1:3 for a slice."""
    if isinstance(value, tuple) and len(value) == 2 and value[0] == value[1] and isinstance(value[0], int):
        return str(value[0])
    text = _index(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _index(value):
    if isinstance(value, tuple):
        return f"({', '.join(map(_index, value))})"
    if isinstance(value, slice):
        return ":".join(
            "" if v is None else str(v) for v in (value.start, value.stop, value.step)[: 2 + bool(value.step)]
        )
    if is_array(value) and np.ndim(value):
        return f"array {value.shape}"
    return "..." if value is Ellipsis else str(value)


def _quoted(lines):
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in lines)
    return '"' + "\\n".join(escaped) + '"'
