"""Other programs' files -> a Model of ours, without the programs: Keras' HDF5, torch's .pth, safetensors, .npz, ONNX.

Each reader (hdf5_file, torch_file, npz_file) gives names and arrays; names.py says which layer of ours each is, and
fitting.py puts them there in our layout: kernels (out, in, height, width), fully connected weights (out, in) that see
C, H, W. ONNX files hold the network too (onnx_file, by the package onnx).
"""

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..architectures import ARCHITECTURES as ROWS
from ..architectures import FEATURES, hed
from ..hdf5 import WeightsError, shown
from ..labels import class_names
from ..layers import Preprocess
from ..model import Model
from ..preprocessing import prepared
from . import names, partial
from .fitting import CANDIDATES, Found, finished, fit, lost_head, recognised
from .hdf5_file import read_keras
from .keras_archive import describe_config, describe_keras, is_keras_archive, keras_network
from .keras_h5 import keras_config, keras_h5_network
from .npz_file import read_npz
from .onnx_file import describe_onnx, read_onnx
from .safetensors_file import is_safetensors, read_safetensors, timm_folder
from .torch_file import read_checkpoint
from .whole import sized

ARCHITECTURES = (*CANDIDATES, partial.NAME, hed.NAME)
READ = "a weights file of minigrad, Keras' .h5 and .keras, .onnx, .pth, .safetensors, .npz"
ELSE = "of another program, export the network to ONNX"
USUAL = "as usual for"  # what a conversion says of a preprocessing that nobody asked for
PICKLES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))


def convert(
    source: str | Path | bytes,
    architecture: str | None = None,
    preprocessing: str | Preprocess | None = None,
    labels: Sequence[str] | str | None = None,
    size: Sequence[int] | None = None,
    input_name: str | None = None,
    output_name: str | None = None,
) -> Model:
    """The Model made of the weights in the file `source`, or of the network in an ONNX file or a Keras archive.

    architecture   a name for `models.build`, "vgg19_normalised", or a `Model` whose layers are to be filled; None takes
                   the architecture that the weights fit, leaving fewest over.
    preprocessing  a name of `models.preprocessing.MEANING`, "imagenet", say, or a `Preprocess`. None takes the
                   one of the file's origin: Keras' HDF5 and Caffe "caffe", torch "imagenet". Of ONNX and Keras archives
                   it must be given.
    labels         names of its classes, where they are not ImageNet's: texts, the path of a text with one on each line,
                   or "imagenet".
    size           of the pictures that it looks at, (H, W) or a number of pixels, where it is not the usual one, or the
                   file leaves it free.
    input_name, output_name   of the values of ONNX that are meant, where there are several.

    What was done is in the model's `.provenance["conversion"]`, in one sentence.
    Raises WeightsError for a file that cannot be read, is none of the known kinds, or does not fit, ValueError for what
    is missing or unknown among these arguments.
    """
    source, labels = Path(source), class_names(labels)
    sides = (size, size) if isinstance(size, int) else size
    if is_onnx(source):
        _refuse(architecture=architecture, kind="an ONNX file")
        return _with_origin(source, read_onnx, preprocessing, sides, labels, source.stem, input_name, output_name)
    _refuse(input_name=input_name, output_name=output_name, kind="what is no ONNX file")
    if _is_keras_archive(source):
        _refuse(architecture=architecture, kind="a Keras archive")
        return _with_origin(source, keras_network, preprocessing, sides, labels)
    if source.is_dir():
        model = _from_timm(source, architecture, preprocessing, labels)
    else:
        try:
            model = _from_weights(source, architecture, preprocessing, labels)
        except WeightsError:
            if architecture is not None or keras_config(source) is None:
                raise
            model = None
        if model is None:  # a network of one's own
            return _with_origin(source, keras_h5_network, preprocessing, sides, labels)
    return model if sides is None else sized(model, sides)


