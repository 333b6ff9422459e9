"""A narrow VGG16, and writing its weights in every layout that is read: Keras' three, torchvision's, and .npz."""

import h5py
import numpy as np

import minigrad as mg
from models.architectures.vgg import vgg_layers
from models.layers import PREPROCESSING, Preprocess
from models.model import Model
from tests.models.torch_format import write_state_dict

STAGES = ((2, 2), (3, 3), (3, 4, 4), (4, 4, 5), (5, 5, 5))  # of tests/golden/make_keras.py
HIDDEN, CLASSES = 6, 7


def narrow(seed=None, batch_norm=False):
    """A VGG16 with few channels; weights and biases random, or zero to be filled."""
    rng = None if seed is None else np.random.default_rng(seed)
    layers = vgg_layers(STAGES, HIDDEN, CLASSES, rng, batch_norm)
    model = Model({"preprocess": Preprocess(**PREPROCESSING["caffe"]), **layers}, "vgg16", (224, 224))
    if rng is not None:
        randomise_biases(model, rng)
    return model


def randomise_biases(model, rng):
    for name, tensor in model.named_parameters():
        if name.endswith("bias"):
            tensor.data = rng.uniform(0, 1, tensor.shape).astype(np.float32)


def picture(side=224):
    return mg.Tensor(np.random.default_rng(0).random((1, 3, side, side), dtype=np.float32))


def scores(model, side=224):
    with mg.no_grad():
        return model(picture(side)).numpy()


def keras_layers(model):
    """[(Keras' name, kernel, bias)] of one of our VGGs as Keras keeps them: HWIO, and fc1's rows as H, W, C."""
    theirs = {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}
    for name, layer in model.children():
        if not hasattr(layer, "weight"):
            continue
        kernel, bias = layer.weight.numpy(), layer.bias.numpy()
        if kernel.ndim == 4:
            yield f"block{name[4]}_conv{name[6]}", kernel.transpose(2, 3, 1, 0), bias
            continue
        if name == "fc6":
            out, channels = kernel.shape[0], kernel.shape[1] // 49
            kernel = kernel.reshape(out, channels, 7, 7).transpose(0, 2, 3, 1).reshape(out, -1)
        yield theirs[name], kernel.T, bias


def write_keras1(path, model):
    """The layout of the official VGG16 file."""
    with h5py.File(path, "w") as file:
        written = list(keras_layers(model))
        names = ["input_1", *(name for name, _, _ in written), "flatten"]
        file.attrs["layer_names"] = np.array(names, "S")
        for name in ("input_1", "flatten"):
            file.create_group(name).attrs["weight_names"] = []
        for name, kernel, bias in written:
            weights = [f"{name}_W_1:0", f"{name}_b_1:0"]
            file.create_group(name).attrs["weight_names"] = np.array(weights, "S")
            file[name][weights[0]], file[name][weights[1]] = kernel, bias


def write_keras2(path, model, root="/"):
    with h5py.File(path, "w") as file:
        group = file.require_group(root)
        written = list(keras_layers(model))
        group.attrs["layer_names"] = np.array([name for name, _, _ in written], "S")
        for name, kernel, bias in written:
            weights = [f"{name}_3/kernel:0", f"{name}_3/bias:0"]
            group.create_group(name).attrs["weight_names"] = np.array(weights, "S")
            group[name][weights[0]], group[name][weights[1]] = kernel, bias


def write_keras3(path, model, named=True):
    """Layers are called after their class and a number; the network's own names are attributes, if anything."""
    counts = {}
    with h5py.File(path, "w") as file:
        for name, kernel, bias in keras_layers(model):
            kind = "conv2d" if kernel.ndim == 4 else "dense"
            number = counts[kind] = counts.get(kind, -1) + 1
            group = file.create_group(f"layers/{kind}{f'_{number}' if number else ''}/vars")
            group["0"], group["1"] = kernel, bias
            if named:
                group.attrs["name"] = name
        file.create_group("layers/flatten/vars")


def write_frossard(path, model):
    """A widespread .npz of VGG16: conv1_1_W, conv1_1_b, ..., in Keras' axes."""
    ours = [name for name, layer in model.children() if hasattr(layer, "weight")]
    arrays = {}
    for name, (_, kernel, bias) in zip(ours, keras_layers(model), strict=True):
        arrays |= {f"{name}_W": kernel, f"{name}_b": bias}
    np.savez(path, **arrays)


def torchvision_state(model):
    state, place = {}, {"features": 0, "classifier": 0}
    for name, layer in list(model.children())[1:]:
        if name in ("avgpool", "flatten"):
            continue
        part = "classifier" if name[-1] in "678" and "conv" not in name and "_" not in name else "features"
        for kind, tensor in layer.named_tensors():
            state[f"{part}.{place[part]}.{kind}"] = tensor.numpy()
        place[part] += 1
    return state


def write_torchvision(path, model, legacy=False):
    write_state_dict(path, torchvision_state(model), legacy)


def write_with_torch(path, model):
    import torch

    torch.save({key: torch.from_numpy(array) for key, array in torchvision_state(model).items()}, path)


WRITERS = {
    "keras1.h5": write_keras1,
    "keras2.h5": write_keras2,
    "keras2-model.h5": lambda path, model: write_keras2(path, model, "model_weights"),
    "keras3.weights.h5": write_keras3,
    "keras3-nameless.weights.h5": lambda path, model: write_keras3(path, model, named=False),
    "frossard.npz": write_frossard,
    "torchvision.pth": write_torchvision,
    "torchvision-legacy.pth": lambda path, model: write_torchvision(path, model, legacy=True),
    "torch-itself.pth": write_with_torch,
    "ours.npz": lambda path, model: np.savez(path, **model.state_dict()),
    "data-parallel.pth": lambda path, model: write_state_dict(
        path, {f"module.{key}": array for key, array in torchvision_state(model).items()}
    ),
}
