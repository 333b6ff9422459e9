"""Strategies that edit valid HDF5 files through the library: sound files that say the wrong things."""

import contextlib
import io

import h5py
import numpy as np
from hypothesis import strategies as st

SHAPES = ((), (0,), (1,), (8,), (3, 4), (4, 3, 3, 3), (1 << 40,), (1 << 20, 1 << 20), (1 << 62,), (2, 0, 3))
DTYPES = ("f2", "<f4", ">f4", "f8", "i1", "<u8", "S5", "S0", "V3", "c8", "?", "ref", "vlen", "text", "enum", "compound")
TEXTS = (b"[]", b"{}", b"null", b"[" * 3000, b'{"scale": "x"}', b'[{"kind": "Conv2d"}]', b"\xff\xfe", b"", b"n0 #")
LINKS = ("soft", "external", "loop", "root", "dangling")


def _dtype(name):
    return {
        "ref": h5py.ref_dtype,
        "vlen": h5py.vlen_dtype(np.int8),
        "text": h5py.string_dtype(),
        "enum": h5py.enum_dtype({"A": 1, "B": 2}),
        "compound": np.dtype([("a", "f4"), ("b", "S3")]),
    }.get(name) or np.dtype(name)


@st.composite
def edited(draw, seeds):
    """One of `seeds` with one to four objects or attributes replaced, moved, linked, or made of absurd sizes."""
    file = io.BytesIO(draw(st.sampled_from(seeds)))
    with h5py.File(file, "r+") as opened:
        for _ in range(draw(st.integers(1, 4))):
            names = ["/"]
            opened.visit(names.append)
            with contextlib.suppress(
                ValueError, KeyError, RuntimeError
            ):  # an earlier edit stands in the way of this one
                draw(st.sampled_from(EDITS))(draw, opened, draw(st.sampled_from(names)))
    return file.getvalue()


def _remove(draw, file, name):
    if name != "/":
        del file[name]


def _dataset(draw, file, name):
    """In the place of an object, a data set of any type and declared shape: contiguous, chunked, packed or outside."""
    if name == "/":
        name = "layers/new" if draw(st.booleans()) else "new"
    if name in file:
        del file[name]
    shape, dtype = draw(st.sampled_from(SHAPES)), _dtype(draw(st.sampled_from(DTYPES)))
    storage = draw(st.sampled_from(("contiguous", "chunked", "packed", "shuffled", "external", "virtual")))
    options = {}
    if storage in ("chunked", "packed", "shuffled") and shape:
        options["chunks"] = tuple(max(1, min(n, 16)) for n in shape)
    if storage in ("packed", "shuffled") and shape:
        options |= {"compression": "gzip", "shuffle": storage == "shuffled", "fletcher32": draw(st.booleans())}
    if storage == "external" and shape:
        options["external"] = [("/dev/zero", 0, h5py.h5f.UNLIMITED)]
    try:
        if storage == "virtual" and shape:
            layout = h5py.VirtualLayout(shape, dtype)
            layout[...] = h5py.VirtualSource("elsewhere.h5", "x", shape=shape)
            return file.create_virtual_dataset(name, layout)
        made = file.create_dataset(name, shape, dtype, **options)
        if 0 < made.nbytes < 4096 and made.dtype.kind in "fiu":
            made[...] = draw(st.sampled_from((0, 1, np.nan, np.inf, 6e4))) if made.dtype.kind == "f" else 1
    except (ValueError, OSError, TypeError, RuntimeError, OverflowError):
        return None  # what the library refuses to write needs no reader


def _text(draw, file, name):
    if not isinstance(file[name], h5py.Dataset):
        return
    del file[name]
    file[name] = np.bytes_(draw(st.sampled_from(TEXTS)) or b"\x00")


def _link(draw, file, name):
    if name == "/":
        name = "layers" if "layers" in file else "new"
    if name in file:
        del file[name]
    kind = draw(st.sampled_from(LINKS))
    if kind in ("loop", "root"):
        file[name] = file["/"] if kind == "root" else file[name.rpartition("/")[0] or "/"]
    else:
        link = {"soft": h5py.SoftLink("/layers"), "dangling": h5py.SoftLink("/nowhere")}
        file[name] = link.get(kind) or h5py.ExternalLink("/etc/passwd", "/")


def _group(draw, file, name):
    if name != "/" and draw(st.booleans()):
        del file[name]
        file.create_group(name)
    else:
        parent = file[name] if isinstance(file[name], h5py.Group) else file
        child = draw(st.sampled_from(("a", "é", "x" * 500, "a/" * 30 + "b", "conv1_1", "..", "weight")))
        if child not in parent:
            parent.create_group(child)


def _move(draw, file, name):
    names = ["new"]
    file.visit(names.append)
    target = draw(st.sampled_from(names))
    if name != "/" and not target.startswith(name):
        if target in file:
            del file[target]
        if name in file:
            file.move(name, target)


def _attribute(draw, file, name):
    owner = file[name if draw(st.booleans()) else "/"]
    known = sorted({*owner.attrs, "layer_names", "weight_names", "format", "input_size"})
    key = draw(st.sampled_from(known))
    values = (1, -1, 2.5, np.nan, b"x", "text", [b"fc6", b"no"], [b"a/b/c"], ["v"], np.zeros((0,)), np.full(2, 1 << 40))
    if draw(st.booleans()):
        owner.attrs.pop(key, None)
    else:
        value = draw(st.sampled_from((*values, h5py.Empty("f4"), np.arange(5), np.full((3, 3), np.inf))))
        owner.attrs[key] = value


def _value(draw, file, name):
    data = file[name]
    if isinstance(data, h5py.Dataset) and data.dtype.kind == "f" and 0 < data.nbytes < 1 << 20 and data.shape:
        data[(0,) * data.ndim] = draw(st.sampled_from((np.nan, np.inf, -np.inf, 6e4, 0)))


EDITS = (_remove, _dataset, _dataset, _text, _link, _group, _move, _attribute, _attribute, _value)
