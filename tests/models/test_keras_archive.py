"""Keras 3's archives: its own layers' arithmetic written out here in NumPy, and what cannot be expressed."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest
from scipy.signal import correlate2d

import minigrad as mg
import models
from models import WeightsError
from models.convert import convert

RNG = np.random.default_rng(0)


def layer(kind, name, taken=(), **config):
    """An entry of config.json as Keras 3 writes it, of a functional network."""
    tensors = [{"class_name": "__keras_tensor__", "config": {"keras_history": [one, 0, 0]}} for one in taken]
    args = [tensors] if len(tensors) > 1 else tensors
    return {"class_name": kind, "name": name, "config": {"name": name, **config},
            "inbound_nodes": [{"args": args, "kwargs": {}}] if taken else []}  # fmt: skip


def conv(name, taken, filters=4, **more):
    config = {"filters": filters, "kernel_size": [3, 3], "strides": [1, 1], "padding": "same", "dilation_rate": [1, 1]}
    return layer("Conv2D", name, taken, **config | {"groups": 1, "use_bias": True, "activation": "linear"} | more)


INPUT = layer("InputLayer", "input_1", batch_shape=[None, 8, 8, 3])
LAYERS = [
    INPUT,
    conv("first", ["input_1"], activation="relu"),
    conv("second", ["first"], strides=[2, 2], use_bias=False),
    layer("BatchNormalization", "norm", ["second"], axis=-1, epsilon=1e-3, scale=True, center=True),
    layer("MaxPooling2D", "half", ["first"], pool_size=[2, 2], strides=[2, 2], padding="valid"),
    layer("Add", "sum", ["norm", "half"]),
    layer("Flatten", "flat", ["sum"]),
    layer("Dense", "scores", ["flat"], units=2, use_bias=True, activation="linear"),
]
W1, B1, W2 = RNG.normal(size=(3, 3, 3, 4)), RNG.normal(size=4), RNG.normal(size=(3, 3, 4, 4))
GAMMA, BETA, MEAN, VAR = (RNG.uniform(0.5, 2, 4) for _ in range(4))
W3, B3 = RNG.normal(size=(64, 2)), RNG.normal(size=2)
ARRAYS = {"conv2d": [W1, B1], "conv2d_1": [W2], "batch_normalization": [GAMMA, BETA, MEAN, VAR], "dense": [W3, B3]}


def write(path, layers=LAYERS, arrays=ARRAYS, kind="Functional", outputs=("scores", 0, 0)):
    config = {"name": "net", "layers": layers}
    if kind == "Functional":
        config |= {"input_layers": ["input_1", 0, 0], "output_layers": list(outputs)}
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, some in arrays.items():
            for number, array in enumerate(some):
                file[f"layers/{name}/vars/{number}"] = np.asarray(array, np.float32)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": kind, "config": config}))
        archive.writestr("model.weights.h5", content.getvalue())


def by_hand(image):
    """The scores of one image (8,8,3), by loops."""

    def convolved(x, kernel, stride, before):
        x = np.pad(x, ((before, 2 - before), (before, 2 - before), (0, 0)))
        maps = [sum(correlate2d(x[..., i], kernel[..., i, o], "valid") for i in range(x.shape[2])) for o in range(4)]
        return np.stack(maps, -1)[::stride, ::stride]

    first = np.maximum(convolved(image, W1, 1, 1) + B1, 0)
    second = convolved(first, W2, 2, 0)  # "same" at stride 2: nothing before, one behind
    norm = (second - MEAN) / np.sqrt(VAR + 1e-3) * GAMMA + BETA
    half = first.reshape(4, 2, 4, 2, 4).max((1, 3))
    return (norm + half).reshape(-1) @ W3 + B3


def test_a_functional_network_with_a_sum(tmp_path):
    write(tmp_path / "net.keras")
    models.save_weights(convert(tmp_path / "net.keras", preprocessing="unit", labels=["cat", "dog"]), tmp_path / "w.h5")
    model = models.load(tmp_path / "w.h5")
    assert model.labels == ("cat", "dog") and model.input_size == (8, 8) and model.name == "net"
    images = RNG.random((2, 8, 8, 3))
    found = model(mg.Tensor(images.transpose(0, 3, 1, 2).astype(np.float32))).numpy()
    np.testing.assert_allclose(found, [by_hand(image) for image in images], rtol=1e-4, atol=1e-4)


def test_a_sequential_network_and_its_names(tmp_path):
    layers = [INPUT, conv("first", []), layer("GlobalAveragePooling2D", "mean"), layer("Softmax", "softmax", axis=-1)]
    write(tmp_path / "net.keras", layers, {"conv2d": [W1, B1]}, "Sequential")
    model = convert(tmp_path / "net.keras", preprocessing="rgb255")
    assert list(model)[:3] == ["preprocess", "first", "mean"] and model["preprocess"].scale == 255
    with pytest.raises(ValueError, match="nothing tells how pictures of .*net.keras are prepared"):
        convert(tmp_path / "net.keras")


@pytest.mark.parametrize(
    "layers, kind, message",
    [
        (
            [INPUT, layer("Lambda", "mine", ["input_1"])],
            "Functional",
            "'mine', a Lambda, cannot be expressed .there is no",
        ),
        ([INPUT, conv("first", ["nowhere"])], "Functional", "takes 'nowhere', which is no layer before it"),
        ([INPUT, conv("first", ["input_1"], padding="odd")], "Functional", "'first', a Conv2D, cannot be expressed"),
        ([INPUT, layer("Softmax", "s", ["input_1"], axis=1)], "Functional", "is not over the channels"),
        ([conv("first", [])], "Sequential", "it has no InputLayer"),
        ([INPUT], "Custom", "it is a Custom: only Sequential"),
    ],
)
def test_what_cannot_be_expressed(tmp_path, layers, kind, message):
    write(tmp_path / "net.keras", layers, kind=kind)
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / "net.keras", preprocessing="unit")


def test_zip_bombs_and_damage(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * (17 << 20))
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(WeightsError, match="far more than any network"):
        convert(tmp_path / "net.keras", preprocessing="unit")
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        archive.writestr("config.json", b"{}")
        archive.writestr("model.weights.h5", b"no HDF5")
    with pytest.raises(WeightsError, match="damaged, or no network of Keras 3"):
        convert(tmp_path / "net.keras", preprocessing="unit")


# ---- networks within networks, and more layers -----------------------------------------------------------------------


def network(kind, name, layers, **more):
    return {"class_name": kind, "name": name, "config": {"name": name, "layers": layers, **more}, "inbound_nodes": []}


def nested():
    """(layers, arrays, kind): the functional network up to its sum within a sequential one, behind augmentation."""
    base = network("Functional", "base", LAYERS[:6], input_layers=["input_1", 0, 0], output_layers=["sum", 0, 0])
    flips = network("Sequential", "flips", [layer("RandomFlip", "flip"), layer("RandomRotation", "turn")])
    outer = [dict(INPUT, config={"name": "input_2", "batch_shape": [None, 8, 8, 3]}), flips, base, *LAYERS[6:]]
    arrays = {name if name == "dense" else f"functional/layers/{name}": some for name, some in ARRAYS.items()}
    return outer, arrays, "Sequential"


def seeds():
    """Arguments of `write` that make sound archives, where fuzzing starts from."""
    chain, before = [INPUT], "input_1"
    for name in ("normalised", "enlarged", "cut"):
        last, nodes = MORE[name][0], layer("", "", [before])["inbound_nodes"]
        chain.append(dict(last, config=last["config"] | {"name": name}, inbound_nodes=nodes))
        before = name
    return [(), nested(), (chain, MORE["normalised"][1], "Functional", ("cut", 0, 0))]


def test_networks_within_a_network(tmp_path):
    """Augmentation is left out."""
    write(tmp_path / "net.keras", *nested())
    model = convert(tmp_path / "net.keras", preprocessing="unit")
    images = RNG.random((2, 8, 8, 3))
    found = model(mg.Tensor(images.transpose(0, 3, 1, 2).astype(np.float32))).numpy()
    np.testing.assert_allclose(found, [by_hand(image) for image in images], rtol=1e-4, atol=1e-4)
    assert {"base.first", "base.norm", "scores"} <= set(model.names()) and "flip" not in model.names()


def test_a_size_that_is_left_free(tmp_path):
    free = layer("InputLayer", "input_1", batch_shape=[None, None, None, 3])
    write(tmp_path / "net.keras", [free, conv("first", [])], {"conv2d": [W1, B1]}, "Sequential")
    with pytest.raises(ValueError, match="net.keras: the file leaves the size of its pictures free: give size"):
        convert(tmp_path / "net.keras", preprocessing="unit")
    assert convert(tmp_path / "net.keras", preprocessing="unit", size=24).input_size == (24, 24)
    for absurd in (0, -3, 1 << 20):
        with pytest.raises(WeightsError, match=f"its input of {absurd} x {absurd} pixels is absurd"):
            convert(tmp_path / "net.keras", preprocessing="unit", size=absurd)
    write(tmp_path / "net.keras", [INPUT, conv("first", [])], {"conv2d": [W1, B1]}, "Sequential")
    with pytest.raises(WeightsError, match="it is for pictures of 8 x 8 pixels, and not for 24 x 24"):
        convert(tmp_path / "net.keras", preprocessing="unit", size=24)


def operation(kind, *args):
    """An operation such as `x + 3`, which is no layer."""
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": ["input_1", 0, 0]}}
    nodes = [{"args": [tensor if isinstance(one, str) else one for one in args], "kwargs": {}}]
    return {"class_name": kind, "name": "last", "config": {"name": "last"}, "inbound_nodes": nodes}


K, V, M = RNG.normal(size=(3, 5)), RNG.uniform(0.5, 2, 3), RNG.normal(size=3)
APART, TOGETHER, TWICE = RNG.normal(size=(1, 1, 3, 2)), RNG.normal(size=(1, 1, 6, 4)), RNG.normal(size=(2, 2, 4, 3))
ONE = {"kernel_size": [1, 1], "strides": [1, 1], "padding": "same", "dilation_rate": [1, 1], "activation": "linear"}
MORE = {
    "a number added": (operation("Add", "x", 3.0), {}, lambda x: x + 3),
    "a number of times": (operation("Multiply", 0.5, "x"), {}, lambda x: x / 2),
    "a number for each channel": (
        operation("TrueDivide", "x", {"class_name": "__tensor__", "config": {"value": [[[V.tolist()]]]}}), {},
        lambda x: x / V),
    "less a number": (operation("Subtract", "x", 1), {}, lambda x: x - 1),
    "the mean with itself": (layer("Average", "last", ["input_1", "input_1"]), {}, lambda x: x),
    "dense at each place": (layer("Dense", "last", ["input_1"], use_bias=False), {"dense": [K]}, lambda x: x @ K),
    "normalised": (layer("Normalization", "last", ["input_1"], axis=[-1], mean=None), {"normalization": [M, V, 9]},
                   lambda x: (x - M) / np.sqrt(V)),
    "normalised at each place": (
        layer("LayerNormalization", "last", ["input_1"], axis=-1, epsilon=0.1), {"layer_normalization": [V, M]},
        lambda x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.1) * V + M),
    "cut": (layer("Cropping2D", "last", ["input_1"], cropping=[[1, 2], [0, 3]]), {}, lambda x: x[:, 1:-2, :-3]),
    "enlarged": (layer("UpSampling2D", "last", ["input_1"], size=[2, 3], interpolation="nearest"), {},
                 lambda x: x.repeat(2, 1).repeat(3, 2)),
    "another shape": (layer("Reshape", "last", ["input_1"], target_shape=[4, 16, 3]), {},
                      lambda x: x.reshape(-1, 4, 16, 3)),
    "slopes": (layer("PReLU", "last", ["input_1"], shared_axes=[1, 2]), {"p_re_lu": [-V.reshape(1, 1, 3)]},
               lambda x: np.where(x > 0, x, -V * x)),
    "separable": (layer("SeparableConv2D", "last", ["input_1"], **ONE, use_bias=True),
                  {"separable_conv2d": [APART, TOGETHER, B1]},
                  lambda x: (x[..., None] * APART[0, 0]).reshape(*x.shape[:3], 6) @ TOGETHER[0, 0] + B1),
    "transposed": (layer("Conv2DTranspose", "last", ["input_1"], **ONE | {"strides": [2, 2]}, use_bias=False),
                   {"conv2d_transpose": [TWICE]},
                   lambda x: np.einsum("nhwi,aboi->nhawbo", x, TWICE).reshape(-1, 16, 16, 4)),
}  # fmt: skip


@pytest.mark.parametrize("case", MORE)
def test_more_layers(tmp_path, case):
    last, arrays, wanted = MORE[case]
    write(tmp_path / "net.keras", [INPUT, last], arrays, outputs=("last", 0, 0))
    images = RNG.random((2, 8, 8, 3)) - 0.5
    model = convert(tmp_path / "net.keras", preprocessing="unit")
    found = model(mg.Tensor(images.transpose(0, 3, 1, 2).astype(np.float32))).numpy()
    np.testing.assert_allclose(found.transpose(0, 2, 3, 1), wanted(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "last, arrays, message",
    [
        (layer("Conv2DTranspose", "last", ["input_1"], **ONE | {"strides": [2, 2]}, use_bias=False),
         {"conv2d_transpose": [RNG.normal(size=(3, 3, 4, 3))]}, "its padding is uneven"),
        (operation("Subtract", 1.0, "x"), {}, "it is of a number and a value"),
        (operation("GetItem", "x", {"class_name": "slice"}), {}, "layer 'last' takes .*slice.*, which is not read"),
        (operation("GetItem", "x", 1), {}, "it picks something else than one channel"),
        (operation("Add", "x", {"class_name": "__tensor__", "config": {"value": [1, 2]}}), {}, "array of shape .2,"),
        (layer("Activation", "last", ["input_1"], activation="selu"), {}, "there is no layer for its activation selu"),
        (layer("Dense", "last", ["input_1"], use_bias=False), {}, "'last', a Dense, has too few arrays in the archive"),
        (layer("PReLU", "last", ["input_1"]), {"p_re_lu": [np.ones((8, 8, 3))]}, "shared_axes"),
    ],
)  # fmt: skip
def test_what_more_cannot_be_expressed(tmp_path, last, arrays, message):
    write(tmp_path / "net.keras", [INPUT, last], arrays, outputs=("last", 0, 0))
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / "net.keras", preprocessing="unit")


def test_networks_of_grey_pictures(tmp_path):
    grey = layer("InputLayer", "input_1", batch_shape=[None, 8, 8, 1])
    write(tmp_path / "net.keras", [grey, conv("first", [])], {"conv2d": [W1[:, :, :1], B1]}, "Sequential")
    model = convert(tmp_path / "net.keras", preprocessing="unit")
    assert model(mg.Tensor(np.ones((2, 1, 8, 8), np.float32))).shape == (2, 4, 8, 8)
    with pytest.raises(ValueError, match="sees pictures of 1 channel"):
        convert(tmp_path / "net.keras", preprocessing="caffe")


def test_colours_turned_as_keras_prepares_pictures_for_caffe(tmp_path):
    def plane(name, place):
        one = layer("GetItem", name, ["input_1"])
        one["inbound_nodes"][0]["args"].append([{"class_name": "__ellipsis__", "config": {}}, place])
        return one

    planes = [plane(f"plane{place}", place) for place in (2, 1, 0)]
    stack = layer("Stack", "last", ["plane2", "plane1", "plane0"], axis=-1)
    write(tmp_path / "net.keras", [INPUT, *planes, stack], {}, outputs=("last", 0, 0))
    x = RNG.random((2, 3, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(
        convert(tmp_path / "net.keras", preprocessing="unit")(mg.Tensor(x)).numpy(), x[:, ::-1]
    )
    alone = layer("Softmax", "last", ["plane2"], axis=-1)
    write(tmp_path / "net.keras", [INPUT, *planes, alone], {}, outputs=("last", 0, 0))
    with pytest.raises(WeightsError, match="it takes one channel alone"):
        convert(tmp_path / "net.keras", preprocessing="unit")
