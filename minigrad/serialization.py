"""State dicts in HDF5, one dataset for each tensor in a group named as its layer; and files never half written."""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from .device import to_numpy

MOST_GROUPS = 10_000
MOST_COMPRESSED = 64  # times the file's size, and its arrays are no weights but a trap


@contextmanager
def replacing(path: Any, room: int = 0) -> Iterator[Any]:
    """Yield a temporary path beside `path`; on leaving, flush it to disk and move it into place.

    room: how many bytes there must be on the disk.

    Whatever goes wrong inside (an exception, Ctrl-C, a full disk), the temporary file goes and `path` is as it was.
    A process killed outright leaves `path` whole and at worst a stray `.name.xxxxxxxx.part` beside it.
    Raises OSError, with a sentence, where `path` cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file to write")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist: make it first")
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        made = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except OSError as error:
        raise type(error)(f"{path} cannot be written: {error.strerror}") from None
    try:
        try:
            _try_room(made, room)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}, {room:,} bytes are needed", str(path)) from None
        finally:
            os.close(made)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno and (error.filename is None or str(error.filename) == str(temporary)):
            error.filename = str(path)  # what a person knows
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _try_room(file, room):
    """OSError if the empty file cannot become `room` bytes long; it is empty again afterwards."""
    if room and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, room)
        os.ftruncate(file, 0)


@contextmanager
def new_hdf5(path: Any, arrays: Any, **options: Any) -> Iterator[Any]:
    """The h5py.File of `options` to write `arrays` and a little text to, which replaces `path` in the end, or OSError.

    Room for all of it is made sure of first: on a full disk, the HDF5 library fails again at every object it closes.
    """
    import h5py

    room = sum(array.nbytes + 2048 for array in arrays) + (1 << 16)
    with replacing(path, room) as temporary:
        try:
            with h5py.File(temporary, "w", **options) as file:
                yield file
        except RuntimeError as error:  # the disk filled up meanwhile
            raise OSError(f"{path} cannot be written: {' '.join(str(error).split())}") from None


def save(path: str | PathLike[str], state: Mapping[str, Any]) -> None:
    """Write a state dict {"conv1.weight": array, ...} as HDF5, dataset `weight` in group `conv1`; replaces `path`."""
    arrays = {name: to_numpy(array) for name, array in state.items()}
    with new_hdf5(path, arrays.values()) as file:
        for name, array in arrays.items():
            file[name.replace(".", "/")] = array


def load(path: str | PathLike[str]) -> dict[str, Any]:
    """The state dict that `save` wrote: {dotted name: array}.

    Raises OSError for a file that cannot be read as HDF5 or is damaged, ValueError for one that holds links, anything
    but numbers, or more than fits it.
    """
    import h5py

    state: dict[str, Any] = {}
    with h5py.File(path, "r") as file:
        try:
            _read(file, "", state, path, set())
        except (KeyError, RuntimeError, TypeError) as error:  # h5py's, for damaged objects
            raise OSError(f"{path} is damaged ({error})") from None
    return state


def _read(group, prefix, state, path, seen):
    import h5py

    if len(seen) > MOST_GROUPS or group.id in seen:
        raise ValueError(f"{path}: it has far too many groups, or one that contains itself")
    seen.add(group.id)
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{path}: {prefix}{name} is a link; a state dict holds its own arrays")
        item = group[name]
        if isinstance(item, h5py.Group):
            _read(item, f"{prefix}{name}.", state, path, seen)
        elif not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiub":
            raise ValueError(f"{path}: {prefix}{name} holds {getattr(item, 'dtype', 'a type')}, expected numbers")
        elif item.is_virtual or item.external or item.nbytes > MOST_COMPRESSED * item.file.id.get_filesize():
            raise ValueError(f"{path}: {prefix}{name} declares shape {item.shape}, which is not all in this file")
        else:
            state[prefix + name] = np.asarray(item[()])
