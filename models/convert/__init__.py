"""Other programs' weights -> a Model of ours: Keras' HDF5, torch's .pth, NumPy's .npz. Needs neither Keras nor torch.

Each reader (hdf5_file, torch_file, npz_file) gives names and arrays; names.py says which layer of ours each is; here
they are put in our layout: kernels (out, in, height, width), and fully connected weights (out, in) that see C, H, W.
"""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigrad import nn

from ..architectures import FEATURES, NAMES, build
from ..hdf5 import WeightsError, shown
from ..layers import PREPROCESSING, Preprocess
from ..model import Model, fold_batch_norm
from . import names, partial
from .hdf5_file import read_keras
from .npz_file import read_npz
from .torch_file import read_state_dict

CANDIDATES = (*NAMES, *(name + FEATURES for name in NAMES))
ARCHITECTURES = (*CANDIDATES, *partial.NAMES)
PICKLES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))


@dataclass
class Found:
    """What a file holds: {layer: {"weight": array, "bias": array, ...}}, as its program keeps them, in its order."""

    layers: dict
    format: str
    channels_last: bool | None  # kernels (height, width, in, out) or (out, in, height, width); None: by their shapes
    torchvision: bool = False


def convert(source, architecture=None, preprocessing=None):
    """The Model made of the weights in the file `source`.

    architecture   a name for `models.build`, one of the partial ones ("vgg16_block1_block2", "vgg19_normalised"), or a
                   `Model` whose layers are to be filled; None takes the first architecture that the weights fit.
    preprocessing  "caffe" (BGR, 0-255, minus mean), "caffe-squeezenet", "bgr255" (no mean), "torchvision" (RGB,
                   normalised) or "none"; None takes the one of the file's origin: Keras and Caffe "caffe", torch
                   "torchvision".
    Raises WeightsError for a file that cannot be read, is none of the known kinds, or does not fit.
    """
    source = Path(source)
    if isinstance(architecture, str) and architecture not in ARCHITECTURES:
        raise ValueError(f"there is no architecture {architecture!r}: choose from {', '.join(ARCHITECTURES)}")
    found = read(source)
    model = partial.recognised(found.layers) if architecture in (None, *partial.NAMES) else None
    if architecture in partial.NAMES and (model is None or model.name != architecture):
        raise WeightsError(f"{source} is not the file that {architecture} is made from")
    if model is None:
        model = _fitted(found, architecture, source)
        model = _with_preprocessing(model, preprocessing or _usual_preprocessing(found, model))
    elif preprocessing is not None:
        model = _with_preprocessing(model, preprocessing)
    origin = {"source": source.name, "source_sha256": sha256(source), "source_format": found.format}
    model.provenance = {key: value for key, value in model.provenance.items() if key == "note"} | origin
    return model


def sha256(path):
    """The hexadecimal sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(source):
    """What the file holds, by its content, whatever its name. Raises WeightsError."""
    source = Path(source)
    if source.is_dir():
        raise WeightsError(f"{source} is a folder, not a weights file")
    if not source.is_file():
        raise WeightsError(f"there is no file {source}")
    with open(source, "rb") as file:
        start = file.read(8)
    if start == b"\x89HDF\r\n\x1a\n":
        layers = {}
        for name, kernel, bias in read_keras(source):
            layers[name] = {"weight": kernel} | ({} if bias is None else {"bias": bias})
        return Found(layers, "Keras HDF5", channels_last=True)
    if start[:2] == b"PK" and _is_npz(source):
        return _grouped(read_npz(source), "NumPy npz", channels_last=None)
    if start[:2] == b"PK" or start[:2] in PICKLES:
        return _grouped(read_state_dict(source), "torch state dict", channels_last=False)
    raise WeightsError(f"{source} is neither HDF5 (Keras) nor a .pth (torch) nor an .npz (NumPy), or is cut short")


def _is_npz(source):
    try:
        with zipfile.ZipFile(source) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError):  # a damaged version reads as one of a format to come
        raise WeightsError(f"{source} is a damaged or truncated archive") from None


def _grouped(arrays, kind, channels_last):
    found = Found({}, kind, channels_last)
    for key, array in names.without_wrappers(arrays).items():
        parts = names.split(key)
        if parts is not None:
            found.layers.setdefault(parts[0], {})[parts[1]] = array
    found.torchvision = any(name.startswith("features.") for name in found.layers)
    if not found.layers:
        raise WeightsError(f"no weights are among its arrays ({shown(', '.join(list(arrays)[:5]))})")
    return found


def _usual_preprocessing(found, model):
    if found.channels_last is False:
        return "torchvision"
    caffe_squeezenet = "npz" in found.format and model.name.startswith("squeezenet")
    return "caffe-squeezenet" if caffe_squeezenet else "caffe"


def _with_preprocessing(model, name):
    if name not in PREPROCESSING:
        raise ValueError(f"there is no preprocessing {name!r}: choose from {', '.join(PREPROCESSING)}")
    return model.replace(dict(model.children()) | {"preprocess": Preprocess(**PREPROCESSING[name])})


# ----------------------------------------------------------------------------------------------------------------------
# Filling a model
# ----------------------------------------------------------------------------------------------------------------------


def _fitted(found, architecture, source):
    if architecture is not None:
        model = architecture
        norm = any("running_mean" in arrays for arrays in found.layers.values())
        if isinstance(architecture, str):
            model = build(architecture, seed=None, batch_norm=norm)
        if norm:
            model = _with_biases(model)
        try:
            return fold_batch_norm(fill(model, found))
        except WeightsError as error:
            raise WeightsError(f"{source}: {error}") from None
    for name in CANDIDATES:
        try:
            return _fitted(found, name, source)
        except ValueError:
            continue
    raise WeightsError(f"{source} fits none of {', '.join(CANDIDATES)}: give the architecture to be told what differs")


def _with_biases(model):
    """Convolutions have biases, as torchvision's do even before a batch normalisation."""
    layers = dict(model.children())
    for name, layer in layers.items():
        if isinstance(layer, nn.Conv2d):
            layers[name] = nn.Conv2d(**layer.describe() | {"bias": True})
    return model.replace(layers)


