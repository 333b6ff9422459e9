"""ONNX files become the same network: every family by both exporters of torch, names and all; the rest is refused."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
import models
import viz
from minigrad import functional as F
from models import WeightsError
from models.__main__ import main
from models.convert import convert
from models.convert.onnx_file import read_onnx

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

SIDE = 33
SHARED = Path(__file__).parents[3] / "shared" / "data"


def in_float64(model):
    for _, tensor in model.named_tensors():
        tensor.data = tensor.numpy().astype(np.float64)
    return model


def assert_same(model, network, tolerance, side=SIDE):
    """Scores and input gradients of two pictures, in float64, as parts of the largest."""
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(3).random((2, 3, side, side))
    theirs = torch.tensor(images, requires_grad=True)
    wanted = network.double()(theirs)
    (wanted**2).sum().backward()
    ours = mg.Tensor(images, requires_grad=True)
    found = in_float64(model)(ours)
    gradient = mg.grad((found * found).sum(), ours).numpy()
    for one, other in ((found.numpy(), wanted.detach().numpy()), (gradient, theirs.grad.numpy())):
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max()


def exported(network, dynamo, fused=False, side=SIDE):
    torch = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    buffer, image = io.BytesIO(), torch.rand(1, 3, side, side)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            torch.onnx.export(network, (image,), buffer, dynamo=True, optimize=fused, verbose=False)
        else:
            mode = torch.onnx.TrainingMode.EVAL if fused else torch.onnx.TrainingMode.PRESERVE
            torch.onnx.export(
                network, (image,), buffer, dynamo=False, training=mode, do_constant_folding=fused, verbose=False
            )
    return buffer.getvalue()


@pytest.mark.torch
@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize(
    "family",
    "resnet mobilenet_v2 efficientnet densenet googlenet shufflenet_v2 regnet convnext upsampled".split(),
)
def test_families_by_both_exporters(tmp_path, family, dynamo):
    pytest.importorskip("torch")
    from tests.models.torch_families import FAMILIES, lively

    network = lively(FAMILIES[family]())
    model = read_onnx(exported(network, dynamo), "unit")
    models.save_weights(model, tmp_path / "w.h5")
    assert_same(models.load(tmp_path / "w.h5"), network, 1e-9)


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["ResNet50", "EfficientNetB0"])
def test_the_way_through_onnx_is_that_through_a_state_dict(tmp_path, kind):
    """Networks of full size and our own architectures of them, in float64."""
    torch = pytest.importorskip("torch")
    from tests.models import torch_networks

    network = torch_networks.lively(getattr(torch_networks, kind)())
    torch.save(network.state_dict(), tmp_path / "w.pth")
    one = in_float64(convert(tmp_path / "w.pth", preprocessing="unit"))
    other = in_float64(read_onnx(exported(network, dynamo=False), "unit"))
    images = mg.Tensor(np.random.default_rng(3).random((2, 3, SIDE, SIDE)))
    with mg.no_grad():
        wanted = one(images).numpy()
        assert np.abs(other(images).numpy() - wanted).max() <= 1e-9 * np.abs(wanted).max()


@pytest.mark.torch
@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
def test_optimised_files_and_names(dynamo):
    pytest.importorskip("torch")
    from tests.models.torch_families import FAMILIES, lively

    network = lively(FAMILIES["resnet"]())
    model = read_onnx(exported(network, dynamo, fused=True), "unit")
    assert {"conv1", "maxpool", "layer1", "layer2", "fc"} <= set(model)
    assert {"layer1.0.conv1", "layer2.0.downsample.0", "layer2.1.conv2"} <= set(model.names())
    assert_same(model, network, 1e-5)


@pytest.mark.torch
@pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason="needs ../shared/data/weights")
@pytest.mark.parametrize("way", ["onnx", "from_torch"])
def test_the_real_squeezenet_gives_the_published_probabilities(tmp_path, way):
    """Its published weights in a torch module, exported here or handed over, and the probabilities of OpenCV."""
    torch = pytest.importorskip("torch")
    from tests.models.torch_families import squeezenet

    network, arrays = squeezenet(), np.load(SHARED / "weights" / "squeezenet_v1.1_caffe_fp32.npz")
    for key, tensor in network.named_parameters():
        name, kind = key.rsplit(".", 1)
        tensor.data = torch.tensor(arrays[f"{name.replace('.', '_')}.{'W' if kind == 'weight' else 'b'}"])
    if way == "from_torch":
        model = models.from_torch(network, 227, "bgr255", labels="imagenet")
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(network, (torch.zeros(1, 3, 227, 227),), str(tmp_path / "net.onnx"), dynamo=False)
        options = ["--preprocessing", "bgr255", "--labels", "imagenet", "--quiet", "--out", str(tmp_path / "net.h5")]
        assert main(["convert", str(tmp_path / "net.onnx"), *options]) == 0
        model = models.load(tmp_path / "net.h5")
    image = models.load_image(SHARED / "reference" / "omnixri" / "car_227.png")
    with mg.no_grad():
        found = F.softmax(model(mg.Tensor(image)), 1).numpy()[0]
    wanted = {817: 0.8363350, 511: 0.0946481, 479: 0.0419132, 751: 0.0091071, 436: 0.0068161}
    assert list(np.argsort(-found)[:5]) == list(wanted)
    assert all(abs(found[index] - probability) < 1e-5 for index, probability in wanted.items())
    assert model.labels[817].startswith("sports car") and "fire2.squeeze1x1" in model.names()


@pytest.mark.torch
def test_from_torch_leaves_the_module_as_it_was():
    pytest.importorskip("torch")
    from tests.models.torch_families import FAMILIES, lively

    network = lively(FAMILIES["mobilenet_v2"]())
    network.train()
    network.features[0].eval()
    model = models.from_torch(network, SIDE, "unit", labels=list("abcdefg"))
    assert network.training and not network.features[0].training and network.features[1].training
    assert model.labels == tuple("abcdefg") and model.name == "Sequential" and model.input_size == (SIDE, SIDE)
    assert "BatchNorm2d" in {type(model[name]).__name__ for name in model.names()}
    assert_same(model, network.eval(), 1e-9)
    with pytest.raises(
        ValueError, match="nothing tells how pictures of this network are prepared: .* imagenet .*, unit"
    ):
        models.from_torch(network, SIDE)


# ----------------------------------------------------------------------------------------------------------------------
# Files written here, node by node
# ----------------------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)


def weight(name, *shape):
    return numpy_helper.from_array(RNG.standard_normal(shape).astype(np.float32), name)


def graph(nodes, arrays=(), shape=(1, 3, 8, 8), outputs=("y",), opset=19, inputs=("x",), shapes=None):
    """The bytes of an ONNX file of these nodes."""
    of_input = dict.fromkeys(inputs, shape) | (shapes or {})
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, of_input[name]) for name in inputs]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    made = helper.make_graph(nodes, "drawn", values, results, list(arrays))
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString()


def node(op, inputs, output="y", **attributes):
    return helper.make_node(op, inputs.split(), output.split(), **attributes)


INT = numpy_helper.from_array
CASES = {
    "same_upper": ([node("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 2])], [weight("w", 4, 3, 3, 3)]),
    "four pads": ([node("Conv", "x w b", pads=[0, 1, 2, 1])], [weight("w", 4, 3, 3, 3), weight("b", 4)]),
    "dilated mean": ([node("AveragePool", "x", kernel_shape=[2, 3], dilations=[2, 1], pads=[1, 0, 1, 1])], []),
    "counted mean": ([node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)], []),
    "ceil": ([node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], []),
    "gemm": ([node("Flatten", "x", "f"), node("Gemm", "f w b", alpha=0.5, beta=2.0)],
             [weight("w", 192, 5), weight("b", 5)]),
    "scalars": ([node("Mul", "x s", "m"), node("Sub", "s m", "n"), node("Div", "n v")],
                [numpy_helper.from_array(np.float32(2.5), "s"), weight("v", 3, 1, 1)]),
    "power": ([node("Abs", "x", "a"), node("Pow", "a s")], [numpy_helper.from_array(np.float32(1.5), "s")]),
    "extremes": ([node("Max", "x v", "m"), node("Min", "m w"),], [weight("v", 3, 1, 1), weight("w", 1, 8)]),
    "sum of three": ([node("Relu", "x", "r"), node("Sum", "x r x")], []),
    "clip": ([node("Clip", "x lo hi")], [INT(np.float32(0.2), "lo"), INT(np.float32(0.6), "hi")]),
    "hard sigmoid": ([node("HardSigmoid", "x")], []),
    "slices": ([node("Slice", "x starts ends axes")],
               [INT(np.array(v, np.int64), n) for n, v in (("starts", [1, -5]), ("ends", [3, 99]), ("axes", [1, 3]))]),
    "split": ([node("Split", "x sizes", "a b", axis=1), node("Concat", "b x a", axis=1)],
              [INT(np.int64([1, 2]), "sizes")]),
    "gather": ([node("Gather", "x i", axis=2)], [INT(np.int64(-2), "i")]),
    "pad": ([node("Pad", "x p v")], [INT(np.int64([0, 0, 1, 2, 0, 0, 0, 3]), "p"), INT(np.float32(0.7), "v")]),
    "reflected": ([node("Pad", "x p", mode="reflect")], [INT(np.int64([0, 0, 1, 2, 0, 0, 0, 3]), "p")]),
    "nearest": ([node("Resize", "x  s".replace("  ", " r "), mode="nearest", nearest_mode="round_prefer_ceil")],
                [INT(np.float32([]), "r"), INT(np.float32([1, 1, 1.5, 2]), "s")]),
    "linear": ([node("Resize", "x r s", mode="linear", coordinate_transformation_mode="align_corners")],
               [INT(np.float32([]), "r"), INT(np.float32([1, 1, 2, 3]), "s")]),
    "mean over channels": ([node("ReduceMean", "x a", keepdims=0)], [INT(np.int64([1]), "a")]),
    "largest": ([node("ReduceMax", "x a")], [INT(np.int64([-1]), "a")]),
    "layer norm": ([node("LayerNormalization", "x w b", axis=-1, epsilon=1e-3)], [weight("w", 8), weight("b", 8)]),
    "shuffled pixels": ([node("Conv", "x w", "c"), node("DepthToSpace", "c", blocksize=2, mode="CRD")],
                        [weight("w", 8, 3, 1, 1)]),
    "transposed": ([node("ConvTranspose", "x w b", strides=[2, 3], pads=[1, 0, 1, 0], output_padding=[1, 0])],
                   [weight("w", 3, 6, 3, 3), weight("b", 6)]),
    "transposed, cut unevenly": ([node("ConvTranspose", "x w", strides=[2, 2], pads=[0, 1, 1, 0])],
                                 [weight("w", 3, 6, 3, 3)]),
    "transposed, the same upper": ([node("ConvTranspose", "x w", strides=[2, 2], auto_pad="SAME_UPPER")],
                                   [weight("w", 3, 6, 3, 3)]),
    "transposed, the same lower": ([node("ConvTranspose", "x w", strides=[2, 2], auto_pad="SAME_LOWER")],
                                   [weight("w", 3, 6, 3, 3)]),
    "a shape computed": ([node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Concat", "n rest", "t", axis=0),
                          node("Reshape", "x t"),], [INT(np.int64([0]), "zero"), INT(np.int64([-1, 16]), "rest")]),
    "squeezed": ([node("GlobalMaxPool", "x", "p"), node("Squeeze", "p a", "q"), node("Unsqueeze", "q one", "r"),
                  node("LogSoftmax", "r", axis=-1)], [INT(np.int64([2, 3]), "a"), INT(np.int64([1]), "one")]),
    "flattened from the end": ([node("Flatten", "x", axis=-3)], []),
    "colours turned": ([node("Gather", "x i", axis=1)], [INT(np.int64([2, 1, 0]), "i")]),
    "rows picked": ([node("Gather", "x i", axis=-2)], [INT(np.int64([5, -1, 0, 0]), "i")]),
    "every second": ([node("Slice", "x starts ends axes steps")],
                     [INT(np.array(v, np.int64), n) for n, v in (("starts", [1, -1]), ("ends", [9, -99]),
                                                                 ("axes", [2, 3]), ("steps", [2, -3]))]),
    "depth to space": ([node("Conv", "x w", "c"), node("DepthToSpace", "c", blocksize=2)], [weight("w", 8, 3, 1, 1)]),
    "space to depth": ([node("SpaceToDepth", "x", blocksize=4)], []),
    "no bounds": ([node("Relu", "x", "r"), node("Clip", "r")], []),
    "no axes": ([node("ReduceSum", "x none", "r", noop_with_empty_axes=1), node("Relu", "r")],
                [INT(np.int64([]), "none")]),
    "erf": ([node("Erf", "x", "e"), node("Exp", "e", "f"), node("Reciprocal", "f", "g"), node("Neg", "g")], []),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_operators_against_onnx_own_reference(tmp_path, case):
    """Scores of two pictures that were not in the trace, by the specification's own implementation."""
    from onnx.reference import ReferenceEvaluator

    nodes, arrays = CASES[case]
    content = graph(nodes, arrays)
    images = np.random.default_rng(1).random((2, 3, 8, 8), dtype=np.float32)
    reference = ReferenceEvaluator(onnx.load_model_from_string(content))
    wanted = np.concatenate([reference.run(None, {"x": image[None]})[0] for image in images])
    models.save_weights(read_onnx(content, "unit"), tmp_path / "w.h5")
    found = models.load(tmp_path / "w.h5")(mg.Tensor(images)).numpy()
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scale", [0.35, 0.7, 1 / 3, 5 / 6, 1.15, 1.2, 1.3, 1.6, 2.5, 1.2345678])
def test_scales_are_the_numbers_that_their_float32_stand_for(mode, scale):
    """Sizes and pixels as of the exact scale: 20 pixels by float32's 0.7, which is less, are 14 and not 13."""
    scales = [INT(np.float32([]), "r"), INT(np.float32([1, 1, scale, scale]), "s")]
    place = {"nearest": {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, "linear": {}}[mode]
    model = read_onnx(graph([node("Resize", "x r s", mode=mode, **place)], scales, (1, 3, 20, 33)), "unit")
    images = mg.Tensor(np.random.default_rng(1).random((2, 3, 20, 33), dtype=np.float32))
    wanted = F.interpolate(images, scale_factor=scale, mode={"linear": "bilinear"}.get(mode, mode)).numpy()
    found = model(images).numpy()
    assert found.shape == wanted.shape == (2, 3, int(20 * scale + 1e-9), int(33 * scale + 1e-9))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("scale", [0.35, 0.7, 1 / 3, 1.15, 1.2, 1.3, 1.6, 2.5])
def test_scales_of_torch(mode, scale):
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Upsample(scale_factor=scale, mode=mode))
    for side in (20, SIDE):
        model = read_onnx(exported(network, dynamo=False, side=side), "unit")
        images = np.random.default_rng(1).random((2, 3, side, side), dtype=np.float32)
        wanted = network(torch.tensor(images)).numpy()
        np.testing.assert_allclose(model(mg.Tensor(images)).numpy(), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("inputs", ["x g", "g x"])
@pytest.mark.parametrize(
    "gate, attributes, layer",
    [("Sigmoid", {}, mg.nn.SiLU), ("HardSigmoid", {"alpha": 1 / 6}, mg.nn.Hardswish), ("HardSigmoid", {}, None)],
)
def test_activations_that_are_written_as_products(gate, attributes, layer, inputs):
    """x sigmoid(x) is SiLU, which is no rectifier: guided backpropagation warns of it."""
    gated = [node("Conv", "x w", "c"), node(gate, "c", "g", **attributes), node("Mul", inputs.replace("x", "c"), "m")]
    pooled = [node("Relu", "m", "r"), node("GlobalAveragePool", "r", "p"), node("Flatten", "p")]
    content = graph([*gated, *pooled], [weight("w", 4, 3, 3, 3)])
    model = read_onnx(content, "unit")
    kinds = {type(model[name]) for name in model.names()}
    assert kinds & {mg.nn.SiLU, mg.nn.Hardswish, mg.nn.Sigmoid, mg.nn.Hardsigmoid} == ({layer} if layer else set())
    images = np.random.default_rng(1).random((1, 3, 8, 8), dtype=np.float32)
    from onnx.reference import ReferenceEvaluator

    wanted = ReferenceEvaluator(onnx.load_model_from_string(content)).run(None, {"x": images})[0]
    np.testing.assert_allclose(model(mg.Tensor(images)).numpy(), wanted, rtol=1e-5, atol=1e-6)
    if layer:
        with pytest.warns(UserWarning, match="guided_backprop: .*the smooth activations"):
            viz.guided_backprop(model, images, 0)


def test_gates_of_something_else_stay_products():
    """Squeeze and excitation; a gate that is read elsewhere too."""
    other = read_onnx(graph([node("Relu", "x", "r"), node("Sigmoid", "r", "g"), node("Mul", "x g")]), "unit")
    assert mg.nn.SiLU not in {type(other[name]) for name in other.names()}
    both = [node("Sigmoid", "x", "g"), node("Mul", "x g", "m"), node("Add", "m g")]
    x = np.random.default_rng(1).random((2, 3, 8, 8))
    gate = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(read_onnx(graph(both), "unit")(mg.Tensor(x)).numpy(), x * gate + gate, rtol=1e-6)


def test_casts_between_floats_are_left_out():
    nodes = [node("Cast", "x", "h", to=TensorProto.FLOAT16), node("Neg", "h", "n"), node("Cast", "n", to=1)]
    x = np.random.default_rng(1).random((2, 3, 8, 8), dtype=np.float32)
    np.testing.assert_array_equal(read_onnx(graph(nodes), "unit")(mg.Tensor(x)).numpy(), -x)


def test_local_response_normalisation_by_its_formula():
    """onnx' own reference counts channels by the batch."""
    model = read_onnx(graph([node("LRN", "x", size=3, alpha=0.1, beta=0.5, bias=2.0)]), "unit")
    x = np.random.default_rng(1).random((2, 3, 8, 8))
    squares = np.pad(x**2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    wanted = x / np.sqrt(2 + 0.1 / 3 * (squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:]))
    np.testing.assert_allclose(model(mg.Tensor(x)).numpy(), wanted, rtol=1e-6)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "there is no network in it"),
        (b"\x08\xff\xff", "no ONNX file, or damaged"),
        (graph([node("Det", "x")]), "node 'y', operator Det: it cannot be expressed .there is no layer for it"),
        (graph([node("Relu", "z")]), "operator Relu: it takes 'z', which no node before it gives"),
        (graph([node("Relu", "z", "y"), node("Relu", "y", "z")]), "takes 'z', which no node before it gives"),
        (graph([node("Conv", "x w")], [weight("w", 4, 5, 3, 3)]), "operator Conv: it cannot be expressed .*5"),
        (graph([node("Conv", "x w")], [weight("w", 4, 3, 3)]), "it goes over 1 dimensions"),
        (graph([node("Conv", "x w", pads=[999] * 4)], [weight("w", 4, 3, 3, 3)]), "its padding, 999, is absurd"),
        (graph([node("Conv", "x r"), node("Relu", "x", "r")]), "takes 'r', which no node before it gives"),
        (graph([node("Add", "x z")], inputs=("x", "z"), shapes={"z": (1, 4)}),
         "operator Add: it takes the input 'z': only networks of one input are read"),
        (graph([node("Relu", "x")], outputs=("y", "z")), r"it has 2 outputs .y, z.: name one .output_name"),
        (graph([node("Relu", "x")], inputs=("x", "z")), "it has 2 inputs of shape"),
        (graph([node("Relu", "x")], shape=(1, 4, 8, 8)), "it has 0 inputs of shape"),
        (graph([node("Relu", "x", "z")], outputs=("y",)), "no node computes its output 'y'"),
        (graph([node("Reshape", "x s")], [INT(np.int64([64, 3]), "s")]), "of two pictures it makes 128 results"),
        (graph([node("Resize", "x r s")],
               [INT(np.float32([]), "r"), INT(np.float32([1, 1, 9e4, 9e4]), "s")]), "absurd"),
        (graph([node("Expand", "one s", "b"), node("Add", "x b")],
               [INT(np.float32([1]), "one"), INT(np.int64([1 << 20, 1 << 20]), "s")]), "constant of absurd size"),
        (graph([node("MatMul", "x w")], [weight("w", 7, 4)]), "operator MatMul: it cannot be expressed"),
        (graph([node("MatMul", "x w")], [weight("w", 8)]), "it is a product with a vector"),
        (graph([node("Cast", "x", to=TensorProto.INT8)]), "it rounds to integers"),
        (graph([node("CastLike", "x one")], [INT(np.int64([1]), "one")]), "it rounds to integers"),
        (graph([node("Dropout", "x r t")], [INT(np.float32(0.5), "r"), INT(np.array(True), "t")]), "training mode"),
        (graph([node("ReduceMean", "x", keepdims=0)]), "it is over the pictures of a batch"),
        (graph([node("Softmax", "x", axis=0)]), "depends on the other one: it mixes the pictures of a batch"),
        (graph([node("Resize", "x r r s", keep_aspect_ratio_policy="not_larger")],
               [INT(np.float32([]), "r"), INT(np.int64([1, 3, 4, 5]), "s")]), "keeps the aspect ratio"),
        (graph([node("Gather", "x i", axis=1)], [INT(np.int64([0, 3]), "i")]), "elements beyond the 3 that there are"),
        (graph([node("Add", "x w", axis=1, broadcast=1)], [weight("w", 3)], opset=6), "broadcasts as before opset 7"),
        (graph([node("Flatten", "x", "f"), node("Gemm", "f w b")], [weight("w", 192, 5), weight("b", 1, 2)]),
         "its bias of shape .1, 2. is not one for each output"),
        (graph([node("Add", "x w")], [INT(np.float32([np.nan]).reshape(1, 1, 1, 1), "w")]), "NaN"),
    ],
)  # fmt: skip
def test_what_cannot_be_expressed_is_one_sentence(content, message):
    with pytest.raises(WeightsError, match=message) as caught:
        read_onnx(content, "unit")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


