"""The networks' tables, names, sizes and initial weights; preprocessing; folding; descriptions."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
import models
from minigrad import nn
from minigrad.nn.activations import ACTIVATIONS
from models.architectures import NAMES, build
from models.architectures.vgg import VGG, minivgg_layers, vgg_layers
from models.description import KINDS, construct, describe
from models.layers import PREPROCESSING, Preprocess
from models.model import Model, fold_batch_norm


def small(batch_norm=False, seed=0):
    layers = minivgg_layers(((4,), (5, 6), (6, 7)), 8, 3, np.random.default_rng(seed), batch_norm)
    return Model({"preprocess": Preprocess(), **layers}, "minivgg", (32, 32), ("a", "b", "c"))


def picture(*shape, seed=0):
    return mg.Tensor(np.random.default_rng(seed).random(shape, dtype=np.float32))


# Parameters as published: torchvision's and Keras' model summaries.
@pytest.mark.parametrize(
    "name, parameters",
    [
        ("vgg11", 132_863_336),
        ("vgg13", 133_047_848),
        ("vgg16", 138_357_544),
        ("vgg19", 143_667_240),
        ("vgg16_features", 14_714_688),
        ("vgg19_features", 20_024_384),
        ("squeezenet1_1", 1_235_496),
        ("squeezenet1_1_features", 722_496),
    ],
)
def test_parameter_counts(name, parameters):
    assert sum(parameter.size for parameter in build(name, seed=None).parameters()) == parameters


def test_minivgg_is_small_enough_to_embed():
    model = build("minivgg", seed=None)
    assert sum(parameter.size for parameter in model.parameters()) <= 4_000_000
    assert model.input_size == (128, 128) and len(model.labels) == 12


def test_names_are_the_literatures():
    names = build("vgg16", seed=None).names()
    assert names[:6] == ["preprocess", "conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1"]
    assert names[-8:] == ["flatten", "fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8"]
    assert {"conv5_3", "relu5_3", "pool5"} <= set(names)
    assert [sum(name.startswith("conv") for name in build(vgg, seed=None)) for vgg in VGG] == [8, 10, 13, 16]
    fire = [name for name in build("squeezenet1_1", seed=None).names() if name.startswith("fire2")]
    assert fire == [
        *("fire2.squeeze", "fire2.relu_squeeze", "fire2.expand.1x1", "fire2.expand.3x3", "fire2.expand"),
        *("fire2.relu_expand", "fire2"),
    ]
    assert list(build("minivgg", seed=None))[-6:] == ["gap", "flatten", "fc6", "relu6", "drop6", "fc7"]
    assert list(build("vgg11_features", seed=None))[-1] == "pool5"
    assert list(build("squeezenet1_1_features", seed=None))[-1] == "fire9"
    assert list(build("minivgg_features", seed=None))[-1] == "relu5_2"


@pytest.mark.parametrize("name, side, shape", [("vgg11_features", 224, (512, 7, 7)), ("squeezenet1_1", 227, (1000,))])
def test_output_shapes(name, side, shape):
    model = build(name, seed=0)
    with mg.no_grad():
        assert model(picture(1, 3, side, side)).shape == (1, *shape)


def test_squeezenet_maps_have_the_published_sides():
    model = build("squeezenet1_1", seed=None)
    with mg.no_grad():
        maps = model.activations(picture(1, 3, 227, 227), ["conv1", "pool1", "pool3", "pool5", "conv10"])
    assert [tensor.shape[1:] for tensor in maps.values()] == [
        (64, 113, 113), (64, 56, 56), (128, 28, 28), (256, 14, 14), (1000, 14, 14),
    ]  # fmt: skip


@pytest.mark.parametrize("side", [16, 37, 64])
def test_minivgg_takes_any_size(side):
    with mg.no_grad():
        assert build("minivgg", seed=0)(picture(2, 3, side, side + 3)).shape == (2, 12)


def test_he_initialisation_is_seeded_and_scaled():
    one, same, other = build("minivgg", seed=3), build("minivgg", seed=3), build("minivgg", seed=4)
    assert all(np.array_equal(one.state_dict()[name], array) for name, array in same.state_dict().items())
    assert not np.array_equal(one["conv1_1"].weight.data, other["conv1_1"].weight.data)
    weight = one["conv4_1"].weight.data
    assert weight.dtype == np.float32 and abs(weight.std() / np.sqrt(2 / (128 * 9)) - 1) < 0.01
    assert not one["conv4_1"].bias.data.any() and one.training is False
    assert not any(array.any() for name, array in build("vgg11", seed=None).state_dict().items())


def test_other_classes():
    model = build("minivgg", labels=["hot dog", "not hot dog"])
    assert model["fc7"].weight.shape == (2, 256) and models.find_class(model, "not hot dog") == 1


@pytest.mark.parametrize("name", ["vgg17", "", None, 16, "minivgg_features_features"])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match="choose from vgg11, vgg13, vgg16"):
        build(name)


def test_batch_norm_is_for_vgg_only():
    with pytest.raises(ValueError, match="squeezenet1_1 has its own norms, or none"):
        build("squeezenet1_1", batch_norm=True)


# ----------------------------------------------------------------------------------------------------------------------
# Preprocessing
# ----------------------------------------------------------------------------------------------------------------------


def test_preprocessing_presets():
    x = picture(2, 3, 4, 5)
    rgb = x.numpy()
    mean = np.array([103.939, 116.779, 123.68]).reshape(3, 1, 1)
    np.testing.assert_allclose(Preprocess(**PREPROCESSING["caffe"])(x).numpy(), rgb[:, ::-1] * 255 - mean, atol=2e-5)
    mean, std = (np.array(PREPROCESSING["torchvision"][key]).reshape(3, 1, 1) for key in ("mean", "std"))
    np.testing.assert_allclose(Preprocess(**PREPROCESSING["torchvision"])(x).numpy(), (rgb - mean) / std, atol=2e-6)
    np.testing.assert_array_equal(Preprocess(**PREPROCESSING["none"])(x).numpy(), rgb)


def test_preprocessing_is_differentiable_and_keeps_the_dtype():
    x = mg.Tensor(picture(1, 3, 2, 2).numpy().astype(np.float64), requires_grad=True)
    y = Preprocess(scale=255, mean=(1, 2, 3), std=(1, 2, 4), channel_order="BGR")(x)
    assert y.dtype == np.float64
    gradient = mg.grad(y.sum(), x).numpy()
    np.testing.assert_allclose(
        gradient, np.broadcast_to(np.reshape([255 / 4, 255 / 2, 255], (3, 1, 1)), gradient.shape)
    )


@pytest.mark.parametrize("shape", [(1, 4, 5, 5), (1, 1, 5, 5), (5, 5), (3,)])
def test_preprocessing_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"preprocess: x must be \(N, 3, H, W\)"):
        build("minivgg", seed=None)(mg.Tensor(np.zeros(shape, np.float32)))


@pytest.mark.parametrize(
    "arguments", [{"channel_order": "GBR"}, {"std": (1, 0, 1)}, {"mean": (0, 0)}, {"scale": float("nan")}, {"scale": 0}]
)
def test_preprocessing_refuses_nonsense(arguments):
    with pytest.raises(ValueError, match="Preprocess"):
        Preprocess(**arguments)


def test_a_model_begins_with_its_preprocessing():
    with pytest.raises(ValueError, match="first layer must be 'preprocess'"):
        Model({"relu": nn.ReLU()}, "x", (1, 1))


# ----------------------------------------------------------------------------------------------------------------------
# Folding and descriptions
# ----------------------------------------------------------------------------------------------------------------------


def randomise_statistics(model, seed=1):
    rng = np.random.default_rng(seed)
    for name, tensor in model.named_tensors():
        if ".running_var" in name:
            tensor.data = rng.uniform(0.5, 2, tensor.shape).astype(np.float32)
        elif name.startswith("bn"):
            tensor.data = rng.normal(1, 0.3, tensor.shape).astype(np.float32)


def test_folding_batch_norm_changes_nothing():
    model = small(batch_norm=True)
    randomise_statistics(model)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    folded = fold_batch_norm(model)
    x = picture(2, 3, 32, 32)
    np.testing.assert_allclose(folded(x).numpy(), model(x).numpy(), rtol=1e-5, atol=1e-5)
    assert [name for name in model if not name.startswith("bn")] == list(folded)
    assert folded.labels == model.labels and list(folded) == list(small())
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())


def test_folding_inside_and_with_a_bias():
    rng = np.random.default_rng(0)
    inner = nn.Sequential({"conv": nn.Conv2d(3, 4, 3, rng=rng), "bn": nn.BatchNorm2d(4)})
    model = nn.Sequential({"inner": inner, "relu": nn.ReLU()})
    inner["conv"].bias.data = rng.standard_normal(4).astype(np.float32)
    inner["bn"].running_mean.data = rng.standard_normal(4).astype(np.float32)
    folded = fold_batch_norm(model)
    assert folded.names() == ["inner.conv", "inner", "relu"]
    x = picture(1, 3, 6, 6)
    np.testing.assert_allclose(folded(x).numpy(), model(x).numpy(), atol=1e-5)


def lively(network, seed=0):
    """The same network, its parameters and statistics drawn, in float64."""
    rng = np.random.default_rng(seed)
    for name, tensor in network.named_tensors():
        low = 0.5 if name.endswith("running_var") else -1
        tensor.data = rng.uniform(low, 1.5, tensor.shape)
    return network


def norms(network):
    return [name for name, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d)]


def test_folding_inside_blocks_of_any_container():
    conv = dict(padding=1, bias=False)
    chain = {"conv": nn.Conv2d(4, 4, 3, **conv), "bn": nn.BatchNorm2d(4), "relu": nn.ReLU()}
    block = nn.Graph(
        {
            "conv1": nn.Conv2d(4, 4, 3, **conv),
            "bn1": nn.BatchNorm2d(4),
            "relu": nn.ReLU(),
            "conv2": nn.Conv2d(4, 4, 3, **conv),
            "bn2": nn.BatchNorm2d(4),
            "downsample": (nn.Sequential({"0": nn.Conv2d(4, 4, 1), "1": nn.BatchNorm2d(4)}), "input"),
            "add": (nn.Call("add"), ["bn2", "downsample"]),
        }
    )
    both = {"a": nn.Sequential(chain), "b": nn.Sequential({"norm": nn.BatchNorm2d(4), "conv": nn.Conv2d(4, 4, 1)})}
    network = lively(nn.Sequential({"block": block, "sum": nn.Sum(both), "cat": nn.Parallel(both)}))
    folded = fold_batch_norm(network)
    assert norms(folded) == ["sum.b.norm", "cat.b.norm"]
    assert list(folded["block"]) == ["conv1", "relu", "conv2", "downsample", "add"]
    assert folded["block"].nodes["add"][1] == ["conv2", "downsample"]
    x = mg.Tensor(np.random.default_rng(1).normal(size=(2, 4, 5, 5)))
    np.testing.assert_allclose(folded(x).numpy(), network(x).numpy(), rtol=1e-11)
    ends = nn.Graph({"conv": nn.Conv2d(4, 4, 1), "bn": nn.BatchNorm2d(4)})
    assert fold_batch_norm(ends).outputs == "conv" and fold_batch_norm(nn.Graph(chain, ["relu"])).outputs == ["relu"]


def test_norms_that_are_not_a_convolutions_only_reader_stay():
    nodes = {"conv": nn.Conv2d(4, 4, 1), "bn": nn.BatchNorm2d(4), "add": (nn.Call("add"), ["conv", "bn"])}

    class Own(nn.Sequential):
        def forward(self, x):
            return self["bn"](x) + self["conv"](x)

    for network in (
        nn.Sequential({"relu": nn.ReLU(), "bn": nn.BatchNorm2d(4)}),
        nn.Graph(nodes),
        nn.Graph({"conv": nodes["conv"], "bn": nodes["bn"]}, ["conv", "bn"]),
        Own({"conv": nn.Conv2d(4, 4, 1), "bn": nn.BatchNorm2d(4)}),
        nn.Sum({"conv": nn.Conv2d(4, 4, 1), "bn": nn.BatchNorm2d(4)}),
    ):
        lively(network)
        folded, x = fold_batch_norm(network), mg.Tensor(np.random.default_rng(1).normal(size=(2, 4, 5, 5)))
        assert norms(folded) == ["bn"]
        for one, other in zip(*(y if isinstance(y, tuple) else (y,) for y in (folded(x), network(x))), strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize("name", [*NAMES, "vgg16_features"])
def test_descriptions_rebuild_the_network(name):
    model = build(name, seed=None)
    again = construct(json.loads(json.dumps(describe(model))))
    rebuilt = nn.Sequential(again)
    assert describe(rebuilt) == describe(model)
    assert {n: a.shape for n, a in rebuilt.state_dict().items()} == {n: a.shape for n, a in model.state_dict().items()}


def test_every_kind_of_layer_can_be_described():
    layers = {
        "preprocess": Preprocess(scale=2),
        "pad": nn.ReflectionPad2d(2),
        "conv": nn.Conv2d(4, 6, (3, 1), stride=2, padding=(1, 0), dilation=1, groups=2, bias=False),
        "bn": nn.BatchNorm2d(6, eps=1e-3),
        "same": nn.Identity(),
        **{name.lower(): kind() for name, kind in ACTIVATIONS.items()},
        "leaky": nn.LeakyReLU(0.2),
        "lrn": nn.LocalResponseNorm(5),
        "avg": nn.AvgPool2d(2, ceil_mode=True),
        "max": nn.MaxPool2d(3, 2, 1),
        "split": nn.Parallel({"a": nn.ReLU(), "b": nn.Sequential({"gap": nn.AdaptiveAvgPool2d((2, 3))})}),
        "flat": nn.Flatten(),
        "fc": nn.Linear(9, 2, bias=False),
        "drop": nn.Dropout(0.25),
        "softmax": nn.Softmax(),
        "transposed": nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, bias=False),
        "norms": nn.Sequential(
            {"g": nn.GroupNorm(2, 4), "i": nn.InstanceNorm2d(3), "l": nn.LayerNorm((2048,)), "c": nn.LayerNorm2d(5)}
        ),
        "around": nn.ConstantPad2d((1, 2, 0, 3), 0.5),
        "up": nn.Upsample(scale_factor=(2, 1.5), mode="bilinear"),
        "call": nn.Call("clamp", min=0, max=6),
    }
    description = json.loads(json.dumps(describe(nn.Sequential(layers))))
    assert json.loads(json.dumps(describe(nn.Sequential(construct(description))))) == description
    layers_of_nn = {name for name, kind in vars(nn).items() if isinstance(kind, type) and "Module" != name}
    assert layers_of_nn <= {*KINDS, "Sequential", "Parallel", "Sum", "Product", "Graph"}


def test_unknown_layers_cannot_be_described():
    class Swish(nn.Module):
        pass

    with pytest.raises(ValueError, match="'act' is a Swish"):
        describe(nn.Sequential({"act": Swish()}))


def graph(node, **entries):
    return [{"name": "g", "kind": "Graph", "layers": [{"name": "a", "kind": "ReLU"} | node], **entries}]


CONV = {"name": "conv", "kind": "Conv2d", "in_channels": 3, "out_channels": 4, "kernel_size": 3}


@pytest.mark.parametrize(
    "description, message",
    [
        ({}, "not a list"),
        ([[]], "lacks its kind"),
        ([{"name": "a", "kind": "System"}], "unknown kind 'System'"),
        ([{"name": 3, "kind": "ReLU"}], "lacks its kind or a name"),
        ([{"name": "a", "kind": "ReLU"}, {"name": "a", "kind": "ReLU"}], "a name of its own"),
        ([{"name": "a/b", "kind": "ReLU"}], "a name of its own"),
        ([{"name": "a", "kind": "ReLU", "inplace": True}], "cannot be built"),
        ([CONV | {"out_channels": 1 << 40}], "absurd out_channels"),
        ([CONV | {"kernel_size": [3, 10**9]}], "absurd kernel_size"),
        ([CONV | {"groups": 2}], "cannot be built"),
        ([CONV | {"in_channels": 1 << 20, "out_channels": 1 << 20, "kernel_size": 1024}], "cannot be built"),
        ([CONV | {"in_channels": "three"}], "cannot be built"),
        ([CONV | {"in_channels": -3}], "cannot be built"),
        ([{"name": "a", "kind": "ReLU"}] * 10_001, "far too long"),
        ([{"name": "s", "kind": "Sequential"}], "not a list"),
        ([{"name": "g", "kind": "Graph"}], "lacks its nodes"),
        ([{"name": "g", "kind": "Graph", "layers": []}], "at least one node"),
        (
            [{"name": "g", "kind": "Graph", "layers": [{"name": "a", "kind": "ReLU"}]}],
            "lacks its nodes or their inputs",
        ),
        (graph({"inputs": ["b"]}), "node 'a' takes 'b', which is no node: there are input"),
        (graph({"inputs": [["input", "x"]]}), "give the name of a node"),
        (graph({"inputs": [{}]}), "give the name of a node"),
        (graph({"inputs": ["input", "input"]}), "takes 1 input, and is given 2"),
        (graph({"inputs": ["input"]}, outputs=3), "outputs holds 3: give the name"),
        (graph({"inputs": ["input"]}, outputs="b"), "outputs holds 'b', which is no node"),
        ([{"name": "c", "kind": "Call", "function": "system"}], "there is no function 'system'"),
        ([{"name": "c", "kind": "Call", "function": "__import__"}], "there is no function"),
        ([{"name": "c", "kind": "Call"}], "cannot be built"),
        ([{"name": "c", "kind": "Call", "function": "pad", "pad": [[1 << 40]]}], "absurd pad"),
        ([{"name": "c", "kind": "Call", "function": "clamp", "min": {}}], "cannot be built"),
    ],
)
def test_descriptions_that_do_not_hold(description, message):
    with pytest.raises(ValueError, match=message):
        construct(description)


def test_bottomless_descriptions_are_refused():
    description = []
    for _ in range(40):
        description = [{"name": "s", "kind": "Sequential", "layers": description}]
    with pytest.raises(ValueError, match="deep"):
        construct(description)


def test_vgg_with_batch_norm_trains():
    layers = vgg_layers(((2,), (3,), (3,), (3,), (4,)), 5, 6, np.random.default_rng(0), batch_norm=True)
    model = Model({"preprocess": Preprocess(), **layers}, "vgg", (224, 224)).train()
    assert model["conv1_1"].bias is None and "bn5_1" in model
    with mg.no_grad():
        assert model.eval()(picture(1, 3, 224, 224)).shape == (1, 6)


def test_importing_models_is_quick():
    slow = ("h5py", "PIL", "tqdm", "scipy", "matplotlib", "torch", "cupy", "skimage", "sklearn")
    code = f"import sys, models; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
