"""A pickle is a program for a small stack machine, one of whose instructions calls any function there is.

Here is a machine of our own for the instructions that torch's files need: it builds lists, dicts and records; a
function is only ever a name, and all but a handful of names are refused. So nothing in the file can run, whatever it
says.
"""

import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..hdf5 import WeightsError

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
TENSORS = {f"torch._utils {name}" for name in ("_rebuild_tensor_v2", "_rebuild_tensor")}
PARAMETERS = {f"torch._utils {name}" for name in ("_rebuild_parameter", "_rebuild_parameter_with_state")}
# What checkpoints keep beside weights: of no use here, and not made.
IGNORED = {"numpy.core.multiarray scalar", "numpy._core.multiarray scalar", "numpy dtype", "_codecs encode"}
IGNORED |= {"argparse Namespace", "torch device", "torch Size", "builtins set", "__builtin__ set"}
SCRIPT = "__torch__"  # TorchScript's own classes
KNOWN = {"collections OrderedDict", *TENSORS, *PARAMETERS, *IGNORED} | {f"torch {name}" for name in STORAGES}
WHOLE = ("torch.nn.", "torchvision.", "timm.", "__main__ ", "torch.fx.")  # modules whose objects are networks

MOST_INSTRUCTIONS = 1_000_000


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


class ScriptObject(dict):
    """{attribute: value} of an object of TorchScript."""


@dataclass(frozen=True)
class TensorRecord:
    """A tensor as a view of a storage; offset and strides in elements."""

    storage: Storage
    offset: int
    size: tuple
    stride: tuple


_MARK = object()
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"}
LITERALS |= {"BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"}  # Python 2's texts; NumPy's numbers
EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}
SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def run(stream: Any, storages: Any = None) -> Any:
    """What one pickle in `stream` builds, of None, numbers, texts, lists, tuples, dicts, Globals and TensorRecords.

    Objects of TorchScript come as dicts of their attributes. storages: a dict that gets every Storage, by its key.
    """
    stack, memo, storages = [], {}, {} if storages is None else storages
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
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            items = _pop_last(stack, 1) if name == "APPEND" else _pop_to_mark(stack)
            _expect(stack[-1], list).extend(items)
        elif name == "GLOBAL":
            stack.append(_global(argument))
        elif name == "STACK_GLOBAL":
            stack.append(_global(" ".join(_expect(part, str) for part in _pop_last(stack, 2))))
        elif name == "BINPERSID":
            stack.append(storage := _storage(stack.pop()))
            storages[storage.key] = storage
        elif name in ("REDUCE", "NEWOBJ"):
            function, arguments = _pop_last(stack, 2)
            stack.append(_call(_expect(function, Global).name, _expect(arguments, tuple)))
        elif name == "BUILD":
            _set_attributes(stack[-2], stack.pop())
        elif name not in ("PROTO", "FRAME"):
            raise WeightsError(
                f"its pickle has the instruction {name}, which no state dict needs: it is not read further"
            )
    raise EOFError("the pickle has no end")


def _pop_to_mark(stack: list) -> list:
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _pop_last(stack: list, count: int) -> list:
    items = stack[-count:]
    if len(items) < count:
        raise IndexError("its stack ran empty")
    del stack[-count:]
    return items


def _expect(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        wanted = " or ".join(one.__name__ for one in np.atleast_1d(kind))
        raise TypeError(f"{wanted} expected, found {type(value).__name__}")
    return value


def _update(target: Any, items: Any) -> None:
    for key, value in items:
        _expect(target, dict)[_expect(key, (str, int))] = value


def _set_attributes(target: Any, attributes: Any) -> None:
    """Of an object of TorchScript; others' (an OrderedDict's _metadata) are of no use here."""
    if isinstance(target, ScriptObject):
        _update(target, _expect(attributes, dict).items())


def _global(name: str) -> Any:
    if name in KNOWN or name.startswith((SCRIPT, "torch.jit._pickle ")):
        return Global(name)
    shown = repr(name.replace(" ", ".")[:80])
    if name.startswith(WHOLE):
        raise WeightsError(
            f"it is a whole pickled model (an object of {shown}), which only its own program can open, so it is not "
            "read further and nothing in it was run: there, torch.save(model.state_dict(), FILE) saves its weights"
        )
    raise WeightsError(
        f"it asks for {shown}, which no plain state dict needs, so it is not read further and nothing in it was run: "
        "save only the weights, torch.save(model.state_dict(), FILE)"
    )


def _storage(reference: Any) -> Storage:
    """("storage", FloatStorage, key, device, numel) and, in the old format, the part of it that is meant."""
    word, kind, key, _, numel, *view = _expect(reference, tuple)
    kind = _expect(kind, Global).name.partition(" ")[2]
    if word != "storage" or kind not in STORAGES:
        raise TypeError("a reference to something other than a storage")
    start = _expect(view[0][1], int) if view and view[0] is not None else 0
    return Storage(kind, _expect(key, str), _expect(numel, int), start)


def _call(name: str, arguments: Any) -> Any:
    """What torch's own functions would make of these arguments."""
    if name == "collections OrderedDict":
        result = {}
        _update(result, arguments[0] if arguments else ())
        return result
    if name.startswith(SCRIPT):
        return ScriptObject()
    if name in IGNORED:
        return None
    if name in PARAMETERS or name.startswith("torch.jit._pickle "):  # a value with its type
        return arguments[0]
    if name in TENSORS:
        storage, offset, size, stride = arguments[:4]
        integers = [_expect(n, int) for n in (offset, *_expect(size, tuple), *_expect(stride, tuple))]
        return TensorRecord(_expect(storage, Storage), integers[0], size, stride)
    raise WeightsError(f"it calls {name!r}, which is not a function")
