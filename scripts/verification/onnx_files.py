"""ONNX files against onnxruntime: the onnx package's tests of operators, and its networks with drawn weights.

Both sides compute in float32 here, as onnxruntime has no float64 for convolutions. Gradients are torch's in float64, of
the network that `models.to_torch` makes of ours, whose scores have been compared with onnxruntime's before.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch

import minigrad as mg
import models
from minigrad import nn
from models.convert.onnx_file import Reader, read_onnx
from models.convert.onnx_operators import OPERATORS
from verification.agreement import DIRECT, FAST, FLOAT64, Check
from verification.references import reference

NETWORKS = ("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet")
NETWORKS += ("vgg19", "zfnet512")
# Operators whose tests are of other things, as of conditions; and casts, where float16 stays float32 here.
NONE = {"Cast", "CastLike", "Concat", "PRelu", "SequenceAt", "SplitToSequence", "And", "Equal", "Not", "Or", "Where"}


def checks(setting):
    """One row for each operator that is read; scores and gradient of each network."""
    for op in sorted(OPERATORS.keys() - NONE):
        yield Check(
            *("ONNX operators", op, "onnxruntime"),
            inputs=lambda o=op: f"{len(expressed(o)[0])} of its {expressed(o)[1]} tests",
            ours=lambda p, o=op: [case.ours() for case in expressed(o)[0]],
            theirs=lambda o=op: [case.theirs() for case in expressed(o)[0]],
            precisions=(DIRECT,),
            note="the others go over the batch, over other than two dimensions, or to integers, and are refused",
        )
    for name in NETWORKS:
        yield from _of_network(name, setting)


# ---- operators -------------------------------------------------------------------------------------------------------


class Case:
    """A test of one operator: its first input becomes the picture, the others constants. WeightsError if refused."""

    def __init__(self, model, inputs, output):
        self.model, self.inputs, self.output = model, inputs, output
        self.image = inputs[0].astype(np.float32)
        names = [one.name for one in model.graph.input]
        constant = type(model)()
        constant.CopyFrom(model)
        from onnx import numpy_helper

        for name, array in zip(names[1:], inputs[1:], strict=True):
            constant.graph.initializer.append(numpy_helper.from_array(array, name))
        layers = Reader(constant, None).read(names[0], self.image, model.graph.output[0].name)
        self.network = nn.Sequential(layers) if layers else nn.Identity()

    def ours(self):
        with mg.no_grad():
            return self.network(mg.Tensor(self.image)).numpy()

    def theirs(self):
        """onnxruntime's; where that does not know the operator yet, what the test itself says."""
        feeds = dict(zip((one.name for one in self.model.graph.input), self.inputs, strict=True))
        try:
            session = reference("onnxruntime").InferenceSession(self.model.SerializeToString())
            return session.run([self.model.graph.output[0].name], feeds)[0]
        except Exception:  # of half a dozen kinds, for an opset or a type that is too new
            return self.output


@cache
def expressed(op):
    """([Case], how many tests there are) of an operator, of floats."""
    found, count = [], 0
    for model, inputs, output in _tests().get(op, ()):
        count += 1
        try:
            found.append(Case(model, inputs, output))
        except models.WeightsError:
            continue
    return found, count


@cache
def _tests():
    """{operator: [(model, inputs, output)]} of the package's tests of one node each, whose results are finite."""
    from onnx import ModelProto
    from onnx.backend.test.case.node import collect_testcases

    found: dict = {}
    for case in collect_testcases(None):
        nodes = case.model.graph.node
        if isinstance(case.model, ModelProto) and len(nodes) == 1 and case.data_sets:
            inputs, outputs = ([_array(one) for one in some] for some in case.data_sets[0])
            known = inputs and all(one is not None for one in (*inputs, *outputs)) and inputs[0].dtype.kind == "f"
            if known and (outputs[0].dtype.kind != "f" or np.isfinite(outputs[0]).all()):
                found.setdefault(nodes[0].op_type, []).append((case.model, inputs, outputs[0]))
    return found


def _array(value):
    """A value of a test as an array; None for sequences and the like."""
    from onnx import TensorProto, numpy_helper

    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None


# ---- networks --------------------------------------------------------------------------------------------------------


class Drawn:
    """A network of the package, weights drawn, up to its scores: a file's bytes, ours in both dtypes, and torch's."""

    def __init__(self, name, rng):
        self.content = _with_weights(name, rng).SerializeToString()
        self.ours = {dtype: read_onnx(self.content, "unit") for dtype in ("float32", "float64")}
        for _, tensor in self.ours["float64"].named_tensors():
            tensor.data = tensor.numpy().astype(np.float64)
        self.torch = models.to_torch(self.ours["float64"]).requires_grad_(False)

    def scores(self, image):
        session = reference("onnxruntime").InferenceSession(self.content)
        return session.run(None, {session.get_inputs()[0].name: image})[0].reshape(1, -1)


def _with_weights(name, rng):
    """The model of a light file, whose weights are all 0.02 made by nodes, with weights of its own in their place."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx")
    graph, kept = model.graph, {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    place = {
        one: at for node in graph.node if node.op_type == "BatchNormalization" for at, one in enumerate(node.input)
    }
    shapes = {node.output[0]: kept[node.input[0]] for node in graph.node if node.op_type == "ConstantOfShape"}
    shapes |= {name: array.shape for name, array in kept.items() if array.dtype == np.float32}
    nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    if nodes[-1].op_type == "Softmax":
        graph.output[0].name = nodes.pop().input[0]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    for one, shape in shapes.items():
        kept[one] = _weights(tuple(shape), place.get(one), rng)
    used = {one for node in nodes for one in node.input}
    graph.initializer.extend(numpy_helper.from_array(array, one) for one, array in kept.items() if one in used)
    inputs = [one for one in graph.input if one.name not in kept]
    del graph.input[:]
    graph.input.extend(inputs)
    return model


def _weights(shape, of_norm, rng):
    """He initialisation for kernels; around 1 for a norm's scale (1) and variance (4), around 0 for the rest."""
    if len(shape) > 1:
        return (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
    if of_norm in (1, 4):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return (0.1 * rng.standard_normal(shape)).astype(np.float32)


def _of_network(name, setting):
    drawn = cache(lambda: Drawn(name, setting.rng(f"onnx {name}")))

    def image():
        return setting.images(f"onnx {name}", (1, 3, 224, 224))

    def size():
        return f"{name} of the onnx package, drawn weights {image().shape}"

    def scores(precision):
        with mg.no_grad():
            return drawn().ours[precision.dtype](mg.Tensor(image().astype(precision.dtype))).numpy().reshape(1, -1)

    def gradient(precision):
        x = mg.Tensor(image().astype(precision.dtype), requires_grad=True)
        return mg.grad(drawn().ours[precision.dtype](x).reshape((-1,))[3], x).numpy()

    def their_gradient():
        x = torch.tensor(image(), dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(drawn().torch(x).reshape(-1)[3], x)[0].numpy()

    yield Check(
        *("ONNX networks", f"{name}, scores", "onnxruntime", size, scores),
        theirs=lambda: drawn().scores(image()),
        precisions=(DIRECT, FAST),
        tolerance=2e-5,
        note="onnxruntime computes in float32, too",
    )
    yield Check(
        *("ONNX networks", f"{name}, gradient of a score by the image", "torch", size, gradient, their_gradient),
        precisions=(FLOAT64,),
        note="weights are drawn: in float32, too many of its ReLUs are nearly tied",
    )
