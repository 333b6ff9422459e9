"""Keras 3's .keras archives, architecture and weights -> a Model of ours, without Keras.

A zip archive: config.json says the layers, and of a functional network whose outputs each takes; model.weights.h5 holds
their arrays, by class and number in the order of config.json: /layers/conv2d_1/vars/0. Sequential and functional
networks are read, one within the other not.
"""

import io
import json
import re
import zipfile

import numpy as np

from minigrad import nn

from ..hdf5 import WeightsError, dataset, group, shown
from .assemble import Step, assembled
from .whole import asked_for, sides_of, whole

LARGEST_CONFIG = 16 << 20
ACTIVATIONS = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "mish": nn.Mish,
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_silu": nn.Hardswish,
    "hard_swish": nn.Hardswish,
    "softmax": lambda: nn.Softmax(1),
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
}


def is_keras_archive(path):
    """Whether the zip archive is one of Keras 3."""
    with zipfile.ZipFile(path) as archive:
        return {"config.json", "model.weights.h5"} <= set(archive.namelist())


def keras_network(path, preprocessing, size=None, labels=None):
    """The Model in the archive. size: (H, W), where the archive leaves it free. Raises WeightsError that names the
    layer that cannot be expressed, ValueError for missing arguments."""
    prepare = asked_for(preprocessing, path)
    layers, sides = read_keras_archive(path, size)
    network = whole(layers, prepare, path.stem, sides, labels)
    done = f"{len(layers)} layers; preprocessing as asked for"
    network.provenance = {"source_format": "Keras archive", "conversion": done}
    return network


def read_keras_archive(path, size=None):
    """({name: layer}, (H, W)) of the network."""
    import h5py

    try:
        with zipfile.ZipFile(path) as archive:
            sizes = [archive.getinfo(name).file_size for name in ("config.json", "model.weights.h5")]
            if sizes[0] > LARGEST_CONFIG or sum(sizes) > 64 * path.stat().st_size:
                raise WeightsError("it would unpack to far more than any network: it is not opened")
            config = json.loads(archive.read("config.json"))
            content = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(content, "r") as file:
            return _Reader(config, group(file, "layers") if "layers" in file else file).read(size)
    except WeightsError as error:
        raise WeightsError(f"{path}: {shown(error)}") from None
    except Exception as error:  # of zip, JSON, HDF5
        raise WeightsError(f"{path} is damaged, or no network of Keras 3 ({shown(error)})") from None


