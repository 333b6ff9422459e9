"""ONNX files -> a Model of ours, by the package `onnx`: every exporter's convolutional networks, self-describing after.

The reader goes through the graph's nodes with one picture, so that all shapes are known: what depends on constants and
shapes alone is computed (by onnx' own reference), every other node becomes layers (onnx_operators.py), each of which is
run once. Names are the file's (onnx_names.py), and assemble.py nests them.

Nothing outside the file's folder is read, and no step may make more than MOST_ELEMENTS numbers.
"""

import collections
import math
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import nn

from ..hdf5 import WeightsError, shown
from ..layers import Preprocess
from ..model import Model
from ..preprocessing import for_channels
from . import onnx_choices, onnx_functions  # noqa: F401  (their operators)
from .assemble import Step, assembled
from .onnx_names import path_of, paths
from .onnx_node import Node
from .onnx_operators import OPERATORS
from .whole import asked_for, described, sides_of, whole

MOST_ELEMENTS = 1 << 26  # 256 MiB: the largest activation of a network of photographs
MOST_CONSTANT = 1 << 20  # of a constant that is computed, where its inputs do not say as much
FOLDED = {"Constant", "Shape", "ConstantOfShape", "Tile", "Range", "If"}  # of constants only
QUANTISED = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"}
QUANTISED |= {"ConvInteger", "MatMulInteger"}
GROWING = ("Expand", "ConstantOfShape", "Tile", "Range")


def read_onnx(
    source: str | Path | bytes,
    preprocessing: str | Preprocess | None = None,
    size: Sequence[int] | None = None,
    labels: Sequence[str] | str | None = None,
    name: str | None = None,
    input_name: str | None = None,
    output_name: str | None = None,
) -> Model:
    """The Model of an ONNX file, or of its bytes.

    preprocessing  how pictures are prepared, which no such file says: "imagenet" (RGB, 0 to 1, ImageNet's mean and
                   deviation), "unit" (RGB, 0 to 1), "caffe", ... or a `Preprocess`. Must be given.
    size           (H, W), where the file leaves them free.
    labels         names of the classes.
    input_name, output_name   of the values meant, where there are several.

    Raises WeightsError for a file that is damaged or cannot be expressed (with the node's name and operator),
    ValueError for what is missing or unknown among these arguments.
    """
    model = _parsed(source)
    prepare = asked_for(preprocessing, source)
    reader = Reader(model, None if isinstance(source, bytes) else Path(source).parent)
    taken, channels, sides, channels_last = _image_input(model.graph, reader.constants, input_name, size)
    prepare = for_channels(prepare, channels)
    result = _output(model.graph, output_name)
    try:
        layers = reader.read(taken, np.zeros((1, channels, *sides), np.float32), result, channels_last)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise WeightsError(shown(error)) from None
    network = whole(layers, prepare, name or "network", sides, labels)
    producer = shown(model.producer_name or "unknown", 40)
    network.provenance = {
        "source_format": f"ONNX opset {reader.opset}, by {producer}",
        "conversion": f"{len(model.graph.node)} nodes became {len(reader.steps)} layers; preprocessing as asked for",
    }
    return network


def _parsed(source: str | Path | bytes) -> Any:
    try:
        import onnx
    except ImportError:
        raise WeightsError(
            "reading ONNX needs the package onnx: pip install onnx, or minigrad's extra `files`"
        ) from None
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        model = onnx.load_model_from_string(content)
    except OSError as error:
        raise WeightsError(f"{source!s} cannot be read ({error.strerror or shown(error)})") from None
    except Exception as error:  # protobuf's
        raise WeightsError(f"this is no ONNX file, or damaged ({shown(error)})") from None
    graph = model.graph
    if not graph.node:
        raise WeightsError("there is no network in it: this is no ONNX file, or damaged")
    names = [one.name for some in (graph.input, graph.output, graph.initializer) for one in some]
    names += [name for node in graph.node for name in (node.name, node.op_type, node.domain, *node.input, *node.output)]
    if not all(isinstance(name, str) for name in (model.producer_name, *names)):
        raise WeightsError("its names are no texts in UTF-8: it is damaged")
    return model


