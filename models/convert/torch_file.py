"""Reading torch's .pth files without torch, and without unpickling.

A .pth is a pickle of dictionaries and of tensors that refer to storages, raw bytes that lie beside it: in a zip archive
(since torch 1.6), or behind the pickle in one file (before). TorchScript's archives are of the first kind, and hold
objects in place of dictionaries. pickles.py says what the pickle builds, without running it.
"""

import io
import mmap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..hdf5 import WeightsError, shown
from .pickles import STORAGES, ScriptObject, Storage, TensorRecord, run

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LARGEST_PICKLE = 64 << 20
MOST_TENSORS, DEEPEST = 100_000, 64
MOST_REPEATED = 1 << 20  # an expanded tensor repeats each of its numbers at most so often
# What training programs call the state dict in their checkpoints; trained weights before averaged ones.
WRAPPERS: tuple[str, ...] = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
)
WRAPPERS += ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema")


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """{name: NumPy array} of the tensors in a .pth file: the first that `read_checkpoint` gives."""
    return read_checkpoint(path)[0]


def read_checkpoint(path: Path) -> tuple[dict, str]:
    """({name: NumPy array}, note) of the tensors in a .pth file: a state dict, alone or within a checkpoint, or
    TorchScript. note: which of a checkpoint's several state dicts (trained and averaged weights, say) was taken, and
    which were left; "" where there is one.

    Arrays are read-only views of the file's data, whatever their strides; bfloat16 becomes float32.
    Raises WeightsError for anything else, anything damaged, and anything that asks for code to be run.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"there is no file {path}")
    try:
        with open(path, "rb") as file:
            zipped = file.read(2) == b"PK"
        found = _read_zip(path) if zipped else _read_legacy(path)
    except WeightsError as error:
        raise WeightsError(f"{path}: {shown(error)}") from None
    except Exception as error:  # zipfile, pickletools and damaged values raise a dozen kinds
        raise WeightsError(f"{path} is damaged, or no .pth file ({shown(error)})") from None
    return found


# ----------------------------------------------------------------------------------------------------------------------
# The two containers
# ----------------------------------------------------------------------------------------------------------------------


def _read_zip(path: Path) -> tuple[dict, str]:
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise WeightsError(
                "this is a zip archive, but no state dict of torch's: it has no data.pkl (torch.export's have none: "
                "export the network to ONNX instead)"
            )
        folder = pickles[0].removesuffix("data.pkl")
        ours = [entry for name, entry in entries.items() if name == pickles[0] or name.startswith(f"{folder}data/")]
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in ours):
            raise WeightsError("its weights are compressed, as torch.save leaves none: it is not opened; save it again")
        if sum(entry.file_size for entry in ours) > path.stat().st_size:
            raise WeightsError("the archive's parts are larger than the file: it is damaged or a zip bomb")
        if entries[pickles[0]].file_size > LARGEST_PICKLE:
            raise WeightsError(f"its data.pkl is larger than {LARGEST_PICKLE >> 20} MiB: this is no state dict")

        order = entries.get(f"{folder}byteorder")
        big = order is not None and order.file_size < 16 and archive.read(order).strip() == b"big"
        tensors, note = _state_dict(run(io.BytesIO(archive.read(pickles[0]))))

        loaded = {}  # storages are shared by tied weights

        def data_of(storage: Storage) -> np.ndarray:
            if storage.key not in loaded:
                data = archive.read(f"{folder}data/{storage.key}")
                loaded[storage.key] = _numbers(data, storage.kind, "><"[not big])
            return loaded[storage.key]

        return {name: _array(name, record, data_of) for name, record in tensors.items()}, note


def _read_legacy(path: Path) -> tuple[dict, str]:
    if path.stat().st_size == 0:
        raise WeightsError("the file is empty (zero bytes)")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        if run(stream) != LEGACY_MAGIC:
            raise WeightsError(
                "this is a pickle, but not one of torch's: save the model's state_dict() with torch.save"
            )
        run(stream)  # protocol version
        if not run(stream).get("little_endian"):
            raise WeightsError("it was written on a big-endian machine in torch's old format: save it again there")
        storages = {}  # those of an optimiser too
        tensors, note = _state_dict(run(stream, storages))
        keys = run(stream)

        data = {}
        for key in keys:
            if key not in storages:
                raise WeightsError(f"the kind of its storage {key!r} is nowhere said: it is damaged")
            numel, dtype = int.from_bytes(stream.read(8), "little", signed=True), np.dtype(STORAGES[storages[key].kind])
            if not 0 <= numel * dtype.itemsize <= len(stream) - stream.tell():
                raise WeightsError(f"it ends within the numbers of its storage {key!r}: the file is cut short")
            data[key] = _numbers(stream.read(numel * dtype.itemsize), storages[key].kind, "<")
        arrays = {name: _array(name, record, lambda storage: data[storage.key]) for name, record in tensors.items()}
        return arrays, note


def _numbers(data: bytes, kind: str, order: str) -> np.ndarray:
    """A storage's bytes as an array of this machine's numbers; bfloat16, the upper half of a float32, as float32."""
    array = np.frombuffer(data, np.dtype(STORAGES[kind]).newbyteorder(order))
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return (array.astype(np.uint32) << 16).view(np.float32) if kind == "BFloat16Storage" else array


# ----------------------------------------------------------------------------------------------------------------------
# The state dict in it
# ----------------------------------------------------------------------------------------------------------------------


def _state_dict(top: Any, depth: int = 0) -> tuple[dict, str]:
    """({name: TensorRecord}, note) of what a pickle built; entries that are no tensors (an epoch, say) are left out."""
    if not isinstance(top, dict):
        raise WeightsError(f"it holds no state dict, but a {type(top).__name__}: save model.state_dict(), a dict")
    for wrapper in WRAPPERS:
        if isinstance(top.get(wrapper), dict) and type(top) is not ScriptObject and depth < 3:
            tensors, note = _state_dict(top[wrapper], depth + 1)
            return tensors, note or _note(wrapper, top)
    tensors = _flat(top)
    if tensors:
        return tensors, ""
    inside = [key for key, value in top.items() if isinstance(value, dict) and _flat(value)]
    if len(inside) == 1:
        return _flat(top[inside[0]]), ""
    held = f"it holds {', '.join(map(str, list(top)[:6]))}" if top else "it is an empty dict"
    raise WeightsError(f"there is no state dict in it ({held}): save torch.save(model.state_dict(), FILE)")


def _note(taken: str, top: Any) -> str:
    """Which of several state dicts was taken; an optimiser's tensors lie deeper, and are none."""
    others = {key: value for key, value in top.items() if key != taken and isinstance(value, dict)}
    left = [str(key) for key, value in others.items() if _flat(value) or _wraps(value)]
    return f"weights of its {taken!r} taken, those of {shown(', '.join(map(repr, left)))} left" if left else ""