class _Reader:
    def __init__(self, config, weights):
        self.kind, self.config, self.weights = config["class_name"], config["config"], weights
        self.steps, self.counts, self.flat = [], {}, set()  # flat: values (N, C), the others being images

    def read(self, size):
        if self.kind not in ("Sequential", "Functional"):
            raise WeightsError(
                f"it is a {shown(self.kind, 60)}: only Sequential and functional networks say their wiring"
            )
        previous, source, values = None, None, {}
        for layer in self.config["layers"]:
            kind, config = layer["class_name"], layer["config"]
            name = config["name"]
            if kind == "InputLayer":
                if source is not None:
                    raise WeightsError("it has several inputs")
                shape = config.get("batch_shape") or config["batch_input_shape"]
                if len(shape) != 4 or shape[3] != 3:
                    raise WeightsError(f"its input has shape {shown(shape, 60)}, no pictures, (None, H, W, 3)")
                source, previous = name, name
                values[name] = name
                continue
            taken = [previous] if self.kind == "Sequential" else _taken(layer)
            if source is None:
                raise WeightsError(
                    "it has no InputLayer, so the size of its pictures is not known: build it, and save it"
                )
            missing = [one for one in taken if one not in values]
            if missing:
                raise WeightsError(
                    f"layer {shown(name, 60)!r} takes {shown(missing[0], 60)!r}, which is no layer before it"
                )
            values[name] = self._layer(kind, config, [values[one] for one in taken])
            previous = name
        output = previous if self.kind == "Sequential" else _output(self.config["output_layers"])
        return assembled(self.steps, source, values[output]), sides_of(shape[1:3], size)

    def _layer(self, kind, config, inputs):
        """The value that the layer makes."""
        name = config["name"]
        if config.get("data_format") == "channels_first":
            raise WeightsError(f"layer {shown(name, 60)!r} has its channels first")
        flat = inputs[0] in self.flat
        if (kind == "Dense" and not flat) or config.get("axis", -1) not in ((-1, 1) if flat else (-1, 3)):
            raise WeightsError(f"layer {shown(name, 60)!r}, a {shown(kind, 60)}, is not over the channels of its input")
        number = self.counts[kind] = self.counts.get(kind, -1) + 1
        stem = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()
        try:
            modules = LAYERS[kind](config, self._arrays(f"{stem}_{number}" if number else stem))
        except KeyError as error:
            why = "there is no layer for it" if kind not in LAYERS else f"it lacks {shown(error, 60)}"
            raise WeightsError(f"layer {shown(name, 60)!r}, a {shown(kind, 60)}, cannot be expressed ({why})") from None
        except (ValueError, TypeError, IndexError) as error:
            raise WeightsError(
                f"layer {shown(name, 60)!r}, a {shown(kind, 60)}, cannot be expressed ({shown(error)})"
            ) from None
        if flat or kind == "Flatten" or kind.startswith("Global") and not config.get("keepdims"):
            self.flat.add(name)
        while len(inputs) > 2 and kind in ("Add", "Multiply"):
            self.steps.append(Step((name,), modules[0], inputs[:2], f"{name} {len(inputs)}"))
            inputs = [f"{name} {len(inputs)}", *inputs[2:]]
        for place, module in enumerate(modules):
            last = place == len(modules) - 1
            output = name if last else f"{name} {place}"
            path = name if place == 0 else f"{name}_{type(module).__name__.lower()}"
            self.steps.append(Step((path,), module, list(inputs), output))
            inputs = [output]
        return inputs[0]

    def _arrays(self, stem):
        if stem not in self.weights:
            return []
        layer = group(self.weights, stem)
        variables = group(layer, "vars") if "vars" in layer else {}
        return [dataset(variables, str(number))[()] for number in range(len(variables))]


def _taken(layer):
    """Names of the layers whose outputs a functional layer takes, in order."""
    if len(layer["inbound_nodes"]) != 1:
        raise WeightsError(f"layer {shown(layer['config']['name'], 60)!r} is used {len(layer['inbound_nodes'])} times")
    found, waiting = [], [layer["inbound_nodes"][0]["args"]]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, dict) and one.get("class_name") == "__keras_tensor__":
            found.append(one["config"]["keras_history"][0])
        elif isinstance(one, list):
            waiting = [*one, *waiting]
    return found


def _output(layers):
    layers = [layers] if layers and isinstance(layers[0], str) else layers
    if len(layers) != 1:
        raise WeightsError("it has several outputs")
    return layers[0][0]


# ---- layers: (config, arrays) -> modules, one after the other --------------------------------------------------------


def _activation(config):
    name = config.get("activation", "linear")
    return [] if name in ("linear", None) else [ACTIVATIONS[name]()]


def _loaded(module, **arrays):
    for name, array in arrays.items():
        tensor = getattr(module, name)
        if tuple(tensor.shape) != array.shape or not np.isfinite(array).all():
            raise ValueError(f"its {name} has shape {array.shape} or is not finite, expected {tuple(tensor.shape)}")
        tensor.data = np.ascontiguousarray(array, np.float32)
    return module


def _window(config, size):
    padding = {"valid": 0, "same": "same_upper"}[config["padding"]]
    return {"kernel_size": tuple(config[size]), "stride": tuple(config["strides"]), "padding": padding}


