"""Other programs' weights give the same scores here: a narrow VGG16 in every layout, and one of full size."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

import models
from models import WeightsError
from models.architectures.squeezenet import squeezenet_layers
from models.convert import convert, info, read, sha256
from models.layers import Preprocess
from models.model import Model
from tests.models.layouts import (
    CLASSES,
    HIDDEN,
    STAGES,
    WRITERS,
    keras_layers,
    narrow,
    picture,
    randomise_biases,
    scores,
    write_keras1,
    write_torchvision,
)
from tests.models.torch_format import write_state_dict

GOLDEN = Path(__file__).parents[1] / "golden"


def assert_same_scores(model, wanted, tolerance=1e-5):
    found = scores(model)
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


# ----------------------------------------------------------------------------------------------------------------------
# Keras
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["keras_vgg16.weights.h5", "keras_vgg16.h5"])
def test_files_and_scores_of_keras_itself(name):
    """The weights in Keras 3's and its classic layout, and the scores that Keras gave with them."""
    wanted = np.load(GOLDEN / "keras_vgg16.npz")["scores"]
    assert_same_scores(convert(GOLDEN / name, narrow()), wanted)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.torch] if "torch-" in name else []) for name in WRITERS]
)
def test_every_layout_gives_the_same_scores(tmp_path, name):
    if name == "torch-itself.pth":
        pytest.importorskip("torch")
    model = narrow(seed=1)
    WRITERS[name](tmp_path / name, model)
    converted = convert(tmp_path / name, narrow(), "caffe")
    assert_same_scores(converted, scores(model))
    assert converted.provenance["source"] == name
    assert converted.provenance["source_sha256"] == sha256(tmp_path / name)

    models.save_weights(converted, tmp_path / "ours.h5")
    assert_same_scores(models.load(tmp_path / "ours.h5"), scores(model))
    assert models.load(tmp_path / "ours.h5").provenance["source"] == name


def test_fc1_must_be_permuted(tmp_path):
    """The wrong flattening order gives other scores: the test above can tell."""
    model = narrow(seed=1)
    wanted = scores(model)
    weight = model["fc6"].weight.numpy()
    model["fc6"].weight.data = weight.reshape(HIDDEN, -1, 7, 7).transpose(0, 2, 3, 1).reshape(weight.shape)
    assert np.abs(scores(model) - wanted).max() > 0.01 * np.abs(wanted).max()


def test_preprocessing_follows_the_origin(tmp_path):
    model = narrow(seed=1)
    write_keras1(tmp_path / "w.h5", model)
    write_torchvision(tmp_path / "w.pth", model)
    assert convert(tmp_path / "w.h5", narrow())["preprocess"].channel_order == "BGR"
    assert convert(tmp_path / "w.pth", narrow())["preprocess"].std == (0.229, 0.224, 0.225)
    assert convert(tmp_path / "w.pth", narrow(), "none")["preprocess"].describe() == Preprocess().describe()
    with pytest.raises(ValueError, match="no preprocessing 'magic'"):
        convert(tmp_path / "w.pth", narrow(), "magic")