def _refuse(kind: str, **given: object) -> None:
    """ValueError for an argument that says nothing of such a file."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} says nothing of {kind}: leave it out")


def _with_origin(source: Any, reader: Callable[..., Model], *arguments: Any) -> Model:
    """The Model that `reader` makes of a file with a network in it."""
    try:
        model = reader(source, *arguments)
    except WeightsError as error:
        raise WeightsError(f"{source}: {shown(error).removeprefix(f'{source}: ')}") from None
    model.provenance = {"source": source.name, "source_sha256": sha256(source)} | model.provenance
    return model


def _is_keras_archive(source: Path) -> bool:
    try:
        return source.is_file() and zipfile.is_zipfile(source) and is_keras_archive(source)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        return False


def _from_weights(
    source: Path,
    architecture: str | None,
    preprocessing: str | Preprocess | None,
    labels: Sequence[str] | str | None,
) -> Model:
    if isinstance(architecture, str) and architecture not in ARCHITECTURES:
        raise ValueError(f"there is no architecture {architecture!r}: choose from {', '.join(ARCHITECTURES)}")
    asked = None if preprocessing is None else prepared(preprocessing)
    found = read(source)
    if architecture in (None, partial.NAME, hed.NAME) and _without_classes(found.layers):
        _refuse("a network without classes", labels=labels)
    if architecture in (None, partial.NAME) and partial.is_normalised_vgg19(found.layers):
        model, done = partial.vgg19_normalised(found.layers), "recognised by its layers"
        usual, why = None, "is its first layer"
    elif architecture in (None, hed.NAME) and partial.is_hed(found.layers):
        try:
            model, done = partial.hed_of(found.layers), "recognised by its layers as hed, an edge detector"
        except WeightsError as error:
            raise WeightsError(f"{source}: {shown(error)}") from None
        usual, why = hed.PREPROCESSING, "as it was trained"
    elif architecture in (partial.NAME, hed.NAME):
        raise WeightsError(f"{source} is not the file that {architecture} is made from")
    else:
        model, done = _fitted(source, found, architecture, labels)
        usual, why = _usual_preprocessing(found, model), f"{USUAL} {found.format}"
    if asked or usual:
        model = model.replace(dict(model.children()) | {"preprocess": asked or prepared(usual)})
    why = why if asked is None else "as asked for"
    name = preprocessing if isinstance(preprocessing, str) else usual if preprocessing is None else repr(preprocessing)
    done += f"; preprocessing {name or ''} {why}".replace("  ", " ")
    origin = {"source": source.name, "source_sha256": sha256(source), "source_format": found.format}
    kept = {key: value for key, value in model.provenance.items() if key == "note"}
    model.provenance = kept | origin | {"conversion": done}
    return model


def _without_classes(layers: dict) -> bool:
    return partial.is_normalised_vgg19(layers) or partial.is_hed(layers)


def _from_timm(
    folder: Path, architecture: str | None, preprocessing: str | Preprocess | None, labels: Sequence[str] | str | None
) -> Model:
    """The model in a folder of timm's, prepared as its config.json says."""
    weights, told = timm_folder(folder)
    name = architecture or (told["architecture"] if told["architecture"] in ARCHITECTURES else None)
    if labels is None and not (name or "").endswith(FEATURES):
        labels = class_names(told["labels"])
    model = _from_weights(weights, name, preprocessing or told["preprocess"], labels)
    size, short_side = told["input_size"], told["short_side"]
    return Model(dict(model.children()), model.name, size, model.labels, model.provenance, short_side)


def is_onnx(path: Path) -> bool:
    """Whether the file is one of ONNX, by its name, or its first bytes (its version; there is no signature)."""
    path = Path(path)
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return path.suffix == ".onnx" or file.read(1) == b"\x08"


