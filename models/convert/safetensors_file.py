"""safetensors: a length, a JSON header of {name: dtype, shape, place}, then the numbers. Read and written without the
package, as there is nothing to it; and the folders in which timm keeps such a file beside its config.json."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..hdf5 import WeightsError, shown
from ..layers import Preprocess
from ..model import Model

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"}
DTYPES |= {"U8": "u1", "BOOL": "?"}
LONGEST_HEADER = 100 << 20  # the format's own limit


def is_safetensors(start: bytes) -> bool:
    """Whether the first 16 bytes of a file are those of this format."""
    return len(start) >= 10 and start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= LONGEST_HEADER


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """{name: array} of the file, in its order of the numbers; bfloat16 becomes float32. Raises WeightsError."""
    path = Path(path)
    try:
        content = np.memmap(path, np.uint8, "r")
        length = int.from_bytes(content[:8].tobytes(), "little")
        if length > min(LONGEST_HEADER, content.size - 8):
            raise WeightsError("its header is longer than the file, which is cut short or damaged")
        header = json.loads(content[8 : 8 + length].tobytes())
        header.pop("__metadata__", None)
        entries = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
        return {name: _array(name, content[8 + length :], **entry) for name, entry in entries}
    except WeightsError as error:
        raise WeightsError(f"{path}: {shown(error)}") from None
    except Exception as error:  # of JSON, of missing entries
        raise WeightsError(f"{path} is damaged, or no safetensors file ({shown(error)})") from None


def _array(name: str, data: np.ndarray, dtype: str, shape: Sequence[int], data_offsets: Sequence[int]) -> np.ndarray:
    if dtype not in DTYPES:
        raise WeightsError(f"{name} is of dtype {dtype}, which is not read")
    kind, (begin, end) = np.dtype(DTYPES[dtype]), data_offsets
    if (
        not 0 <= begin <= end <= data.size
        or min(shape, default=0) < 0
        or end - begin != math.prod(shape) * kind.itemsize
    ):
        raise WeightsError(f"{name} of shape {shape} does not fit its place in the file, {begin} to {end}")
    array = data[begin:end].view(np.ndarray).view(kind).reshape(shape)
    return (array.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else array


def write_safetensors(model: Model, path: str | Path) -> None:
    """Write the weights of `model` by its own names, float32, with the provenance as metadata. Raises OSError."""
    header, arrays, place = {"__metadata__": {"format": "pt", "network": model.name}}, [], 0
    for name, tensor in model.named_tensors():
        array = np.ascontiguousarray(tensor.numpy(), "<f4")
        arrays.append(array)
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [place, place + array.nbytes]}
        place += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays:
            file.write(array.data)


def timm_folder(folder: str | Path) -> tuple:
    """(weights file, what its config.json says: architecture, Preprocess, input_size, short_side, labels) of a folder.

    Raises WeightsError for a folder of another kind.
    """
    folder = Path(folder)
    weights = next(
        (folder / name for name in ("model.safetensors", "pytorch_model.bin") if (folder / name).is_file()), None
    )
    if weights is None or not (folder / "config.json").is_file():
        raise WeightsError(
            f"{folder} is a folder, not a weights file, and holds no config.json beside model.safetensors, as timm's "
            "do (of another program's, export the network to ONNX)"
        )
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        prepared = config.get("pretrained_cfg", config)
        mean, std = (tuple(map(float, prepared[name])) for name in ("mean", "std"))
        (*_, height, side), crop = map(int, prepared["input_size"]), float(prepared.get("crop_pct", 1))
        labels = config.get("label_names") or prepared.get("label_names")
        described = {
            "architecture": str(config["architecture"]),
            "preprocess": Preprocess(mean=mean, std=std),
            "input_size": (side, side),
            "short_side": math.floor(side / crop),  # as timm rounds
            "labels": [str(label) for label in labels] if labels else None,
        }
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError) as error:
        what = f"it lacks {shown(error)}" if isinstance(error, KeyError) else shown(error)
        raise WeightsError(f"{folder / 'config.json'} is not one of timm's ({what}): give {weights} alone") from None
    mode = prepared.get("crop_mode") or "center"
    if mode != "center" or height != side:
        raise WeightsError(
            f"{folder / 'config.json'} asks for pictures of {height} x {side} pixels by crop_mode {shown(mode, 20)!r}, "
            "and here the centre of a square is taken: give the weights file alone, and pictures of that size"
        )
    if not 0 < side <= described["short_side"] <= 1 << 12:
        raise WeightsError(f"{folder / 'config.json'} tells of an absurd size, {side}, or crop, {crop}")
    return weights, described