@pytest.mark.torch
def test_torchvisions_batch_normalised_vgg_is_folded(tmp_path):
    """torchvision's vgg16_bn has biases before its normalisations; the same scores come out."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers, channels = [], 3
    for widths in STAGES:
        for width in widths:
            layers += [torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.BatchNorm2d(width), torch.nn.ReLU()]
            channels = width
        layers.append(torch.nn.MaxPool2d(2))
    for layer in layers:
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.running_mean, -1, 1)
            torch.nn.init.uniform_(layer.running_var, 0.5, 2)
    head = [
        torch.nn.Linear(channels * 49, HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Dropout(),
        torch.nn.Linear(HIDDEN, HIDDEN),
    ]
    head += [torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(HIDDEN, CLASSES)]
    network = torch.nn.ModuleDict({"features": torch.nn.Sequential(*layers), "classifier": torch.nn.Sequential(*head)})
    torch.save(network.eval().state_dict(), tmp_path / "vgg16_bn.pth")
    with torch.no_grad():
        wanted = network["classifier"](network["features"](torch.tensor(picture().numpy())).flatten(1)).numpy()

    converted = convert(tmp_path / "vgg16_bn.pth", narrow(batch_norm=True), "none")
    assert "bn1_1" not in converted
    assert_same_scores(converted, wanted, 2e-5)


# ----------------------------------------------------------------------------------------------------------------------
# The full VGG16 (138 million parameters): slow, so only when asked for
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif("MINIGRAD_SLOW" not in os.environ, reason="needs MINIGRAD_SLOW=1: half a minute and 3 GB on disk")
@pytest.mark.parametrize("name", ["keras1.h5", "keras2.h5", "keras3.weights.h5", "torch-itself.pth"])
def test_the_full_vgg16(tmp_path, name):
    model = models.build("vgg16", seed=1)
    randomise_biases(model, np.random.default_rng(2))
    wanted = scores(model)
    WRITERS[name](tmp_path / name, model)
    del model
    models.save_weights(convert(tmp_path / name, preprocessing="caffe"), tmp_path / "ours.h5")
    loaded = models.load(tmp_path / "ours.h5")
    assert loaded.name == "vgg16" and len(loaded.labels) == 1000
    assert_same_scores(loaded, wanted)


# ----------------------------------------------------------------------------------------------------------------------
# SqueezeNet
# ----------------------------------------------------------------------------------------------------------------------


def torchvision_names_of(model):
    """The state dict of a SqueezeNet of ours under torchvision's keys."""
    fires = dict(zip(("3", "4", "6", "7", "9", "10", "11", "12"), range(2, 10), strict=True))
    theirs = {"features.0": "conv1", "classifier.1": "conv10"}
    for place, number in fires.items():
        theirs[f"features.{place}.squeeze"] = f"fire{number}.squeeze"
        for size in ("1x1", "3x3"):
            theirs[f"features.{place}.expand{size}"] = f"fire{number}.expand.{size}"
    own = model.state_dict()
    return {f"{key}.{kind}": own[f"{name}.{kind}"] for key, name in theirs.items() for kind in ("weight", "bias")}


def test_torchvisions_squeezenet(tmp_path):
    """Keys and order of torchvision's squeezenet1_1: features.0, .3, .4, .6, .7, .9 to .12, classifier.1."""
    model = models.build("squeezenet1_1", seed=1)
    own, state = model.state_dict(), torchvision_names_of(model)
    write_state_dict(tmp_path / "squeezenet1_1.pth", state)
    converted = convert(tmp_path / "squeezenet1_1.pth")
    assert converted.name == "squeezenet1_1" and converted["preprocess"].channel_order == "RGB"
    assert all(np.array_equal(array, own[name]) for name, array in converted.state_dict().items())


# ----------------------------------------------------------------------------------------------------------------------
# Refusals
# ----------------------------------------------------------------------------------------------------------------------


def keras_file(path, edit):
    write_keras1(path, narrow(seed=1))
    with h5py.File(path, "r+") as file:
        edit(file)


def hide(file):
    del file["fc1/fc1_W_1:0"]
    file["fc1/fc1_W_1:0"] = h5py.ExternalLink("/etc/hostname", "/")


def transpose(file):
    kernel = file["block1_conv2/block1_conv2_W_1:0"][()]
    del file["block1_conv2/block1_conv2_W_1:0"]
    file["block1_conv2/block1_conv2_W_1:0"] = kernel.transpose(3, 2, 0, 1)


