"""Other programs' files -> a Model of ours, without the programs: Keras' HDF5, torch's .pth, safetensors, .npz, ONNX.

Each reader (hdf5_file, torch_file, npz_file) gives names and arrays; names.py says which layer of ours each is, and
fitting.py puts them there in our layout: kernels (out, in, height, width), fully connected weights (out, in) that see
C, H, W. ONNX files hold the network too (onnx_file, by the package onnx).
"""

import hashlib
import zipfile
from pathlib import Path

from ..architectures import ARCHITECTURES as ROWS
from ..architectures import FEATURES
from ..hdf5 import WeightsError, shown
from ..model import Model
from . import names, partial
from .fitting import CANDIDATES, Found, finished, fit, recognised
from .hdf5_file import read_keras
from .keras_archive import is_keras_archive, read_keras_archive
from .npz_file import read_npz
from .onnx_file import describe_onnx, read_onnx
from .preprocessing import prepared
from .safetensors_file import is_safetensors, read_safetensors, timm_folder
from .torch_file import read_state_dict
from .whole import asked_for, whole

ARCHITECTURES = (*CANDIDATES, partial.NAME)
PICKLES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))


def convert(source, architecture=None, preprocessing=None, labels=None, **onnx):
    """The Model made of the weights in the file `source`, or of an ONNX file, which has the network too.

    architecture   a name for `models.build`, "vgg19_normalised", or a `Model` whose layers are to be filled; None takes
                   the architecture that the weights fit, leaving fewest over.
    preprocessing  "caffe" (BGR, 0-255, minus mean), "caffe-squeezenet", "bgr255" (no mean), "torchvision" (RGB,
                   normalised; also "imagenet"), "none" (also "unit") or a `Preprocess`; None takes the one of the
                   file's origin: Keras and Caffe "caffe", torch "torchvision". Of ONNX it must be given.
    labels         names of its classes, a text for each, where they are not ImageNet's.
    onnx           input_size, input_name and output_name: see `onnx_file.read_onnx`.

    What was done is in the model's `.provenance["conversion"]`, in one sentence.
    Raises WeightsError for a file that cannot be read, is none of the known kinds, or does not fit.
    """
    source = Path(source)
    if is_onnx(source):
        if architecture is not None:
            raise ValueError("an ONNX file has its own architecture: give none")
        try:
            model = read_onnx(source, preprocessing, labels=labels, **onnx)
        except WeightsError as error:
            raise WeightsError(f"{source}: {shown(error)}") from None
        model.provenance = {"source": source.name, "source_sha256": sha256(source)} | model.provenance
        return model
    if _is_keras_archive(source):
        return _from_keras_archive(source, preprocessing, labels)
    if source.is_dir():
        return _from_timm(source, architecture, preprocessing, labels)
    if onnx:
        raise ValueError(f"{', '.join(onnx)} are for ONNX files, and {source} is none")
    if isinstance(architecture, str) and architecture not in ARCHITECTURES:
        raise ValueError(f"there is no architecture {architecture!r}: choose from {', '.join(ARCHITECTURES)}")
    asked_for = None if preprocessing is None else prepared(preprocessing)
    found = read(source)
    if architecture in (None, partial.NAME) and partial.is_normalised_vgg19(found.layers):
        model, done = partial.vgg19_normalised(found.layers), "recognised by its layers"
        usual, why = None, "is its first layer"
    elif architecture == partial.NAME:
        raise WeightsError(f"{source} is not the file that {architecture} is made from")
    else:
        model, done = _fitted(source, found, architecture, labels)
        usual, why = _usual_preprocessing(found, model), f"as usual for {found.format}"
    if preprocessing or usual:
        first = asked_for or prepared(usual)
        model = model.replace(dict(model.children()) | {"preprocess": first})
    why = "as asked for" if preprocessing else why
    name = preprocessing if isinstance(preprocessing, str) else usual if preprocessing is None else repr(preprocessing)
    done += f"; preprocessing {name or ''} {why}".replace("  ", " ")
    origin = {"source": source.name, "source_sha256": sha256(source), "source_format": found.format}
    kept = {key: value for key, value in model.provenance.items() if key == "note"}
    model.provenance = kept | origin | {"conversion": done}
    return model


def _is_keras_archive(source):
    try:
        return source.is_file() and zipfile.is_zipfile(source) and is_keras_archive(source)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        return False