def describe_onnx(source: Path) -> list[str]:
    """What an ONNX file is, as lines of text. Raises WeightsError for one that cannot be read."""
    model = _parsed(source)
    graph = model.graph
    counts = collections.Counter(node.op_type for node in graph.node)
    what = f"ONNX, {len(graph.node)} nodes, {len(graph.initializer)} arrays"
    lines = [f"{source.name}: {what}, by {shown(model.producer_name or 'unknown', 40)}"]
    given, images = {one.name for one in graph.initializer}, []
    for kind, values in (("input", graph.input), ("output", graph.output)):
        for one in values:
            if one.name not in given:
                shape = _dimensions(one)
                lines.append(f"{kind} {shown(one.name, 60)}: {' x '.join(str(n or '?') for n in shape) or '?'}")
                images += [shape] if kind == "input" and len(shape) == 4 else []
    free = ["--size PIXELS"] * any(0 in shape[1:] for shape in images)
    free += ["--input-name NAME"] * (len(images) > 1) + ["--output-name NAME"] * (len(graph.output) > 1)
    known = OPERATORS.keys() | FOLDED
    of_outputs = [{node.op_type for node in _needed(graph, one.name)} for one in graph.output]
    return described(source, lines, counts, known, free, min(of_outputs, key=lambda ops: len(ops - known), default=()))


def _needed(graph: Any, output: str) -> list:
    """The nodes that a value is computed by, in order."""
    wanted, found = {output}, []
    for node in reversed(graph.node):
        if not wanted.isdisjoint(node.output):
            wanted.update(node.input)
            wanted.update(one for branch in _branches(node) for inner in branch.node for one in inner.input)
            found.append(node)
    return found[::-1]


def _branches(node: Any) -> list:
    return [one.g for one in node.attribute if one.HasField("g")]


def _image_input(graph: Any, constants: Container[str], wanted: str | None, size: Sequence[int] | None) -> tuple:
    """(name, channels, (H, W), whether channels come last) of the input that pictures go to."""
    inputs = {one.name: _dimensions(one) for one in graph.input if one.name not in constants}
    if wanted is not None and wanted not in inputs:
        raise ValueError(f"there is no input {wanted!r}: it has {', '.join(inputs)}")
    images = [name for name, d in inputs.items() if len(d) == 4 and {1, 3} & {d[1], d[3]}]
    found = [wanted] if wanted is not None else images
    if len(found) != 1:
        raise WeightsError(
            f"it has {len(found)} inputs of shape (N, 3, H, W) or (N, 1, H, W) ({shown(', '.join(inputs), 100)}): name "
            "one (input_name, --input-name)"
        )
    dimensions = inputs[found[0]]
    if len(dimensions) != 4 or not {1, 3} & {dimensions[1], dimensions[3]}:
        raise WeightsError(f"its input {found[0]} has shape {tuple(dimensions)}, no pictures (N, 3, H, W)")
    last = dimensions[1] not in (1, 3)
    sides = dimensions[1:3] if last else dimensions[2:]
    return found[0], dimensions[3 if last else 1], sides_of(sides, size), last


def _dimensions(value: Any) -> list:
    """Lengths of an input's shape; 0 where the file leaves them free."""
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]


def _output(graph: Any, wanted: str | None) -> str:
    names = [one.name for one in graph.output]
    if wanted is not None and wanted not in names:
        raise ValueError(f"there is no output {wanted!r}: it has {', '.join(names)}")
    if wanted is None and len(names) != 1:
        raise WeightsError(
            f"it has {len(names)} outputs ({shown(', '.join(names), 100)}): name one (output_name, --output-name)"
        )
    return wanted or names[0]


