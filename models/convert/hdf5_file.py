"""Reading Keras' weights from HDF5, in its three layouts, without Keras.

Keras 1 and 2   attribute `layer_names` (at the root, or on /model_weights); a group for each layer, whose attribute
                `weight_names` lists its data sets: block1_conv1/block1_conv1_W_1:0, conv1/conv1/kernel:0. As Keras 3
                writes it, these texts have variable length and are not read; the groups say as much.
Keras 3         /layers/conv2d_1/vars/0 (kernel) and 1 (bias), numbered in the order of the network
"""

import re

from ..hdf5 import WeightsError, attribute, dataset, group, node, opened
from ..weights_file import FORMAT

DEEPEST = 8


def read_keras(path):
    """[(layer name, kernel, bias or None), ...] of an HDF5 file of Keras, in its order; kernels as Keras keeps them:
    (height, width, in, out) for convolutions, (in, out) for dense layers. Raises WeightsError."""
    with opened(path) as file:
        return _layers(file)


def _layers(file):
    if attribute(file, "format") == FORMAT.encode():
        raise WeightsError("this is a minigrad weights file already: load it as it is")
    root = group(file, "model_weights") if "model_weights" in file else file
    if "layer_names" in root.attrs:
        pairs = [(name, _weights_of(_walk(root, name))) for name in _names(root, "layer_names") or _in_order(root)]
    elif "layers" in file:
        layers = group(file, "layers")
        pairs = [(name, _below(node(layers, name))) for name in _in_order(layers)]
    else:
        raise WeightsError("this is HDF5, but no weights file of Keras: it has neither layer_names nor /layers")
    layers = []
    for name, datasets in pairs:
        if not datasets:
            continue
        arrays = [_read(name, one) for one in datasets]
        if len(arrays) > 2 or arrays[0].ndim not in (2, 4) or (len(arrays) == 2 and arrays[1].ndim != 1):
            raise WeightsError(f"layer {name!r} is neither a convolution nor a dense layer")
        layers.append((name, arrays[0], arrays[1] if len(arrays) == 2 else None))
    if not layers:
        raise WeightsError("it holds no weights")
    return layers


def _names(owner, of):
    names = attribute(owner, of)
    return None if names is None else [name.decode("utf-8") for name in names]


def _in_order(parent):
    """Names as a person would sort them: conv2d, conv2d_1, ..., conv2d_10, dense."""

    def counter(name):
        stem, number = re.fullmatch(r"(.*?)(?:_(\d+))?", name, re.DOTALL).groups()
        return stem, int(number or 0)

    return sorted(parent, key=counter)


def _weights_of(found):
    names = _names(found, "weight_names")
    return _below(found) if names is None else [_walk(found, name) for name in names]


def _below(found, depth=0, seen=None):
    """All data sets under a group, those of more dimensions (kernels) first."""
    if not hasattr(found, "keys"):
        return [found]
    seen = set() if seen is None else seen
    if depth > DEEPEST or found.id in seen:  # a hard link may lead back to where it is
        raise WeightsError("its groups are nested far too deep, or contain themselves")
    seen.add(found.id)
    datasets = [one for name in found for one in _below(node(found, name), depth + 1, seen)]
    return sorted(datasets, key=lambda one: -len(one.shape))


def _walk(found, path):
    for part in path.strip("/").split("/"):
        found = node(found, part)
    return found


def _read(name, found):
    found = dataset(found.parent, found.name.rpartition("/")[2])
    if found.dtype.kind != "f":
        raise WeightsError(f"layer {name!r} has weights of dtype {found.dtype}, expected floats")
    return found[()]