def test_loading_and_what_is_asked_for(tmp_path, capsys):
    free = graph([node("GlobalAveragePool", "x")], shape=("N", 3, "H", "W"), opset=13)
    (tmp_path / "net.onnx").write_bytes(free)
    with pytest.raises(
        ValueError, match=r"nothing tells how pictures of \S+net.onnx are .*one of imagenet .*, unit .*, bgr255"
    ):
        models.load(tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="leaves the size of its pictures free: give size .--input-size"):
        models.load(tmp_path / "net.onnx", preprocessing="imagenet")
    model = models.load(tmp_path / "net.onnx", preprocessing="imagenet", size=32)
    assert model.input_size == (32, 32) and model["preprocess"].std == (0.229, 0.224, 0.225)
    assert model.provenance["source"] == "net.onnx" and "ONNX opset 13" in model.provenance["source_format"]
    with pytest.raises(ValueError, match="minivgg says its size itself: leave that out"):
        models.load("minivgg", size=32)
    assert main(["info", str(tmp_path / "net.onnx")]) == 0
    said = capsys.readouterr().out
    assert "net.onnx: ONNX, 1 nodes" in said and "input x: ? x 3 x ? x ?" in said and "GlobalAveragePool" in said


def test_what_another_output_needs_does_not_matter(tmp_path, capsys):
    nodes = [node("Conv", "x w", "s"), node("ArgMax", "s", "best"), node("Det", "x", "d")]
    content = graph(nodes, [weight("w", 4, 3, 3, 3)], outputs=("s", "best"))
    assert list(read_onnx(content, "unit", output_name="s")) == ["preprocess", "s"]
    with pytest.raises(WeightsError, match="node 'best', operator ArgMax"):
        read_onnx(content, "unit", output_name="best")
    (tmp_path / "net.onnx").write_bytes(content)
    assert main(["info", str(tmp_path / "net.onnx")]) == 0
    said = capsys.readouterr().out
    assert "ArgMax                       1  has no layer here" in said
    assert said.endswith("convert net.onnx --preprocessing NAME --output-name NAME --out net.h5\n")


