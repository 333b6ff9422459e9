"""model.save("x.h5") of Keras: a network of one's own by its model_config, in every way that this is written."""

import json

import h5py
import numpy as np
import pytest

import minigrad as mg
import models
from models import WeightsError
from models.convert import convert, info
from tests.models import test_keras_archive as archive

NAMES = {  # of a layer's arrays, in the archive's order
    "first": (archive.ARRAYS["conv2d"], ("kernel", "bias")),
    "second": (archive.ARRAYS["conv2d_1"], ("kernel",)),
    "norm": (archive.ARRAYS["batch_normalization"], ("gamma", "beta", "moving_mean", "moving_variance")),
    "scores": (archive.ARRAYS["dense"], ("kernel", "bias")),
}


def in_keras_2(layers):
    """The entries as Keras 2 writes them: inputs as [[name, 0, 0, {}], ...], batch_input_shape."""
    found = json.loads(json.dumps(layers))
    for one in found:
        if "batch_shape" in one["config"]:
            one["config"]["batch_input_shape"] = one["config"].pop("batch_shape")
        for place, node in enumerate(one["inbound_nodes"]):
            args = node["args"][0] if isinstance(node["args"][0], list) else node["args"]
            one["inbound_nodes"][place] = [[arg["config"]["keras_history"][0], 0, 0, {}] for arg in args]
    return found


def write(path, layers=archive.LAYERS, names=NAMES, kind="Functional", fixed=False, ending="", within=""):
    """fixed: whether model_config is a text of fixed size, as in Keras 2; ending: of arrays' names, ":0" there."""
    config = {"name": "net", "layers": layers, "input_layers": ["input_1", 0, 0], "output_layers": ["scores", 0, 0]}
    text = json.dumps({"class_name": kind, "config": config})
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = np.bytes_(text) if fixed else text
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [name.encode() for name in names]
        for layer, (arrays, kinds) in names.items():
            inner = [f"{within}{layer}/{one}{ending}" for one in kinds]
            weights.create_group(layer).attrs["weight_names"] = [name.encode() for name in inner]
            for name, array in zip(inner, arrays, strict=True):
                weights[f"{layer}/{name}"] = np.asarray(array, np.float32)


WAYS = {
    "Keras 3": {},
    "Keras 3, sequential's scopes": {"within": "net/"},
    "Keras 2": {"layers": in_keras_2(archive.LAYERS), "kind": "Model", "fixed": True, "ending": ":0"},
    "Keras 2.4": {"layers": in_keras_2(archive.LAYERS), "fixed": True, "ending": ":0"},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_network_of_ones_own(tmp_path, way):
    write(tmp_path / "net.h5", **WAYS[way])
    model = models.load(tmp_path / "net.h5", preprocessing="unit", labels=["cat", "dog"])
    assert (
        model.labels == ("cat", "dog")
        and model.input_size == (8, 8)
        and {"first", "norm", "sum"} <= {name.rpartition(".")[2] for name in model.names()}
    )
    assert model.provenance["source_format"] == "Keras HDF5 with its architecture"
    images = np.random.default_rng(1).random((2, 8, 8, 3))
    found = model(mg.Tensor(images.transpose(0, 3, 1, 2).astype(np.float32))).numpy()
    np.testing.assert_allclose(found, [archive.by_hand(image) for image in images], rtol=1e-4, atol=1e-4)


def test_what_it_says_of_itself_and_what_must_be_said(tmp_path):
    write(tmp_path / "net.h5")
    lines = info(tmp_path / "net.h5")
    assert lines[0] == "net.h5: Keras HDF5 with its architecture, 8 layers, pictures of 8 x 8 pixels"
    assert lines[-1].endswith("convert net.h5 --preprocessing NAME --out converted.h5")
    with pytest.raises(ValueError, match="nothing tells how pictures of .*net.h5 are prepared"):
        convert(tmp_path / "net.h5")
    write(tmp_path / "net.h5", [*archive.LAYERS[:-1], archive.layer("Lambda", "scores", ["flat"])])
    with pytest.raises(WeightsError, match="net.h5: layer 'scores', a Lambda, cannot be expressed"):
        convert(tmp_path / "net.h5", preprocessing="unit")
    write(tmp_path / "net.h5", kind="Mine")  # a class of one's own says no wiring
    with pytest.raises(WeightsError, match="weights alone do not say how layers are wired"):
        convert(tmp_path / "net.h5", preprocessing="unit")


def test_arrays_that_are_of_no_kind_or_missing(tmp_path):
    first = NAMES["first"][0]
    for names, message in (
        ({"first": (first, ("kernel", "shift"))}, "'first', a Conv2D, cannot be expressed .its array shift is of no"),
        ({"first": (first[:1], ("kernel",))}, "'first', a Conv2D, "),
        ({"first": (first[1:], ("bias",))}, "'first', a Conv2D, "),
    ):
        write(tmp_path / "net.h5", names={"norm": NAMES["norm"]} | names)
        with pytest.raises(WeightsError, match=message):
            models.convert.keras_h5.keras_h5_network(tmp_path / "net.h5", "unit")


def test_groups_that_lead_back_end(tmp_path):
    write(tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "a") as file:
        for place in range(9):
            file["model_weights/norm"][f"again{place}"] = file["model_weights"]
    with pytest.raises(WeightsError):
        convert(tmp_path / "net.h5", preprocessing="unit")
