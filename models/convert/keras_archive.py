"""Keras 3's .keras archives, architecture and weights -> a Model of ours, without Keras.

A zip archive: config.json says the layers, and of a functional network whose outputs each takes; model.weights.h5 holds
their arrays, by class and number in the order of config.json: /layers/conv2d_1/vars/0. A network within it is one of
its layers: /layers/functional/layers/conv2d/vars/0. Augmentation and noise of training are left out.
"""

import collections
import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import nn

from ..hdf5 import WeightsError, dataset, group, shown
from ..layers import Preprocess
from ..model import Model
from ..preprocessing import for_channels
from .assemble import Step, assembled
from .keras_layers import LAYERS, ONLY_IN_TRAINING, for_each_channel
from .whole import asked_for, described, sides_of, whole

LARGEST_CONFIG = 16 << 20
DEEPEST = 8
NETWORKS = ("Sequential", "Functional", "Model")  # the last is Keras 2's name of the second
FUNCTIONS = {"Add": "add", "Multiply": "mul", "Subtract": "sub", "TrueDivide": "div", "Divide": "div"}
FUNCTIONS |= {"Maximum": "maximum", "Minimum": "minimum"}
COMMUTING = ("add", "mul")
SEVERAL = ("Concatenate", "Average", "GetItem", "Stack")


def is_keras_archive(path: Path) -> bool:
    """Whether the zip archive is one of Keras 3."""
    with zipfile.ZipFile(path) as archive:
        return {"config.json", "model.weights.h5"} <= set(archive.namelist())


def keras_network(
    path: Path,
    preprocessing: str | Preprocess | None,
    size: Sequence[int] | None = None,
    labels: Sequence[str] | str | None = None,
) -> Model:
    """The Model in the archive. size: (H, W), where the archive leaves it free. Raises WeightsError that names the
    layer that cannot be expressed, ValueError for missing arguments."""
    prepare = asked_for(preprocessing, path)
    layers, channels, sides, count = read_keras_archive(path, size)
    network = whole(layers, for_channels(prepare, channels), path.stem, sides, labels)
    done = f"{count} layers; preprocessing as asked for"
    network.provenance = {"source_format": "Keras archive", "conversion": done}
    return network


def describe_keras(path: Path) -> list[str]:
    """What an archive is, as lines of text. Raises WeightsError for one that cannot be read."""
    with _opened(path) as (config, _):
        return describe_config(path, config, "Keras archive")


def describe_config(path: Path, config: dict, what: str) -> list[str]:
    """What Keras' configuration of a network in a file of the kind `what` says, as lines of text."""
    counts, waiting = collections.Counter(), [config]
    while waiting:
        one = waiting.pop()
        counts[str(one["class_name"])] += 1
        waiting += one["config"].get("layers", [])
    counts.subtract([config["class_name"]])
    sides = _input_shape(config)[1:3]
    known = LAYERS.keys() | FUNCTIONS.keys() | ONLY_IN_TRAINING | {*NETWORKS, *SEVERAL, "InputLayer"}
    head = f"{what}, {counts.total()} layers, pictures of {' x '.join(str(n or '?') for n in sides)} pixels"
    free = ["--size PIXELS"] * (None in sides)
    return described(path, [f"{path.name}: {head}"], +counts, known, free)


def read_keras_archive(path: Path, size: Sequence[int] | None = None) -> tuple:
    """({name: layer}, channels of its pictures, (H, W), how many layers) of the network."""
    with _opened(path) as (config, file):
        return Reader(Numbered).read(config, file, size)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """(what config.json says, the HDF5 file of weights); what fails inside is a WeightsError that names the file."""
    import h5py

    try:
        with zipfile.ZipFile(path) as archive:
            sizes = [archive.getinfo(name).file_size for name in ("config.json", "model.weights.h5")]
            if sizes[0] > LARGEST_CONFIG or sum(sizes) > 64 * path.stat().st_size:
                raise WeightsError("it would unpack to far more than any network: it is not opened")
            config = json.loads(archive.read("config.json"))
            content = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(content, "r") as file:
            yield config, file
    except WeightsError as error:
        raise WeightsError(f"{path}: {shown(error)}") from None
    except Missing as error:
        raise ValueError(f"{path}: {error}") from None
    except Exception as error:  # of zip, JSON, HDF5
        raise WeightsError(f"{path} is damaged, or no network of Keras 3 ({shown(error)})") from None


class Missing(Exception):
    """Something that the caller has to say."""


