"""Writes torch's two .pth formats without torch, step by step, so that tests can also write them wrong."""

import struct
import zipfile

import numpy as np

STORAGE = {"f4": "FloatStorage", "f8": "DoubleStorage", "f2": "HalfStorage", "i8": "LongStorage"}
STORAGE["bf16"] = "BFloat16Storage"
MAGIC = 0x1950A86A20F9469CFC6C


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value):
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def group(*items):
    return b"(" + b"".join(items) + b"t"


def integers(values):
    return group(*map(integer, values))


ORDERED_DICT = name("collections", "OrderedDict") + b")R"


def tensor(key, dtype, shape, strides=None, offset=0, numel=None, legacy=False):
    """The instructions that rebuild a tensor; strides and offset count elements."""
    if strides is None:
        strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    numel = int(np.prod(shape)) if numel is None else numel
    storage = [text("storage"), name("torch", STORAGE[dtype]), text(key), text("cpu"), integer(numel)]
    storage = group(*storage, *([b"N"] if legacy else [])) + b"Q"
    arguments = group(storage, integer(offset), integers(shape), integers(strides), b"\x89", ORDERED_DICT)
    return name("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def pickled(items):
    """A pickle of an OrderedDict of {name: instructions}."""
    return b"\x80\x02" + ORDERED_DICT + b"(" + b"".join(text(key) + value for key, value in items.items()) + b"u."


def write_zip(path, pickle, storages, compression=zipfile.ZIP_STORED, extra=()):
    """torch's format since 1.6: `storages` is {key: array or bytes}, `extra` pairs of names and contents."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/version", b"3\n")
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data if isinstance(data, bytes) else data.tobytes())
        for entry, data in extra:
            archive.writestr(entry, data)


def write_legacy(path, pickle, storages, magic=MAGIC, little_endian=True):
    """torch's format before 1.6: five pickles, then each storage behind its number of elements."""
    info = b"\x80\x02}" + text("little_endian") + (b"\x88" if little_endian else b"\x89") + b"s."
    keys = b"\x80\x02](" + b"".join(map(text, storages)) + b"e."
    data = b"".join(struct.pack("<q", array.size) + array.tobytes() for array in storages.values())
    version = b"\x80\x02" + integer(1001) + b"."
    path.write_bytes(b"\x80\x02" + integer(magic) + b"." + version + info + pickle + keys + data)


def write_state_dict(path, state, legacy=False):
    """A state dict of float32 arrays, as torch.save writes it."""
    storages = {str(number): np.asarray(array, "<f4") for number, array in enumerate(state.values())}
    items = {
        key: tensor(number, "f4", array.shape, legacy=legacy)
        for (key, array), number in zip(state.items(), storages, strict=True)
    }
    (write_legacy if legacy else write_zip)(path, pickled(items), storages)