class Reader:
    """Goes through a graph: .constants {value: array}, .tensors {value: of one picture}, .steps."""

    def __init__(self, model: Any, folder: Path | None) -> None:
        self.graph, self.folder = model.graph, folder
        self.opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 1)
        self.constants = {one.name: self._initial(one) for one in self.graph.initializer}
        self.tensors, self.steps, self._same, self.sequences = {}, [], {}, {}
        self.rows = {}  # {value of one dimension: the picture's value that it is the numbers of}

    def read(self, source: str, image: np.ndarray, output: str, channels_last: bool = False) -> dict:
        """{name: layer} that compute the value `output` of `source`, for which an array like `image` is put in;
        channels_last: after its channels were moved to the end."""
        self.tensors[source] = mg.Tensor(image)
        if channels_last:
            permuted = mg.nn.Call("permute", dims=(0, 2, 3, 1))
            self._run(("channels_last",), permuted, [source], "channels last")
            self._same[source] = "channels last"
        self._go_through(_needed(self.graph, output))
        output = self._same.get(output, output)
        if output not in self.tensors:
            raise WeightsError(f"no node computes its output {shown(output, 100)!r} of its input")
        return assembled(self.steps, source, output)

    def _go_through(self, nodes: Iterable[Any]) -> None:
        for proto, path in zip(nodes, paths(nodes, self.constants), strict=True):
            node = Node(proto, self.opset)
            self._path = path or path_of(node)
            node.inputs = [self._same.get(one, one) for one in node.inputs]
            self._take(node)

    def _branch(self, node: Node) -> None:
        """The one branch of an If that its condition, a constant, chooses: torch writes a squeeze so."""
        condition = bool(self.constant(node, 0).item())
        branch = node.attribute("then_branch" if condition else "else_branch")
        self.constants |= {one.name: self._initial(one) for one in branch.initializer}
        self._go_through(list(branch.node))
        for name, inner in zip(node.outputs, branch.output, strict=True):
            self.same(name, self._same.get(inner.name, inner.name))

    def _take(self, node: Node) -> Any:
        known = (self.tensors, self.constants, self.sequences)
        missing = [one for one in node.inputs if one and not any(one in values for values in known)]
        if missing and any(one.name == missing[0] for one in self.graph.input):
            raise WeightsError(
                f"{node}: it takes the input {shown(missing[0], 100)!r}: only networks of one input are read"
            )
        if missing:
            raise WeightsError(f"{node}: it takes {shown(missing[0], 100)!r}, which no node before it gives")
        try:
            if node.proto.domain not in ("", "ai.onnx"):
                raise ValueError(f"the domain {shown(node.proto.domain, 40)!r} is none of ONNX's own")
            if node.op == "If":
                return self._branch(node)
            if node.op in QUANTISED or not self._fold(node):
                if node.op in QUANTISED:
                    raise ValueError("it is quantised to integers: give the network from before that")
                if node.op not in OPERATORS:
                    raise ValueError("there is no layer for it")
                OPERATORS[node.op](self, node)
        except WeightsError:
            raise
        except Exception as error:
            raise WeightsError(f"{node}: it cannot be expressed ({shown(error)})") from None

    # ---- what operators ask for --------------------------------------------------------------------------------------

    def is_constant(self, name: str) -> bool:
        return name in self.constants

    def array(self, name: str) -> np.ndarray:
        return self.constants[name]

    def constant(self, node: Node, place: int) -> np.ndarray:
        """The array that is the node's `place`-th input; ValueError if it is none, or computed of the picture."""
        found = self.optional(node, place)
        if found is None:
            raise ValueError(f"it lacks its input {place}")
        return found

    def optional(self, node: Node, place: int) -> np.ndarray | None:
        """The same, or None."""
        if place >= len(node.inputs) or not node.inputs[place]:
            return None
        if node.inputs[place] not in self.constants:
            raise ValueError(f"its input {place} is computed of the picture")
        return self.constants[node.inputs[place]]

    def type_of(self, name: str) -> int:
        """ONNX's number of a value's type; what is computed of the picture is float32."""
        if name not in self.constants:
            return 1
        kept = next((one.data_type for one in self.graph.initializer if one.name == name), None)
        return kept or (1 if self.constants[name].dtype.kind == "f" else 0)

    def shape(self, name: str) -> tuple:
        return tuple(self.constants[name].shape if name in self.constants else self.tensors[name].shape)

    def allow(self, shape: Sequence[int]) -> None:
        """Refuse a step that would make more numbers than any network."""
        if math.prod(int(n) for n in shape) > MOST_ELEMENTS:
            raise ValueError(f"it makes {tuple(shape)} numbers, which is absurd")

    def emit(
        self,
        node: Node,
        module: nn.Module,
        inputs: Sequence[str],
        part: int | str | None = None,
        **weights: np.ndarray | None,
    ) -> str:
        """Add the layer, with its weights, that computes the node's output, or its own `part`; its value's name."""
        for name, array in weights.items():
            if array is not None:
                tensor = getattr(module, name)
                if tuple(tensor.shape) != tuple(array.shape):
                    raise ValueError(f"its {name} has shape {array.shape}, expected {tuple(tensor.shape)}")
                if not np.isfinite(array).all():
                    raise ValueError(f"its {name} holds NaN or infinite values")
                tensor.data = np.array(array, np.float32, order="C")
        output = node.outputs[0] if part is None else f"{node.outputs[0]} {part}"
        if any(one not in self.tensors for one in inputs):
            raise ValueError("one of its inputs is a constant")
        self._run(
            self._path if part is None else (*self._path[:-1], f"{self._path[-1]}_{part}"), module, inputs, output
        )
        return output

    def same(self, output: str, name: str) -> None:
        """The value `output` is another name of `name`."""
        self._same[output] = name
        if name in self.constants:
            self.constants[output] = self.constants[name]

    def _run(self, path: tuple, module: nn.Module, inputs: Sequence[str], output: str) -> None:
        with mg.no_grad():
            made = module(*[self.tensors[one] for one in inputs])
        self.allow(made.shape)
        self.tensors[output] = made
        self.steps.append(Step(path, module, list(inputs), output))

    # ---- constants ---------------------------------------------------------------------------------------------------

    def _fold(self, node: Node) -> bool:
        """Whether the node's outputs are constants, which are then known."""
        if node.op == "Shape":
            shape = self.shape(node.inputs[0])[node.attribute("start", 0) : node.attribute("end", None)]
            self.constants[node.outputs[0]] = np.array(shape, np.int64)
            return True
        if any(one in self.tensors or one in self.sequences for one in node.inputs) or any(
            a.type in (5, 10) for a in node.proto.attribute
        ):
            return False
        if node.op in GROWING and self._grows(node):
            raise ValueError("it would make a constant of absurd size")
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        proto = type(node.proto)()
        proto.CopyFrom(node.proto)
        del proto.input[:]
        proto.input.extend(node.inputs)
        feeds = {one: self.constants[one] for one in node.inputs if one}
        arguments = [helper.make_tensor_value_info(one, 1, None) for one in feeds]
        results = [helper.make_tensor_value_info(one, 1, None) for one in node.outputs if one]
        graph = helper.make_graph([proto], "constant", arguments, results)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        for name, array in zip([one.name for one in results], ReferenceEvaluator(made).run(None, feeds), strict=True):
            self.allow(array.shape)
            self.constants[name] = np.asarray(array)
        return True

    def _grows(self, node: Node) -> bool:
        given = [self.constants[one] for one in node.inputs]
        if node.op == "Range":
            start, stop, step = (float(one) for one in given)
            return not step or abs((stop - start) / step) > MOST_CONSTANT
        size = math.prod(max(abs(int(n)), 1) for n in given[-1].ravel()[:64])
        return size * (given[0].size if node.op == "Tile" else 1) > MOST_CONSTANT

    def _initial(self, tensor: Any) -> np.ndarray:
        """An initialiser as an array, float32 for every float; data beside the file are read only from its folder."""
        from onnx import TensorProto
        from onnx.helper import tensor_dtype_to_np_dtype
        from onnx.numpy_helper import to_array

        name = shown(tensor.name, 100)
        try:
            dtype, shape = tensor_dtype_to_np_dtype(tensor.data_type), tuple(tensor.dims)
            if tensor.data_location == TensorProto.EXTERNAL:
                array = self._external({entry.key: entry.value for entry in tensor.external_data}, dtype, shape)
            else:
                if math.prod(shape) > max(tensor.ByteSize(), 1) * 2:
                    raise ValueError(f"it declares shape {shape}, more than it holds")
                # of no elements onnx would ask for the memory of its other sides
                array = to_array(tensor) if math.prod(shape) else np.zeros(shape, dtype)
            return array.astype(np.float32) if array.dtype.kind == "f" or "float" in array.dtype.name else array
        except Exception as error:
            raise WeightsError(f"its constant {name!r} cannot be read ({shown(error)})") from None

    def _external(self, where: dict, dtype: Any, shape: Sequence[int]) -> np.ndarray:
        location = where.get("location", "")
        if self.folder is None or not location or Path(location).is_absolute() or ".." in Path(location).parts:
            raise ValueError(f"its data are at {shown(location, 60)!r}, outside the file's folder, which is never read")
        folder = self.folder.resolve()
        path = (folder / location).resolve()
        if not path.is_relative_to(folder) or not path.is_file():
            raise ValueError(f"its data file {shown(location, 60)!r} is not in the file's folder")
        start, count = int(where.get("offset", 0)), math.prod(shape)
        if start < 0 or count < 0 or start + count * dtype.itemsize > path.stat().st_size:
            raise ValueError(f"its data file {shown(location, 60)!r} is too short for shape {shape}")
        if not count:
            return np.zeros(shape, dtype)
        return np.memmap(path, dtype, "r", start, shape if shape else (1,)).reshape(shape)