class Numbered:
    """Where an archive keeps arrays: a group for each layer, called by its class and number; in it vars/0, vars/1."""

    @staticmethod
    def of_network(weights: Any) -> Any:
        return group(weights, "layers") if "layers" in weights else weights

    @staticmethod
    def of_layer(weights: Any, kind: str, name: str, counts: dict) -> Any:
        stem = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()
        number = counts[stem] = counts.get(stem, -1) + 1
        stem += f"_{number}" if number else ""
        return group(weights, stem) if stem in weights else {}  # an operation, not a layer, has no place there

    @staticmethod
    def arrays(stored: Any) -> list[np.ndarray]:
        variables = group(stored, "vars") if "vars" in stored else {}
        arrays = [dataset(variables, str(number))[()] for number in range(len(variables))]
        if not arrays and "layers" not in stored and hasattr(stored, "keys"):  # of a layer with layers of its own
            return [array for name in stored if name != "vars" for array in Numbered.arrays(group(stored, name))]
        return arrays


class Reader:
    """Goes through the layers with one picture: .steps, and .tensors {value: what it is for the picture}.

    kept: where the arrays are, as `Numbered`. .planes: values that stand for x[..., k], one channel without its
    dimension, which only a Stack takes.
    """

    def __init__(self, kept: Any) -> None:
        self.kept = kept
        self.steps, self.tensors, self.planes = [], {}, set()

    def read(self, config: dict, file: Any, size: Sequence[int] | None) -> tuple:
        source = "input"
        sides, channels = self._sides(config, size), _input_shape(config)[3]
        self.tensors[source] = mg.Tensor(np.zeros((1, channels, *sides), np.float32))
        output = self._network(config, file, source, ())
        return assembled(self.steps, source, output), channels, sides, len(self.steps)

    def _sides(self, config: dict, size: Sequence[int] | None) -> Sequence[int]:
        try:
            return sides_of(_input_shape(config)[1:3], size)
        except WeightsError:
            raise
        except ValueError as error:
            raise Missing(str(error)) from None

    def _network(self, entry: dict, weights: Any, source: str, path: tuple) -> str:
        """The value that a network makes of `source`; path: the names of the networks that it is in."""
        kind, config, counts, values, previous = entry["class_name"], entry["config"], {}, {}, source
        _check_kind(kind)
        if len(path) > DEEPEST:
            raise WeightsError("its networks within networks are nested far too deep")
        arrays = self.kept.of_network(weights)
        for layer in config["layers"]:
            name = layer["config"]["name"]
            if layer["class_name"] == "InputLayer":
                if source in values.values():
                    raise WeightsError("it has several inputs")
                values[name] = source
                continue
            taken = [previous] if kind == "Sequential" else _taken(layer, values)
            previous = values[name] = self._layer(layer, arrays, counts, taken, (*path, name))
        output = previous if kind == "Sequential" else values[_output(config["output_layers"])]
        return output

    def _layer(self, layer: dict, weights: Any, counts: dict, taken: list, path: tuple) -> str:
        """The value that a layer makes of those taken, each the name of a value, a number, an array or an Ellipsis."""
        kind, config, name = layer["class_name"], layer["config"], f"layer {shown(path[-1], 60)!r}"
        stored = self.kept.of_layer(weights, kind, path[-1], counts)
        if kind in ONLY_IN_TRAINING:
            return taken[0]
        if kind in NETWORKS:
            return self._network(layer, stored, *taken, path)
        try:
            self._check(kind, config, taken)
            if kind in FUNCTIONS or kind in SEVERAL:
                return self._of_several(kind, taken, path)
            (source,) = taken
            modules = LAYERS[kind](config, self.kept.arrays(stored), tuple(self.tensors[source].shape[1:]))
            for place, module in enumerate(modules):
                more = f"_{type(module).__name__.lower()}" if place else ""
                source = self._run((*path[:-1], path[-1] + more), module, [source], place == len(modules) - 1)
            return source
        except KeyError as error:
            why = "there is no layer for it" if kind not in LAYERS else f"it lacks {shown(error, 60)}"
            raise WeightsError(f"{name}, a {shown(kind, 60)}, cannot be expressed ({why})") from None
        except IndexError:
            raise WeightsError(f"{name}, a {shown(kind, 60)}, has too few arrays in the archive") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise WeightsError(f"{name}, a {shown(kind, 60)}, cannot be expressed ({shown(error)})") from None

    def _check(self, kind: str, config: dict, taken: list) -> None:
        if config.get("data_format") == "channels_first":
            raise ValueError("it has its channels first")
        axis = config.get("axis", -1)
        axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
        values = [one for one in taken if isinstance(one, str)]
        if axis not in (-1, max(self.tensors[one].ndim for one in values) - 1):
            raise ValueError("it is not over the channels of its input")
        if any((one in self.planes) != (kind == "Stack") for one in values):
            raise ValueError("it takes one channel alone, or stacks what is no channel")

    def _of_several(self, kind: str, taken: list, path: tuple) -> str:
        """Of several values, from the left; or of one and a number, or one for each channel."""
        if kind in ("Concatenate", "Stack"):
            return self._run(path, nn.Call("cat", dim=1), taken)
        if kind == "GetItem":
            return self._channel(taken, path)
        function, (first, *others) = FUNCTIONS.get(kind, "add"), taken
        if not isinstance(first, str):
            (one,) = others
            if function not in COMMUTING:
                raise ValueError(f"it is of a number and a value, {first}")
            first, others = one, [first]
        for place, other in enumerate(others):
            last = place == len(others) - 1 and kind != "Average"
            if isinstance(other, float):
                first = self._run(path, nn.Call(function, b=other), [first], last)
            elif isinstance(other, np.ndarray):
                shape = tuple(self.tensors[first].shape[1:])
                if other.size != shape[0]:
                    raise ValueError(f"it takes an array of shape {other.shape}, not a number for each channel")
                first = self._run(path, for_each_channel(function, other, shape), [first], last)
            else:
                first = self._run(path, nn.Call(function), [first, other], last)
        if kind == "Average":
            first = self._run((*path[:-1], f"{path[-1]}_mean"), nn.Call("div", b=float(len(taken))), [first])
        return first

    def _channel(self, taken: list, path: tuple) -> str:
        """x[..., k] of pictures, as a picture of one channel."""
        source, *index = taken
        channels = self.tensors[source].shape[1]
        if (
            len(index) != 2
            or index[0] is not Ellipsis
            or self.tensors[source].ndim != 4
            or index[1] not in range(channels)
        ):
            raise ValueError("it picks something else than one channel, [..., k]")
        place = int(index[1])
        found = self._run(path, nn.Call("pad", pad=(0, 0, 0, 0, -place, place + 1 - channels)), [source])
        self.planes.add(found)
        return found

    def _run(self, path: tuple, module: nn.Module, inputs: list, last: bool = True) -> str:
        """The value of the step; the last of a layer has the layer's own name."""
        output = "/".join(path) if last else f"{'/'.join(path)} {len(self.steps)}"
        with mg.no_grad():
            made = module(*[self.tensors[one] for one in inputs])
        if output in self.tensors:
            raise ValueError("its name is not its own")
        self.tensors[output] = made
        self.steps.append(Step(path, module, list(inputs), output))
        return output


