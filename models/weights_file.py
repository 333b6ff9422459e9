"""The weights file: self-describing HDF5, safe to open whoever wrote it, and opened by memory map where that pays.

    attributes  format "minigrad weights", format_version 2, name, input_size (H, W), short_side (0: none),
                weights_sha256, texts_sha256
    texts       /architecture and /preprocessing (JSON, see description.describe), /provenance (JSON: source, its
                sha256, and under "class_means" what known.Known describes), /labels (a class a line)
    weights     /layers/<layer name>/weight, bias (and running_mean, running_var), contiguous and uncompressed: float32,
                or float16 to halve the file

Files above 32 MiB are mapped: nothing is read until it is used, and what is never used never is. Smaller ones are read,
checked against their sha256 and for NaN. Every fault raises WeightsError, one sentence that names the file.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.serialization import new_hdf5

from .description import construct, describe
from .hdf5 import WeightsError, attribute, dataset, group, opened
from .known import Known
from .labels import Label, read_labels
from .layers import Preprocess
from .model import Model

FORMAT = "minigrad weights"
VERSION = 2  # 1 had no graphs, and the crop of ImageNet's networks went by their names:
TESTED_ON = {"squeezenet1_1": 227, "vgg11": 224, "vgg13": 224, "vgg16": 224, "vgg19": 224}
MAP_ABOVE = 32 << 20  # bytes
TEXTS = ("architecture", "preprocessing", "provenance", "labels")
LONGEST_TEXT = 16 << 20
OF_THE_FILE = ("file", "weights_sha256")  # entries of a model's provenance that belong to the file it was read from


# ----------------------------------------------------------------------------------------------------------------------
# Writing
# ----------------------------------------------------------------------------------------------------------------------


def save(model: Model, path: PathLike[str], half: bool = False) -> None:
    """Write `model` to `path`, atomically; half stores float16 (relative error up to 5e-4 in each weight).

    Raises WeightsError for a weight that is NaN or infinite (or too large for float16), ValueError for a layer of a
    kind that cannot be described or built again, OSError where the file cannot be written; TypeError for no Model.
    """
    if not isinstance(model, Model) or type(model).forward is not Model.forward:
        raise TypeError(
            f"save_weights: this is a {type(model).__name__}, and a file also says what the network looks at: put it "
            f'into models.Model({{"preprocess": models.Preprocess(), "network": network}}, name, input_size)'
        )
    dtype = np.float16 if half else np.float32
    layers = dict(model.children())
    preprocess = layers.pop("preprocess")
    with np.errstate(over="ignore"):
        arrays = {name: _finite(name, tensor.numpy().astype(dtype)) for name, tensor in model.named_tensors()}
    provenance = {k: v for k, v in model.provenance.items() if k not in OF_THE_FILE}
    if model.known is not None:
        provenance["class_means"] = model.known.described()
    texts = {
        "architecture": json.dumps(describe(model.replace({"preprocess": preprocess, **layers}))[1:], indent=1),
        "preprocessing": json.dumps(preprocess.describe()),
        "provenance": json.dumps(provenance),
        "labels": "".join(f"{Label(getattr(label, 'line', label)).line}\n" for label in model.labels or ("#",)),
    }
    # libver: metadata with checksums, so that a damaged file is noticed; alignment: mapped weights start on cache lines
    options = dict(libver=("v110", "v110"), alignment_threshold=1, alignment_interval=64)
    with new_hdf5(path, arrays.values(), **options) as file:
        file.attrs["format"], file.attrs["format_version"] = np.bytes_(FORMAT), VERSION
        file.attrs["name"], file.attrs["input_size"] = np.bytes_(model.name.encode()), model.input_size
        file.attrs["short_side"] = model.short_side or 0
        file.attrs["weights_sha256"], file.attrs["texts_sha256"] = np.bytes_(digest_of(arrays)), np.bytes_(_seal(texts))
        for name, text in texts.items():
            file[name] = np.bytes_(text.encode())
        file.create_group("layers")
        for name, array in arrays.items():
            layer, _, kind = name.rpartition(".")
            file[f"layers/{layer}/{kind}"] = array


def _finite(name: str, array: np.ndarray) -> np.ndarray:
    if not np.isfinite(array).all():
        raise WeightsError(f"{name} holds values that are NaN, infinite or too large for {array.dtype}: not saved")
    return array


def _seal(texts: Mapping[str, str]) -> str:
    return hashlib.sha256("\0".join(texts[name] for name in TEXTS).encode()).hexdigest()


def digest_of(arrays: Mapping[str, np.ndarray]) -> str:
    """sha256 over names, shapes and stored values, in the order of the layers."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.shape} {array.dtype}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


# ----------------------------------------------------------------------------------------------------------------------
# Reading
# ----------------------------------------------------------------------------------------------------------------------


def is_foreign(path: Any) -> bool:
    """Whether the file, or the folder, that is at `path` is another program's: whatever is not HDF5 of our format.

    Raises WeightsError for HDF5 that cannot be opened.
    """
    path = Path(path)
    if path.is_dir() or not path.is_file() or path.stat().st_size == 0:
        return path.is_dir()
    with open(path, "rb") as file:
        if file.read(8) != b"\x89HDF\r\n\x1a\n":
            return True
    with opened(path) as file:
        return _text_attribute(file, "format") != FORMAT


