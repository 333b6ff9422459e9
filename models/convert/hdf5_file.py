"""Reading Keras' weights from HDF5, in its three layouts, without Keras.

Keras 1 and 2   attribute `layer_names` (at the root, or on /model_weights); a group for each layer, whose attribute
                `weight_names` lists its data sets: block1_conv1/block1_conv1_W_1:0, conv1/conv1/kernel:0
Keras 3         /layers/conv2d_1/vars/0 (kernel) and 1 (bias); the layer's own name is an attribute of `vars`
"""

import re

from ..hdf5 import WeightsError, check_heaps, dataset, node, opened


def read_keras(path):
    """[(layer name, kernel, bias or None), ...] of an HDF5 file of Keras, in its order; kernels as Keras keeps them:
    (height, width, in, out) for convolutions, (in, out) for dense layers. Raises WeightsError."""
    with opened(path) as file:
        check_heaps(path)
        return _layers(file)


def _layers(file):
    root = node(file, "model_weights") if "model_weights" in file else file
    if "layer_names" in root.attrs:
        pairs = [(name, _classic(_walk(root, name))) for name in _names(root, "layer_names")]
    elif "layers" in file:
        pairs = _keras3(node(file, "layers"))
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


def _names(group, attribute):
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in group.attrs[attribute]]


def _classic(group):
    return [_walk(group, name) for name in _names(group, "weight_names")]


def _keras3(layers):
    def counter(name):  # conv2d, conv2d_1, ..., conv2d_10
        stem, number = re.fullmatch(r"(.*?)(?:_(\d+))?", name).groups()
        return stem, int(number or 0)

    pairs = []
    for name in sorted(layers, key=counter):
        values = node(node(layers, name), "vars") if "vars" in node(layers, name) else ()
        if len(values):
            own = values.attrs.get("name", name)
            pairs.append((str(own), [node(values, number) for number in sorted(values)]))
    return pairs


def _walk(group, path):
    for part in path.strip("/").split("/"):
        group = node(group, part)
    return group


def _read(name, found):
    found = dataset(found.parent, found.name.rpartition("/")[2])
    if found.dtype.kind != "f":
        raise WeightsError(f"layer {name!r} has weights of dtype {found.dtype}, expected floats")
    return found[()]