def _input_shape(config: dict) -> Sequence[Any]:
    """(None, H, W, 3 or 1) of a network's pictures, H and W None where they are free."""
    _check_kind(config["class_name"])
    first = config["config"]["layers"][0]["config"]
    shape = first.get("batch_shape") or first.get("batch_input_shape")
    shape = shape or config.get("build_config", {}).get("input_shape")
    if shape is None:
        raise WeightsError("it has no InputLayer, so the size of its pictures is not known: build it, and save it")
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise WeightsError(f"its input has shape {shown(shape, 60)}, no pictures, (None, H, W, 3)")
    return shape


def _check_kind(kind: str) -> None:
    if kind not in NETWORKS:
        raise WeightsError(f"it is a {shown(kind, 60)}: only Sequential and functional networks say their wiring")


def _taken(layer: dict, values: dict) -> list:
    """What a functional layer takes, in order: values, numbers, arrays and an Ellipsis."""
    name, nodes = shown(layer["config"]["name"], 60), layer["inbound_nodes"]
    if len(nodes) != 1:
        raise WeightsError(f"layer {name!r} is used {len(nodes)} times")
    if isinstance(nodes[0], list):  # as Keras 2 writes it: [[name, 0, 0, keywords], ...]
        if any(one[1] or one[2] or one[3] for one in nodes[0]) or any(one[0] not in values for one in nodes[0]):
            raise WeightsError(f"layer {name!r} takes more than layers before it")
        return [values[one[0]] for one in nodes[0]]
    if "__keras_tensor__" in json.dumps(nodes[0].get("kwargs", {})):
        raise WeightsError(f"layer {name!r} takes values by name, which is not read")
    found, waiting = [], [nodes[0]["args"]]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, dict) and one.get("class_name") == "__keras_tensor__":
            source = one["config"]["keras_history"][0]
            if source not in values:
                raise WeightsError(f"layer {name!r} takes {shown(source, 60)!r}, which is no layer before it")
            found.append(values[source])
        elif isinstance(one, list):
            waiting = [*one, *waiting]
        elif isinstance(one, dict) and one.get("class_name") == "__ellipsis__":
            found.append(...)
        elif isinstance(one, dict) and one.get("class_name") in ("__tensor__", "__numpy__"):
            array = np.asarray(one["config"]["value"], np.float32)
            found.append(float(array.item()) if array.size == 1 else array)
        elif isinstance(one, int | float) and not isinstance(one, bool):
            found.append(float(one))
        elif one is not None:
            raise WeightsError(f"layer {name!r} takes {shown(one, 60)}, which is not read")
    return found


def _output(layers: list) -> str:
    layers = [layers] if layers and isinstance(layers[0], str) else layers
    if len(layers) != 1:
        raise WeightsError("it has several outputs")
    return layers[0][0]
