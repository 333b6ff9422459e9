"""Reading Keras' weights from HDF5, in its three layouts, without Keras.

Keras 1 and 2   attribute `layer_names` (at the root, or on /model_weights); a group for each layer, whose attribute
                `weight_names` lists its data sets: block1_conv1/block1_conv1_W_1:0, conv1/conv1/kernel:0. As Keras 3
                writes it (`model.save("x.h5")`), these texts have variable length: hdf5_texts.py finds their order.
                A model within the model is one such group, with groups of its own layers.
Keras 3         /layers/conv2d_1/vars/0 (kernel) and 1 (bias), numbered in the order of the network; a model or a layer
                with layers of its own has them within: /block1/layers/conv2d_1/vars/0
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..hdf5 import WeightsError, attribute, dataset, group, node, opened
from ..weights_file import FORMAT
from .hdf5_texts import in_written_order

DEEPEST = 8
KINDS = {"W": "weight", "b": "bias", "kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
KINDS |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
KIND = re.compile(rf"(?:.*_)?({'|'.join(KINDS)})(?:_\d+)?(?::0)?")
NUMBERED = {1: ("weight",), 2: ("weight", "bias"), 4: ("weight", "bias", "running_mean", "running_var")}


def read_keras(path: str | Path) -> tuple[dict, bool]:
    """({layer: {"weight": array, "bias": array, ...}}, ordered) of an HDF5 file of Keras; kernels as Keras keeps them:
    (height, width, in, out) for convolutions, (in, out) for dense layers. A layer within a layer is "outer/inner".
    ordered: whether the layers come in the order of the network. Raises WeightsError."""
    with opened(path) as file:
        if attribute(file, "format") == FORMAT.encode():
            raise WeightsError("this is a minigrad weights file already: load it as it is")
        root = group(file, "model_weights") if "model_weights" in file else file
        found, ordered = _named(root, path) if "layer_names" in root.attrs else (_numbered(root), True)
        if not found:
            raise WeightsError("it holds no weights")
        return {name: _layer(name, kinds) for name, kinds in found.items()}, ordered


def _named(root: Any, path: str | Path) -> tuple[dict, bool]:
    """Keras 1 and 2: {layer: {kind: data set}}, and whether in the network's order."""
    names, ordered = _names(root, "layer_names"), True
    if names is None:
        groups = [name for name in root if name != "top_level_model_weights"]
        names = in_written_order(path, groups)
        ordered, names = names is not None, names or _in_order(groups)
    found = {}
    for name in names:
        one = _walk(root, name)
        weights = _names(one, "weight_names")
        datasets = _below(one) if weights is None else [_walk(one, weight) for weight in weights]
        nested = len({data.parent.name for data in datasets}) > 1
        for data in datasets:
            inner = data.parent.name.rpartition("/")[2]
            kind = KIND.fullmatch(data.name.rpartition("/")[2])
            if kind is None:
                raise WeightsError(f"layer {name!r} has weights called {data.name}, of no kind of layer that is known")
            found.setdefault(f"{name}/{inner}" if nested else name, {})[KINDS[kind[1]]] = data
    return found, ordered


def _numbered(file: Any) -> dict:
    """Keras 3: {layer: {kind: data set}}, of the groups called vars."""
    found = {}
    for path, datasets in _vars(file):
        kinds = NUMBERED.get(len(datasets))
        if kinds is None:
            raise WeightsError(f"layer {path!r} has {len(datasets)} arrays, which no layer that is known has")
        found[path] = dict(zip(kinds, datasets, strict=True))
    if not found and "layers" not in file and "vars" not in file:
        raise WeightsError("this is HDF5, but no weights file of Keras: it has neither layer_names nor /layers")
    return found


def _vars(parent: Any, path: tuple = (), seen: tuple = ()) -> Iterator[Any]:
    """(path of a layer, its data sets in order), in the order of the network."""
    seen = _once(parent, seen or set(), len(path))
    for name in _in_order(parent):
        inner = node(parent, name)
        if not hasattr(inner, "keys"):
            continue
        if name == "vars":
            datasets = [node(inner, number) for number in _in_order(inner)]
            if datasets and all(hasattr(data, "shape") for data in datasets):
                yield "/".join(path), datasets
        elif name not in ("optimizer", "_layer_checkpoint_dependencies"):
            yield from _vars(inner, path if name in ("layers", "_tracker") else (*path, name), seen)


def _layer(name: str, kinds: dict) -> dict:
    arrays = {kind: _read(name, data) for kind, data in kinds.items()}
    dimensions = {kind: array.ndim for kind, array in arrays.items()}
    weight = dimensions.pop("weight", 1)  # a normalisation may go without
    normalises = "running_mean" in dimensions
    if weight not in ((1,) if normalises else (2, 4)) or any(count != 1 for count in dimensions.values()):
        raise WeightsError(f"layer {name!r} is neither a convolution, a dense layer nor a batch normalisation")
    return arrays


def _names(owner: Any, of: str) -> list[str] | None:
    names = attribute(owner, of)
    return None if names is None else [name.decode("utf-8") for name in names]


def _in_order(names: Sequence[str]) -> Any:
    """Names as a person would sort them: conv2d, conv2d_1, ..., conv2d_10, dense."""

    def counter(name: str) -> Any:
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"_?(\d+)", name)]

    return sorted(names, key=counter)


def _below(found: Any, depth: int = 0, seen: Any = None) -> list:
    """All data sets under a group, layer by layer."""
    if not hasattr(found, "keys"):
        return [found]
    seen = _once(found, seen or set(), depth)
    return [one for name in _in_order(found) for one in _below(node(found, name), depth + 1, seen)]


def _once(found: Any, seen: Any, depth: int) -> Any:
    """`seen` with the group `found`: a hard link may lead back to where it is."""
    if depth > DEEPEST or found.id in seen:
        raise WeightsError("its groups are nested far too deep, or contain themselves")
    seen.add(found.id)
    return seen


def _walk(found: Any, path: Any) -> Any:
    for part in path.strip("/").split("/"):
        found = node(found, part)
    return found


def _read(name: str, found: Any) -> Any:
    found = dataset(found.parent, found.name.rpartition("/")[2])
    if found.dtype.kind != "f":
        raise WeightsError(f"layer {name!r} has weights of dtype {found.dtype}, expected floats")
    return found[()]
