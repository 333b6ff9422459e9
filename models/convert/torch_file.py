"""Reading torch's .pth files without torch, and without unpickling.

A .pth is a pickle of dictionaries and of tensors that refer to storages, raw bytes that lie beside it: in a zip archive
(since torch 1.6), or behind the pickle in one file (before). A pickle is a program for a small stack machine, one of
whose instructions calls any function there is. Here is a machine of our own for the instructions that state dicts
need: it builds lists, dicts and records; a function is only ever a name, and all but a handful of names are refused. So
nothing in the file can run, whatever it says.
"""

import io
import mmap
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..hdf5 import WeightsError, shown

STORAGES = {  # torch's class -> dtype; bfloat16 is the upper half of a float32
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
KNOWN = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor"}
KNOWN |= {"torch._utils _rebuild_parameter"} | {f"torch {name}" for name in STORAGES}

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
MOST_INSTRUCTIONS = 1_000_000  # a state dict of 1,000 tensors takes 60,000
LARGEST_PICKLE = 64 << 20


@dataclass(frozen=True)
class Global:
    """A function or class that a pickle names, by its name only."""

    name: str


@dataclass(frozen=True)
class Storage:
    """`numel` elements of raw data, the `key`-th of the file."""

    kind: str
    key: str
    numel: int
    start: int = 0


@dataclass(frozen=True)
class TensorRecord:
    """A tensor as a view of a storage; offset and strides in elements."""

    storage: Storage
    offset: int
    size: tuple
    stride: tuple


def read_state_dict(path):
    """{name: NumPy array} of the tensors in a .pth file: a state dict, alone or under "state_dict" or "model".

    Raises WeightsError for anything else, anything damaged, and anything that asks for code to be run.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"there is no file {path}")
    try:
        with open(path, "rb") as file:
            zipped = file.read(2) == b"PK"
        arrays = _read_zip(path) if zipped else _read_legacy(path)
    except WeightsError as error:
        raise WeightsError(f"{path}: {shown(error)}") from None
    except Exception as error:  # zipfile, pickletools and damaged values raise a dozen kinds
        raise WeightsError(f"{path} is damaged, or no .pth file ({shown(error)})") from None
    return arrays


# ----------------------------------------------------------------------------------------------------------------------
# The two containers
# ----------------------------------------------------------------------------------------------------------------------


def _read_zip(path):
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise WeightsError("the archive is compressed, which torch never does: it is not opened")
        if sum(entry.file_size for entry in entries.values()) > path.stat().st_size:
            raise WeightsError("the archive's parts are larger than the file: it is damaged or a zip bomb")
        pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise WeightsError("this is a zip archive, but not torch's: it has no data.pkl")
        if entries[pickles[0]].file_size > LARGEST_PICKLE:
            raise WeightsError(f"its data.pkl is larger than {LARGEST_PICKLE >> 20} MiB: this is no state dict")

        folder = pickles[0].removesuffix("data.pkl")
        big = f"{folder}byteorder" in entries and archive.read(f"{folder}byteorder").strip() == b"big"
        tensors = _state_dict(run(io.BytesIO(archive.read(pickles[0]))))

        loaded = {}  # storages are shared by tied weights

        def data_of(storage):
            if storage.key not in loaded:
                data = archive.read(f"{folder}data/{storage.key}")
                loaded[storage.key] = np.frombuffer(data, np.dtype(STORAGES[storage.kind]).newbyteorder("><"[not big]))
            return loaded[storage.key]

        return {name: _array(name, record, data_of) for name, record in tensors.items()}


def _read_legacy(path):
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
        tensors = _state_dict(run(stream))
        keys = run(stream)

        kinds = {record.storage.key: record.storage.kind for record in tensors.values()}
        data = {}
        for key in keys:
            if key not in kinds:
                raise WeightsError(f"storage {key!r} belongs to no tensor of the state dict")
            numel, dtype = int.from_bytes(stream.read(8), "little", signed=True), np.dtype(STORAGES[kinds[key]])
            if not 0 <= numel * dtype.itemsize <= len(stream) - stream.tell():
                raise WeightsError("the file is cut short")
            data[key] = np.frombuffer(stream.read(numel * dtype.itemsize), dtype.newbyteorder("<"))
        return {name: _array(name, record, lambda storage: data[storage.key]) for name, record in tensors.items()}


def _state_dict(top):
    """The {name: TensorRecord} in what a pickle built; entries that are no tensors (an epoch, say) are left out."""
    if isinstance(top, dict):
        for wrapper in ("state_dict", "model"):
            if isinstance(top.get(wrapper), dict):
                top = top[wrapper]
        tensors = {str(name): record for name, record in top.items() if isinstance(record, TensorRecord)}
        if tensors:
            return tensors
    raise WeightsError("there is no state dict in it: save the model's state_dict() with torch.save")


def _array(name, record, data_of):
    """A TensorRecord's values as a C-contiguous array of their own; bfloat16 becomes float32."""
    data, storage = data_of(record.storage), record.storage
    size, stride = record.size, record.stride
    if len(size) != len(stride) or min((*size, *stride, record.offset, storage.start), default=0) < 0:
        raise WeightsError(f"tensor {name!r} has a shape or strides that cannot be")
    count = int(np.prod(size, dtype=object))
    first = storage.start + record.offset
    last = first + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and (last >= data.size or count > data.size):
        raise WeightsError(f"tensor {name!r} of shape {size} lies beyond its data, {data.size} elements")
    if not count:
        return np.zeros(size, data.dtype)
    strides = [step * data.itemsize for step in stride]
    array = np.lib.stride_tricks.as_strided(data[first:], size, strides, writeable=False)
    if storage.kind == "BFloat16Storage":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return np.array(array, dtype=data.dtype.newbyteorder("="), order="C")


# ----------------------------------------------------------------------------------------------------------------------
# The stack machine
# ----------------------------------------------------------------------------------------------------------------------

_MARK = object()
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"}
EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def run(stream):
    """What one pickle in `stream` builds, of None, numbers, texts, lists, tuples, dicts, Globals and TensorRecords."""
    stack, memo = [], {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        name = opcode.name
        if count > MOST_INSTRUCTIONS:
            raise WeightsError("its pickle is absurdly long: this is no state dict")
        if name == "STOP":
            return stack.pop()
        elif name in LITERALS:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "TUPLE":
            stack.append(tuple(_pop_to_mark(stack)))
        elif name in SHORT_TUPLES:
            stack[-SHORT_TUPLES[name] :] = [tuple(stack[-SHORT_TUPLES[name] :])]
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("SETITEM", "SETITEMS"):
            items = _pop_last(stack, 2) if name == "SETITEM" else _pop_to_mark(stack)
            _update(stack[-1], zip(items[::2], items[1::2], strict=True))
        elif name in ("APPEND", "APPENDS"):
            items = _pop_last(stack, 1) if name == "APPEND" else _pop_to_mark(stack)
            _expect(stack[-1], list).extend(items)
        elif name == "GLOBAL":
            stack.append(_global(argument))
        elif name == "STACK_GLOBAL":
            stack.append(_global(" ".join(_expect(part, str) for part in _pop_last(stack, 2))))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            function, arguments = _pop_last(stack, 2)
            stack.append(_call(_expect(function, Global).name, _expect(arguments, tuple)))
        elif name == "BUILD":
            stack.pop()  # attributes of an OrderedDict (_metadata): of no use here
        elif name not in ("PROTO", "FRAME"):
            raise WeightsError(
                f"its pickle has the instruction {name}, which no state dict needs: it is not read further"
            )
    raise EOFError("the pickle has no end")


def _pop_to_mark(stack):
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _pop_last(stack, count):
    items = stack[-count:]
    if len(items) < count:
        raise IndexError("its stack ran empty")
    del stack[-count:]
    return items


def _expect(value, kind):
    if not isinstance(value, kind):
        wanted = " or ".join(one.__name__ for one in np.atleast_1d(kind))
        raise TypeError(f"{wanted} expected, found {type(value).__name__}")
    return value


def _update(target, items):
    for key, value in items:
        _expect(target, dict)[_expect(key, (str, int))] = value


def _global(name):
    if name not in KNOWN:
        raise WeightsError(
            f"it asks for {name.replace(' ', '.')[:80]!r}, which no plain state dict needs, so it is not read further "
            "and nothing in it was run: save only the model's state_dict()"
        )
    return Global(name)


def _storage(reference):
    """("storage", FloatStorage, key, device, numel) and, in the old format, the part of it that is meant."""
    word, kind, key, _, numel, *view = _expect(reference, tuple)
    kind = _expect(kind, Global).name.partition(" ")[2]
    if word != "storage" or kind not in STORAGES:
        raise TypeError("a reference to something other than a storage")
    start = _expect(view[0][1], int) if view and view[0] is not None else 0
    return Storage(kind, _expect(key, str), _expect(numel, int), start)


def _call(name, arguments):
    """What torch's own functions would make of these arguments."""
    if name == "collections OrderedDict":
        result = {}
        _update(result, arguments[0] if arguments else ())
        return result
    if name == "torch._utils _rebuild_parameter":
        return _expect(arguments[0], TensorRecord)
    if name.startswith("torch._utils _rebuild_tensor"):
        storage, offset, size, stride = arguments[:4]
        integers = [_expect(n, int) for n in (offset, *_expect(size, tuple), *_expect(stride, tuple))]
        return TensorRecord(_expect(storage, Storage), integers[0], size, stride)
    raise WeightsError(f"it calls {name!r}, which is not a function")