def _from_keras_archive(source, preprocessing, labels):
    prepare = asked_for(preprocessing, source)
    layers, size = read_keras_archive(source)
    try:
        model = whole(layers, prepare, source.stem, size, labels)
    except ValueError as error:
        raise WeightsError(f"{source}: {shown(error)}") from None
    done = f"{len(layers)} layers; preprocessing as asked for"
    origin = {"source": source.name, "source_sha256": sha256(source), "source_format": "Keras archive"}
    model.provenance = origin | {"conversion": done}
    return model


def _from_timm(folder, architecture, preprocessing, labels):
    """The model in a folder of timm's, prepared as its config.json says."""
    weights, told = timm_folder(folder)
    name = architecture or (told["architecture"] if told["architecture"] in ARCHITECTURES else None)
    model = convert(weights, name, preprocessing or told["preprocess"], labels or told["labels"])
    size, short_side = told["input_size"], told["short_side"]
    return Model(dict(model.children()), model.name, size, model.labels, model.provenance, short_side)


def is_onnx(path):
    """Whether the file is one of ONNX, by its name, or its first bytes (its version; there is no signature)."""
    path = Path(path)
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return path.suffix == ".onnx" or file.read(1) == b"\x08"


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
        start = file.read(16)
    if is_safetensors(start):
        return _grouped(read_safetensors(source), "safetensors", channels_last=False)
    if start[:8] == b"\x89HDF\r\n\x1a\n":
        layers, ordered = read_keras(source)
        return Found(layers, "Keras HDF5", channels_last=True, ordered=ordered)
    if start[:2] == b"PK" and _is_npz(source):
        return _grouped(read_npz(source), "NumPy npz", channels_last=None)
    if start[:2] == b"PK" or start[:2] in PICKLES:
        return _grouped(read_state_dict(source), "torch state dict", channels_last=False)
    raise WeightsError(f"{source} is neither HDF5 (Keras) nor .pth (torch), .npz, ONNX or safetensors, or is cut short")


def info(source):
    """What a file of any of these kinds is, as lines of text: format, architecture, and its layers with their shapes.

    Raises WeightsError for a file that cannot be read.
    """
    if is_onnx(source):
        return describe_onnx(source)
    source = timm_folder(source)[0] if Path(source).is_dir() else source
    found = read(source)
    try:
        one = recognised(found)
        is_what = f"{one.model.name}, its {len(found.layers) - len(one.left)} layers told {one.how}"
        is_what += f"; left over: {', '.join(one.left)}" if one.left else ""
    except WeightsError as error:
        is_what = str(error)
        if partial.is_normalised_vgg19(found.layers):
            is_what = partial.NAME
    layers = [
        f"  {shown(name, 60):28}{', '.join(f'{kind} {array.shape}' for kind, array in arrays.items())}"
        for name, arrays in found.layers.items()
    ]
    return [f"{Path(source).name}: {found.format}, {len(found.layers)} layers with weights", is_what, *layers]


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
        if parts is not None and not key.startswith(names.ONLY_IN_TRAINING):
            found.layers.setdefault(names.plain(parts[0]), {})[parts[1]] = array
    found.torchvision = any(name.startswith("features.") for name in found.layers)
    if not found.layers:
        raise WeightsError(f"no weights are among its arrays ({shown(', '.join(list(arrays)[:5]))})")
    return found


def _fitted(source, found, architecture, labels):
    try:
        one = fit(found, architecture, labels) if architecture else recognised(found)
        if labels and not architecture:
            one = fit(found, one.model.name, labels)
        before = len(one.arrays)
        model = finished(one)
    except WeightsError as error:
        raise WeightsError(f"{source}: {shown(error)}") from None
    done = f"{'taken' if architecture else 'recognised'} as {model.name}; {before} arrays matched {one.how}, "
    done += f"left over: {shown(', '.join(one.left))}" if one.left else "none left over"
    if model.labels is None and not model.name.endswith("_features"):
        done += "; its classes have no names (labels)"
    return model, done


def _usual_preprocessing(found, model):
    if found.torchvision or found.channels_last is False:
        row = ROWS.get(model.name.removesuffix(FEATURES))
        return "torchvision" if row is None or row.preprocessing.startswith("caffe") else row.preprocessing
    caffe_squeezenet = "npz" in found.format and model.name.startswith("squeezenet")
    return "caffe-squeezenet" if caffe_squeezenet else "caffe"


__all__ = ["ARCHITECTURES", "Model", "convert", "info", "is_onnx", "read", "sha256"]