def test_channels_last_and_named_values():
    arrays = [weight("w", 4, 3, 1, 1)]
    nodes = [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t w"), node("Relu", "y", "z")]
    model = read_onnx(graph(nodes, arrays, shape=(1, 8, 8, 3), outputs=("y", "z")), "unit", output_name="y")
    assert model(mg.Tensor(np.ones((2, 3, 8, 8), np.float32))).shape == (2, 4, 8, 8)
    with pytest.raises(ValueError, match="there is no output 'q': it has y, z"):
        read_onnx(graph(nodes, arrays, shape=(1, 8, 8, 3), outputs=("y", "z")), "unit", output_name="q")


@pytest.mark.parametrize("location", ["w.bin", "../w.bin", "/etc/hostname", "link.bin", "absent.bin"])
def test_data_beside_the_file_are_read_from_its_folder_only(tmp_path, location):
    folder = tmp_path / "net"
    folder.mkdir()
    values = np.arange(12, dtype="<f4").reshape(4, 3, 1, 1)
    for path in (folder / "w.bin", tmp_path / "w.bin"):
        path.write_bytes(b"\0" * 4 + values.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=(4, 3, 1, 1), data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "4"), ("length", "48")):
        tensor.external_data.add(key=key, value=value)
    (folder / "net.onnx").write_bytes(graph([node("Conv", "x w")], [tensor]))
    if location == "w.bin":
        model = models.load(folder / "net.onnx", preprocessing="unit")
        np.testing.assert_array_equal(model["w"].weight.numpy() if "w" in model else model["y"].weight.numpy(), values)
        (folder / "w.bin").write_bytes(b"short")
        location = "short"
    with pytest.raises(WeightsError, match="folder|too short"):
        models.load(folder / "net.onnx", preprocessing="unit")