def sha256(path: Path) -> str:
    """The hexadecimal sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(source: Path) -> Found:
    """What the file holds, by its content, whatever its name. Raises WeightsError."""
    source = Path(source)
    if source.is_dir():
        raise WeightsError(f"{source} is a folder, not a weights file")
    if not source.is_file():
        raise WeightsError(f"there is no file {source}")
    with open(source, "rb") as file:
        start = file.read(16)
    if is_safetensors(start):
        return _grouped(source, read_safetensors(source), "safetensors", channels_last=False)
    if start[:8] == b"\x89HDF\r\n\x1a\n":
        layers, ordered = read_keras(source)
        return Found(layers, "Keras HDF5", channels_last=True, ordered=ordered)
    if start[:2] == b"PK" and _is_npz(source):
        return _grouped(source, read_npz(source), "NumPy npz", channels_last=None)
    if start[:2] == b"PK" or start[:2] in PICKLES:
        arrays, note = read_checkpoint(source)
        found = _grouped(source, arrays, "torch state dict", channels_last=False)
        found.note = note
        return found
    raise WeightsError(f"{source} is none of the files that are read ({READ}), or is cut short; {ELSE}")


def info(source: Path) -> list[str]:
    """What a file of any of these kinds is, as lines of text: format, architecture, and its layers with their shapes.

    Raises WeightsError for a file that cannot be read.
    """
    source = Path(source)
    name, stem = source.name, source.stem if source.is_file() else source.name
    into = f"--out {stem}.h5" if f"{stem}.h5" != name and not stem.endswith(".weights") else "--out converted.h5"
    if is_onnx(source):
        return describe_onnx(source)
    if _is_keras_archive(source):
        return describe_keras(source)
    known = source.is_dir()
    source = timm_folder(source)[0] if known else source
    found = read(source)
    layers = [
        f"  {shown(name, 60):28}{', '.join(f'{kind} {array.shape}' for kind, array in arrays.items())}"
        for name, arrays in found.layers.items()
    ]
    what = f"{name}: {found.format}, {len(found.layers)} layers with weights"
    what += f"; {found.note}" if found.note else ""
    becomes = _becomes(found, "preprocessing by its config.json" if known else None)
    if len(becomes) == 1 and (config := keras_config(source)) is not None:
        return describe_config(source, config, "Keras HDF5 with its architecture")
    return [what, *becomes, *layers, *([f"python -m models convert {name} {into}"] if len(becomes) > 1 else [])]


def _becomes(found: Found, prepared_by: str | None) -> list[str]:
    """Which network the weights are, and how pictures are prepared for it; or one line that says why none."""
    if partial.is_normalised_vgg19(found.layers):
        return [f"becomes {partial.NAME}", "preprocessing: its first layer"]
    try:
        one = recognised(found)
    except WeightsError as error:
        return [str(error)]
    usual = prepared_by or f"preprocessing {_usual_preprocessing(found, one.model)}, {USUAL} {found.format}"
    left = f"; left over: {shown(', '.join(one.left))}" if one.left else ""
    if not partial.is_hed(found.layers) and (lost := lost_head(one)):
        left += f"; THE CLASSIFIER IS LEFT OUT: {lost}"
    becomes = f"becomes {one.model.name}, {len(found.layers) - len(one.left)} layers matched {one.how}{left}"
    if partial.is_hed(found.layers):
        becomes = f"becomes {hed.NAME}, an edge detector; or, with --arch {one.model.name}, {one.model.name}{left}"
    return [becomes, usual]


def _is_npz(source: Path) -> bool:
    try:
        with zipfile.ZipFile(source) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError):  # a damaged version reads as one of a format to come
        raise WeightsError(f"{source} is a damaged or truncated archive") from None


def _grouped(source: Path, arrays: dict, kind: str, channels_last: bool | None) -> Found:
    found = Found({}, kind, channels_last)
    for key, array in names.without_wrappers(arrays).items():
        parts = names.split(key)
        if parts is not None and not key.startswith(names.ONLY_IN_TRAINING):
            found.layers.setdefault(names.plain(parts[0]), {})[parts[1]] = array
    found.torchvision = any(name.startswith("features.") for name in found.layers)
    if not found.layers:
        raise WeightsError(f"{source}: no weights are among its arrays ({shown(', '.join(list(arrays)[:5]))})")
    return found


def _fitted(
    source: Path, found: Found, architecture: str | None, labels: Sequence[str] | str | None
) -> tuple[Model, str]:
    try:
        one = fit(found, architecture, labels) if architecture else recognised(found)
        alike = one.alike
        if labels and not architecture:
            one = fit(found, one.model.name, labels)
        lost = lost_head(one)
        if labels and one.model.name.endswith(FEATURES):
            raise WeightsError(f"labels are given, and {lost or f'{one.model.name} has no classifier: leave them out'}")
        before = len(one.arrays)
        model = finished(one)
    except WeightsError as error:
        raise WeightsError(f"{source}: {shown(error)}") from None
    done = f"{'taken' if architecture else 'recognised'} as {model.name}; {before} arrays matched {one.how}, "
    done += f"left over: {shown(', '.join(one.left))}" if one.left else "none left over"
    done += f"; {found.note}" if found.note else ""
    if lost and not architecture:
        done += f"; THE CLASSIFIER WAS LEFT OUT: {lost}"
    if alike:
        done += f"; weights of {' and '.join(alike)} look the same: say which it is (--arch, architecture=)"
    if model.labels is None and not model.name.endswith("_features"):
        done += "; its classes have no names (labels)"
    return model, done


def _usual_preprocessing(found: Found, model: Model) -> str:
    if found.torchvision or found.channels_last is False:
        row = ROWS.get(model.name.removesuffix(FEATURES))
        return "torchvision" if row is None or row.preprocessing.startswith("caffe") else row.preprocessing
    caffe_squeezenet = "npz" in found.format and model.name.startswith("squeezenet")
    return "caffe-squeezenet" if caffe_squeezenet else "caffe"


__all__ = ["ARCHITECTURES", "Model", "convert", "info", "is_onnx", "read", "sha256"]