def fill(model, found):
    """`model` with the weights that were found, each in its layer. Raises WeightsError for what is missing or misfits.

    Layers are told by name, or by their order where no name is known. A "_features" model leaves out what it lacks.
    """
    layers = _renamed(model, found)
    wanted = {}
    for key, tensor in model.named_tensors():
        layer, _, kind = key.rpartition(".")
        wanted.setdefault(layer, {})[kind] = tensor
    missing, extra = [name for name in wanted if name not in layers], [name for name in layers if name not in wanted]
    if missing or (extra and not model.name.endswith(FEATURES)):
        what = [f"{verb} {', '.join(some[:4])}" for verb, some in (("lacks", missing), ("has also", extra)) if some]
        raise WeightsError(f"its layers are not those of {model.name}: it {' and '.join(what)}")

    last = _channels_last(layers, wanted) if found.channels_last is None else found.channels_last
    flat = _flattened_channels(model) if last else {}
    state = {}
    for layer, tensors in wanted.items():
        for kind, tensor in tensors.items():
            if kind not in layers[layer]:
                raise WeightsError(f"{layer} has no {kind}")
            array = _in_our_layout(layers[layer][kind], last, flat.get(layer))
            if array.dtype.kind != "f" or array.shape != tensor.shape:
                raise WeightsError(f"{layer}.{kind} is {array.dtype} {array.shape}, expected {tensor.shape}")
            if not np.isfinite(array).all():
                raise WeightsError(f"{layer}.{kind} holds NaN or infinite values")
            state[f"{layer}.{kind}"] = np.ascontiguousarray(array, dtype=np.float32)
    model.load_state_dict(state)
    return model


def _renamed(model, found):
    """{our name: arrays}."""
    if found.torchvision:
        table = names.from_torchvision(model)
        return {table.get(name, name): arrays for name, arrays in found.layers.items()}
    renamed = {names.from_keras(name): arrays for name, arrays in found.layers.items()}
    ours = [key.rpartition(".")[0] for key, _ in model.named_parameters() if key.endswith("weight")]
    if not renamed.keys() & set(ours) and len(ours) == len(renamed):
        return dict(zip(ours, renamed.values(), strict=True))
    return renamed


def _channels_last(layers, wanted):
    """Whether kernels are (height, width, in, out); the same must hold for all, as one alone may be ambiguous."""
    pairs = [(layers[name].get("weight"), tensors["weight"].shape) for name, tensors in wanted.items()]
    return not all(array is not None and array.shape == shape for array, shape in pairs)


def _flattened_channels(model):
    """{name of the dense layer behind a Flatten: channels before it}."""
    found, channels, flattened = {}, None, False
    for name, layer in model.children():
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
        flattened = flattened or isinstance(layer, nn.Flatten)
        if isinstance(layer, nn.Linear) and flattened and channels:
            return {name: channels}
    return found


def _in_our_layout(array, channels_last, flat_channels):
    if not channels_last or array.ndim not in (2, 4):
        return array
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if flat_channels and array.shape[0] % flat_channels == 0:  # rows come as H, W, C: put them as C, H, W
        rows = array.reshape(-1, flat_channels, array.shape[1])
        array = rows.transpose(1, 0, 2).reshape(array.shape)
    return array.T


__all__ = ["ARCHITECTURES", "Model", "convert", "fill", "read", "sha256"]