def swell(file):
    del file["fc1/fc1_W_1:0"]
    file["fc1"].create_dataset("fc1_W_1:0", (1 << 40, 4), "f4", chunks=(1024, 4))


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda file: file.attrs.__delitem__("layer_names"), "neither layer_names nor /layers"),
        (lambda file: file.__delitem__("fc2"), "fc2 is missing"),
        (lambda file: file.__delitem__("fc1/fc1_b_1:0"), "fc1_b_1:0 is missing"),
        (
            lambda file: file["fc1"].attrs.__setitem__("weight_names", np.array([b"fc1_W_1:0"])),
            "its fc6 has no bias, unlike that of vgg16",
        ),
        (lambda file: file.attrs.__setitem__("layer_names", np.array([b"block1_conv1"])), "lacks conv1_2, conv2_1"),
        (lambda file: file["fc1/fc1_b_1:0"].__setitem__(0, np.nan), "fc6.bias holds NaN"),
        (hide, "never followed"),
        (transpose, r"the order of Keras on Theano, turned by 180 degrees"),
        (swell, "more than the file holds"),
        (lambda file: file.attrs.__setitem__("layer_names", np.array([b"../../x"])), "missing, or a link"),
    ],
)
def test_edited_keras_files_are_refused(tmp_path, edit, message):
    keras_file(tmp_path / "w.h5", edit)
    with pytest.raises(WeightsError, match=message) as caught:
        convert(tmp_path / "w.h5", narrow())
    assert "w.h5" in str(caught.value) and "\n" not in str(caught.value)


def test_texts_of_variable_length_are_never_read(tmp_path, monkeypatch):
    """From a damaged one, HDF5 allocates gigabytes. Keras 3 writes them; the layers' places tell as much."""
    read_attribute = h5py.AttributeManager.__getitem__

    def guarded(self, name):
        assert self.get_id(name).dtype.kind != "O"
        return read_attribute(self, name)

    monkeypatch.setattr(h5py.AttributeManager, "__getitem__", guarded)
    for name in ("keras_vgg16.h5", "keras_vgg16.weights.h5"):
        assert len(read(GOLDEN / name).layers) == 16


@pytest.mark.parametrize("seed", range(3))
def test_layers_of_keras_come_in_their_order_not_the_alphabets(tmp_path, seed):
    """Names as Keras 3 writes them, texts of variable length, of layers whose names say nothing of their order."""
    model = narrow(seed=1)
    layers = [(kernel, bias) for _, kernel, bias in keras_layers(model)]
    names = [f"conv{number}" for number in np.random.default_rng(seed).permutation(len(layers)) + 1]
    with h5py.File(tmp_path / "w.h5", "w") as file:
        root = file.create_group("model_weights")
        root.attrs["backend"] = "torch"
        for name, (kernel, bias) in sorted(zip(names, layers, strict=True)):
            group = root.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel", f"{name}/bias"]
            group[f"{name}/kernel"], group[f"{name}/bias"] = kernel, bias
        root.attrs["layer_names"] = [*names[:5], *names[5:]]
        root.create_group("top_level_model_weights")
    assert list(read(tmp_path / "w.h5").layers) == names
    converted = convert(tmp_path / "w.h5", narrow())
    assert "by their order" in converted.provenance["conversion"]
    assert_same_scores(converted, scores(model))

    with h5py.File(tmp_path / "w.h5") as file, h5py.File(tmp_path / "other.h5", "w") as other:
        file.copy("model_weights", other, without_attrs=True)
        other["model_weights"].attrs["layer_names"] = "something else"
    with pytest.raises(WeightsError, match="their order cannot be read"):
        convert(tmp_path / "other.h5", narrow())


def test_a_model_within_a_model_of_keras(tmp_path):
    """VGG16 as a layer of another: its layers are groups of one group."""
    model = narrow(seed=1)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = np.array(["vgg16"], "S")
        group = file.create_group("vgg16")
        written = list(keras_layers(model))
        weights = [f"{name}/{kind}:0" for name, _, _ in written for kind in ("kernel", "bias")]
        group.attrs["weight_names"] = np.array(weights, "S")
        for name, kernel, bias in written:
            group[f"{name}/kernel:0"], group[f"{name}/bias:0"] = kernel, bias
    assert_same_scores(convert(tmp_path / "w.h5", narrow()), scores(model))


