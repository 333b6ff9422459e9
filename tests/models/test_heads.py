"""Classifiers of fine-tuned files: one under another name is never lost in silence, nor by what stands beside it."""

import re

import numpy as np
import pytest

import models
from models import WeightsError
from models.__main__ import main
from models.convert import convert, info
from tests.models.test_convert import torchvision_names_of
from tests.models.torch_format import write_state_dict

RNG = np.random.default_rng(0)


def dense(name, out, into):
    return {f"{name}.weight": np.float32(RNG.random((out, into))), f"{name}.bias": np.zeros(out, np.float32)}


@pytest.fixture(scope="module")
def state():
    return models.build("resnet18", seed=1, labels=["cat", "dog"]).state_dict()


def without_head(state):
    return {key: array for key, array in state.items() if not key.startswith("fc.")}


LOST = {
    "in a Sequential": dense("fc.1", 2, 512),
    "under another name": dense("classifier", 2, 512),
    "of two layers": dense("fc.0", 64, 512) | dense("fc.2", 2, 64),
    "of two layers, one of which has the name": dense("fc", 64, 512) | dense("out", 2, 64),
    "behind a layer of its own": dense("neck", 512, 512) | dense("fc", 2, 512),
    "behind a norm": {"neck.weight": np.ones(512, np.float32)} | dense("fc", 2, 512),
}


@pytest.mark.parametrize("head", LOST.values(), ids=LOST)
def test_a_head_that_fits_no_layer_is_not_lost_in_silence(tmp_path, capsys, state, head):
    path = tmp_path / "w.pth"
    write_state_dict(path, without_head(state) | head)
    model = convert(path)
    unknown = next(key for key in head if not key.startswith("fc.w") and not key.startswith("fc.b")).rpartition(".")[0]
    told = f"THE CLASSIFIER WAS LEFT OUT: the layers .*{unknown}.* fit none of the classifier of resnet18 .fc.: rename"
    assert model.name == "resnet18_features"
    assert re.search(told, model.provenance["conversion"])
    assert re.search("THE CLASSIFIER IS LEFT OUT: .*ONNX", info(path)[1])
    with pytest.raises(WeightsError, match=f"labels are given, and the layers .*{unknown}.* fit none .*rename its"):
        convert(path, labels=["cat", "dog"])
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    options = ["--labels", str(tmp_path / "labels.txt"), "--out", str(tmp_path / "w.h5")]
    assert main(["convert", str(path), *options]) != 0 and not (tmp_path / "w.h5").exists()


ASIDE = {
    "a projection": dense("projection", 128, 512),
    "another head": dense("rotation", 4, 512),
    "positions": {"positions.weight": np.zeros((1, 4, 8), np.float32)},
}


@pytest.mark.parametrize("architecture", [None, "resnet18"])
@pytest.mark.parametrize("more", ASIDE.values(), ids=ASIDE)
def test_what_stands_beside_a_network_costs_no_head(tmp_path, state, more, architecture):
    write_state_dict(tmp_path / "w.pth", state | more)
    model = convert(tmp_path / "w.pth", architecture, labels=["cat", "dog"])
    assert model.name == "resnet18" and model.labels == ("cat", "dog")
    assert f"left over: {next(iter(more)).partition('.')[0]};" in model.provenance["conversion"]
    np.testing.assert_array_equal(model["fc"].weight.numpy(), state["fc.weight"])


def test_a_deeper_network_is_not_taken_for_a_shorter_one_with_a_head(tmp_path, state):
    deeper = {
        key.replace("layer4.1.", "layer4.2."): array for key, array in state.items() if key.startswith("layer4.1.")
    }
    write_state_dict(tmp_path / "w.pth", state | deeper)
    with pytest.raises(WeightsError, match="its layers are not those of resnet18: it has also layer4.2.conv1"):
        convert(tmp_path / "w.pth", "resnet18")
    assert "THE CLASSIFIER WAS LEFT OUT" in convert(tmp_path / "w.pth").provenance["conversion"]


def test_features_take_no_labels(tmp_path, state):
    write_state_dict(tmp_path / "w.pth", without_head(state))
    assert "LEFT OUT" not in convert(tmp_path / "w.pth").provenance["conversion"]
    with pytest.raises(WeightsError, match="labels are given, and resnet18_features has no classifier"):
        convert(tmp_path / "w.pth", labels=["cat", "dog"])


def test_numbered_heads_of_torchvision(tmp_path):
    state = torchvision_names_of(models.build("squeezenet1_1", seed=1, labels=["cat", "dog"]))
    moved = {key.replace("classifier.1", "classifier.1.0"): array for key, array in state.items()}
    write_state_dict(tmp_path / "w.pth", moved)
    with pytest.raises(
        WeightsError, match="the layers classifier.1.0 fit none of the classifier of squeezenet1_1 .conv10."
    ):
        convert(tmp_path / "w.pth", labels=["cat", "dog"])