def read(path: str | PathLike[str]) -> Model:
    """The Model in a weights file, on the CPU and in evaluation mode. Raises WeightsError."""
    with opened(path) as file:
        return _model(file, Path(path))


def _model(file: Any, path: Path) -> Model:
    if _text_attribute(file, "format") != FORMAT:
        raise WeightsError("this is HDF5, but not a minigrad weights file: convert it first (python -m models convert)")
    version = attribute(file, "format_version")
    if version not in range(1, VERSION + 1):
        raise WeightsError(f"its format version is {version}, this program reads 1 to {VERSION}: update minigrad")
    if "preprocessing" not in file:
        raise WeightsError(
            "it does not say how pictures are preprocessed (scale, mean, RGB or BGR), without which its scores mean "
            "nothing: convert the original again (python -m models convert --preprocess)"
        )
    texts = {name: _text(file, name) for name in TEXTS}
    try:
        preprocess = Preprocess(**json.loads(texts["preprocessing"]))
        layers = {"preprocess": preprocess, **construct(json.loads(texts["architecture"]))}
        provenance = dict(json.loads(texts["provenance"]))
        means = provenance.pop("class_means", None)
        known = None if means is None else Known.read(means)
        labels = read_labels(texts["labels"].splitlines()) or None
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise WeightsError(f"its description does not hold: {error}") from None

    height, width = (int(side) for side in attribute(file, "input_size"))
    if not (0 < height <= 1 << 14 and 0 < width <= 1 << 14):
        raise WeightsError(f"its input size, {height}x{width}, is absurd")
    name = _text_attribute(file, "name")
    model = Model(layers, name, (height, width), short_side=_short_side(file, version, name, (height, width)))
    try:
        model.labels = labels
    except ValueError as error:
        raise WeightsError(f"its description does not hold: {error}") from None
    model.known = known
    digest = _text_attribute(file, "weights_sha256")
    model.load_state_dict(_weights(file, path, model, digest))
    if _text_attribute(file, "texts_sha256") != _seal(texts):
        raise WeightsError("its description does not match its checksum: the file is damaged, or was edited")
    model.provenance = provenance | {"file": str(path), "weights_sha256": digest}
    return model


def _short_side(file: Any, version: int, name: str, input_size: Sequence[int]) -> int | None:
    """What the file says, or in version 1 what its name says: 256 at the size that the network was tested on."""
    if version == 1:
        tested_on = TESTED_ON.get(name)
        return 256 if tested_on is not None and input_size == (tested_on, tested_on) else None
    short_side = int(attribute(file, "short_side"))
    if short_side and not max(input_size) <= short_side <= 1 << 14:
        raise WeightsError(f"its short side of photographs, {short_side}, is absurd")
    return short_side or None


def _text_attribute(file: Any, name: str) -> Any:
    value = attribute(file, name)
    return value.decode("utf-8") if isinstance(value, bytes) else None


def _text(file: Any, name: str) -> str:
    text = dataset(file, name)
    if text.dtype.kind != "S" or text.shape != () or text.dtype.itemsize > LONGEST_TEXT:
        raise WeightsError(f"/{name} is not a text")
    return text[()].decode("utf-8")


def _weights(file: Any, path: Path, model: Model, digest: str) -> dict:
    """{state dict name: array}: mapped if the file is large, else read and checked."""
    found = _matched(file, model)
    single = all(data.dtype == np.dtype("<f4") and data.id.get_offset() is not None for data in found.values())
    if single and path.stat().st_size > MAP_ABOVE:
        whole = np.memmap(path, np.uint8, mode="c").view(np.ndarray)  # copy on write: the file stays as it is
        return {name: _mapped(whole, data) for name, data in found.items()}

    stored = {name: data[()] for name, data in found.items()}
    for name, array in stored.items():
        if not np.isfinite(array).all():
            raise WeightsError(f"{name} holds NaN or infinite values")
    if digest_of(stored) != digest:
        raise WeightsError("its weights do not match its checksum: the file is damaged, or was edited")
    return {name: array.astype(np.float32, copy=False) for name, array in stored.items()}


def _mapped(whole: np.ndarray, data: Any) -> np.ndarray:
    start = data.id.get_offset()
    return whole[start : start + data.nbytes].view("<f4").reshape(data.shape)


def _matched(file: Any, model: Model) -> Any:
    """{state dict name: data set} for all weights of the model, every one checked before any is read."""
    wanted = {name: tensor.shape for name, tensor in model.named_tensors()}
    layers = group(file, "layers")
    present = {f"{layer}.{kind}" for layer in layers for kind in group(layers, layer)}
    differences = {
        "lacks": [name for name in wanted if name not in present],
        "has also": sorted(present - wanted.keys()),
    }
    if any(differences.values()):
        what = [f"{verb} {', '.join(names[:4])}" for verb, names in differences.items() if names]
        raise WeightsError(f"its weights are not those of its architecture: it {' and '.join(what)}")

    found = {}
    for name, shape in wanted.items():
        layer, _, kind = name.rpartition(".")
        data = found[name] = dataset(group(layers, layer), kind)
        if data.dtype.kind != "f" or data.dtype.itemsize not in (2, 4, 8):
            raise WeightsError(f"{name} has dtype {data.dtype}, expected float32 or float16")
        if data.shape != tuple(shape):
            raise WeightsError(f"{name} has shape {data.shape}, its architecture needs {tuple(shape)}")
    return found