def test_scores_before_a_softmax_at_the_end():
    """Out come probabilities, as of the file; viz finds the scores before them, also in a graph."""
    nodes = [node("Conv", "x w", "a"), node("Relu", "a", "r"), node("Add", "r a", "s")]
    nodes += [node("GlobalAveragePool", "s", "p"), node("Softmax", "p", "y", axis=1)]
    model = read_onnx(graph(nodes, [weight("w", 5, 3, 3, 3)]), "unit", labels=tuple("abcde"))
    x = np.random.default_rng(1).random((2, 3, 8, 8), dtype=np.float32)
    found = model(mg.Tensor(x)).numpy()
    assert found.shape == (2, 5, 1, 1) and list(model)[1:] == ["network", "y"]
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    scores = viz.target.logits(model, mg.Tensor(x)).numpy()
    assert scores.shape == (2, 5)
    np.testing.assert_allclose(np.exp(scores) / np.exp(scores).sum(1, keepdims=True), found[..., 0, 0], rtol=1e-5)


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
def test_networks_of_grey_pictures(last):
    shape = (1, 8, 8, 1) if last else (1, 1, 8, 8)
    turn = [node("Transpose", "x", "t", perm=[0, 3, 1, 2])] if last else [node("Identity", "x", "t")]
    content = graph([*turn, node("Conv", "t w", "c"), node("GlobalAveragePool", "c")], [weight("w", 2, 1, 3, 3)], shape)
    model = read_onnx(content, "half")
    assert model["preprocess"].mean == (0.5,) and model(np.ones((2, 1, 8, 8), np.float32)).shape == (2, 2, 1, 1)
    assert viz.saliency(model, np.ones((1, 1, 8, 8), np.float32), 1).shape == (1, 8, 8)
    with pytest.raises(ValueError, match="the network sees pictures of 1 channel, and the preprocessing is for 3"):
        read_onnx(content, "imagenet")


