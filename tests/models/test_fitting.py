"""Weights files put into a network of one's own: by names, by class and number, in our layout."""

import h5py
import numpy as np

import models
from minigrad import nn
from models.convert import convert


def test_layers_of_keras_3_are_told_by_class_and_number(tmp_path):
    """In a weights file of Keras 3, norms come before convolutions, and none has the name of its layer."""
    rng = np.random.default_rng(0)
    layers = {"one": nn.Conv2d(3, 4, 1), "one_norm": nn.BatchNorm2d(4), "two": nn.Conv2d(4, 4, 1, bias=False)}
    layers |= {"two_norm": nn.BatchNorm2d(4), "pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten()}
    model = models.Model({"preprocess": models.Preprocess(), **layers, "scores": nn.Linear(4, 2)}, "own", (8, 8))
    wanted = {name: rng.random(tensor.shape, np.float32) + 0.5 for name, tensor in model.named_tensors()}
    stems = {"one": "conv2d", "two": "conv2d_1", "scores": "dense"}
    stems |= {"one_norm": "batch_normalization", "two_norm": "batch_normalization_1"}
    with h5py.File(tmp_path / "own.weights.h5", "w") as file:
        for name, array in wanted.items():
            layer, _, kind = name.rpartition(".")
            place = ("weight", "bias", "running_mean", "running_var").index(kind)
            file[f"layers/{stems[layer]}/vars/{place}"] = array.T if array.ndim == 2 else array.transpose(
                2, 3, 1, 0) if array.ndim == 4 else array  # fmt: skip
    found = convert(tmp_path / "own.weights.h5", model, "unit")
    assert "matched by class and number" in found.provenance["conversion"]
    assert all(np.array_equal(array, wanted[name]) for name, array in model.state_dict().items())


def test_a_flatten_over_channels_that_come_last_already(tmp_path):
    """A network of Keras', as its archive gives it: rows of the dense layer stay in its order."""
    layers = {"conv": nn.Conv2d(3, 4, 1), "last": nn.Call("permute", dims=(0, 2, 3, 1)), "flat": nn.Flatten()}
    model = models.Model({"preprocess": models.Preprocess(), **layers, "scores": nn.Linear(16, 2)}, "own", (2, 2))
    kernel = np.arange(32, dtype=np.float32).reshape(16, 2)
    with h5py.File(tmp_path / "own.weights.h5", "w") as file:
        for name, array in (("conv2d", np.zeros((1, 1, 3, 4))), ("dense", kernel)):
            file[f"layers/{name}/vars/0"] = np.float32(array)
            file[f"layers/{name}/vars/1"] = np.zeros(array.shape[-1], np.float32)
    found = convert(tmp_path / "own.weights.h5", model, "unit")
    np.testing.assert_array_equal(found["scores"].weight.numpy(), kernel.T)