# ----------------------------------------------------------------------------------------------------------------------
# Other classes, other networks
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["w.pth", "w.npz"])
def test_another_number_of_classes_is_kept(tmp_path, name):
    """A fine-tuned head; torchvision's names are told in an .npz too."""
    model = models.build("squeezenet1_1", seed=1, labels=["cat", "dog", "horse"])
    state = torchvision_names_of(model)
    write_state_dict(tmp_path / name, state) if name == "w.pth" else np.savez(tmp_path / name, **state)
    converted = convert(tmp_path / name)
    assert converted.name == "squeezenet1_1" and converted.labels is None
    assert converted["preprocess"].std == (0.229, 0.224, 0.225)
    assert "its classes have no names" in converted.provenance["conversion"]
    found = convert(tmp_path / name, labels=["cat", "dog", "horse"])
    assert found.labels == ("cat", "dog", "horse")
    np.testing.assert_array_equal(found["conv10"].weight.data, model["conv10"].weight.data)
    with pytest.raises(WeightsError, match="tells 3 classes apart, and 2 labels are given"):
        convert(tmp_path / name, labels=["cat", "dog"])
    with pytest.raises(ValueError, match="2 labels for 3 classes|tells 3 classes apart, and 2 labels are given"):
        convert(tmp_path / name, models.build("squeezenet1_1", labels=["a", "b", "c"]), labels=["cat", "dog"])


def test_what_a_file_is_before_conversion(tmp_path):
    state = torchvision_names_of(models.build("squeezenet1_1", seed=1))
    write_state_dict(tmp_path / "w.pth", state)
    lines = info(tmp_path / "w.pth")
    assert lines[0] == "w.pth: torch state dict, 26 layers with weights"
    assert lines[1] == "becomes squeezenet1_1, 26 layers matched by torchvision's names"
    assert "features.0" in lines[3] and "weight (64, 3, 3, 3), bias (64,)" in lines[3]
    write_state_dict(tmp_path / "w.pth", {"stem.weight": np.zeros((4, 3, 3, 3)), "head.weight": np.zeros((2, 4))})
    assert "do not say how layers are wired" in info(tmp_path / "w.pth")[1]


def test_an_architecture_with_more_layers_is_not_taken_for_a_shorter_one(tmp_path):
    """Names and shapes of VGG11 are all among those of VGG16."""
    state = {}
    for name, tensor in models.build("vgg13_features", seed=None).named_tensors():
        state[name] = np.broadcast_to(np.float32(0), tensor.shape)
    np.savez(tmp_path / "w.npz", **state)
    assert convert(tmp_path / "w.npz").name == "vgg13_features"


def test_wrappers_names_are_taken_off(tmp_path):
    state = torchvision_names_of(models.build("squeezenet1_1", seed=1))
    for around in ("module.{}", "_orig_mod.{}", "model.{}", "module._orig_mod.{}", "model.module.{}"):
        write_state_dict(tmp_path / "w.pth", {around.format(key): array for key, array in state.items()})
        assert convert(tmp_path / "w.pth").name == "squeezenet1_1"
    write_state_dict(
        tmp_path / "w.pth", {key.replace("features.", "features.module."): array for key, array in state.items()}
    )
    assert convert(tmp_path / "w.pth").name == "squeezenet1_1"