@pytest.mark.parametrize("op", ["QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv"])
def test_quantised_networks_are_refused(op):
    scale = [INT(np.float32(0.1), "s"), INT(np.uint8(3), "z")]
    with pytest.raises(WeightsError, match=f"operator {op}: .*it is quantised to integers: give the network from be"):
        read_onnx(graph([node(op, "x s z")], scale), "unit")


# ----------------------------------------------------------------------------------------------------------------------
# Names
# ----------------------------------------------------------------------------------------------------------------------


def test_a_layer_is_found_by_what_the_file_calls_it():
    """Dots and slashes within a name have become "_"; errors name ours, whichever spelling was asked for."""
    conv = weight("layer1.0.conv1.weight", 3, 3, 1, 1)
    nodes = [node("Conv", "x layer1.0.conv1.weight", "a"), node("Relu", "a", "b"), node("Add", "b x", "c"),
             node("Abs", "c", "y")]  # fmt: skip
    for one, name in zip(nodes, ("/layer1/layer1.0/conv1/Conv", "fire2/relu_1:0", "sum.of.two", "y"), strict=True):
        one.name = name
    model = read_onnx(graph(nodes, [conv]), "unit")
    assert {"network.layer1.0.conv1", "network.fire2_relu_1_0", "network.sum_of_two"} <= set(model.names())
    for asked, wanted in (
        ("/layer1/layer1.0/conv1/Conv", "network.layer1.0.conv1"),
        ("layer1.0.conv1", "network.layer1.0.conv1"),
        ("conv1", "network.layer1.0.conv1"),
        ("fire2/relu_1:0", "network.fire2_relu_1_0"),
        ("fire2_relu_1_0", "network.fire2_relu_1_0"),
        ("sum.of.two", "network.sum_of_two"),
    ):
        with pytest.raises(ValueError, match=f"there is no layer .*, did you mean {wanted}"):
            model[asked]
    with pytest.raises(
        ValueError, match="there is no layer 'network.layer1.0.conv2', did you mean network.layer1.0.co"
    ):
        model["network.layer1.0.conv2"]
    for nothing in ("/", "-1", "0"):
        with pytest.raises(ValueError, match=f"there is no layer '{nothing}'; the layers are: preproc"):
            model[nothing]


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.INT4])
def test_a_constant_of_no_elements_asks_for_no_memory(tmp_path, kind):
    """Its shape's other sides may be anything in a damaged file."""
    constant = TensorProto(name="w", data_type=kind, dims=[2, 2**62, 0])
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy"]
    path = tmp_path / "damaged.onnx"
    path.write_bytes(
        helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], [constant])).SerializeToString()
    )
    with pytest.raises(WeightsError) as refused:
        convert(path, preprocessing="unit")
    assert "'w'" in str(refused.value) and "emory" not in str(refused.value)