def _wraps(values: dict) -> bool:
    return any(isinstance(values.get(wrapper), dict) and _flat(values[wrapper]) for wrapper in WRAPPERS)


def _flat(values: dict) -> dict:
    """{dotted name: TensorRecord} of a dict's own tensors and, for TorchScript's objects, of those within."""
    found, waiting = {}, [("", values)]
    while waiting:
        prefix, values = waiting.pop()
        for name, value in values.items():
            if isinstance(value, TensorRecord):
                found[f"{prefix}{name}"] = value
        inner = [(f"{prefix}{name}.", value) for name, value in values.items() if type(value) is ScriptObject]
        waiting += reversed(inner)
        if len(found) + len(waiting) > MOST_TENSORS or prefix.count(".") > DEEPEST:
            raise WeightsError("its objects hold more tensors than any network, or contain themselves")
    return found


def _array(name: str, record: TensorRecord, data_of: Callable[[Storage], np.ndarray]) -> np.ndarray:
    """A TensorRecord's values, as a view of its storage's data; one that is expanded repeats them."""
    data, storage = data_of(record.storage), record.storage
    size, stride = record.size, record.stride
    if len(size) != len(stride) or min((*size, *stride, record.offset, storage.start), default=0) < 0:
        raise WeightsError(f"tensor {name!r} has a shape or strides that cannot be")
    count = int(np.prod(size, dtype=object))
    first = storage.start + record.offset
    last = first + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and (last >= data.size or count > MOST_REPEATED * max(data.size, 1)):
        raise WeightsError(f"tensor {name!r} of shape {size} lies beyond its data, {data.size} elements")
    if not count:
        return np.zeros(size, data.dtype)
    strides = [step * data.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(data[first:], size, strides, writeable=False)