def test_groups_nested_without_end_are_refused(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        deepest = file.create_group("layers/conv2d")
        deepest["again"] = file["layers"]
    with pytest.raises(WeightsError, match="nested far too deep"):
        read(tmp_path / "w.h5")


@pytest.mark.parametrize(
    "arrays, message",
    [
        ([np.zeros((3, 3, 3), np.float32)], "layer 'conv2d' is neither a convolution, a dense layer nor"),
        ([np.zeros((3, 4), np.int32)], "layer 'conv2d' has weights of dtype int32, expected floats"),
        ([], "it holds no weights"),
    ],
)
def test_layers_of_other_kinds_are_refused(tmp_path, arrays, message):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        group = file.create_group("layers/conv2d/vars")
        for number, array in enumerate(arrays):
            group[str(number)] = array
    with pytest.raises(WeightsError, match=message):
        read(tmp_path / "w.h5")


def test_files_that_do_not_fit(tmp_path):
    write_torchvision(tmp_path / "w.pth", narrow(seed=1))
    with pytest.raises(WeightsError, match="conv1_1.weight is float32 .*expected"):
        convert(tmp_path / "w.pth", "vgg16")
    with pytest.raises(WeightsError, match="its layers are not those of squeezenet1_1: it lacks fire2.squeeze"):
        convert(tmp_path / "w.pth", "squeezenet1_1")
    with pytest.raises(
        WeightsError, match="fit none of vgg11.*do not say how layers are wired.*ONNX.*from_torch.*differs.$"
    ):
        convert(tmp_path / "w.pth")
    with pytest.raises(ValueError, match="no architecture 'resnet51'"):
        convert(tmp_path / "w.pth", "resnet51")


def test_features_leave_the_head_out(tmp_path):
    model = Model({"preprocess": Preprocess(), **squeezenet_layers(1000, np.random.default_rng(0))}, "x", (1, 1))
    np.savez(tmp_path / "w.npz", **model.state_dict())
    features = convert(tmp_path / "w.npz", "squeezenet1_1_features")
    assert "conv10" not in features and np.array_equal(features["conv1"].weight.data, model["conv1"].weight.data)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is none of the files that are read"),
        (b"hello", "is none of the files that are read"),
        (b"PK\x03\x04", "damaged or truncated"),
        (b"\x89HDF\r\n\x1a\n", "not an HDF5"),
    ],
)
def test_files_that_are_none(tmp_path, content, message):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read(tmp_path / "w")
    with pytest.raises(WeightsError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(WeightsError, match="there is no file"):
        read(tmp_path / "absent")


def test_npz_files_are_not_trusted(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, a_W=np.array([{}], dtype=object))
    with pytest.raises(WeightsError, match="holds object, expected numbers"):
        read(path)
    np.savez_compressed(path, a_W=np.zeros(1 << 22, np.float32))
    with pytest.raises(WeightsError, match="64 times its size"):
        read(path)
    np.savez(path, a_W=np.zeros(1000, np.float32))
    content = path.read_bytes().replace(b"(1000,)", b"(9000,)")
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="more than it holds|damaged"):
        read(path)
    np.savez(path, nothing=np.zeros(3))
    with pytest.raises(WeightsError, match=r"no weights are among its arrays \(nothing\)"):
        read(path)


def test_our_own_files_need_no_conversion(tmp_path):
    models.save_weights(narrow(), tmp_path / "ours.h5")
    with pytest.raises(WeightsError, match="is a minigrad weights file already"):
        convert(tmp_path / "ours.h5")


def test_bgr255_subtracts_no_mean(tmp_path):
    np.savez(tmp_path / "w.npz", **narrow().state_dict())
    x = np.random.default_rng(0).random((1, 3, 4, 4)).astype(np.float32)
    found = convert(tmp_path / "w.npz", narrow(), "bgr255")["preprocess"](x)
    np.testing.assert_array_equal(found, 255 * x[:, ::-1])


def test_what_is_no_network_of_another_program(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.zeros(3))
    (tmp_path / "w.pth").write_bytes(b"\x80\x02torch")
    for name in ("w.npz", "w.pth"):
        with pytest.raises(WeightsError, match=rf"^\S+{name}(: no weights are among its arrays .a.| is damaged, or)"):
            models.load(tmp_path / name)