def _conv(config, arrays):
    kernel, groups = arrays[0], config.get("groups", 1)
    window = _window(config, "kernel_size") | {"dilation": tuple(config["dilation_rate"]), "groups": groups}
    layer = nn.Conv2d(kernel.shape[2] * groups, kernel.shape[3], bias=config["use_bias"], **window)
    bias = {"bias": arrays[1]} if config["use_bias"] else {}
    return [_loaded(layer, weight=kernel.transpose(3, 2, 0, 1), **bias), *_activation(config)]


def _depthwise(config, arrays):
    kernel = arrays[0]
    rows, columns, channels, each = kernel.shape
    window = _window(config, "kernel_size") | {"dilation": tuple(config["dilation_rate"])}
    layer = nn.Conv2d(channels, channels * each, bias=config["use_bias"], groups=channels, **window)
    weight = kernel.transpose(2, 3, 0, 1).reshape(channels * each, 1, rows, columns)
    bias = {"bias": arrays[1]} if config["use_bias"] else {}
    return [_loaded(layer, weight=weight, **bias), *_activation(config)]


def _dense(config, arrays):
    layer = nn.Linear(*arrays[0].shape, bias=config["use_bias"])
    bias = {"bias": arrays[1]} if config["use_bias"] else {}
    return [_loaded(layer, weight=arrays[0].T, **bias), *_activation(config)]


def _batch_norm(config, arrays):
    arrays, size = list(arrays), arrays[-1].size
    weight = arrays.pop(0) if config["scale"] else np.ones(size, np.float32)
    bias = arrays.pop(0) if config["center"] else np.zeros(size, np.float32)
    mean, var = arrays
    layer = nn.BatchNorm2d(size, config["epsilon"])
    return [_loaded(layer, weight=weight, bias=bias, running_mean=mean, running_var=var)]


def _relu(config, arrays):
    highest, slope = config.get("max_value"), config.get("negative_slope") or 0
    if config.get("threshold") or (highest and slope) or highest not in (None, 6):
        raise ValueError(f"its max_value {highest}, negative_slope {slope} or threshold is unusual")
    return [nn.ReLU6() if highest else nn.LeakyReLU(slope) if slope else nn.ReLU()]


def _mean_pool(config, arrays):
    """Padding does not count, as with Keras on TensorFlow; on torch it repeats the edge."""
    return [nn.AvgPool2d(**_window(config, "pool_size"), count_include_pad=False)]


def _global(layer):
    return lambda config, arrays: [layer(1), *([] if config.get("keepdims") else [nn.Flatten()])]


def _zeros_around(config, arrays):
    (top, bottom), (left, right) = config["padding"]
    if max(top, bottom, left, right) > 1024:
        raise ValueError("its padding is absurd")
    return [nn.ZeroPad2d((left, right, top, bottom))]


LAYERS = {
    "Conv2D": _conv,
    "DepthwiseConv2D": _depthwise,
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "Activation": lambda config, arrays: _activation(config) or [nn.Identity()],
    "ReLU": _relu,
    "LeakyReLU": lambda config, arrays: [nn.LeakyReLU(config.get("negative_slope", 0.3))],
    "Softmax": lambda config, arrays: [nn.Softmax(1)],
    "MaxPooling2D": lambda config, arrays: [nn.MaxPool2d(**_window(config, "pool_size"))],
    "AveragePooling2D": _mean_pool,
    "GlobalAveragePooling2D": _global(nn.AdaptiveAvgPool2d),
    "GlobalMaxPooling2D": _global(nn.AdaptiveMaxPool2d),
    "Flatten": lambda config, arrays: [nn.Call("permute", dims=(0, 2, 3, 1)), nn.Flatten()],  # Keras' order
    "Dropout": lambda config, arrays: [nn.Dropout(config["rate"])],
    "ZeroPadding2D": _zeros_around,
    "Add": lambda config, arrays: [nn.Call("add")],
    "Multiply": lambda config, arrays: [nn.Call("mul")],
    "Concatenate": lambda config, arrays: [nn.Call("cat", dim=1)],
    "Rescaling": lambda config, arrays: [nn.Call("mul", b=float(config["scale"])),
                                         nn.Call("add", b=float(config["offset"]))],
}  # fmt: skip
